//! The log file: append only, each record on disk before its writer goes on.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::record::{Act, Attempt, Event, Intent, Outcome, Record, RequestId, VERSION};
use super::{AuditError, AuditLog};

/// A log in one file, which one daemon at a time holds (see `instance`).
#[derive(Debug, Clone)]
pub struct FileLog {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    file: File,
    sequence: u64,
    path: PathBuf,
    /// A record was written in part only, for want of space perhaps: the next one begins on a line of its own.
    torn: bool,
    /// A failed sync leaves unknown what is on disk (a kernel drops pages that it could not write, and says so once), so
    /// nothing is promised any more.
    broken: bool,
}

impl FileLog {
    /// Opens or creates the log and settles what an agent before this one left open: an intent without an outcome gets
    /// the outcome "unknown".
    ///
    /// # Errors
    /// When the file can't be read, created or written.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let log = Self::open_unsettled(path).map_err(|source| audit_error(path, source))?;
        let orphans = log.settle().map_err(|source| audit_error(path, source))?;
        for (request, agent_pid) in orphans {
            tracing::warn!(?request, agent_pid, "an earlier agent was killed during a request: its outcome is unknown");
        }
        Ok(log)
    }

    fn open_unsettled(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        if let Some(folder) = path.parent() {
            // Without this a new log's name may not outlive a crash.
            File::open(folder)?.sync_all()?;
        }
        let state = State { file, sequence: 0, path: path.to_owned(), torn: false, broken: false };
        Ok(Self { path: path.to_owned(), state: Arc::new(Mutex::new(state)) })
    }

    fn settle(&self) -> std::io::Result<Vec<(RequestId, u32)>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let found = scan(&mut state.file)?;
        state.sequence = found.last_sequence;
        if found.torn {
            // The last record was cut short by a crash. It stays as it is, on a line of its own.
            state.file.write_all(b"\n")?;
        }
        for (request, agent_pid) in &found.orphans {
            state.append(Event::Outcome { request: *request, outcome: Outcome::Unknown { intent_by: *agent_pid } })?;
        }
        Ok(found.orphans)
    }

    async fn append(&self, event: Event) -> Result<(), AuditError> {
        let state = Arc::clone(&self.state);
        let written =
            tokio::task::spawn_blocking(move || state.lock().unwrap_or_else(PoisonError::into_inner).append(event));
        let result = written.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        result.map_err(|source| audit_error(&self.path, source))
    }
}

fn audit_error(path: &Path, source: std::io::Error) -> AuditError {
    AuditError { path: path.display().to_string(), source }
}

impl State {
    fn append(&mut self, event: Event) -> std::io::Result<()> {
        if self.broken {
            return Err(std::io::Error::other("an earlier record may be lost; start the agent again"));
        }
        if self.torn {
            // On a fresh descriptor: the old one may go on failing.
            self.file = OpenOptions::new().append(true).open(&self.path)?;
        }
        if self.file.metadata()?.nlink() == 0 {
            return Err(std::io::Error::other("the log was removed; start the agent again"));
        }
        let record = Record {
            version: VERSION,
            sequence: self.sequence.saturating_add(1),
            time: jiff::Timestamp::now(),
            agent_pid: std::process::id(),
            event,
        };
        let mut line = if self.torn { vec![b'\n'] } else { Vec::new() };
        serde_json::to_writer(&mut line, &record)?;
        line.push(b'\n');
        self.torn = true;
        self.file.write_all(&line)?;
        self.torn = false;
        self.broken = true;
        self.file.sync_data()?;
        self.broken = false;
        self.sequence = record.sequence;
        Ok(())
    }
}

#[async_trait]
impl AuditLog for FileLog {
    async fn intent(&self, request: RequestId, intent: Intent) -> Result<(), AuditError> {
        self.append(Event::Intent { request, intent }).await
    }
    async fn attempt(&self, request: RequestId, attempt: Attempt) -> Result<(), AuditError> {
        self.append(Event::Attempt { request, attempt }).await
    }
    async fn outcome(&self, request: RequestId, outcome: Outcome) -> Result<(), AuditError> {
        self.append(Event::Outcome { request, outcome }).await
    }
    async fn intent_and_outcome(&self, request: RequestId, intent: Intent, outcome: Outcome) -> Result<(), AuditError> {
        self.append(Event::Intent { request, intent }).await?;
        self.append(Event::Outcome { request, outcome }).await
    }
    async fn act(&self, act: Act) -> Result<(), AuditError> {
        self.append(Event::Act { act }).await
    }
}

