//! Two verifiers of an audit log: the product's, and `tests/second-verifier`, which knows the documentation alone.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use agent::audit::chain::Head;
use agent::audit::verify::{Kind, verify};
use serde_json::{Value, json};

/// What the product says of the log that is written to this file, without the words for people, and its exit code.
#[must_use]
pub fn first_verdict(log: &Path, anchors: &[Head]) -> Value {
    let mut report = verify(log, anchors.to_vec()).expect("the log can be read");
    // The counters are a guess, which the second verifier does not make.
    report.findings.retain(|finding| finding.kind != Kind::CounterGap);
    let code = report.gravest().map_or(0, |kind| kind.exit_code());
    let mut value = serde_json::to_value(report).expect("a report has a form in JSON");
    for finding in value["findings"].as_array_mut().expect("findings are a list") {
        finding.as_object_mut().expect("a finding is an object").remove("what");
    }
    value.as_object_mut().expect("a report is an object").remove("counters");
    value["code"] = json!(code);
    value
}

/// The second verifier, which waits for logs.
#[derive(Debug)]
pub struct SecondVerifier {
    process: Child,
    pipes: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

impl SecondVerifier {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("second-verifier/verify.py");
        // Debian's own, whose `cryptography` is the one that the tests ask for.
        let mut python = Command::new("/usr/bin/python3");
        python.arg("-B").arg(program).arg("--many").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = python.spawn().expect("Debian has a python3");
        let tasks = process.stdin.take().expect("it is a pipe");
        let verdicts = BufReader::new(process.stdout.take().expect("it is a pipe"));
        Self { process, pipes: RefCell::new((tasks, verdicts)) }
    }

    /// What it says of this log.
    #[must_use]
    pub fn verdict(&self, log: &Path, anchors: &[Head]) -> Value {
        let (tasks, verdicts) = &mut *self.pipes.borrow_mut();
        writeln!(tasks, "{}", json!({ "log": log, "anchors": anchors })).expect("it reads tasks");
        let mut line = String::new();
        verdicts.read_line(&mut line).expect("it is a pipe");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("the second verifier failed: {error} in {line:?}"))
    }
}

impl Drop for SecondVerifier {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
