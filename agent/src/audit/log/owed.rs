//! What could not be written, and is put on record as soon as it can be: how requests ended whose intent is there, and of all
//! else how much there was. However long a disk is full, this stays small.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::audit::record::{Act, Event, Outcome, RequestId};
use crate::denial::{Code, Denial};

/// What a log owes.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// There are no more of them than requests under way.
    outcomes: Vec<(RequestId, Denial)>,
    missed: Option<Missed>,
}

/// What is only counted.
#[derive(Debug)]
struct Missed {
    refusals: BTreeMap<Code, u64>,
    acts: BTreeMap<String, u64>,
    first: Timestamp,
    last: Timestamp,
}

impl Owed {
    pub(super) fn is_empty(&self) -> bool {
        self.outcomes.is_empty() && self.missed.is_none()
    }

    /// Takes note of what one request asked for in vain; `is_open` says whether a request's intent is on record without an
    /// outcome.
    pub(super) fn note(&mut self, events: &[Event], is_open: impl Fn(RequestId) -> bool, now: Timestamp) {
        match events.last() {
            Some(Event::Outcome { request, outcome, .. }) => {
                let Some(denial) = denial(outcome) else { return };
                if is_open(*request) {
                    self.outcomes.push((*request, denial));
                } else {
                    count(&mut self.missed(now).refusals, denial.code);
                }
            }
            Some(Event::Act { act: Act::Refused { denial, .. } }) => {
                count(&mut self.missed(now).refusals, denial.code);
            }
            Some(Event::Act { act }) => count(&mut self.missed(now).acts, name(act)),
            // It is refused, and that is to be written next; or nobody relies on it.
            Some(Event::Intent { .. } | Event::Attempt { .. } | Event::Delivery { .. }) | None => {}
        }
    }

    fn missed(&mut self, now: Timestamp) -> &mut Missed {
        let new = Missed { refusals: BTreeMap::new(), acts: BTreeMap::new(), first: now, last: now };
        let missed = self.missed.get_or_insert(new);
        missed.last = now;
        missed
    }

    /// The records to be written; without `all` only those that there is room for, since it was kept.
    pub(super) fn records(&self, all: bool) -> Vec<Event> {
        let outcome = |(request, denial): &(RequestId, Denial)| Event::Outcome {
            request: *request,
            outcome: Outcome::Refused { denial: denial.clone(), subject: None },
            course: None,
        };
        let missed = self.missed.as_ref().filter(|_| all).map(|Missed { refusals, acts, first, last }| Event::Act {
            act: Act::Missed { refusals: refusals.clone(), acts: acts.clone(), first: *first, last: *last },
        });
        self.outcomes.iter().map(outcome).chain(missed).collect()
    }

    /// So many of these records are in the file.
    pub(super) fn paid(&mut self, records: usize) {
        if records > self.outcomes.len() {
            self.missed = None;
        }
        self.outcomes.drain(..records.min(self.outcomes.len()));
    }
}

/// For an agent that ends without having written it.
impl fmt::Display for Owed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} outcomes", self.outcomes.len())?;
        let Some(Missed { refusals, acts, .. }) = &self.missed else { return Ok(()) };
        write!(f, ", {} refusals, {} other acts", refusals.values().sum::<u64>(), acts.values().sum::<u64>())
    }
}

/// Why a request got no signature that could not be put on record when it ended; None for one of an earlier agent's.
fn denial(outcome: &Outcome) -> Option<Denial> {
    match outcome {
        Outcome::Signed { .. } => Some(Denial::new(
            Code::AuditUnwritable,
            "the signature was not given out, since that could not be put on record",
        )),
        Outcome::Refused { denial, .. } => Some(denial.clone()),
        Outcome::Unknown { .. } => None,
    }
}

/// What an act is called in a record.
fn name(act: &Act) -> String {
    let value = serde_json::to_value(act).unwrap_or_default();
    value.get("act").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    let number = counts.entry(key).or_default();
    *number = number.saturating_add(1);
}
