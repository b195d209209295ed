//! Reading a log while an agent writes it: each line once it is whole, over all files that are put aside meanwhile.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::log::segments::Segments;
use super::reader::{LONGEST, Line};

/// The lines of a log so far, and those to come.
#[derive(Debug)]
pub struct Follow {
    segments: Segments,
    /// The files that are still to be read, the oldest first.
    files: VecDeque<Open>,
    /// The number of the last record that was read.
    last: u64,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    metadata: Metadata,
    reader: BufReader<File>,
    /// How many lines were read.
    lines: u64,
    /// A line that has no end yet.
    begun: Vec<u8>,
}

impl Follow {
    /// That of the log that is written to `current`.
    ///
    /// # Errors
    /// When its folder can't be read, or there is no log in it.
    pub fn of(current: &Path) -> std::io::Result<Self> {
        let mut follow = Self { segments: Segments::of(current), files: VecDeque::new(), last: 0 };
        follow.files = follow.behind_last()?;
        if follow.files.is_empty() {
            return Err(std::io::Error::new(ErrorKind::NotFound, "there is no audit log"));
        }
        Ok(follow)
    }

    /// The next line; None where it is still to be written.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn next_line(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            if self.files.is_empty() {
                self.files = self.behind_last()?;
            }
            let only = self.files.len() == 1;
            let Some(file) = self.files.front_mut() else { return Ok(None) };
            // Nothing is written any more to one that was put aside: so that is asked first, and then it is read to its end.
            let is_written = only && file_is(self.segments.current(), &file.metadata)?;
            match file.next_line()? {
                Some(line) => {
                    self.last = sequence(&line).unwrap_or(self.last);
                    return Ok(Some(line));
                }
                None if is_written => return Ok(None),
                None => drop(self.files.pop_front()),
            }
        }
    }

    /// The files with records behind the last one. The one that is written to is opened first: if it is put aside just then,
    /// all before it are among the others.
    fn behind_last(&self) -> std::io::Result<VecDeque<Open>> {
        let current = Open::at(self.segments.current())?;
        let mut files = VecDeque::new();
        for segment in self.segments.archived()?.into_iter().filter(|segment| segment.last > self.last) {
            files.extend(Open::at(&segment.path)?);
        }
        if let Some(current) = current {
            files.retain(|file| !is_same(&file.metadata, &current.metadata));
            files.push_back(current);
        }
        Ok(files)
    }
}

impl Open {
    /// None where it is gone: the oldest ones are removed some day.
    fn at(path: &Path) -> std::io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (metadata, reader) = (file.metadata()?, BufReader::new(file));
        Ok(Some(Self { path: path.to_owned(), metadata, reader, lines: 0, begun: Vec::new() }))
    }

    fn next_line(&mut self) -> std::io::Result<Option<Line>> {
        let room = LONGEST.saturating_sub(self.begun.len() as u64);
        (&mut self.reader).take(room).read_until(b'\n', &mut self.begun)?;
        let ended = self.begun.pop_if(|last| *last == b'\n').is_some();
        // What is longer is no record: it comes in parts, as for other readers.
        if !ended && (self.begun.len() as u64) < LONGEST {
            return Ok(None);
        }
        self.lines += 1;
        let text = std::mem::take(&mut self.begun);
        Ok(Some(Line { segment: self.path.clone(), number: self.lines, text, ended }))
    }
}

fn file_is(path: &Path, wanted: &Metadata) -> std::io::Result<bool> {
    match path.metadata() {
        Ok(found) => Ok(is_same(&found, wanted)),
        // Between its two names.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn sequence(line: &Line) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        sequence: u64,
    }
    serde_json::from_slice(&line.text).ok().map(|Numbered { sequence }| sequence)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    /// What there is to read.
    fn read(follow: &mut Follow) -> Vec<String> {
        std::iter::from_fn(|| follow.next_line().unwrap()).map(|line| String::from_utf8(line.text).unwrap()).collect()
    }

    fn records(numbers: std::ops::RangeInclusive<u64>) -> String {
        numbers.map(|number| format!("{{\"sequence\":{number}}}\n")).collect()
    }

    fn lines(numbers: std::ops::RangeInclusive<u64>) -> Vec<String> {
        records(numbers).lines().map(ToOwned::to_owned).collect()
    }

    fn append(path: &Path, text: &str) {
        fs::File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let endless = usize::try_from(LONGEST).unwrap() * 2 + 1;
        fs::write(&path, "x".repeat(endless)).unwrap();
        let mut follow = Follow::of(&path).unwrap();
        let lengths: Vec<_> = read(&mut follow).iter().map(String::len).collect();
        assert_eq!(lengths, [endless / 2; 2], "the rest is still to be ended");
        append(&path, "\n");
        assert_eq!(read(&mut follow), ["x"]);
    }

    /// As an agent does it.
    fn put_aside(path: &Path, last: u64) {
        let name = |what: &str| path.with_file_name(format!("audit.{what}.jsonl"));
        fs::write(name("new"), records(last + 1..=last + 1)).unwrap();
        fs::rename(path, name(&format!("{last:016}"))).unwrap();
        fs::rename(name("new"), path).unwrap();
    }

    #[test]
    fn each_line_is_read_once_over_files_that_are_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        assert!(Follow::of(&path).is_err());
        fs::write(&path, records(1..=3)).unwrap();
        put_aside(&path, 3);
        let mut follow = Follow::of(&path).unwrap();
        assert_eq!(read(&mut follow), lines(1..=4));
        assert_eq!(read(&mut follow), [] as [String; 0]);
        append(&path, "{\"sequence\"");
        assert_eq!(read(&mut follow), [] as [String; 0], "it is not whole");
        append(&path, ":5}\n");
        assert_eq!(read(&mut follow), lines(5..=5));
        append(&path, &records(6..=7));
        put_aside(&path, 7);
        append(&path, &records(9..=9));
        put_aside(&path, 9);
        put_aside(&path, 10);
        assert_eq!(read(&mut follow), lines(6..=11), "several at a time");
        put_aside(&path, 11);
        fs::remove_file(path.with_file_name("audit.0000000000000011.jsonl")).unwrap();
        assert_eq!(read(&mut follow), lines(12..=12), "one that was removed in between");
    }
}
