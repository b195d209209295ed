//! Logs that were changed, by the class of the change.

use std::fs;

use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use super::*;
use crate::audit::AuditLog;
use crate::audit::log::FileLog;
use crate::audit::record::{Course, Kept, RequestId, Signer};
use crate::audit::samples;

/// A log of some records in one file, and its folder.
fn log(records: usize) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let log = FileLog::open(&path, samples::run()).unwrap();
    for n in 0..records {
        let add = Act::Add { key: format!("SHA256:{n}"), from: "here".into() };
        runtime.block_on(log.act(add)).unwrap();
    }
    (folder, path)
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(ToOwned::to_owned).collect()
}

fn write(path: &Path, lines: &[String]) {
    fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

fn head(path: &Path) -> Head {
    verify(path, vec![]).unwrap().head
}

/// The gravest finding, without an anchor and with that of the end.
fn judged(path: &Path, anchor: Head) -> [Option<Kind>; 2] {
    [vec![], vec![anchor]].map(|anchors| verify(path, anchors).unwrap().gravest())
}

/// Chains lines anew from one on, as somebody does who knows the format.
fn rechain(lines: &mut [String], from: usize) {
    let mut head = from.checked_sub(1).map_or(Head::default(), |before| {
        let record: Record = serde_json::from_str(&lines[before]).unwrap();
        Head { sequence: record.sequence, hash: Hash::of(lines[before].as_bytes()) }
    });
    for line in &mut lines[from..] {
        let mut record: Record = serde_json::from_str(line).unwrap();
        (record.sequence, record.previous) = (head.sequence + 1, head.hash);
        *line = String::from_utf8(canonical::to_vec(&record).unwrap()).unwrap();
        head = head.after(line.as_bytes());
    }
}

#[test]
fn a_log_as_it_was_written_is_clean() {
    let (_folder, path) = log(10);
    let report = verify(&path, vec![head(&path)]).unwrap();
    assert_eq!((report.records, report.first, report.anchored, report.findings), (10, 1, 1, vec![]));
}

#[test]
fn each_class_of_change_is_found_with_or_without_an_anchor() {
    let changed = |line: &mut String| *line = line.replace("here", "there");
    type Change<'a> = &'a dyn Fn(&mut Vec<String>);
    let (tampered, not_anchored) = (Some(Kind::Tampered), Some(Kind::NotAnchored));
    let cases: [(&str, Change<'_>, [Option<Kind>; 2]); 10] = [
        ("a field changed", &|lines| changed(&mut lines[4]), [tampered; 2]),
        ("the last record changed", &|lines| changed(&mut lines[9]), [None, not_anchored]),
        ("a record deleted", &|lines| drop(lines.remove(4)), [tampered; 2]),
        ("the first deleted", &|lines| drop(lines.remove(0)), [tampered; 2]),
        ("two swapped", &|lines| lines.swap(4, 5), [tampered; 2]),
        ("one doubled", &|lines| lines.insert(4, lines[4].clone()), [tampered; 2]),
        ("a line inserted", &|lines| lines.insert(4, String::new()), [tampered; 2]),
        ("the tail cut", &|lines| lines.truncate(7), [None, not_anchored]),
        (
            "one record hashed anew",
            &|lines| {
                changed(&mut lines[4]);
                rechain(&mut lines[..6], 5)
            },
            [tampered; 2],
        ),
        (
            "all chained anew",
            &|lines| {
                changed(&mut lines[4]);
                rechain(lines, 5)
            },
            [None, not_anchored],
        ),
    ];
    for (what, change, expected) in cases {
        let (_folder, path) = log(10);
        let anchor = head(&path);
        let mut text = lines(&path);
        change(&mut text);
        write(&path, &text);
        assert_eq!(judged(&path, anchor), expected, "{what}");
    }
}

#[test]
fn a_signature_over_more_than_a_record_holds_is_counted_as_unchecked() {
    let (_folder, path) = log(1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut intent = samples::intent("SHA256:x", Signer::Software);
    intent.evidence.data = Kept::Hashed { length: 300_000, hash: Hash::of(b"data") };
    let log = FileLog::open(&path, samples::run()).unwrap();
    runtime.block_on(log.intent_and_outcome(RequestId(1), intent, samples::signed(false), Course::default())).unwrap();
    drop(log);
    let report = verify(&path, vec![]).unwrap();
    assert_eq!((report.signatures, report.unchecked, report.findings), (1, 1, vec![]));
}

#[test]
fn a_torn_tail_is_told_from_tampering() {
    let (_folder, path) = log(3);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    assert_eq!(verify(&path, vec![]).unwrap().gravest(), Some(Kind::TornTail));
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(verify(&path, vec![]).unwrap().gravest(), Some(Kind::TornTail));
    // The next agent says what it found.
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(FileLog::open(&path, samples::run()).unwrap().act(Act::Lock)).unwrap();
    assert_eq!(verify(&path, vec![]).unwrap().findings, []);
    // What was torn is not to be changed either.
    let text = fs::read_to_string(&path).unwrap();
    let torn = text.lines().nth(2).unwrap().to_owned();
    fs::write(&path, text.replace(&torn, &torn.replace("here", "this"))).unwrap();
    assert_eq!(verify(&path, vec![]).unwrap().gravest(), Some(Kind::Tampered));
}

/// Any change of bytes is found with the head kept elsewhere.
#[test]
fn random_changes_are_found() {
    let (_folder, path) = log(20);
    let (whole, anchor) = (fs::read(&path).unwrap(), head(&path));
    // PROPTEST_CASES in the environment has it try more.
    let cases = Config::default().cases.max(500);
    let mut runner = TestRunner::new(Config { failure_persistence: None, cases, ..Config::default() });
    let change = (0..whole.len(), proptest::collection::vec(proptest::num::u8::ANY, 0..4), 0..4_usize);
    runner
        .run(&change, |(at, with, instead_of)| {
            let mut text = whole.clone();
            let end = (at + instead_of).min(text.len());
            text.splice(at..end, with);
            if text != whole {
                fs::write(&path, &text).unwrap();
                proptest::prop_assert!(verify(&path, vec![anchor]).unwrap().gravest().is_some());
            }
            Ok(())
        })
        .unwrap();
}
