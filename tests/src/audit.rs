//! The agent's audit log, read back.

use std::path::{Path, PathBuf};
use std::time::Instant;

use agent::audit::record::{Act, Event, Intent, Outcome, Record, RequestId, RunId};
use agent::denial::{Code, Denial};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::PATIENCE;

/// The log of one agent.
#[derive(Debug, Clone)]
pub struct Audit {
    path: PathBuf,
}

impl Audit {
    /// The log in this file.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All records so far. Each line of the file has to be one, or empty.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let record = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        whole.lines().filter(|line| !line.is_empty()).map(record).collect()
    }

    /// Waits for a record that was or will be written. Panics when it does not come.
    pub fn wait_for(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).expect("changes can be watched");
        inotify::add_watch(&changes, &self.path, WatchFlags::MODIFY).expect("the log is there");
        let end = Instant::now() + PATIENCE;
        loop {
            let records = self.records();
            if let Some(record) = records.iter().find(|record| wanted(&record.event)) {
                return record.event.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the record did not come; there are only {records:#?}");
            let left = Timespec::try_from(left).expect("a short time");
            let _ = poll(&mut [PollFd::new(&changes, PollFlags::IN)], Some(&left));
            let _ = rustix::io::read(&changes, &mut [0_u8; 4096][..]);
        }
    }

    /// Waits for the outcome of a refused request, and returns why it was refused.
    pub fn wait_for_refusal(&self) -> Denial {
        let refused = |event: &Event| matches!(event, Event::Outcome { outcome: Outcome::Refused { .. }, .. });
        match self.wait_for(refused) {
            Event::Outcome { outcome: Outcome::Refused { denial, .. }, .. } => denial,
            other => unreachable!("{other:?}"),
        }
    }

    /// The requests that ended with a signature: what was recorded before, and how each ended.
    #[must_use]
    pub fn signatures(&self) -> Vec<(Intent, Outcome)> {
        let intents = self.intents();
        let signed = |(request, outcome)| {
            let signed = matches!(outcome, Outcome::Signed { .. });
            let intent = intents.iter().find(|(intended, _)| *intended == request);
            signed.then(|| (intent.expect("an outcome has its intent").1.clone(), outcome))
        };
        self.outcomes().into_iter().filter_map(signed).collect()
    }

    /// Why requests were refused.
    #[must_use]
    pub fn refusals(&self) -> Vec<Denial> {
        let refused = |(_, outcome)| match outcome {
            Outcome::Refused { denial, .. } => Some(denial),
            Outcome::Signed { .. } | Outcome::Unknown { .. } => None,
        };
        self.outcomes().into_iter().filter_map(refused).collect()
    }

    /// The codes of [`Self::refusals`].
    #[must_use]
    pub fn refusal_codes(&self) -> Vec<Code> {
        self.refusals().into_iter().map(|denial| denial.code).collect()
    }

    /// What was recorded before signatures were made.
    #[must_use]
    pub fn intents(&self) -> Vec<((RunId, RequestId), Intent)> {
        let intent = |record: Record| match record.event {
            Event::Intent { request, intent } => Some(((record.agent.run, request), intent)),
            _ => None,
        };
        self.records().into_iter().filter_map(intent).collect()
    }

    /// How requests ended.
    #[must_use]
    pub fn outcomes(&self) -> Vec<((RunId, RequestId), Outcome)> {
        let outcome = |record: Record| match record.event {
            Event::Outcome { request, outcome, .. } => Some(((record.agent.run, request), outcome)),
            _ => None,
        };
        self.records().into_iter().filter_map(outcome).collect()
    }

    /// What else happened.
    #[must_use]
    pub fn acts(&self) -> Vec<Act> {
        let act = |record: Record| match record.event {
            Event::Act { act } => Some(act),
            _ => None,
        };
        self.records().into_iter().filter_map(act).collect()
    }
}
