//! The file that is written to: records that come together go there by one write, and one sync makes them durable.

use std::fs::File;
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::lines::{Lines, Position, Tail};
use super::owed::Owed;
use super::retention::Retention;
use super::scan::scan;
use super::segments::{RotationError, Segments};
use crate::audit::chain::Head;
use crate::audit::record::{Act, AgentRun, Event, OpenRequest, RecordId};

/// When the next segment begins, in bytes.
const SEGMENT: u64 = 16 * 1024 * 1024;

/// The room on the disk that is kept for the end of each request whose intent is written: its attempts, its outcome with the
/// signature. RSA keys of 16384 bits sign with 2 KiB.
const END_OF_A_REQUEST: u64 = 16 * 1024;

/// How much room is taken at once, where there is so much: to ask for each record would cost more than to write it.
const RESERVE: u64 = 256 * 1024;

/// After how many bytes more another segment is tried, where it could not be begun.
const RETRY: u64 = 1024 * 1024;

#[derive(Debug)]
pub(super) struct LogFile {
    segments: Segments,
    file: File,
    /// How long the file is.
    length: u64,
    /// Up to where there is room for it on the disk.
    reserved: u64,
    position: Position,
    /// A write failed. The next one needs a fresh descriptor: this one may go on failing.
    stale: bool,
    /// A failed sync leaves unknown what is on disk (a kernel drops pages that it could not write, and says so once), so
    /// nothing is promised any more.
    broken: bool,
    lines: Lines,
    /// How many events of the last write are in the file as a whole, whether or not it succeeded.
    events_in_file: usize,
    owed: Owed,
    syncs: u64,
    pub(super) segment: u64,
    /// No segment begins before this length: the last time one should, it could not.
    not_before: u64,
    retention: Retention,
    /// Whether another segment has begun, or the log was opened, since it was last looked for outdated ones.
    grown: bool,
}

impl LogFile {
    /// Opens or creates the log; also says which requests in it have no outcome, all of which other agents began.
    pub(super) fn open(path: &Path, run: AgentRun) -> std::io::Result<(Self, Vec<OpenRequest>)> {
        let segments = Segments::of(path);
        segments.finish_rotation()?;
        let mut file = segments.open_current()?;
        let mut position = scan(&mut file)?;
        if position.head == Head::default()
            && let Some(last) = segments.archived()?.pop()
        {
            // The file was taken away, or cut to nothing: the chain goes on where its last segment ended.
            let Position { head, open, .. } = scan(&mut File::open(last.path)?)?;
            position = Position { head, open, ..position };
        }
        let open = position.open.clone();
        Ok((Self { position, ..Self::new(segments, file, run)? }, open))
    }

    /// The same log, of which no more is kept than this. What it said to be removed is, where an agent was killed meanwhile.
    pub(super) fn keeping(self, retention: Retention) -> Self {
        if let Some(removed) = self.position.removed {
            self.remove_up_to(removed);
        }
        Self { retention, ..self }
    }

