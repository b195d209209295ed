//! What an earlier agent wrote.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use serde::Deserialize;
use serde_json::Value;

use crate::audit::record::RequestId;

/// How much is read at once.
const BUFFER: usize = 64 * 1024;

pub(super) struct Found {
    pub(super) last_sequence: u64,
    pub(super) orphans: Vec<Orphan>,
    /// The last record was cut short by a crash. It stays as it is, on a line of its own.
    pub(super) torn: bool,
}

/// A request with an intent and no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Orphan {
    /// The agent that wrote the intent.
    pub(super) agent_pid: u32,
    pub(super) request: RequestId,
}

/// As much of a record as is needed here; to read all of it would make the agent slow to start.
#[derive(Deserialize)]
struct Line {
    sequence: u64,
    agent_pid: u32,
    record: Kind,
    /// A number; acts use the name for something else.
    #[serde(default)]
    request: Value,
    /// Of the outcome "unknown": the agent that wrote the intent.
    intent_by: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Intent,
    Outcome,
    #[serde(other)]
    Other,
}

/// Reads the log. A line that is no record is passed over: judging it is for whoever verifies the log.
pub(super) fn scan(file: &mut File) -> std::io::Result<Found> {
    file.seek(SeekFrom::Start(0))?;
    let mut found = Found { last_sequence: 0, orphans: Vec::new(), torn: false };
    let mut open = BTreeSet::new();
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        found.torn = !line.ends_with(b"\n");
        if let Ok(line) = serde_json::from_slice::<Line>(&line) {
            found.last_sequence = found.last_sequence.max(line.sequence);
            if let Some(request) = line.request.as_u64().map(RequestId) {
                let orphan = Orphan { agent_pid: line.intent_by.unwrap_or(line.agent_pid), request };
                match line.record {
                    Kind::Intent => open.insert(orphan),
                    Kind::Outcome => open.remove(&orphan),
                    Kind::Other => false,
                };
            }
        }
        line.clear();
    }
    found.orphans = open.into_iter().collect();
    Ok(found)
}
