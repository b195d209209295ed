//! Whether a log is what an agent wrote: its chain, and what was kept of it elsewhere.

mod counters;
mod evidence;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use serde::Serialize;
use ssh_key::sha2::{Digest, Sha256};

use super::canonical;
use super::chain::{Hash, Head};
use super::log::segments::Segments;
use super::reader::{Line, Lines};
use super::record::{Act, Event, Intent, OpenRequest, Outcome, Record, Subject, VERSION};
pub use counters::{Counter, Counting};
use counters::{Counters, Gap};

/// The most that is said about one log: who has changed it knows, and others need no more.
pub const MOST_FINDINGS: usize = 100;

/// The most requests that are under way at a time: an agent has no more connections.
const MOST_OPEN: usize = 4096;

/// What a log was found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many files it is in.
    pub segments: usize,
    /// How many records it has.
    pub records: u64,
    /// The number of its first record: segments before it were removed, where that is not 1.
    pub first: u64,
    /// Its end.
    pub head: Head,
    /// How many signatures it has.
    pub signatures: u64,
    /// How many of them could not be checked, since what was signed is too long to be kept. All others were.
    pub unchecked: u64,
    /// Of how many logins the host is proven, too.
    pub hosts_proven: u64,
    /// How many heads that were kept elsewhere it agrees with.
    pub anchored: u64,
    /// How the counter of each key on a token goes.
    pub counters: BTreeMap<String, Counter>,
    /// What is wrong with it, in the order of its records, and behind that what its counters tell; at most a hundred.
    pub findings: Vec<Finding>,
}

/// Something that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// The file.
    pub segment: PathBuf,
    /// The line in it, from 1; 0 where it is about none.
    pub line: u64,
    /// What is wrong, for a person.
    pub what: String,
}

/// The kinds of findings; the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Something was changed, added or taken away.
    Tampered,
    /// It is not the log whose head was kept elsewhere, or its end is missing.
    NotAnchored,
    /// The last record was not written to its end, as where a machine loses its power.
    TornTail,
    /// A token's counter made a step that the records do not explain.
    CounterGap,
}

impl Kind {
    /// What `agent-cli audit verify` ends with.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Tampered => 10,
            Self::TornTail => 11,
            Self::NotAnchored => 12,
            Self::CounterGap => 13,
        }
    }
}

impl Report {
    /// The gravest finding.
    #[must_use]
    pub fn gravest(&self) -> Option<Kind> {
        self.findings.iter().map(|finding| finding.kind).min()
    }
}

/// Reads the log that is written to `current`, and holds it against `anchors`, heads that were kept elsewhere, in any order.
///
/// # Errors
/// When it can't be read.
pub fn verify(current: &Path, anchors: Vec<Head>) -> std::io::Result<Report> {
    let mut verifier = Verifier::of(current, anchors)?;
    for line in Lines::of(current)? {
        verifier.read(&line?);
    }
    Ok(verifier.end())
}

/// What was found of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// It is what its record says.
    Good {
        /// It is a login, and the host is proven too.
        host: bool,
    },
    /// What was signed is too long to be kept.
    NotKept,
    /// What was signed may have been removed with older segments.
    NoIntent,
    /// It is not what its record says.
    Bad,
}

/// Verifies a log that somebody reads, a line at a time.
pub struct Verifier {
    current: PathBuf,
    report: Report,
    segments: Segments,
    /// What is about to be signed.
    intents: BTreeMap<OpenRequest, Intent>,
    counters: Counters,
    /// Those that are still to be met.
    anchors: VecDeque<Head>,
    segment: PathBuf,
    /// Lines behind the last record that are none.
    garbage: Option<Garbage>,
    /// The heads that segments go on from.
    beginnings: Vec<Head>,
    /// Whether the log says itself that the segments before it were removed.
    removed: bool,
}

struct Garbage {
    first: Line,
    length: u64,
    digest: Sha256,
    ended: bool,
}

impl Verifier {
    /// Of the log that is written to `current`; `anchors` are heads that were kept elsewhere, in any order.
    ///
    /// # Errors
    /// When its folder can't be read.
    pub fn of(current: &Path, mut anchors: Vec<Head>) -> std::io::Result<Self> {
        anchors.sort_by_key(|head| head.sequence);
        let segments = Segments::of(current);
        Ok(Self {
            current: current.to_owned(),
            report: Report { segments: segments.all()?.len(), ..Report::default() },
            segments,
            intents: BTreeMap::new(),
            counters: Counters::default(),
            anchors: anchors.into(),
            segment: PathBuf::new(),
            garbage: None,
            beginnings: Vec::new(),
            removed: false,
        })
    }

