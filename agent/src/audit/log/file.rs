//! The file itself: records that come together go there by one write, and one sync makes them durable.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::scan::{Found, Orphan, scan};
use crate::audit::record::{Event, Record, VERSION};

/// The memory that is kept from one write to the next: that of some twenty records.
const KEPT: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// That of the last record in the file.
    sequence: u64,
    /// The last record was written in part only, for want of space perhaps: the next one begins on a line of its own.
    torn: bool,
    /// A write failed. The next one needs a fresh descriptor: this one may go on failing.
    stale: bool,
    /// A failed sync leaves unknown what is on disk (a kernel drops pages that it could not write, and says so once), so
    /// nothing is promised any more.
    broken: bool,
    lines: Lines,
    syncs: u64,
}

impl LogFile {
    /// Opens or creates the file; also says which requests in it have no outcome.
    pub(super) fn open(path: &Path) -> std::io::Result<(Self, Vec<Orphan>)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        if let Some(folder) = path.parent()
            && file.metadata()?.len() == 0
        {
            // Without this a new log's name may not outlive a crash.
            File::open(folder)?.sync_all()?;
        }
        let Found { last_sequence, orphans, torn } = scan(&mut file)?;
        Ok((Self { sequence: last_sequence, torn, ..Self::new(path, file) }, orphans))
    }

    pub(super) fn new(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            file,
            sequence: 0,
            torn: false,
            stale: false,
            broken: false,
            lines: Lines::default(),
            syncs: 0,
        }
    }

    /// How often the disk was waited for.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Makes a record of each event. All are durable then, or, on an error, none is promised to be.
    pub(super) fn append(&mut self, events: impl IntoIterator<Item = Event>) -> std::io::Result<()> {
        if self.broken {
            return Err(Error::other("an earlier record may be lost; start the agent again"));
        }
        if self.stale {
            self.file = OpenOptions::new().append(true).open(&self.path)?;
            self.stale = false;
        }
        if self.file.metadata()?.nlink() == 0 {
            return Err(Error::other("the log was removed; start the agent again"));
        }
        self.lines.clear();
        if self.torn {
            self.lines.text.push(b'\n');
        }
        for (event, sequence) in events.into_iter().zip(self.sequence.saturating_add(1)..) {
            self.lines.push(sequence, event)?;
        }
        self.write()?;
        self.broken = true;
        self.file.sync_data()?;
        self.broken = false;
        self.syncs = self.syncs.saturating_add(1);
        Ok(())
    }

    /// Writes the lines. After an error the sequence goes on behind those that are in the file as a whole: nobody relies
    /// on them, but their numbers are taken.
    fn write(&mut self) -> std::io::Result<()> {
        let mut written = 0;
        let result = loop {
            match self.file.write(&self.lines.text[written..]) {
                _ if written == self.lines.text.len() => break Ok(()),
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if let Some(last) = self.lines.text[..written].last() {
            self.torn = *last != b'\n';
        }
        self.stale = result.is_err();
        self.sequence = self.sequence.saturating_add(self.lines.whole(written));
        result
    }
}

/// Records as they stand in the file.
#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    /// Where each record ends, before its line's end.
    ends: Vec<usize>,
}

impl Lines {
    fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEPT);
        self.ends.clear();
    }

    fn push(&mut self, sequence: u64, event: Event) -> std::io::Result<()> {
        let (time, agent_pid) = (jiff::Timestamp::now(), std::process::id());
        serde_json::to_writer(&mut self.text, &Record { version: VERSION, sequence, time, agent_pid, event })?;
        self.ends.push(self.text.len());
        self.text.push(b'\n');
        Ok(())
    }

    /// How many records are whole in so many bytes.
    fn whole(&self, written: usize) -> u64 {
        self.ends.iter().filter(|end| **end <= written).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::audit::record::Act;

    fn act() -> Event {
        Event::Act { act: Act::Stop }
    }

    fn device(path: &str) -> File {
        OpenOptions::new().append(true).open(path).unwrap()
    }

    fn sequence(path: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str::<Record>(line).unwrap().sequence).collect()
    }

    #[test]
    fn a_full_disk_refuses_until_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let (mut log, _) = LogFile::open(&path).unwrap();
        log.append([act()]).unwrap();
        log.file = device("/dev/full");
        assert!(log.append([act(), act()]).is_err());
        log.append([act(), act()]).unwrap();
        assert_eq!(sequence(&path), [1, 2, 3]);
    }

    /// The kernel may have thrown the pages away, so that a second sync, or one of another descriptor, would succeed.
    #[test]
    fn after_a_failed_sync_nothing_is_promised_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let (mut log, _) = LogFile::open(&path).unwrap();
        // It takes writes, and can't be synced.
        log.file = device("/dev/null");
        assert_eq!(log.append([act()]).unwrap_err().kind(), ErrorKind::InvalidInput);
        log.file = device(path.to_str().unwrap());
        for _ in 0..2 {
            let refused = log.append([act()]).unwrap_err();
            assert!(refused.to_string().contains("may be lost"), "{refused}");
        }
        assert_eq!((sequence(&path), log.syncs()), (vec![], 0));
    }

    /// As where a disk fills up in the middle of a write: what is there keeps its numbers, whoever was refused.
    #[test]
    fn numbers_are_not_given_twice_when_a_write_ends_early() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let (mut log, _) = LogFile::open(&path).unwrap();
        // A pipe that nobody reads takes so much and no more.
        let (mut reader, full) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&full, true).unwrap();
        log.file = File::from(OwnedFd::from(full));
        assert_eq!(log.append((0..2000).map(|_| act())).unwrap_err().kind(), ErrorKind::WouldBlock);
        log.append([act()]).unwrap();

        let mut text = String::new();
        std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
        let (whole, torn) = text.rsplit_once('\n').unwrap();
        assert_ne!(torn, "");
        let taken = whole.lines().count() as u64;
        let next = std::fs::read_to_string(&path).unwrap();
        let next = next.strip_prefix('\n').expect("a line of its own");
        assert_eq!(serde_json::from_str::<Record>(next).unwrap().sequence, taken + 1);
    }

    #[test]
    fn a_record_is_whole_without_its_line_end() {
        let mut lines = Lines::default();
        lines.push(1, act()).unwrap();
        lines.push(2, act()).unwrap();
        let first = lines.ends[0];
        assert_eq!([first - 1, first, first + 1, lines.ends[1]].map(|written| lines.whole(written)), [0, 1, 1, 2]);
    }
}
