//! Logs whose disk is full, or fails, and logs of several segments.

use std::fs::Permissions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::audit::canonical;
use crate::audit::chain::Hash;
use crate::audit::record::{Outcome, Record, RequestId, Signer};
use crate::audit::samples;
use crate::audit::verify::{Finding, Kind, verify};
use crate::denial::{Code, Denial};

fn act() -> Event {
    Event::Act { act: Act::RemoveAll }
}

/// One request's acts.
fn written(log: &mut LogFile, acts: usize) -> std::io::Result<()> {
    log.append(&[(0..acts).map(|_| act()).collect()]).remove(0).map(drop)
}

fn intent() -> Event {
    Event::Intent { request: RequestId(1), intent: samples::intent("SHA256:x", Signer::Software) }
}

fn signed() -> Event {
    Event::Outcome { request: RequestId(1), outcome: samples::signed(true), course: None }
}

fn refused(code: Code) -> Outcome {
    Outcome::Refused { denial: Denial::plain(code), subject: None }
}

fn device(path: &str) -> File {
    File::options().append(true).open(path).unwrap()
}

fn new_log() -> (tempfile::TempDir, PathBuf, LogFile) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (log, _) = LogFile::open(&path, samples::run()).unwrap();
    (folder, path, log)
}

/// The records of all segments, after a look at the chain; lines that are none have to be named by the next record.
fn records(path: &Path) -> Vec<Record> {
    let mut head = Head::default();
    let mut records: Vec<Record> = Vec::new();
    for segment in Segments::of(path).all().unwrap() {
        let text = std::fs::read_to_string(segment).unwrap();
        let mut torn = String::new();
        for line in text.lines() {
            let Ok(record) = serde_json::from_str::<Record>(line) else {
                torn += &format!("{}{line}", if torn.is_empty() { "" } else { "\n" });
                continue;
            };
            assert!(canonical::read::<Record>(line.as_bytes()).is_some(), "{line}");
            assert_eq!((record.sequence, record.previous), (head.sequence + 1, head.hash), "{line}");
            if !torn.is_empty() {
                let (length, hash) = (torn.len() as u64, Hash::of(torn.as_bytes()));
                assert_eq!(record.event, Event::Act { act: Act::Torn { length, hash } });
                torn.clear();
            }
            head = head.after(line.as_bytes());
            records.push(record);
        }
    }
    records
}

fn sequence(path: &Path) -> Vec<u64> {
    records(path).iter().map(|record| record.sequence).collect()
}

#[test]
fn a_full_disk_refuses_until_there_is_room() {
    let (_folder, path, mut log) = new_log();
    written(&mut log, 1).unwrap();
    log.file = device("/dev/full");
    assert!(written(&mut log, 2).is_err());
    written(&mut log, 2).unwrap();
    assert_eq!(sequence(&path), [1, 2, 3, 4], "the fourth is about the two that are missing");
}

/// However many they are, they are one record.
#[test]
fn what_a_full_disk_kept_off_the_record_is_counted_there_later() {
    let (_folder, path, mut log) = new_log();
    log.file = device("/dev/full");
    let outcome = |request| {
        vec![Event::Outcome { request: RequestId(request), outcome: refused(Code::UnknownKey), course: None }]
    };
    let denial = Denial::plain(Code::Locked);
    let peer = samples::subject("").peer;
    let management = Act::Refused { request: "add".into(), peer, bindings: vec![], denial };
    let lost = [outcome(1), vec![Event::Act { act: management }], outcome(2), vec![Event::Act { act: Act::Lock }]];
    assert!(log.append(&lost).iter().all(Result::is_err));
    log.file = device("/dev/full");
    log.stale = false;
    assert!(log.append(&[vec![intent()], outcome(3)]).iter().all(Result::is_err));
    assert!(log.owes());

    assert_eq!(log.append(&[]).len(), 0, "nobody has to ask for it");
    assert!(!log.owes());
    let records = records(&path);
    let [Event::Act { act: Act::Missed { refusals, acts, first, last } }] =
        &records.iter().map(|record| record.event.clone()).collect::<Vec<_>>()[..]
    else {
        panic!("{records:?}");
    };
    assert_eq!(*refusals, [(Code::UnknownKey, 3), (Code::Locked, 1)].into());
    assert_eq!(*acts, [("lock".to_owned(), 1)].into());
    assert!(first < last && *last <= records[0].time);
}

/// Otherwise it would be a request of which nobody knows how it ended.
#[test]
fn a_request_whose_outcome_could_not_be_written_has_it_later() {
    let (_folder, path, mut log) = new_log();
    log.append(&[vec![intent()]]).remove(0).unwrap();
    log.file = device("/dev/full");
    assert!(log.append(&[vec![signed()]]).remove(0).is_err());
    written(&mut log, 1).unwrap();
    let events: Vec<_> = records(&path).into_iter().map(|record| record.event).collect();
    let Event::Outcome { request, outcome: Outcome::Refused { denial, .. }, .. } = &events[1] else {
        panic!("{events:?}")
    };
    assert_eq!((*request, denial.code, events.len()), (RequestId(1), Code::AuditUnwritable, 3));
    assert_eq!(LogFile::open(&path, samples::run()).unwrap().1, [], "it is settled");
}