    /// Looks at the next line, and tells of the signature in it, where it has one.
    pub fn read(&mut self, line: &Line) -> Option<Checked> {
        let begins_segment = line.segment != self.segment;
        if begins_segment {
            self.segment_ended();
            self.segment.clone_from(&line.segment);
        }
        let record = canonical::read::<Record>(&line.text);
        let Some(record) = record.filter(|record| record.version == VERSION) else {
            self.garbage(line);
            return None;
        };
        self.named(&record, line);
        self.follows(&record, line, begins_segment);
        self.report.records += 1;
        self.report.head = Head { sequence: record.sequence, hash: Hash::of(&line.text) };
        let checked = self.request(record, line);
        self.anchored(line);
        if !line.ended {
            // A segment is put aside once all of it is written.
            let kind = if self.segment == self.current { Kind::TornTail } else { Kind::Tampered };
            self.find(kind, line, "the last record has no line's end");
        }
        checked
    }

    fn garbage(&mut self, line: &Line) {
        let digest = |digest: Sha256, garbage: &Option<Garbage>| {
            let between = if garbage.is_some() { &b"\n"[..] } else { &b""[..] };
            digest.chain_update(between).chain_update(&line.text)
        };
        let before = self.garbage.take();
        let (begun, length) = before.as_ref().map_or((Sha256::new(), 0), |g| (g.digest.clone(), g.length + 1));
        let digest = digest(begun, &before);
        let first = before.map_or_else(|| line.clone(), |garbage| garbage.first);
        self.garbage = Some(Garbage { first, length: length + line.text.len() as u64, digest, ended: line.ended });
    }

    /// Lines that are no records have to be named by the record that follows.
    fn named(&mut self, record: &Record, line: &Line) {
        let torn = match &record.event {
            Event::Act { act: Act::Torn { length, hash } } => Some((*length, *hash)),
            _ => None,
        };
        let found = self.garbage.take();
        let bytes = found.as_ref().map(|garbage| (garbage.length, Hash(garbage.digest.clone().finalize().into())));
        if bytes == torn {
            return;
        }
        match found {
            Some(Garbage { first, .. }) => self.find(Kind::Tampered, &first, "the line is no record"),
            None => self.find(Kind::Tampered, line, "the torn line that it names is not there"),
        }
    }

    fn follows(&mut self, record: &Record, line: &Line, begins_segment: bool) {
        let head = self.report.head;
        if self.report.records == 0 {
            self.report.first = record.sequence;
        }
        let begins_log = self.report.records == 0;
        let beginning = match &record.event {
            Event::Act { act: Act::Segment { head, .. } } => Some(*head),
            _ => None,
        };
        if begins_segment {
            self.beginnings.extend(beginning);
        }
        if let Event::Act { act: Act::SegmentsRemoved { head } } = &record.event {
            // Where an agent was killed meanwhile, some of them are there.
            self.removed |= self.beginnings.contains(head);
        }
        // Where segments were removed, the first record that is left says where it goes on.
        let expected = if begins_log { beginning.unwrap_or_default() } else { head };
        if record.sequence != expected.sequence.saturating_add(1) {
            let what = format!("record {} stands behind record {}", record.sequence, expected.sequence);
            self.find(Kind::Tampered, line, what);
        } else if record.previous != expected.hash {
            let what = format!("record {} does not follow from the record before it", record.sequence);
            self.find(Kind::Tampered, line, what);
        } else if beginning.is_some_and(|head| head != expected)
            || beginning.is_some() != (begins_segment && record.sequence > 1)
        {
            self.find(
                Kind::Tampered,
                line,
                "a segment begins with a record that names the head before it, and no other",
            );
        }
    }