    pub(super) fn new(segments: Segments, file: File, run: AgentRun) -> std::io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self {
            segments,
            file,
            length,
            reserved: length,
            position: Position::default(),
            stale: false,
            broken: false,
            lines: Lines::of(run),
            events_in_file: 0,
            owed: Owed::default(),
            syncs: 0,
            segment: SEGMENT,
            not_before: 0,
            retention: Retention::default(),
            grown: true,
        })
    }

    /// How often the disk was waited for.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs
    }

    /// The last record.
    pub(super) fn head(&self) -> Head {
        self.position.head
    }

    /// Whether there is something to be put on record that could not be, and may be by now.
    pub(super) fn owes(&self) -> bool {
        !self.owed.is_empty() && !self.broken
    }

    /// Whether nothing will be written to it any more, whatever becomes of the disk.
    pub(super) fn is_given_up(&self) -> bool {
        self.broken || self.is_removed().unwrap_or(false)
    }

    /// Whether its name is gone.
    fn is_removed(&self) -> std::io::Result<bool> {
        Ok(self.file.metadata()?.nlink() == 0)
    }

    /// What is still to be put on record.
    pub(super) fn owed(&self) -> &Owed {
        &self.owed
    }

    /// Makes records of what several ask for, each of them its events, by one write. Those that are told `Ok` have them on
    /// disk, and are given the name of their last. Where the disk has no room for all, those that end a request have theirs,
    /// which was kept for them. What could not be written is owed, and comes before the next that can.
    pub(super) fn append(&mut self, requests: &[Vec<Event>]) -> Vec<std::io::Result<RecordId>> {
        let mut tried = vec![true; requests.len()];
        let mut result = self.try_append(requests, &tried, true);
        let no_room = match &result {
            Err(Unwritten::NoRoom(error)) => Some(copy(error)),
            _ => None,
        };
        if no_room.is_some() {
            tried = requests.iter().map(|events| self.has_room_kept(events)).collect();
            result = self.try_append(requests, &tried, false);
        }
        let ids = self.last_ids(counts(requests, &tried));
        let answers = tried.iter().zip(ids).map(|(tried, id)| match &no_room {
            Some(error) if !tried => Err(copy(error)),
            _ => answer(&result, id),
        });
        answers.collect()
    }

    /// Writes what is owed, and the events of those that are tried. What can't be written is noted.
    fn try_append(&mut self, requests: &[Vec<Event>], tried: &[bool], all: bool) -> Result<(), Unwritten> {
        let owed = self.owed.records(all);
        let result = self.write_all(owed.iter().chain(those(requests, tried)));
        // In the order in which they were to be written: what is owed stands before the requests.
        let in_file = self.events_in_file;
        self.owed.paid(in_file.min(owed.len()));
        if matches!(result, Err(Unwritten::NoRoom(_))) && all {
            return result;
        }
        let mut left = in_file.saturating_sub(owed.len());
        for (events, tried) in requests.iter().zip(tried) {
            let there = *tried && events.len() <= left;
            left = left.saturating_sub(if *tried { events.len() } else { 0 });
            if !there {
                let is_open = |request| self.position.open.contains(&self.lines.ours(request));
                self.owed.note(events, is_open, jiff::Timestamp::now());
            }
        }
        result
    }

    /// The names of the last record of each request, where so many records of each were just written, one request behind the
    /// other.
    fn last_ids(&self, written: impl Iterator<Item = usize> + Clone) -> Vec<RecordId> {
        let mut behind: u64 = written.clone().map(|number| number as u64).sum();
        let id = |number| {
            behind -= number as u64;
            RecordId(self.position.head.sequence.saturating_sub(behind))
        };
        written.map(id).collect()
    }

    /// Whether these belong to a request whose intent is written.
    fn has_room_kept(&self, events: &[Event]) -> bool {
        events.iter().all(|event| match event {
            Event::Attempt { request, .. } | Event::Outcome { request, .. } => {
                self.position.open.contains(&self.lines.ours(*request))
            }
            Event::Intent { .. } | Event::Delivery { .. } | Event::Act { .. } => false,
        })
    }

    fn write_all<'a>(&mut self, events: impl Iterator<Item = &'a Event>) -> Result<(), Unwritten> {
        self.events_in_file = 0;
        let mut events = events.peekable();
        if events.peek().is_none() {
            return Ok(());
        }
        if self.broken {
            return Err(Error::other("an earlier record may be lost; start the agent again").into());
        }
        if self.stale {
            self.file = self.segments.reopen_current()?;
            self.length = self.file.metadata()?.len();
            self.reserved = self.length;
            self.stale = false;
        }
        if self.is_removed()? {
            return Err(Error::other("the log was removed; start the agent again").into());
        }
        if self.length >= self.segment.max(self.not_before) && matches!(self.position.tail, Tail::Whole) {
            self.rotate()?;
        }
        self.lines.begin(self.position.clone())?;
        if self.length == 0 && self.position.head != Head::default() {
            // The last file was taken away.
            self.lines.push(&self.beginning())?;
        }
        let outdated = self.outdated();
        if let Some(head) = outdated {
            self.lines.push(&Event::Act { act: Act::SegmentsRemoved { head } })?;
        }
        let of_its_own = self.lines.len();
        for event in events {
            self.lines.push(event)?;
        }
        self.reserve()?;
        self.write(of_its_own)?;
        self.broken = true;
        self.file.sync_data()?;
        self.broken = false;
        self.syncs = self.syncs.saturating_add(1);
        self.grown = false;
        if let Some(head) = outdated {
            self.remove_up_to(head);
        }
        Ok(())
    }

    /// The end of the segments that are to be removed, and that is to be on record before.
    fn outdated(&self) -> Option<Head> {
        if !self.grown {
            return None;
        }
        let outdated = self.retention.outdated(&self.segments, jiff::Timestamp::now());
        outdated.unwrap_or_else(|error| {
            tracing::warn!(%error, "which segments of the audit log are outdated can't be found out");
            None
        })
    }

    fn remove_up_to(&self, head: Head) {
        match self.segments.remove_up_to(head.sequence) {
            Ok(()) => tracing::info!(up_to = head.sequence, "records of the audit log were removed, as configured"),
            Err(error) => tracing::warn!(%error, "outdated segments of the audit log can't be removed"),
        }
    }

    /// Begins another segment, with the end of this one in its first record. Where that can't be, this one goes on: a record
    /// in a file that is too long is better than none.
    fn rotate(&mut self) -> std::io::Result<()> {
        self.lines.begin(self.position.clone())?;
        self.lines.push(&self.beginning())?;
        let text = self.lines.text();
        // The room that is kept for requests under way is in the old file.
        let room = RESERVE.saturating_add((self.position.open.len() as u64).saturating_mul(END_OF_A_REQUEST));
        match self.segments.rotate(self.position.head.sequence, text, room) {
            Ok(file) => {
                self.file = file;
                self.length = text.len() as u64;
                self.reserved = self.length;
                self.position = self.lines.in_file(text.len());
                self.grown = true;
                Ok(())
            }
            Err(RotationError::NotBegun(error)) => {
                tracing::warn!(%error, "another segment of the audit log can't be begun; this one goes on");
                self.not_before = self.length.saturating_add(RETRY);
                Ok(())
            }
            Err(RotationError::NotEnded(error)) => {
                self.broken = true;
                Err(error)
            }
        }
    }

    /// The first record of a segment behind another.
    fn beginning(&self) -> Event {
        Event::Act { act: Act::Segment { head: self.position.head, open: self.position.open.clone() } }
    }

    /// Makes sure of the room for these lines and for the ends of all requests that are open then, so that a full disk
    /// refuses a request before its token is asked.
    fn reserve(&mut self) -> Result<(), Unwritten> {
        let open = self.lines.open_after() as u64;
        let needed = (self.lines.text().len() as u64).saturating_add(open.saturating_mul(END_OF_A_REQUEST));
        let end = self.length.saturating_add(needed);
        if end <= self.reserved {
            return Ok(());
        }
        let take = |length: u64| fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.length, length);
        let taken = needed.max(RESERVE);
        self.reserved = match take(taken).map(|()| taken).or_else(|_| take(needed).map(|()| needed)) {
            Ok(taken) => self.length.saturating_add(taken),
            Err(Errno::NOSPC | Errno::DQUOT) => return Err(Unwritten::NoRoom(ErrorKind::StorageFull.into())),
            // A file system that can't: a full disk is met later.
            Err(_) => end,
        };
        Ok(())
    }

    /// Writes the lines, the first of which the log has made of its own. After an error the chain goes on behind those that
    /// are in the file as a whole: nobody relies on them, but their numbers are taken.
    fn write(&mut self, of_its_own: usize) -> std::io::Result<()> {
        let mut written = 0;
        let text = self.lines.text();
        let result = loop {
            let rest = &text[written..];
            if rest.is_empty() {
                break Ok(());
            }
            match self.file.write(rest) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.events_in_file = self.lines.whole(written).saturating_sub(of_its_own);
        self.position = self.lines.in_file(written);
        self.length = self.length.saturating_add(written as u64);
        self.stale = result.is_err();
        result
    }
}