/// The kernel may have thrown the pages away, so that a second sync, or one of another descriptor, would succeed.
#[test]
fn after_a_failed_sync_nothing_is_promised_any_more() {
    let (_folder, path, mut log) = new_log();
    // It takes writes, and can't be synced.
    log.file = device("/dev/null");
    assert_eq!(written(&mut log, 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    log.file = device(path.to_str().unwrap());
    for _ in 0..2 {
        let refused = written(&mut log, 1).unwrap_err();
        assert!(refused.to_string().contains("may be lost"), "{refused}");
    }
    assert_eq!((sequence(&path), log.syncs()), (vec![], 0));
}

/// The agent goes on by the settings that it had.
#[test]
fn a_change_of_settings_that_is_not_on_record_is_in_no_later_record() {
    let (_folder, path, mut log) = new_log();
    let change = |config| vec![Event::Act { act: Act::ConfigChanged { config, settings: vec![] } }];
    let (first, second) = (samples::run().config, Hash::of(b"second"));
    log.file = device("/dev/full");
    assert!(log.append(&[change(Hash::of(b"lost"))])[0].is_err());
    written(&mut log, 1).unwrap();
    log.append(&[change(second)]).remove(0).unwrap();
    written(&mut log, 1).unwrap();
    let records = records(&path);
    let configs: Vec<_> = records.iter().rev().take(3).rev().map(|record| record.agent.config).collect();
    assert_eq!(configs, [first, second, second], "{records:#?}");
}

/// As where a disk fills up in the middle of a write: what is there keeps its numbers, whoever was refused, and the
/// record that is there in part is named by the next.
#[test]
fn the_chain_goes_on_where_a_write_ended_early() {
    let (_folder, path, mut log) = new_log();
    for room in [1, 100, 4096, 5000] {
        // A pipe that nobody reads takes so much and no more.
        let (mut reader, full) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&full, true).unwrap();
        let filled = std::io::Write::write(&mut &full, &vec![b'x'; 65536 - room]).unwrap();
        assert_eq!(filled, 65536 - room);
        log.file = File::from(OwnedFd::from(full));
        assert!(written(&mut log, 100).is_err());
        // What the pipe took is what the disk has.
        let mut taken = Vec::new();
        std::io::Read::read_to_end(&mut NonBlocking(&mut reader), &mut taken).unwrap();
        std::fs::File::options().append(true).open(&path).unwrap().write_all(&taken[filled..]).unwrap();
        written(&mut log, 1).unwrap();
    }
    let all = records(&path);
    assert!(all.len() > 8, "{}", all.len());
    drop(log);
    let (mut log, _) = LogFile::open(&path, samples::run()).unwrap();
    assert_eq!(log.head().sequence, all.len() as u64);
    written(&mut log, 1).unwrap();
    assert_eq!(records(&path).len(), all.len() + 1);
}

/// What is in the file is not counted as missing, whoever was refused.
#[test]
fn each_of_those_that_came_together_is_on_record_or_counted() {
    let (_folder, path, mut log) = new_log();
    let (mut reader, full) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&full, true).unwrap();
    let filled = std::io::Write::write(&mut &full, &vec![b'x'; 65536 - 10000]).unwrap();
    log.file = File::from(OwnedFd::from(full));
    let together = vec![vec![act()]; 100];
    assert!(log.append(&together).iter().all(Result::is_err));
    let mut taken = Vec::new();
    std::io::Read::read_to_end(&mut NonBlocking(&mut reader), &mut taken).unwrap();
    std::fs::write(&path, &taken[filled..]).unwrap();
    log.append(&[]);
    let records = records(&path);
    let there = records.iter().filter(|record| record.event == act()).count();
    let Some(Event::Act { act: Act::Missed { acts, .. } }) = records.last().map(|record| &record.event) else {
        panic!()
    };
    assert!(there > 10, "{there}");
    assert_eq!(acts["remove_all"], 100 - there as u64);
}

/// Ends where nothing is left.
struct NonBlocking<'a>(&'a mut std::io::PipeReader);

impl std::io::Read for NonBlocking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        rustix::io::ioctl_fionbio(&*self.0, true)?;
        match self.0.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            read => read,
        }
    }
}

#[test]
fn an_agent_that_was_killed_in_the_middle_of_a_write_leaves_a_log_that_goes_on() {
    let (_folder, path, mut log) = new_log();
    written(&mut log, 3).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for cut in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let (mut log, _) = LogFile::open(&path, samples::run()).unwrap();
        written(&mut log, 1).unwrap();
        records(&path);
    }
}

