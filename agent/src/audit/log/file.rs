//! The file that is written to: records that come together go there by one write, and one sync makes them durable.

use std::fs::File;
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::lines::{Lines, Position, Tail};
use super::scan::scan;
use super::segments::Segments;
use crate::audit::chain::Head;
use crate::audit::record::{Act, Event, OpenRequest, RecordId};

/// When the next segment begins, in bytes.
const SEGMENT: u64 = 16 * 1024 * 1024;

/// The room on the disk that is kept for the end of each request whose intent is written: its attempts, its outcome with the
/// signature. RSA keys of 16384 bits sign with 2 KiB.
const END_OF_A_REQUEST: u64 = 16 * 1024;

/// How much room is taken at once, where there is so much: to ask for each record would cost more than to write it.
const RESERVE: u64 = 256 * 1024;

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
    syncs: u64,
    segment: u64,
}

impl LogFile {
    /// Opens or creates the log; also says which requests in it have no outcome, all of which other agents began.
    pub(super) fn open(path: &Path) -> std::io::Result<(Self, Vec<OpenRequest>)> {
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
        Ok((Self { position, ..Self::new(segments, file)? }, open))
    }

    pub(super) fn new(segments: Segments, file: File) -> std::io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self {
            segments,
            file,
            length,
            reserved: length,
            position: Position::default(),
            stale: false,
            broken: false,
            lines: Lines::default(),
            syncs: 0,
            segment: SEGMENT,
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

    /// Makes records of what several ask for, each of them its events, by one write. Those that are told `Ok` have them on
    /// disk, and are given the name of their last. Where the disk has no room for all, those that end a request have theirs,
    /// which was kept for them.
    pub(super) fn append(&mut self, requests: &[Vec<Event>]) -> Vec<std::io::Result<RecordId>> {
        let all = self.write_all(requests.iter().flatten());
        match all {
            Err(Unwritten::NoRoom(error)) => {
                let kept: Vec<_> = requests.iter().map(|events| self.has_room_kept(events)).collect();
                let those = requests.iter().zip(&kept).filter(|(_, kept)| **kept).flat_map(|(events, _)| events);
                let rest = self.write_all(those);
                let written = requests.iter().zip(&kept).map(|(events, kept)| if *kept { events.len() } else { 0 });
                let ids = self.last_ids(written);
                let answer = |(kept, id): (bool, _)| if kept { answer(&rest, id) } else { Err(copy(&error)) };
                kept.into_iter().zip(ids).map(answer).collect()
            }
            all => self.last_ids(requests.iter().map(Vec::len)).into_iter().map(|id| answer(&all, id)).collect(),
        }
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
        let ours = |request| OpenRequest { agent_pid: std::process::id(), request };
        events.iter().all(|event| match event {
            Event::Attempt { request, .. } | Event::Outcome { request, .. } => {
                self.position.open.contains(&ours(*request))
            }
            Event::Intent { .. } | Event::Act { .. } => false,
        })
    }

    fn write_all<'a>(&mut self, events: impl Iterator<Item = &'a Event>) -> Result<(), Unwritten> {
        if self.broken {
            return Err(Error::other("an earlier record may be lost; start the agent again").into());
        }
        if self.stale {
            self.file = self.segments.reopen_current()?;
            self.length = self.file.metadata()?.len();
            self.reserved = self.length;
            self.stale = false;
        }
        if self.file.metadata()?.nlink() == 0 {
            return Err(Error::other("the log was removed; start the agent again").into());
        }
        if self.length >= self.segment && matches!(self.position.tail, Tail::Whole) {
            self.rotate()?;
        }
        self.lines.begin(self.position.clone())?;
        if self.length == 0 && self.position.head != Head::default() {
            // The last file was taken away.
            self.lines.push(&self.beginning())?;
        }
        for event in events {
            self.lines.push(event)?;
        }
        self.reserve()?;
        self.write()?;
        self.broken = true;
        self.file.sync_data()?;
        self.broken = false;
        self.syncs = self.syncs.saturating_add(1);
        Ok(())
    }

