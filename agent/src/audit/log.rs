//! The log file: append only, each record on disk before whoever writes it goes on.

mod file;
mod lines;
mod owed;
pub mod retention;
mod scan;
pub mod segments;
mod writer;

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::anchor::Anchor;
use super::record::{Act, AgentRun, Attempt, Course, Event, Intent, OpenRequest, Outcome, RecordId, RequestId};
use super::{AuditError, AuditLog, Unwritable};
use file::LogFile;
use retention::Retention;
use writer::Writer;

/// A log in one file, which one daemon at a time holds (see `instance`). When it is dropped, all that was to be written is
/// on disk.
#[derive(Debug)]
pub struct FileLog {
    path: PathBuf,
    writer: Writer,
}

impl FileLog {
    /// Opens or creates the log, to which this agent is going to write, and settles what an agent before this one left open: an
    /// intent without an outcome gets the outcome "unknown".
    ///
    /// # Errors
    /// When the file can't be read, created or written.
    pub fn open(path: &Path, run: AgentRun) -> Result<Self, AuditError> {
        Self::open_as_configured(path, run, None, Retention::default())
    }

    /// The same, with a keeper of its heads, and with no more of it kept than this.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_as_configured(
        path: &Path,
        run: AgentRun,
        anchor: Option<Anchor>,
        retention: Retention,
    ) -> Result<Self, AuditError> {
        let open = || {
            let file = settled(path, run, retention)?;
            Ok(Self { path: path.to_owned(), writer: Writer::start(file, anchor)? })
        };
        open().map_err(|source| audit_error(path, source))
    }

    /// Gives the last of them its name.
    async fn append(&self, events: Vec<Event>) -> Result<RecordId, AuditError> {
        self.writer.append(events).await.map_err(|source| audit_error(&self.path, source))
    }
}

fn settled(path: &Path, run: AgentRun, retention: Retention) -> std::io::Result<LogFile> {
    let (file, orphans) = LogFile::open(path, run)?;
    let mut file = file.keeping(retention);
    if !orphans.is_empty() {
        let unknown = |orphan: &OpenRequest| Event::Outcome {
            request: orphan.request,
            outcome: Outcome::Unknown { intent_by: orphan.run },
            course: None,
        };
        let unknown = orphans.iter().map(unknown).collect();
        file.append(&[unknown]).into_iter().collect::<std::io::Result<Vec<_>>>()?;
    }
    for OpenRequest { run, request } in orphans {
        tracing::warn!(?request, ?run, "an earlier agent was killed during a request: its outcome is unknown");
    }
    Ok(file)
}

fn audit_error(path: &Path, source: std::io::Error) -> AuditError {
    AuditError { path: path.display().to_string(), source }
}

