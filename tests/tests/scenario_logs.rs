//! The logs that all other scenarios have left, where AUDIT_LOGS names a folder for them (`make native`): the published schema
//! takes each record, and both verifiers say the same of each log, the damaged ones included.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agent::audit::canonical;
use agent::audit::reader::Lines;
use agent::audit::record::Record;
use serde_json::Value;
use tests::{SecondVerifier, first_verdict};

#[test]
#[ignore = "it comes after all others: `make native` runs it"]
fn the_schema_and_the_second_verifier_know_the_logs_of_all_scenarios() {
    let logs = logs(Path::new(&std::env::var_os("AUDIT_LOGS").expect("AUDIT_LOGS names a folder")));
    assert!(logs.len() > 100, "the scenarios have left {} logs only", logs.len());
    let second = SecondVerifier::start();
    let (mut records, mut kinds) = (Vec::new(), BTreeSet::new());
    for log in &logs {
        assert_eq!(second.verdict(log, &[]), first_verdict(log, &[]), "the verifiers differ about {}", log.display());
        for line in Lines::of(log).unwrap().map(Result::unwrap) {
            if canonical::read::<Record>(&line.text).is_none() {
                continue;
            }
            let record: Value = serde_json::from_slice(&line.text).unwrap();
            kinds.insert(["record", "act", "result"].map(|name| record[name].as_str().unwrap_or_default()).join(" "));
            records.extend(line.text);
            records.push(b'\n');
        }
    }
    println!("{} logs with {kinds:#?}", logs.len());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("second-verifier/jsonschema_takes.py");
    let mut validator = Command::new("/usr/bin/python3").arg(script).stdin(Stdio::piped()).spawn().unwrap();
    // It may end without reading all, and has said why.
    let _ = validator.stdin.take().unwrap().write_all(&records);
    assert!(validator.wait().unwrap().success(), "the schema does not take each record");
}

/// The files that were written to, in folders of their own.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(folder).expect("the scenarios have left logs");
    let logs = folders.map(|folder| folder.unwrap().path().join("audit.jsonl"));
    logs.filter(|log| log.exists()).collect()
}