#[test]
fn a_segment_that_is_full_is_put_aside_and_the_chain_goes_on() {
    let (_folder, path, mut log) = new_log();
    log.segment = 1000;
    let intent = || Event::Outcome {
        request: RequestId(1),
        outcome: Outcome::Unknown { intent_by: samples::run().run },
        course: None,
    };
    for _ in 0..20 {
        log.append(&[vec![intent()]]).remove(0).unwrap();
    }
    let segments = Segments::of(&path).archived().unwrap();
    assert!(segments.len() > 2, "{segments:?}");
    let all = records(&path);
    let first = all.iter().find(|record| record.sequence == segments[0].last + 1).unwrap();
    let Event::Act { act: Act::Segment { head, .. } } = &first.event else { panic!("{first:?}") };
    assert_eq!((head.sequence, head.hash), (segments[0].last, first.previous));
    let last = log.head();
    drop(log);
    let (log, _) = LogFile::open(&path, samples::run()).unwrap();
    assert_eq!(log.head(), last);
    // Even where the last of them is taken away.
    std::fs::remove_file(&path).unwrap();
    let (mut log, _) = LogFile::open(&path, samples::run()).unwrap();
    written(&mut log, 1).unwrap();
    assert_eq!(sequence(&path).last(), Some(&(segments.last().unwrap().last + 2)), "a beginning, and the act");
}

/// A log that is too long is better than a login that is refused.
#[test]
fn a_segment_that_can_not_be_put_aside_goes_on() {
    let (folder, path, mut log) = new_log();
    log.segment = 1000;
    let in_the_way = folder.path().join("audit.new.jsonl");
    std::fs::create_dir(&in_the_way).unwrap();
    for _ in 0..20 {
        written(&mut log, 1).unwrap();
    }
    assert_eq!(Segments::of(&path).archived().unwrap(), []);
    std::fs::remove_dir(&in_the_way).unwrap();
    // It is not tried for each record.
    while log.length < RETRY + 10_000 {
        written(&mut log, 500).unwrap();
    }
    written(&mut log, 1).unwrap();
    assert_eq!(Segments::of(&path).archived().unwrap().len(), 1);
    records(&path);
}

#[test]
fn only_its_owner_may_read_a_log() {
    let (folder, path, log) = new_log();
    drop(log);
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let (mut log, _) = LogFile::open(&path, samples::run()).unwrap();
    log.segment = 1000;
    for _ in 0..20 {
        written(&mut log, 1).unwrap();
    }
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap()).collect();
    assert!(files.len() > 2, "{files:?}");
    assert!(files.iter().all(|file| file.mode() & 0o777 == 0o600), "{files:?}");
}

/// A log of small segments, of which only the last is kept.
fn kept_short(folder: &Path) -> PathBuf {
    let path = folder.join("audit.jsonl");
    let (log, _) = LogFile::open(&path, samples::run()).unwrap();
    let mut log = log.keeping(Retention { size: Some(1), age: None });
    log.segment = 1000;
    for _ in 0..20 {
        written(&mut log, 1).unwrap();
    }
    path
}

fn findings(path: &Path) -> Vec<Finding> {
    verify(path, vec![]).unwrap().findings
}

#[test]
fn outdated_segments_are_removed_behind_a_record_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = kept_short(folder.path());
    assert_eq!(Segments::of(&path).archived().unwrap(), []);
    let report = verify(&path, vec![]).unwrap();
    assert!(report.first > 1, "{report:?}");
    assert_eq!(report.findings, []);
    let (mut log, _) = LogFile::open(&path, samples::run()).unwrap();
    written(&mut log, 1).unwrap();
    assert_eq!(findings(&path), [], "it goes on");
}

#[test]
fn segments_that_somebody_else_has_removed_are_missed() {
    let (_folder, path, mut log) = new_log();
    log.segment = 1000;
    for _ in 0..20 {
        written(&mut log, 1).unwrap();
    }
    let segments = Segments::of(&path).archived().unwrap();
    assert!(segments.len() > 2, "{segments:?}");
    std::fs::remove_file(&segments[0].path).unwrap();
    let found = findings(&path);
    assert!(matches!(&found[..], [Finding { kind: Kind::Tampered, .. }]), "{found:?}");
}

/// The next one removes what is left of them.
#[test]
fn an_agent_that_was_killed_before_it_removed_a_segment_leaves_a_log_that_is_right() {
    let (_folder, path, mut log) = new_log();
    log.segment = 1000;
    for _ in 0..20 {
        written(&mut log, 1).unwrap();
    }
    let segments = Segments::of(&path).archived().unwrap();
    let last = File::open(&segments[1].path);
    let head = scan(&mut last.unwrap()).unwrap().head;
    log.append(&[vec![Event::Act { act: Act::SegmentsRemoved { head } }]]).remove(0).unwrap();
    assert_eq!(findings(&path), [], "both are there");
    std::fs::remove_file(&segments[0].path).unwrap();
    assert_eq!(findings(&path), [], "one of them is");
    drop(LogFile::open(&path, samples::run()).unwrap().0.keeping(Retention::default()));
    assert_eq!(Segments::of(&path).archived().unwrap(), segments[2..]);
    assert_eq!(findings(&path), [], "none of them is");
}