struct Found {
    last_sequence: u64,
    orphans: Vec<(RequestId, u32)>,
    torn: bool,
}

/// Reads what an earlier agent wrote. A line that is no record (a torn one, or one of a later version) is passed over:
/// judging it is for whoever verifies the log.
fn scan(file: &mut File) -> std::io::Result<Found> {
    file.seek(SeekFrom::Start(0))?;
    let mut found = Found { last_sequence: 0, orphans: Vec::new(), torn: false };
    let mut open = BTreeMap::new();
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        found.torn = !line.ends_with(b"\n");
        if let Ok(record) = serde_json::from_slice::<Record>(&line) {
            found.last_sequence = found.last_sequence.max(record.sequence);
            match record.event {
                Event::Intent { request, .. } => {
                    open.insert((record.agent_pid, request), record.sequence);
                }
                Event::Outcome { request, outcome: Outcome::Unknown { intent_by } } => {
                    open.remove(&(intent_by, request));
                }
                Event::Outcome { request, .. } => {
                    open.remove(&(record.agent_pid, request));
                }
                Event::Attempt { .. } | Event::Act { .. } => {}
            }
        }
        line.clear();
    }
    found.orphans = open.into_keys().map(|(pid, request)| (request, pid)).collect();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::{Assertion, Meaning, Peer, Signer, Subject, Token, Verification};

    fn intent() -> Intent {
        Intent {
            subject: Subject {
                peer: Peer { pid: 1, uid: 1000, programs: vec!["ssh".into()] },
                key: "SHA256:x".into(),
                application: Some("ssh:".into()),
                meaning: Meaning::Login { user: "alice".into(), host_key: None },
                bindings: vec![],
            },
            destination: "not proven".into(),
            signer: Signer::Token {
                token: Token { product: "token".into(), serial: "1".into(), path: "/dev/hidraw0".into() },
                user_verification: Verification::Pin,
            },
        }
    }

    fn records(path: &Path) -> Vec<Record> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn an_intent_without_an_outcome_becomes_unknown_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        runtime().block_on(async {
            let log = FileLog::open(&path).unwrap();
            log.intent(RequestId(1), intent()).await.unwrap();
            let assertion = Assertion { flags: 5, counter: 1, user_verification: Verification::Pin };
            log.outcome(RequestId(1), Outcome::Signed { assertion: Some(assertion) }).await.unwrap();
            log.intent(RequestId(2), intent()).await.unwrap();
        });
        for _ in 0..2 {
            drop(FileLog::open(&path).unwrap());
        }
        let records = records(&path);
        let unknown = Outcome::Unknown { intent_by: std::process::id() };
        assert_eq!(records.len(), 4);
        assert_eq!(records[3].event, Event::Outcome { request: RequestId(2), outcome: unknown });
        assert_eq!(records.iter().map(|r| r.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn a_torn_record_does_not_swallow_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        runtime().block_on(async {
            FileLog::open(&path).unwrap().intent(RequestId(1), intent()).await.unwrap();
        });
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(br#"{"version":1,"sequence":2,"ti"#);
        std::fs::write(&path, torn).unwrap();
        drop(FileLog::open(&path).unwrap());
        let records = records(&path);
        assert_eq!(records.len(), 2);
        assert!(matches!(records[1].event, Event::Outcome { outcome: Outcome::Unknown { .. }, .. }));
    }

    #[test]
    fn a_full_disk_refuses_until_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let log = FileLog::open(&path).unwrap();
        log.state.lock().unwrap().file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        runtime().block_on(async {
            assert!(log.act(Act::Stop).await.is_err());
            log.act(Act::Stop).await.unwrap();
        });
        assert_eq!(records(&path).len(), 1);
    }

    #[test]
    fn a_log_that_was_removed_promises_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let log = FileLog::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        runtime().block_on(async {
            let refused = log.act(Act::Stop).await.unwrap_err();
            assert!(refused.source.to_string().contains("removed"), "{refused}");
        });
    }
}