#[async_trait]
impl AuditLog for FileLog {
    async fn intent(&self, request: RequestId, intent: Intent) -> Result<(), AuditError> {
        self.append(vec![Event::Intent { request, intent }]).await.map(drop)
    }
    async fn attempt(&self, request: RequestId, attempt: Attempt) -> Result<(), AuditError> {
        self.append(vec![Event::Attempt { request, attempt }]).await.map(drop)
    }
    async fn outcome(&self, request: RequestId, outcome: Outcome, course: Course) -> Result<RecordId, AuditError> {
        self.append(vec![Event::Outcome { request, outcome, course: Some(course) }]).await
    }
    async fn intent_and_outcome(
        &self,
        request: RequestId,
        intent: Intent,
        outcome: Outcome,
        course: Course,
    ) -> Result<(), AuditError> {
        let outcome = Event::Outcome { request, outcome, course: Some(course) };
        self.append(vec![Event::Intent { request, intent }, outcome]).await.map(drop)
    }
    fn note(&self, event: Event) {
        self.writer.note(event);
    }
    async fn act(&self, act: Act) -> Result<RecordId, AuditError> {
        self.append(vec![Event::Act { act }]).await
    }
    fn trouble(&self) -> Option<Unwritable> {
        self.writer.trouble()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::audit::record::{Record, Signer};
    use crate::audit::samples;

    fn intent() -> Intent {
        samples::intent("SHA256:x", Signer::Software)
    }

    fn signed() -> Outcome {
        samples::signed(false)
    }

    fn records(path: &Path) -> Vec<Record> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn sequence(path: &Path) -> Vec<u64> {
        records(path).iter().map(|record| record.sequence).collect()
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn an_intent_without_an_outcome_becomes_unknown_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        run(async {
            let log = FileLog::open(&path, samples::run()).unwrap();
            log.intent(RequestId(1), intent()).await.unwrap();
            log.outcome(RequestId(1), signed(), Course::default()).await.unwrap();
            log.intent(RequestId(2), intent()).await.unwrap();
            log.intent_and_outcome(RequestId(3), intent(), signed(), Course::default()).await.unwrap();
            let request = "add".into();
            let denial = crate::denial::Denial::plain(crate::denial::Code::UnknownKey);
            let peer = intent().subject.peer;
            let refused = log.act(Act::Refused { request, peer, bindings: vec![], denial }).await;
            assert_eq!(refused.unwrap(), RecordId(6), "a record is named by its sequence number");
        });
        for _ in 0..2 {
            drop(FileLog::open(&path, samples::run()).unwrap());
        }
        let records = records(&path);
        let unknown = Outcome::Unknown { intent_by: samples::run().run };
        assert_eq!(records.len(), 7);
        assert_eq!(records[6].event, Event::Outcome { request: RequestId(2), outcome: unknown, course: None });
        assert_eq!(sequence(&path), (1..=7).collect::<Vec<_>>());
    }

    #[test]
    fn a_torn_record_does_not_swallow_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        run(async { FileLog::open(&path, samples::run()).unwrap().intent(RequestId(1), intent()).await.unwrap() });
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(br#"{"version":1,"sequence":2,"ti"#);
        std::fs::write(&path, torn).unwrap();
        drop(FileLog::open(&path, samples::run()).unwrap());
        let records = records(&path);
        assert_eq!(records.len(), 3);
        assert!(matches!(records[1].event, Event::Act { act: Act::Torn { length: 29, .. } }));
        assert!(matches!(records[2].event, Event::Outcome { outcome: Outcome::Unknown { .. }, .. }));
    }

    #[test]
    fn a_log_that_was_removed_promises_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let log = FileLog::open(&path, samples::run()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let refused = run(log.act(Act::RemoveAll)).unwrap_err();
        assert!(refused.source.to_string().contains("removed"), "{refused}");
    }

    #[test]
    fn records_that_come_together_are_all_there_in_sequence() {
        const REQUESTS: u64 = 100;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let log = FileLog::open(&path, samples::run()).unwrap();
        let together = |request| log.intent_and_outcome(RequestId(request), intent(), signed(), Course::default());
        run(join_all((1..=REQUESTS).map(together))).into_iter().for_each(|written| written.unwrap());
        assert_eq!(sequence(&path), (1..=2 * REQUESTS).collect::<Vec<_>>());
        for (pair, request) in records(&path).chunks(2).zip(1..) {
            let request = RequestId(request);
            let events: Vec<_> = pair.iter().map(|record| record.event.clone()).collect();
            let pair = [
                Event::Intent { request, intent: intent() },
                Event::Outcome { request, outcome: signed(), course: Some(Course::default()) },
            ];
            assert_eq!(events, pair, "an intent stands right before its outcome");
        }
    }

    #[test]
    fn a_request_that_was_given_up_is_written_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let log = FileLog::open(&path, samples::run()).unwrap();
        run(async {
            let given_up = log.act(Act::Lock);
            tokio::select! { biased; _ = given_up => {}, () = async {} => {} }
        });
        drop(log);
        assert_eq!(records(&path).len(), 1);
    }
}
