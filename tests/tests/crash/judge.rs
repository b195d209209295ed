//! What must not be found after a crash.

use std::collections::BTreeMap;

use agent::audit::record::{Event, Outcome, Record, RequestId};
use tests::{FAILURE, SIGN_RESPONSE, string};

use crate::place::{Crash, Way};

/// What the log does not hold, and should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    SignedWithoutRecords,
    TokenAskedWithoutIntent,
    RefusedWithoutOutcome,
}

/// Judges by what is on the disk for certain.
pub(crate) fn judge(way: Way, crash: &Crash) -> Vec<Violation> {
    let events = events(crash.synced());
    let intents: Vec<_> = events.iter().filter_map(intent).collect();
    let mut found = Vec::new();
    if crash.token_was_asked && intents.is_empty() {
        found.push(Violation::TokenAskedWithoutIntent);
    }
    let Some(reply) = &crash.reply else { return found };
    match (reply[0], way) {
        (SIGN_RESPONSE, Way::Software | Way::Token | Way::Rotation) => {
            let recorded = |event: &Event| match event {
                Event::Outcome { request, outcome: Outcome::Signed { signature, .. }, .. } => {
                    reply[1..] == string(&signature.0) && intents.contains(&request)
                }
                _ => false,
            };
            if !events.iter().any(recorded) {
                found.push(Violation::SignedWithoutRecords);
            }
        }
        (FAILURE, Way::Refusal) => {
            let refused = |event: &Event| matches!(event, Event::Outcome { outcome: Outcome::Refused { .. }, .. });
            if !events.iter().any(refused) {
                found.push(Violation::RefusedWithoutOutcome);
            }
        }
        (other, _) => panic!("the agent answered {other}"),
    }
    found
}

/// Those of the records that are there as a whole.
pub(crate) fn events(log: &[u8]) -> Vec<Event> {
    let whole = log.iter().rposition(|byte| *byte == b'\n').map_or(&[][..], |end| &log[..end]);
    let records = whole.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Record>(line).ok());
    records.map(|record| record.event).collect()
}

/// Each request that an intent has begun has one outcome.
pub(crate) fn all_settled(events: &[Event]) -> bool {
    let mut outcomes: BTreeMap<RequestId, usize> = events.iter().filter_map(intent).map(|id| (*id, 0)).collect();
    for event in events {
        if let Event::Outcome { request, .. } = event {
            *outcomes.entry(*request).or_default() += 1;
        }
    }
    outcomes.values().all(|outcomes| *outcomes == 1)
}

fn intent(event: &Event) -> Option<&RequestId> {
    match event {
        Event::Intent { request, .. } => Some(request),
        _ => None,
    }
}
