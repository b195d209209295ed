//! A notification on the desktop (Desktop Notifications Specification 1.2), as long as a token waits to be touched.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use zbus::Connection;
use zbus::connection::Builder;
use zbus::zvariant::Value;

use super::Prompt;

const SERVICE: &str = "org.freedesktop.Notifications";
const OBJECT: &str = "/org/freedesktop/Notifications";

/// How long the desktop may take to show or to take down a notification, before another way is looked for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Shows the notification until this future is dropped. It ends by itself only where there is nothing to be seen.
///
/// # Errors
/// Why it can't be shown.
pub(super) async fn show(bus: &str, prompt: &Prompt) -> Result<Infallible, String> {
    // Other transports connect over a network, or start a program ("D-Bus Specification", "Transports").
    if !bus.split(';').all(|address| address.starts_with("unix:")) {
        return Err("the session bus is not one of this machine".into());
    }
    let over = CancellationToken::new();
    let (shown, is_shown) = oneshot::channel();
    // In a task of its own: once asked for, a notification is taken down even if its number comes only after that.
    tokio::spawn(serve(bus.to_owned(), prompt.clone(), shown, over.clone()));
    let _until_dropped = over.drop_guard();
    is_shown.await.unwrap_or_else(|_| Err("it was given up".into()))?;
    std::future::pending().await
}

async fn serve(bus: String, prompt: Prompt, shown: oneshot::Sender<Result<(), String>>, over: CancellationToken) {
    let notifying = tokio::time::timeout(PATIENCE, notify(&bus, &prompt));
    let (connection, number) = match notifying.await {
        Ok(Ok(notification)) => notification,
        Ok(Err(error)) => return drop(shown.send(Err(error.to_string()))),
        Err(_) => return drop(shown.send(Err("the desktop does not answer".into()))),
    };
    let _ = shown.send(Ok(()));
    over.cancelled().await;
    let number = (number,);
    let closing = connection.call_method(Some(SERVICE), OBJECT, Some(SERVICE), "CloseNotification", &number);
    let _ = tokio::time::timeout(PATIENCE, closing).await;
}

async fn notify(bus: &str, prompt: &Prompt) -> zbus::Result<(Connection, u32)> {
    let connection = Builder::address(bus)?.build().await?;
    // Critical ones stay until they are taken down, and so do those without a time limit (0).
    let hints = HashMap::from([("urgency", Value::U8(2))]);
    let actions: [&str; 0] = [];
    let (summary, body) = (prompt.question.trim_end(), body(&prompt.lines));
    let notification = ("fido-ssh-agent", 0_u32, "dialog-password", summary, body, &actions[..], hints, 0_i32);
    let reply = connection.call_method(Some(SERVICE), OBJECT, Some(SERVICE), "Notify", &notification).await?;
    let number = reply.body().deserialize()?;
    Ok((connection, number))
}

/// Some desktops take the body for markup, and none takes the escapes for text that way.
fn body(lines: &[String]) -> String {
    lines.join("\n").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use tokio::sync::mpsc;
    use zbus::zvariant::OwnedValue;

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Shown { summary: String, body: String, timeout: i32 },
        TakenDown(u32),
    }

    /// A desktop that remembers what it is to show.
    struct Desktop(mpsc::UnboundedSender<Seen>);

    #[zbus::interface(name = "org.freedesktop.Notifications")]
    impl Desktop {
        #[allow(clippy::too_many_arguments, reason = "the specification has so many")]
        fn notify(
            &self,
            _app_name: String,
            _replaces: u32,
            _icon: String,
            summary: String,
            body: String,
            _actions: Vec<String>,
            _hints: HashMap<String, OwnedValue>,
            timeout: i32,
        ) -> u32 {
            self.0.send(Seen::Shown { summary, body, timeout }).unwrap();
            7
        }

        fn close_notification(&self, number: u32) {
            self.0.send(Seen::TakenDown(number)).unwrap();
        }
    }

    /// A session bus of this test alone.
    struct Bus {
        daemon: Child,
        address: String,
        _folder: tempfile::TempDir,
    }

    impl Bus {
        fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut daemon = Command::new("dbus-daemon")
                .args(["--session", "--nofork", "--print-address", "--address"])
                .arg(format!("unix:path={}", folder.path().join("bus").display()))
                .stdout(Stdio::piped())
                .spawn()
                .expect("dbus-daemon runs (Debian: package dbus)");
            let mut address = String::new();
            BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
            Self { daemon, address: address.trim().into(), _folder: folder }
        }
    }

    impl Drop for Bus {
        fn drop(&mut self) {
            let _ = self.daemon.kill().and_then(|()| self.daemon.wait());
        }
    }

    fn prompt() -> Prompt {
        Prompt { lines: vec!["Log in as <b>me</b> & you".into()], question: "Touch the token. ".into() }
    }

    #[tokio::test]
    async fn a_notification_is_shown_and_taken_down() {
        let bus = Bus::start();
        let (sender, mut seen) = mpsc::unbounded_channel();
        let desktop = Builder::address(bus.address.as_str()).unwrap().serve_at(OBJECT, Desktop(sender)).unwrap();
        let _desktop = desktop.name(SERVICE).unwrap().build().await.unwrap();
        let notice = tokio::spawn({
            let address = bus.address.clone();
            async move { show(&address, &prompt()).await }
        });
        let body = "Log in as &lt;b&gt;me&lt;/b&gt; &amp; you".to_owned();
        let summary = "Touch the token.".to_owned();
        assert_eq!(seen.recv().await, Some(Seen::Shown { summary, body, timeout: 0 }));
        notice.abort();
        assert_eq!(seen.recv().await, Some(Seen::TakenDown(7)));
    }

    #[tokio::test]
    async fn where_nothing_can_be_shown_that_is_said() {
        let bus = Bus::start();
        let reason = show(&bus.address, &prompt()).await.unwrap_err();
        assert!(reason.contains("org.freedesktop.Notifications"), "{reason}");
        for address in ["tcp:host=127.0.0.1,port=1", "unixexec:path=/bin/sh", "unix:path=/x;tcp:host=h,port=1"] {
            assert!(show(address, &prompt()).await.unwrap_err().contains("not one of this machine"));
        }
        assert!(show("unix:path=/nowhere/bus", &prompt()).await.is_err());
    }
}
