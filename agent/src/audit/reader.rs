//! Reading a log, with or without the agent that writes it: its lines in their order, over all segments.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::log::segments::Segments;

/// The longest line that is read, in bytes. The evidence of a record has room for 32 KiB, and a segment's first record names all
/// requests that are under way.
pub(super) const LONGEST: u64 = 1024 * 1024;

/// How much is read at once.
const BUFFER: usize = 64 * 1024;

/// The lines of a log.
#[derive(Debug)]
pub struct Lines {
    rest: VecDeque<PathBuf>,
    segment: Option<Segment>,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    reader: BufReader<File>,
    number: u64,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its segment.
    pub segment: PathBuf,
    /// Its number there, from 1.
    pub number: u64,
    /// What is in it, without its end.
    pub text: Vec<u8>,
    /// Whether it has an end.
    pub ended: bool,
}

impl Lines {
    /// Those of the log that is written to `current`, the oldest first.
    ///
    /// # Errors
    /// When its folder can't be read, or there is no log in it.
    pub fn of(current: &Path) -> std::io::Result<Self> {
        let rest: VecDeque<_> = Segments::of(current).all()?.into();
        if rest.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "there is no audit log"));
        }
        Ok(Self { rest, segment: None })
    }

    fn next_line(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            if self.segment.is_none() {
                let Some(path) = self.rest.pop_front() else { return Ok(None) };
                let reader = BufReader::with_capacity(BUFFER, File::open(&path)?);
                self.segment = Some(Segment { path, reader, number: 0 });
            }
            match self.segment.as_mut().map(Segment::next_line).transpose()?.flatten() {
                Some(line) => return Ok(Some(line)),
                None => self.segment = None,
            }
        }
    }
}

impl Segment {
    fn next_line(&mut self) -> std::io::Result<Option<Line>> {
        let mut text = Vec::new();
        (&mut self.reader).take(LONGEST).read_until(b'\n', &mut text)?;
        if text.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let ended = text.pop_if(|last| *last == b'\n').is_some();
        Ok(Some(Line { segment: self.path.clone(), number: self.number, text, ended }))
    }
}

impl Iterator for Lines {
    type Item = std::io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose()
    }
}
