//! When keys were used last, by the record of an agent.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::reader::Lines;
use super::record::{OpenRequest, RequestId, RunId};

/// The most requests that are under way at a time: an agent has no more connections.
const MOST_OPEN: usize = 4096;

/// As much of a record as tells that a key was used. The rest of it, most of a log, is passed over.
#[derive(Debug, Deserialize)]
struct Line {
    time: jiff::Timestamp,
    agent: Run,
    record: String,
    request: Option<RequestId>,
    subject: Option<Subject>,
    result: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Run {
    run: RunId,
}

#[derive(Debug, Deserialize)]
struct Subject {
    key: String,
}

/// When each key that was used signed last, by its fingerprint.
///
/// # Errors
/// When the log can't be read.
pub fn last(log: &Path) -> std::io::Result<BTreeMap<String, jiff::Timestamp>> {
    let mut used = BTreeMap::new();
    let mut open = BTreeMap::new();
    for line in Lines::of(log)? {
        // Judging lines that are no records is for whoever verifies the log.
        let Ok(line) = serde_json::from_slice::<Line>(&line?.text) else { continue };
        let Some(request) = line.request.map(|request| OpenRequest { run: line.agent.run, request }) else { continue };
        match (line.record.as_str(), line.subject, line.result.as_deref()) {
            ("intent", Some(subject), _) => {
                if open.len() >= MOST_OPEN {
                    open.pop_first();
                }
                open.insert(request, subject.key);
            }
            ("outcome", _, result) => {
                if let (Some(key), Some("signed")) = (open.remove(&request), result) {
                    used.insert(key, line.time);
                }
            }
            _ => {}
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::{Event, Outcome, Signer};
    use crate::audit::samples;
    use crate::denial::{Code, Denial};
    use crate::token::protocol::Bytes;

    #[test]
    fn a_key_is_used_where_a_request_of_it_ended_with_a_signature() {
        let intent = |request, key| Event::Intent { request, intent: samples::intent(key, Signer::Software) };
        let ended = |request, outcome| Event::Outcome { request, outcome, course: None };
        let signed = || Outcome::Signed { assertion: None, signature: Bytes(vec![]) };
        let refused = Outcome::Refused { denial: Denial::plain(Code::PinWrong), subject: None };
        let (first, second) = (RequestId(1), RequestId(2));
        let events = [
            (1, intent(first, "used")),
            (1, intent(second, "refused")),
            (2, intent(first, "open")),
            (1, ended(second, refused)),
            (1, ended(first, signed())),
            (3, ended(first, signed())),
        ];
        let lines = (1..).zip(events).map(|(sequence, (run, event))| samples::line(sequence, run, event) + "\n");
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.jsonl");
        std::fs::write(&log, lines.collect::<String>() + "rubbish\n{\"record\":").unwrap();
        let used = last(&log).unwrap();
        assert_eq!(used.keys().collect::<Vec<_>>(), ["used"]);
        assert!(last(&folder.path().join("none")).is_err());
    }
}
