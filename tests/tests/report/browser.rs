//! A browser without a window, driven over pipes by its DevTools protocol.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::PATIENCE;

/// A page of ten thousand uses takes a busy machine a while.
const LONG: Duration = PATIENCE.saturating_mul(5);

/// One page in a browser.
pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    calls: u64,
    session: Option<String>,
    /// What it told without having been asked.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Opens this file.
    pub(crate) fn open(page: &Path) -> Self {
        let profile = TempDir::new().unwrap();
        // It reads commands from descriptor 3 and answers on 4, with a zero byte behind each. Its own sandbox does not start
        // for root, as whom tests may run; what it opens is a page of ours.
        let mut child = Command::new("sh")
            .args([
                "-c",
                "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1",
                "sh",
                "chromium",
                "--headless",
                "--no-sandbox",
            ])
            .args(["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for message in from.split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser =
            Self { child, to, from: receiver, calls: 0, session: None, events: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        browser.session = browser.call("Target.attachToTarget", attach)["sessionId"].as_str().map(ToOwned::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.call("Page.navigate", json!({ "url": format!("file://{}", page.display()) }));
        // It has left the empty page behind when it answers.
        browser.wait_for("document.readyState === 'complete'");
        browser
    }

    /// Loads it again, with scripts or without.
    pub(crate) fn reload(&mut self, scripts: bool) {
        self.events.retain(|event| event["method"] != "Page.loadEventFired");
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !scripts }));
        self.call("Page.reload", json!({}));
        self.wait_until_loaded();
    }

    /// Does it, and gives its answer.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        write!(self.to, "{message}\0").expect("the browser lives");
        loop {
            let answer = self.next();
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    /// What this expression is on the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let how = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", how);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until this is true on the page.
    pub(crate) fn wait_for(&mut self, expression: &str) {
        self.value(&format!(
            "new Promise(done => {{ const look = () => ({expression}) ? done() : setTimeout(look, 10); look(); }})"
        ));
    }

    /// Presses a key, as a person does.
    pub(crate) fn press(&mut self, key: &str, code: u32, text: &str) {
        let mut down = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code, "text": text });
        self.call("Input.dispatchKeyEvent", down.clone());
        down["type"] = json!("keyUp");
        down["text"] = json!("");
        self.call("Input.dispatchKeyEvent", down);
    }

    /// Types text.
    pub(crate) fn types(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// What the page did that a report does not do: errors, words to the console, dialogs, and requests but for itself.
    pub(crate) fn misdeeds(&self) -> Vec<&Value> {
        let is_misdeed = |event: &&Value| match event["method"].as_str() {
            Some(
                "Runtime.exceptionThrown"
                | "Runtime.consoleAPICalled"
                | "Log.entryAdded"
                | "Page.javascriptDialogOpening",
            ) => true,
            Some("Network.requestWillBeSent") => event["params"]["type"] != "Document",
            _ => false,
        };
        self.events.iter().filter(is_misdeed).collect()
    }

    fn wait_until_loaded(&mut self) {
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.next();
            self.events.push(event);
        }
    }

    fn next(&mut self) -> Value {
        self.from.recv_timeout(LONG).expect("the browser answers")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
