//! What an earlier agent wrote in the segment that is written to.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use serde::Deserialize;
use serde_json::Value;

use super::lines::{Position, Tail};
use crate::audit::chain::{Hash, Head};
use crate::audit::record::{OpenRequest, RequestId, RunId};

/// How much is read at once.
const BUFFER: usize = 64 * 1024;

/// As much of a record as is needed here; to read all of it would make the agent slow to start.
#[derive(Deserialize)]
struct Line {
    sequence: u64,
    agent: Agent,
    record: Kind,
    /// A number; acts use the name for something else.
    #[serde(default)]
    request: Value,
    /// Of the outcome "unknown": the agent that wrote the intent.
    intent_by: Option<RunId>,
    /// Of a segment's first record: the requests under way.
    #[serde(default)]
    open: Vec<OpenRequest>,
    /// Of an act: what it is called.
    act: Option<String>,
    /// Of an act about segments.
    #[serde(default)]
    head: Value,
}

#[derive(Deserialize)]
struct Agent {
    run: RunId,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Intent,
    Outcome,
    #[serde(other)]
    Other,
}

/// Reads a segment. A line between records that is none is passed over: judging it is for whoever verifies the log.
pub(super) fn scan(file: &mut File) -> std::io::Result<Position> {
    file.seek(SeekFrom::Start(0))?;
    let mut position = Position::default();
    let mut last = Vec::new();
    let mut sequence = 0;
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let (record, ended) = line.strip_suffix(b"\n").map_or((line.as_slice(), false), |record| (record, true));
        match serde_json::from_slice::<Line>(record) {
            Ok(found) => {
                sequence = found.sequence;
                last.clear();
                last.extend_from_slice(record);
                if found.act.as_deref() == Some("segments_removed") {
                    position.removed = serde_json::from_value(found.head.clone()).ok();
                }
                note(&mut position.open, found);
                position.tail = if ended { Tail::Whole } else { Tail::Unended };
            }
            Err(_) => position.tail = position.tail.and(&line),
        }
        line.clear();
    }
    if !last.is_empty() {
        position.head = Head { sequence, hash: Hash::of(&last) };
    }
    Ok(position)
}

fn note(open: &mut Vec<OpenRequest>, line: Line) {
    open.extend(line.open);
    let Some(request) = line.request.as_u64().map(RequestId) else { return };
    let request = OpenRequest { run: line.intent_by.unwrap_or(line.agent.run), request };
    match line.record {
        Kind::Intent => open.push(request),
        Kind::Outcome => open.retain(|other| *other != request),
        Kind::Other => {}
    }
}
