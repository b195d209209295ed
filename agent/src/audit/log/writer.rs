//! The thread that writes: it takes all that waits, and makes it durable by one disk write.
//!
//! While the disk is waited for, others queue up, so that the more there are, the more share the next write. Nobody waits
//! for company: what comes alone is written at once.

use std::io::Error;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::file::LogFile;
use crate::audit::Unwritable;
use crate::audit::anchor::Anchor;
use crate::audit::record::{Event, RecordId};

/// Requests to one disk write, at most: the first of them is not to wait while a flood goes on.
const BATCH: usize = 256;

/// How long something that nobody waits for waits for company.
const NOTED: Duration = Duration::from_secs(1);

/// After which time what could not be written is tried again, where nobody asks for anything else.
const RETRY: Duration = Duration::from_secs(5);

/// Why it can't be written where there is no thread that would.
const ENDED: &str = "the log is not written any more; start the agent again";

/// Where records are handed to the thread, which alone holds the file.
#[derive(Debug)]
pub(super) struct Writer {
    /// None when the thread is told to end.
    queue: Option<Sender<Request>>,
    thread: Option<JoinHandle<LogFile>>,
    standing: Standing,
}

/// How the last write ended.
#[derive(Debug, Clone, Default)]
struct Standing(Arc<Mutex<Option<Unwritable>>>);

/// Records that stand or fall together, with others of the same batch.
struct Request {
    events: Vec<Event>,
    /// None where nobody waits.
    done: Option<oneshot::Sender<std::io::Result<RecordId>>>,
}

impl Writer {
    pub(super) fn start(mut file: LogFile, mut anchor: Option<Anchor>) -> std::io::Result<Self> {
        let (queue, requests) = channel();
        let standing = Standing::default();
        let seen = standing.clone();
        let write = move || {
            write_all(&requests, &mut file, &mut anchor, &seen);
            file
        };
        let thread = std::thread::Builder::new().name("audit".into()).spawn(write)?;
        Ok(Self { queue: Some(queue), thread: Some(thread), standing })
    }

    /// Why the last record could not be written; None where it was.
    pub(super) fn trouble(&self) -> Option<Unwritable> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Some(Unwritable { why: ENDED.into(), until_restart: true });
        }
        self.standing.lock().clone()
    }

    /// Returns when the records are durable, with the name of the last. They are written even if nobody waits for that any more.
    pub(super) async fn append(&self, events: Vec<Event>) -> std::io::Result<RecordId> {
        let (done, written) = oneshot::channel();
        // A thread that is gone drops `done`, and so answers too.
        let _ = self.queue.as_ref().map(|queue| queue.send(Request { events, done: Some(done) }));
        written.await.unwrap_or_else(|_| Err(Error::other(ENDED)))
    }

    /// The same for what nobody waits for: it comes to the file with the next records, or a moment later.
    pub(super) fn note(&self, event: Event) {
        let _ = self.queue.as_ref().map(|queue| queue.send(Request { events: vec![event], done: None }));
    }

    /// Writes what is still waiting.
    fn finish(&mut self) -> Option<LogFile> {
        self.queue = None;
        self.thread.take()?.join().ok()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(file) = self.finish() {
            if !file.owed().is_empty() {
                tracing::error!(owed = %file.owed(), "the audit log could not be written to the end");
            }
            tracing::debug!(syncs = file.syncs(), "the audit log is closed");
        }
    }
}

/// Writes what is asked for, until nobody can ask any more. A head is handed over when its record is on disk, and those who
/// wait for that have been told.
fn write_all(requests: &Receiver<Request>, file: &mut LogFile, anchor: &mut Option<Anchor>, standing: &Standing) {
    while let Ok(first) = next(requests, file.owes()) {
        let batch = together(first, requests).into_iter();
        let (events, done): (Vec<_>, Vec<_>) = batch.map(|request| (request.events, request.done)).unzip();
        let syncs = file.syncs();
        let results = file.append(&events);
        // Before anybody is told: who has been, sees how it stands.
        standing.note(&results, file);
        for (done, result) in done.into_iter().zip(results) {
            // Whoever gave up needs no answer.
            let _ = done.map(|done| done.send(result));
        }
        if let Some(anchor) = anchor.as_mut().filter(|_| file.syncs() > syncs) {
            anchor.note(file.head());
        }
    }
    if let Some(anchor) = anchor {
        anchor.end();
    }
}

