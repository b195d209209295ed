//! Records on their way to the file: chained to what is there, and to each other.

use std::fmt;

use ssh_key::sha2::{Digest, Sha256};

use crate::agent::since_boot;
use crate::audit::canonical;
use crate::audit::chain::{Hash, Head};
use crate::audit::record::{Act, AgentRun, Event, OpenRequest, Outcome, Record, RequestId, VERSION};

/// The memory that is kept from one write to the next: that of some twenty records.
const KEPT: usize = 16 * 1024;

/// Where a log stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Position {
    /// The last record.
    pub(super) head: Head,
    /// Requests whose outcome is still to come.
    pub(super) open: Vec<OpenRequest>,
    /// What stands behind the last record.
    pub(super) tail: Tail,
    /// Up to where segments were said to be removed, by the file that was read.
    pub(super) removed: Option<Head>,
    /// The configuration that the last record about one names, of this run; None where the one holds that it began with.
    pub(super) config: Option<Hash>,
}

/// What stands behind the last record.
#[derive(Clone, Default)]
pub(super) enum Tail {
    /// Its line's end.
    #[default]
    Whole,
    /// Nothing: a write ended there.
    Unended,
    /// Its line's end, and then what is no record: a write ended within one.
    Torn { length: u64, digest: Sha256 },
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("Whole"),
            Self::Unended => f.write_str("Unended"),
            Self::Torn { length, .. } => write!(f, "Torn({length})"),
        }
    }
}

impl Tail {
    /// With these bytes behind it, which are no record.
    pub(super) fn and(self, bytes: &[u8]) -> Self {
        let (length, digest) = match self {
            _ if bytes.is_empty() => return self,
            Self::Whole | Self::Unended => (0, Sha256::new()),
            Self::Torn { length, digest } => (length, digest),
        };
        Self::Torn { length: length.saturating_add(bytes.len() as u64), digest: digest.chain_update(bytes) }
    }
}

/// What a record does to the requests under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Opens(OpenRequest),
    Closes(OpenRequest),
    /// It belongs to one that is open.
    Continues,
    None,
}

/// Records as they are going to stand in the file.
#[derive(Debug)]
pub(super) struct Lines {
    /// The agent that writes them, with the configuration of the record that was made last.
    run: AgentRun,
    /// The configuration that it began with.
    first_config: Hash,
    text: Vec<u8>,
    records: Vec<Line>,
    /// Where the log stands without them.
    before: Position,
}

#[derive(Debug)]
struct Line {
    /// Before its line's end.
    end: usize,
    head: Head,
    effect: Effect,
    config: Option<Hash>,
}

impl Lines {
    /// Lines of this agent.
    pub(super) fn of(run: AgentRun) -> Self {
        let first_config = run.config;
        Self { run, first_config, text: Vec::new(), records: Vec::new(), before: Position::default() }
    }

    /// Which of its requests this is.
    pub(super) fn ours(&self, request: RequestId) -> OpenRequest {
        OpenRequest { run: self.run.run, request }
    }

    /// Lines that follow this position. What is torn there is ended, and named.
    pub(super) fn begin(&mut self, before: Position) -> Result<(), std::io::Error> {
        self.text.clear();
        self.text.shrink_to(KEPT);
        self.records.clear();
        self.before = before;
        match self.before.tail.clone() {
            Tail::Whole => {}
            Tail::Unended => self.text.push(b'\n'),
            Tail::Torn { length, digest } => {
                self.text.push(b'\n');
                self.push(&Event::Act { act: Act::Torn { length, hash: Hash(digest.finalize().into()) } })?;
            }
        }
        Ok(())
    }

    /// Adds a record.
    pub(super) fn push(&mut self, event: &Event) -> std::io::Result<()> {
        let last = self.records.last().map(|line| (line.head, line.config));
        let (previous, config) = last.unwrap_or((self.before.head, self.before.config));
        // Only one that is in the file goes on to hold: the agent keeps the old one where this can't be recorded.
        let config = match event {
            Event::Act { act: Act::ConfigChanged { config, .. } } => Some(*config),
            _ => config,
        };
        self.run.config = config.unwrap_or(self.first_config);
        let record = Record {
            version: VERSION,
            sequence: previous.sequence.saturating_add(1),
            previous: previous.hash,
            time: jiff::Timestamp::now(),
            boot_ms: since_boot().as_millis().try_into().unwrap_or_default(),
            agent: &self.run,
            event,
        };
        let line = canonical::to_vec(&record).map_err(std::io::Error::other)?;
        self.text.extend_from_slice(&line);
        let (end, head, effect) = (self.text.len(), previous.after(&line), self.effect(event));
        self.records.push(Line { end, head, effect, config });
        self.text.push(b'\n');
        Ok(())
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// How many of them are whole when so much of the text is in the file.
    pub(super) fn whole(&self, written: usize) -> usize {
        self.records.partition_point(|line| line.end <= written)
    }

    /// How many requests are under way after these.
    pub(super) fn open_after(&self) -> usize {
        self.position(self.records.len(), Tail::Whole).open.len()
    }

    /// Where the log stands when so much of the text is in the file.
    pub(super) fn in_file(&self, written: usize) -> Position {
        let whole = self.whole(written);
        let last = whole.checked_sub(1).and_then(|last| self.records.get(last));
        let tail = match last {
            Some(line) if line.end == written => Tail::Unended,
            Some(line) => Tail::Whole.and(self.text.get(line.end + 1..written).unwrap_or_default()),
            None => self.tail_without_record(written),
        };
        self.position(whole, tail)
    }

    /// Where not even the first record is whole.
    fn tail_without_record(&self, written: usize) -> Tail {
        let text = self.text.get(..written).unwrap_or_default();
        match &self.before.tail {
            Tail::Unended if written > 0 => Tail::Whole.and(&text[1..]),
            tail => tail.clone().and(text),
        }
    }

    fn position(&self, records: usize, tail: Tail) -> Position {
        let mut open = self.before.open.clone();
        for line in self.records.iter().take(records) {
            match line.effect {
                Effect::Opens(request) => open.push(request),
                Effect::Closes(request) => open.retain(|other| *other != request),
                Effect::Continues | Effect::None => {}
            }
        }
        let last = records.checked_sub(1).and_then(|last| self.records.get(last));
        let (head, config) = last.map_or((self.before.head, self.before.config), |line| (line.head, line.config));
        Position { head, open, tail, removed: None, config }
    }

    /// What an event does to the requests under way.
    fn effect(&self, event: &Event) -> Effect {
        match event {
            Event::Intent { request, .. } => Effect::Opens(self.ours(*request)),
            Event::Outcome { request, outcome: Outcome::Unknown { intent_by }, .. } => {
                Effect::Closes(OpenRequest { run: *intent_by, request: *request })
            }
            Event::Outcome { request, .. } => Effect::Closes(self.ours(*request)),
            Event::Attempt { .. } => Effect::Continues,
            Event::Delivery { .. } | Event::Act { .. } => Effect::None,
        }
    }
}
