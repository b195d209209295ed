//! The refusals of a log, the latest first, each with what was asked: that may stand in an earlier record.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::backwards::Backwards;
use super::record::{Act, AgentRun, Binding, Event, OpenRequest, Outcome, Peer, Record, RecordId, Subject};
use crate::denial::{Code, Denial};
use crate::mute;
use crate::refusal::Refusal;

/// Of whom nothing is known.
const NOT_ON_RECORD: &str = "a program that is not on record";

/// A refusal that is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// Its record.
    pub id: RecordId,
    /// When it was refused.
    pub time: jiff::Timestamp,
    /// The agent that refused it.
    pub agent: AgentRun,
    /// Why.
    #[serde(flatten)]
    pub denial: Denial,
    /// What was asked.
    #[serde(flatten)]
    pub asked: Asked,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Asked {
    /// A signature.
    Signature {
        /// Who asked for what.
        #[serde(flatten)]
        subject: Box<Subject>,
        /// Where it would have gone, where it came so far that a token or another agent was to be asked.
        destination: Option<String>,
    },
    /// A signature, whose intent is not in the log.
    UnknownSignature,
    /// What could not be put on record: how often, by the codes of the refusals.
    Missed {
        /// How often for each reason.
        refusals: BTreeMap<Code, u64>,
        /// When the first of them was refused.
        first: jiff::Timestamp,
    },
    /// Something else.
    Other {
        /// What.
        request: String,
        /// The program that asked.
        peer: Peer,
        /// The connection's bindings.
        bindings: Vec<Binding>,
    },
}

impl Recorded {
    /// The same as the agent's messages and terminals tell it.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let (id, denial) = (Some(self.id), self.denial.clone());
        match &self.asked {
            Asked::Signature { subject, .. } => Refusal::of_signature(id, subject, denial),
            Asked::UnknownSignature => Refusal { id, asked: "a signature".into(), by: NOT_ON_RECORD.into(), denial },
            Asked::Missed { refusals, .. } => {
                let asked = format!("{} requests", refusals.values().sum::<u64>());
                Refusal { id, asked, by: NOT_ON_RECORD.into(), denial }
            }
            Asked::Other { request, peer, bindings } => Refusal::of_act(id, request, peer, bindings, denial),
        }
    }

    /// The program that asked.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        match &self.asked {
            Asked::Signature { subject, .. } => Some(&subject.peer),
            Asked::UnknownSignature | Asked::Missed { .. } => None,
            Asked::Other { peer, .. } => Some(peer),
        }
    }
}

/// The last refusals of a log, at most so many, in the order in which they happened.
///
/// # Errors
/// When the log can't be read.
pub fn last(log: &Path, most: usize) -> std::io::Result<Vec<Recorded>> {
    let mut search = Search::default();
    let mut records = Backwards::open(log)?;
    while search.found.len() < most || !search.open.is_empty() {
        let Some(record) = records.next_record()? else { break };
        let more = search.found.len() < most;
        search.see(record, more);
    }
    search.found.reverse();
    Ok(search.found)
}

/// The refusal with this name; None where the record is not there, or is none of a refusal.
///
/// # Errors
/// When the log can't be read.
pub fn find(log: &Path, id: RecordId) -> std::io::Result<Option<Recorded>> {
    let mut search = Search::default();
    let mut records = Backwards::open(log)?;
    while let Some(record) = records.next_record()? {
        let wanted = record.sequence == id.0;
        // Numbers only fall from here on.
        let passed = record.sequence <= id.0;
        search.see(record, wanted);
        if passed && search.open.is_empty() {
            break;
        }
    }
    Ok(search.found.pop())
}

/// What was found on the way back.
#[derive(Default)]
struct Search {
    found: Vec<Recorded>,
    /// Those whose intent is to come, by their place.
    open: Vec<(OpenRequest, usize)>,
}