impl Standing {
    /// A write has ended so. One of nothing but what was owed says by what is owed still whether it succeeded.
    fn note(&self, results: &[std::io::Result<RecordId>], file: &LogFile) {
        match results.iter().find_map(|result| result.as_ref().err()) {
            Some(error) => {
                *self.lock() = Some(Unwritable { why: error.to_string(), until_restart: file.is_given_up() });
            }
            None if !file.owed().is_empty() => {}
            None => *self.lock() = None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Unwritable>> {
        // What is in it is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What goes to the disk with this request: all that waits, and before that something that is waited for.
fn together(first: Option<Request>, requests: &Receiver<Request>) -> Vec<Request> {
    let mut batch = Vec::from_iter(first);
    while !batch.is_empty() && batch.len() < BATCH && batch.iter().all(|request| request.done.is_none()) {
        let Ok(next) = requests.recv_timeout(NOTED) else { break };
        batch.push(next);
    }
    batch.extend(requests.try_iter().take(BATCH.saturating_sub(batch.len())));
    batch
}

/// Waits for a request. None where it is time to try what is owed again.
fn next(requests: &Receiver<Request>, owes: bool) -> Result<Option<Request>, RecvError> {
    if !owes {
        return requests.recv().map(Some);
    }
    match requests.recv_timeout(RETRY) {
        Ok(request) => Ok(Some(request)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(RecvError),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::ErrorKind;
    use std::path::Path;

    use futures_util::future::join_all;

    use super::*;
    use crate::audit::log::segments::Segments;
    use crate::audit::record::Act;
    use crate::audit::samples;

    const TOGETHER: usize = 100;

    fn act() -> Vec<Event> {
        vec![Event::Act { act: Act::RemoveAll }]
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn lines(path: &Path) -> usize {
        std::fs::read_to_string(path).unwrap().lines().count()
    }

    /// Requests that were made before the thread came to them.
    fn written_together(requests: usize, file: &mut LogFile) -> Vec<std::io::Result<RecordId>> {
        let (queue, waiting) = channel();
        let ask = |_| {
            let (done, written) = oneshot::channel();
            queue.send(Request { events: act(), done: Some(done) }).unwrap();
            written
        };
        let answers: Vec<_> = (0..requests).map(ask).collect();
        drop(queue);
        write_all(&waiting, file, &mut None, &Standing::default());
        run(join_all(answers)).into_iter().map(|answer| answer.unwrap()).collect()
    }

    #[test]
    fn all_that_wait_share_one_disk_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let (mut file, _) = LogFile::open(&path, samples::run()).unwrap();
        let ids = written_together(TOGETHER, &mut file).into_iter().map(|written| written.unwrap().0);
        assert_eq!(ids.collect::<Vec<_>>(), (1..=TOGETHER as u64).collect::<Vec<_>>(), "each knows its own record");
        assert_eq!((lines(&path), file.syncs()), (TOGETHER, 1));
        assert!(written_together(BATCH + 1, &mut file).iter().all(Result::is_ok));
        assert_eq!(file.syncs(), 3, "a flood is written in parts");
    }

    #[test]
    fn requests_that_come_while_the_disk_is_waited_for_share_the_next_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let (file, _) = LogFile::open(&path, samples::run()).unwrap();
        let mut writer = Writer::start(file, None).unwrap();
        run(join_all((0..TOGETHER).map(|_| writer.append(act()))))
            .into_iter()
            .for_each(|written| assert!(written.is_ok()));
        assert_eq!(lines(&path), TOGETHER);
        let syncs = writer.finish().unwrap().syncs();
        assert!(syncs < TOGETHER as u64, "{syncs} disk writes");
    }

    #[test]
    fn a_batch_that_fails_fails_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::fs::write(&path, "").unwrap();
        let device = |path| OpenOptions::new().append(true).open(path).unwrap();
        let kinds = |file: File, log: &mut LogFile| {
            *log = LogFile::new(Segments::of(&path), file, samples::run()).unwrap();
            let answers = written_together(TOGETHER, log);
            answers.into_iter().map(|answer| answer.unwrap_err().kind()).collect::<Vec<_>>()
        };
        let (mut log, _) = LogFile::open(&path, samples::run()).unwrap();
        assert_eq!(kinds(device("/dev/null"), &mut log), [ErrorKind::InvalidInput; TOGETHER], "a failed sync");
        assert!(written_together(2, &mut log).iter().all(Result::is_err), "is not tried again");
        assert_eq!(kinds(device("/dev/full"), &mut log), [ErrorKind::StorageFull; TOGETHER], "a full disk");
        assert!(written_together(2, &mut log).iter().all(Result::is_ok), "is tried again");
        assert_eq!(lines(&path), 3, "and those that are missing are counted");
    }

    #[test]
    fn nothing_is_promised_when_the_thread_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (file, _) = LogFile::open(&dir.path().join("audit.jsonl"), samples::run()).unwrap();
        let mut writer = Writer::start(file, None).unwrap();
        writer.finish();
        assert!(run(writer.append(act())).is_err());
        assert!(writer.trouble().is_some_and(|trouble| trouble.until_restart));
    }
}