/// Why records were not written.
#[derive(Debug, thiserror::Error)]
enum Unwritten {
    /// Nothing was: there is no room for them and for what has to follow them.
    #[error(transparent)]
    NoRoom(Error),
    #[error(transparent)]
    Failed(#[from] Error),
}

fn answer(result: &Result<(), Unwritten>, id: RecordId) -> std::io::Result<RecordId> {
    match result {
        Ok(()) => Ok(id),
        Err(Unwritten::NoRoom(error) | Unwritten::Failed(error)) => Err(copy(error)),
    }
}

/// The events of those that are tried.
fn those<'a>(requests: &'a [Vec<Event>], tried: &'a [bool]) -> impl Iterator<Item = &'a Event> {
    requests.iter().zip(tried).filter(|(_, tried)| **tried).flat_map(|(events, _)| events)
}

/// How many events of each are tried.
fn counts(requests: &[Vec<Event>], tried: &[bool]) -> impl Iterator<Item = usize> + Clone {
    requests.iter().zip(tried).map(|(events, tried)| if *tried { events.len() } else { 0 })
}

/// An error for each of those who share it.
fn copy(error: &Error) -> Error {
    error.raw_os_error().map_or_else(|| Error::new(error.kind(), error.to_string()), Error::from_raw_os_error)
}

#[cfg(test)]
mod tests;