    /// Holds signatures against what they are said to be.
    fn request(&mut self, record: Record, line: &Line) -> Option<Checked> {
        let run = record.agent.run;
        self.counters.of_run(run);
        match record.event {
            Event::Intent { request, intent } => {
                if self.intents.len() >= MOST_OPEN {
                    self.intents.pop_first();
                }
                self.intents.insert(OpenRequest { run, request }, intent);
            }
            Event::Outcome { request, outcome, .. } => {
                let begun_by = match &outcome {
                    Outcome::Unknown { intent_by } => *intent_by,
                    _ => run,
                };
                let intent = self.intents.remove(&OpenRequest { run: begun_by, request });
                match outcome {
                    Outcome::Signed { assertion, signature } => {
                        let checked = match &intent {
                            Some(intent) => evidence::check(intent, assertion, &signature.0),
                            None if self.report.first > 1 => return Some(Checked::NoIntent),
                            None => Err("has no intent before it"),
                        };
                        if let (Some(intent), Some(assertion)) = (&intent, assertion) {
                            self.counters.signed(&intent.subject.key, &intent.signer, assertion, line);
                        }
                        return Some(self.signature(checked, line));
                    }
                    Outcome::Refused { subject, .. } => self.no_signature(intent.as_ref(), subject.as_deref()),
                    Outcome::Unknown { .. } => self.no_signature(intent.as_ref(), None),
                }
            }
            Event::Act { act: Act::Stop { assertions } } => self.counters.stopped(assertions),
            Event::Attempt { .. } | Event::Delivery { .. } | Event::Act { .. } => {}
        }
        None
    }

    fn no_signature(&mut self, intent: Option<&Intent>, subject: Option<&Subject>) {
        let subject = intent.map(|intent| &intent.subject).or(subject);
        if let Some(subject) = subject {
            self.counters.no_signature(&subject.key, intent.map(|intent| &intent.signer));
        }
    }

    fn signature(&mut self, checked: Result<Option<evidence::Proof>, &'static str>, line: &Line) -> Checked {
        self.report.signatures += 1;
        match checked {
            Ok(None) => {
                self.report.unchecked += 1;
                Checked::NotKept
            }
            Ok(Some(proof)) => {
                self.report.hosts_proven += u64::from(proof.host);
                Checked::Good { host: proof.host }
            }
            Err(what) => {
                self.find(Kind::Tampered, line, format!("the signature {what}"));
                Checked::Bad
            }
        }
    }

    /// The anchors at or before the record that was read.
    fn anchored(&mut self, line: &Line) {
        let head = self.report.head;
        while let Some(anchor) = self.anchors.front().copied().filter(|anchor| anchor.sequence <= head.sequence) {
            self.anchors.pop_front();
            if anchor == head {
                self.report.anchored += 1;
            } else if anchor.sequence == head.sequence {
                let what = format!("record {} is another one than the one that was anchored", anchor.sequence);
                self.find(Kind::NotAnchored, line, what);
            }
        }
    }

    fn segment_ended(&mut self) {
        if let Some(Garbage { first, .. }) = self.garbage.take() {
            self.find(Kind::Tampered, &first, "the line is no record");
        }
        self.name_agrees();
    }

    /// A full segment has the number of its last record in its name.
    fn name_agrees(&mut self) {
        let head = self.report.head.sequence;
        if self.segments.last_in_name(&self.segment).is_some_and(|last| last != head) {
            let what = format!("the segment ends with record {head}, and its name says otherwise");
            self.push(Kind::Tampered, self.segment.clone(), 0, what);
        }
    }

    /// What was found of the whole log.
    #[must_use]
    pub fn end(mut self) -> Report {
        let current = std::mem::take(&mut self.current);
        if let Some(Garbage { first, ended, .. }) = self.garbage.take() {
            // What an agent leaves that is killed while it writes has no line's end.
            let kind = if ended || self.segment != current { Kind::Tampered } else { Kind::TornTail };
            self.find(kind, &first, "the line is no record");
        }
        self.name_agrees();
        if self.report.first > 1 && !self.removed {
            let what = format!("the records before {} were removed, and none says so", self.report.first);
            self.push(Kind::Tampered, current.clone(), 0, what);
        }
        if let Some(anchor) = self.anchors.back().copied() {
            let what = format!(
                "record {} was anchored, and the log ends with record {}",
                anchor.sequence, self.report.head.sequence
            );
            self.push(Kind::NotAnchored, current.clone(), 0, what);
        }
        let (counters, gaps) = std::mem::take(&mut self.counters).end();
        self.report.counters = counters;
        for Gap { segment, line, what } in gaps {
            self.push(Kind::CounterGap, segment, line, what);
        }
        self.report
    }

    fn find(&mut self, kind: Kind, line: &Line, what: impl Into<String>) {
        self.push(kind, line.segment.clone(), line.number, what.into());
    }

    fn push(&mut self, kind: Kind, segment: PathBuf, line: u64, what: String) {
        if self.report.findings.len() < MOST_FINDINGS {
            self.report.findings.push(Finding { kind, segment, line, what });
        }
    }
}

#[cfg(test)]
mod tests;