    /// Begins another segment, with the end of this one in its first record.
    fn rotate(&mut self) -> std::io::Result<()> {
        self.lines.begin(self.position.clone())?;
        self.lines.push(&self.beginning())?;
        let text = self.lines.text();
        self.file = self.segments.rotate(self.position.head.sequence, text)?;
        self.length = text.len() as u64;
        self.reserved = self.length;
        self.position = self.lines.in_file(text.len());
        Ok(())
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

    /// Writes the lines. After an error the chain goes on behind those that are in the file as a whole: nobody relies on
    /// them, but their numbers are taken.
    fn write(&mut self) -> std::io::Result<()> {
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

/// An error for each of those who share it.
fn copy(error: &Error) -> Error {
    error.raw_os_error().map_or_else(|| Error::new(error.kind(), error.to_string()), Error::from_raw_os_error)
}
#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::path::PathBuf;

    use super::*;
    use crate::audit::canonical;
    use crate::audit::chain::Hash;
    use crate::audit::record::{Outcome, Record, RequestId};

    fn act() -> Event {
        Event::Act { act: Act::Stop }
    }

    /// One request's acts.
    fn written(log: &mut LogFile, acts: usize) -> std::io::Result<()> {
        log.append(&[(0..acts).map(|_| act()).collect()]).remove(0).map(drop)
    }

    fn device(path: &str) -> File {
        File::options().append(true).open(path).unwrap()
    }

    fn new_log() -> (tempfile::TempDir, PathBuf, LogFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (log, _) = LogFile::open(&path).unwrap();
        (folder, path, log)
    }

    /// The records of all segments, after a look at the chain; lines that are none have to be named by the next record.
    fn records(path: &Path) -> Vec<Record> {
        let mut head = Head::default();
        let mut records: Vec<Record> = Vec::new();
        for segment in Segments::of(path).all().unwrap() {
            let text = std::fs::read_to_string(segment).unwrap();
            let mut torn = String::new();
            for line in text.lines() {
                let Ok(record) = serde_json::from_str::<Record>(line) else {
                    torn += &format!("{}{line}", if torn.is_empty() { "" } else { "\n" });
                    continue;
                };
                assert!(canonical::read::<Record>(line.as_bytes()).is_some(), "{line}");
                assert_eq!((record.sequence, record.previous), (head.sequence + 1, head.hash), "{line}");
                if !torn.is_empty() {
                    let (length, hash) = (torn.len() as u64, Hash::of(torn.as_bytes()));
                    assert_eq!(record.event, Event::Act { act: Act::Torn { length, hash } });
                    torn.clear();
                }
                head = head.after(line.as_bytes());
                records.push(record);
            }
        }
        records
    }

    fn sequence(path: &Path) -> Vec<u64> {
        records(path).iter().map(|record| record.sequence).collect()
    }

    #[test]
    fn a_full_disk_refuses_until_there_is_room() {
        let (_folder, path, mut log) = new_log();
        written(&mut log, 1).unwrap();
        log.file = device("/dev/full");
        assert!(written(&mut log, 2).is_err());
        written(&mut log, 2).unwrap();
        assert_eq!(sequence(&path), [1, 2, 3]);
    }

    /// The kernel may have thrown the pages away, so that a second sync, or one of another descriptor, would succeed.
    #[test]
    fn after_a_failed_sync_nothing_is_promised_any_more() {
        let (_folder, path, mut log) = new_log();
        // It takes writes, and can't be synced.
        log.file = device("/dev/null");
        assert_eq!(written(&mut log, 1).unwrap_err().kind(), ErrorKind::InvalidInput);
        log.file = device(path.to_str().unwrap());
        for _ in 0..2 {
            let refused = written(&mut log, 1).unwrap_err();
            assert!(refused.to_string().contains("may be lost"), "{refused}");
        }
        assert_eq!((sequence(&path), log.syncs()), (vec![], 0));
    }

    /// As where a disk fills up in the middle of a write: what is there keeps its numbers, whoever was refused, and the
    /// record that is there in part is named by the next.
    #[test]
    fn the_chain_goes_on_where_a_write_ended_early() {
        let (_folder, path, mut log) = new_log();
        for room in [1, 100, 4096, 5000] {
            // A pipe that nobody reads takes so much and no more.
            let (mut reader, full) = std::io::pipe().unwrap();
            rustix::io::ioctl_fionbio(&full, true).unwrap();
            let filled = std::io::Write::write(&mut &full, &vec![b'x'; 65536 - room]).unwrap();
            assert_eq!(filled, 65536 - room);
            log.file = File::from(OwnedFd::from(full));
            assert!(written(&mut log, 100).is_err());
            // What the pipe took is what the disk has.
            let mut taken = Vec::new();
            std::io::Read::read_to_end(&mut NonBlocking(&mut reader), &mut taken).unwrap();
            std::fs::File::options().append(true).open(&path).unwrap().write_all(&taken[filled..]).unwrap();
            written(&mut log, 1).unwrap();
        }
        let all = records(&path);
        assert!(all.len() > 8, "{}", all.len());
        drop(log);
        let (mut log, _) = LogFile::open(&path).unwrap();
        assert_eq!(log.head().sequence, all.len() as u64);
        written(&mut log, 1).unwrap();
        assert_eq!(records(&path).len(), all.len() + 1);
    }

    /// Ends where nothing is left.
    struct NonBlocking<'a>(&'a mut std::io::PipeReader);

    impl std::io::Read for NonBlocking<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            rustix::io::ioctl_fionbio(&*self.0, true)?;
            match self.0.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
                read => read,
            }
        }
    }

    #[test]
    fn an_agent_that_was_killed_in_the_middle_of_a_write_leaves_a_log_that_goes_on() {
        let (_folder, path, mut log) = new_log();
        written(&mut log, 3).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut log, _) = LogFile::open(&path).unwrap();
            written(&mut log, 1).unwrap();
            records(&path);
        }
    }

    #[test]
    fn a_segment_that_is_full_is_put_aside_and_the_chain_goes_on() {
        let (_folder, path, mut log) = new_log();
        log.segment = 1000;
        let intent = || Event::Outcome { request: RequestId(1), outcome: Outcome::Unknown { intent_by: 1 } };
        for _ in 0..20 {
            log.append(&[vec![intent()]]).remove(0).unwrap();
        }
        let segments = Segments::of(&path).archived().unwrap();
        assert!(segments.len() > 2, "{segments:?}");
        let all = records(&path);
        let first = all.iter().find(|record| record.sequence == segments[0].last + 1).unwrap();
        let Event::Act { act: Act::Segment { head, .. } } = &first.event else { panic!("{first:?}") };
        assert_eq!((head.sequence, head.hash), (segments[0].last, first.previous));
        let last = log.head();
        drop(log);
        let (log, _) = LogFile::open(&path).unwrap();
        assert_eq!(log.head(), last);
        // Even where the last of them is taken away.
        std::fs::remove_file(&path).unwrap();
        let (mut log, _) = LogFile::open(&path).unwrap();
        written(&mut log, 1).unwrap();
        assert_eq!(sequence(&path).last(), Some(&(segments.last().unwrap().last + 2)), "a beginning, and the act");
    }
}