impl Search {
    /// Looks at a record: as a refusal, where it is wanted, and as the intent of one that was found.
    fn see(&mut self, record: Record, wanted: bool) {
        let Record { sequence, time, agent, event, .. } = record;
        let run = agent.run;
        let recorded = |denial, asked| Recorded { id: RecordId(sequence), time, agent, denial, asked };
        match event {
            Event::Outcome { request, outcome: Outcome::Refused { denial, subject }, .. } if wanted => {
                let asked = match subject {
                    Some(subject) => Asked::Signature { subject, destination: None },
                    None => {
                        self.open.push((OpenRequest { run, request }, self.found.len()));
                        Asked::UnknownSignature
                    }
                };
                self.found.push(recorded(denial, asked));
            }
            Event::Act { act: Act::Refused { request, peer, bindings, denial } } if wanted => {
                self.found.push(recorded(denial, Asked::Other { request, peer, bindings }));
            }
            Event::Act { act: Act::Muted { peer, refusals, seconds } } if wanted => {
                let asked = Asked::Other { request: mute::EVERYTHING.into(), peer, bindings: Vec::new() };
                self.found.push(recorded(mute::denial(refusals, seconds), asked));
            }
            Event::Act { act: Act::Missed { refusals, first, last, .. } } if wanted && !refusals.is_empty() => {
                let codes = refusals.iter().map(|(code, number)| format!("{number} {code}"));
                let codes = codes.collect::<Vec<_>>().join(", ");
                let reason = format!("the audit log could not be written from {first} to {last}; refused were {codes}");
                let denial = Denial::new(Code::AuditUnwritable, reason);
                self.found.push(recorded(denial, Asked::Missed { refusals, first }));
            }
            Event::Intent { request, intent } => {
                let its = |(open, _): &mut (OpenRequest, usize)| *open == OpenRequest { run, request };
                for (_, place) in self.open.extract_if(.., its) {
                    if let Some(found) = self.found.get_mut(place) {
                        let (subject, destination) =
                            (Box::new(intent.subject.clone()), Some(intent.destination.clone()));
                        found.asked = Asked::Signature { subject, destination };
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::{Intent, RequestId, Signer};
    use crate::audit::samples::{self, subject};

    fn refused(subject: Option<Subject>, code: Code) -> Outcome {
        Outcome::Refused { denial: Denial::plain(code), subject: subject.map(Box::new) }
    }

    fn intent(key: &str) -> Intent {
        samples::intent(key, Signer::Software)
    }

    fn log(events: Vec<(u64, Event)>) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let line = |(sequence, (run, event))| samples::line(sequence, run, event) + "\n";
        std::fs::write(&path, (1..).zip(events).map(line).collect::<String>()).unwrap();
        (dir, path)
    }

    /// Two agents, whose requests have the same numbers.
    fn mixed() -> Vec<(u64, Event)> {
        let request = RequestId(1);
        let management = Act::Refused {
            request: "add".into(),
            peer: subject("").peer,
            bindings: vec![],
            denial: Denial::plain(Code::Locked),
        };
        vec![
            (1, Event::Intent { request, intent: intent("first") }),
            (1, Event::Outcome { request, outcome: refused(None, Code::PinWrong), course: None }),
            (2, Event::Intent { request, intent: intent("second") }),
            (2, Event::Act { act: management }),
            (
                2,
                Event::Outcome {
                    request: RequestId(2),
                    outcome: refused(Some(subject("third")), Code::UnknownKey),
                    course: None,
                },
            ),
            (2, Event::Outcome { request, outcome: refused(None, Code::TouchTimeout), course: None }),
            (2, Event::Act { act: Act::RemoveAll }),
        ]
    }

    fn key(recorded: &Recorded) -> &str {
        match &recorded.asked {
            Asked::Signature { subject, .. } => &subject.key,
            _ => "",
        }
    }

    #[test]
    fn the_last_ones_with_what_was_asked() {
        let (_dir, log) = log(mixed());
        let all = last(&log, 10).unwrap();
        let told: Vec<_> = all.iter().map(|one| (one.id.0, one.denial.code, key(one))).collect();
        let expected = [
            (2, Code::PinWrong, "first"),
            (4, Code::Locked, ""),
            (5, Code::UnknownKey, "third"),
            (6, Code::TouchTimeout, "second"),
        ];
        assert_eq!(told, expected);
        assert_eq!(last(&log, 1).unwrap(), all[3..], "its intent is looked for beyond those that are wanted");
        assert_eq!(
            all[0].refusal().to_string(),
            format!(
                "refused #2: sign unknown data, with key first, asked by ssh (7): {} [`agent-cli why 2`]",
                Denial::plain(Code::PinWrong)
            )
        );
    }

    #[test]
    fn one_by_its_name() {
        let (_dir, log) = log(mixed());
        let found = |id| find(&log, RecordId(id)).unwrap().map(|found| (found.denial.code, key(&found).to_owned()));
        assert_eq!(found(2), Some((Code::PinWrong, "first".into())));
        assert_eq!(found(4), Some((Code::Locked, String::new())));
        assert_eq!(found(6), Some((Code::TouchTimeout, "second".into())));
        for none in [0, 1, 3, 7, 8] {
            assert_eq!(found(none), None, "{none}");
        }
    }

    #[test]
    fn those_that_could_not_be_written_are_told_together() {
        let refusals = [(Code::UnknownKey, 3), (Code::Locked, 1)].into();
        let [first, last] = ["2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z"].map(|time| time.parse().unwrap());
        let missed = Act::Missed { refusals, acts: BTreeMap::new(), first, last };
        let (_dir, log) = log(vec![(1, Event::Act { act: missed })]);
        let told = find(&log, RecordId(1)).unwrap().unwrap().refusal();
        assert_eq!((told.asked.as_str(), told.denial.code), ("4 requests", Code::AuditUnwritable));
        let reason = "the audit log could not be written from 2026-11-22T10:00:00Z to 2026-11-22T11:00:00Z; \
                      refused were 3 unknown-key, 1 locked";
        assert_eq!(told.denial.reason, reason);
    }

    #[test]
    fn an_intent_that_is_lost_leaves_the_refusal() {
        let (_dir, log) = log(mixed().split_off(5));
        let all = last(&log, 10).unwrap();
        assert_eq!((all.len(), &all[0].asked), (1, &Asked::UnknownSignature));
    }
}
