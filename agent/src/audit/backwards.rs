//! A log read from its end: whoever asks for what happened last waits no longer where the log is long.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::log::segments::Segments;
use super::record::Record;

/// How much is read at once.
const CHUNK: u64 = 64 * 1024;

/// The longest line that is kept in memory. No record is as long; what is, is passed over.
const LONGEST: usize = 1024 * 1024;

/// The records of a log, the last one first. Lines that are no records are passed over: judging them is for whoever verifies
/// the log.
#[derive(Debug)]
pub struct Backwards {
    /// The segments before this one, the oldest first.
    before: Vec<PathBuf>,
    file: File,
    /// Where what was read begins.
    position: u64,
    /// What was read and not yet given out.
    read: Vec<u8>,
    /// The end of the line at hand was thrown away, since it is too long.
    cut: bool,
}

impl Backwards {
    /// The records that are now in the log that is written to this file.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let mut before = Segments::of(path).all()?;
        let last = before.pop().ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no audit log"))?;
        let file = File::open(last)?;
        let position = file.metadata()?.len();
        Ok(Self { before, file, position, read: Vec::new(), cut: false })
    }

    /// The record before the one given last; None at the beginning of the log.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn next_record(&mut self) -> std::io::Result<Option<Record>> {
        loop {
            while let Some(line) = self.line()? {
                if let Ok(record) = serde_json::from_slice(&line) {
                    return Ok(Some(record));
                }
            }
            let Some(before) = self.before.pop() else { return Ok(None) };
            self.file = File::open(before)?;
            self.position = self.file.metadata()?.len();
            self.cut = false;
        }
    }

    fn line(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            let end = self.read.iter().rposition(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line = self.read.split_off(end + 1);
                self.read.truncate(end);
                if !std::mem::take(&mut self.cut) {
                    return Ok(Some(line));
                }
            } else if self.position == 0 {
                let first = std::mem::take(&mut self.read);
                return Ok(Some(first).filter(|first| !first.is_empty() && !self.cut));
            } else {
                self.read_before()?;
            }
        }
    }

    fn read_before(&mut self) -> std::io::Result<()> {
        if self.read.len() > LONGEST {
            self.read = Vec::new();
            self.cut = true;
        }
        let begin = self.position.saturating_sub(CHUNK);
        self.file.seek(SeekFrom::Start(begin))?;
        let mut before = Vec::new();
        (&self.file).take(self.position - begin).read_to_end(&mut before)?;
        before.append(&mut self.read);
        (self.read, self.position) = (before, begin);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::{Act, Event};
    use crate::audit::samples;

    fn line(sequence: u64, agent: &str) -> String {
        samples::line(sequence, 1, Event::Act { act: Act::Remove { key: agent.into() } })
    }

    fn sequence(log: &str) -> Vec<u64> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::fs::write(&path, log).unwrap();
        let mut backwards = Backwards::open(&path).unwrap();
        std::iter::from_fn(|| backwards.next_record().unwrap()).map(|record| record.sequence).collect()
    }

    #[test]
    fn the_last_record_comes_first() {
        // Longer than a chunk in all, each of another length.
        let log: String = (1..=2000).map(|n| line(n, &"x".repeat(n as usize % 97)) + "\n").collect();
        assert!(log.len() as u64 > 2 * CHUNK);
        assert_eq!(sequence(&log), (1..=2000).rev().collect::<Vec<_>>());
        assert_eq!(sequence(""), Vec::<u64>::new());
    }

    #[test]
    fn what_is_no_record_is_passed_over() {
        let log = format!("{}\n\nrubbish\n{}\n{{\"version\":1,\"sequ", line(1, "a"), line(2, "b"));
        assert_eq!(sequence(&log), [2, 1]);
        assert_eq!(sequence("rubbish"), Vec::<u64>::new());
    }

    /// Memory is bounded, whatever is in the file.
    #[test]
    fn a_line_without_end_is_passed_over() {
        let endless = "x".repeat(3 * LONGEST);
        assert_eq!(sequence(&format!("{}\n{endless}\n{}\n", line(1, "a"), line(2, "b"))), [2, 1]);
        assert_eq!(sequence(&endless), Vec::<u64>::new());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::fs::write(&path, &endless).unwrap();
        let mut backwards = Backwards::open(&path).unwrap();
        assert_eq!(backwards.next_record().unwrap(), None);
        assert!(backwards.read.capacity() <= 2 * LONGEST);
    }
}
