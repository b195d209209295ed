//! What happened, as an investigator asks for it: each request whole, from its intent to its outcome, and the acts between.

use std::collections::BTreeMap;

use serde::Serialize;

use super::reader::Line;
use super::record::{Act, AgentRun, Attempt, Course, Event, Intent, OpenRequest, Outcome, Record, Subject};

/// The most requests that are under way at a time: an agent has no more connections.
const MOST_OPEN: usize = 4096;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The number of the record that it ended with.
    pub sequence: u64,
    /// The numbers of all its records, that one the last.
    pub records: Vec<u64>,
    /// When that was written.
    pub time: jiff::Timestamp,
    /// The agent that wrote it.
    pub agent: AgentRun,
    /// What it was.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum What {
    /// A signature was asked for.
    Request {
        /// Its intent; none where it was refused before.
        intent: Option<Box<Intent>>,
        /// What was tried in between.
        attempts: Vec<Attempt>,
        /// How it ended.
        outcome: Box<Outcome>,
        /// What happened on the way.
        course: Option<Course>,
    },
    /// Something else.
    Act {
        /// What.
        #[serde(flatten)]
        act: Act,
    },
}

impl Entry {
    /// Who asked for what, where that is known.
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        match &self.what {
            What::Request { intent: Some(intent), .. } => Some(&intent.subject),
            What::Request { outcome, .. } => match outcome.as_ref() {
                Outcome::Refused { subject, .. } => subject.as_deref(),
                Outcome::Signed { .. } | Outcome::Unknown { .. } => None,
            },
            What::Act { .. } => None,
        }
    }
}

#[derive(Debug)]
struct Begun {
    intent: Box<Intent>,
    attempts: Vec<Attempt>,
    records: Vec<u64>,
}

/// Puts the records of requests together.
#[derive(Debug, Default)]
pub struct History {
    open: BTreeMap<OpenRequest, Begun>,
}

impl History {
    /// What a line ends, if it is a record that ends something.
    pub fn read(&mut self, line: &Line) -> Option<Entry> {
        let Record { sequence, time, agent, event, .. } = serde_json::from_slice::<Record>(&line.text).ok()?;
        let open = |request| OpenRequest { run: agent.run, request };
        let mut records = Vec::new();
        let what = match event {
            Event::Intent { request, intent } => {
                if self.open.len() >= MOST_OPEN {
                    self.open.pop_first();
                }
                let begun = Begun { intent: Box::new(intent), attempts: Vec::new(), records: vec![sequence] };
                self.open.insert(open(request), begun);
                return None;
            }
            Event::Attempt { request, attempt } => {
                let begun = self.open.get_mut(&open(request))?;
                begun.attempts.push(attempt);
                begun.records.push(sequence);
                return None;
            }
            Event::Outcome { request, outcome, course } => {
                let begun_by = match outcome {
                    Outcome::Unknown { intent_by } => OpenRequest { run: intent_by, request },
                    _ => open(request),
                };
                let (intent, attempts) = match self.open.remove(&begun_by) {
                    Some(begun) => {
                        records = begun.records;
                        (Some(begun.intent), begun.attempts)
                    }
                    None => (None, Vec::new()),
                };
                What::Request { intent, attempts, outcome: Box::new(outcome), course }
            }
            // The request had its entry by then.
            Event::Delivery { .. } => return None,
            Event::Act { act } => What::Act { act },
        };
        records.push(sequence);
        Some(Entry { sequence, records, time, agent, what })
    }
}
