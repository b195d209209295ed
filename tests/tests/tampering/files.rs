//! A log as it lies on the disk.

use std::fs;
use std::path::{Path, PathBuf};

use agent::audit::canonical;
use agent::audit::chain::Head;
use serde_json::Value;
use tempfile::TempDir;

/// The name of the file that is written to.
const CURRENT: &str = "audit.jsonl";

/// The names and contents of a log's files, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files(pub(crate) Vec<(String, Vec<u8>)>);

impl Files {
    /// Those beside a log's current file, the segments first.
    pub(crate) fn read(current: &Path) -> Self {
        let folder = fs::read_dir(current.parent().unwrap()).unwrap();
        let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.starts_with("audit.") && name.ends_with(".jsonl"));
        // "audit.0…" stands before "audit.jsonl".
        names.sort();
        assert_eq!(names.last().map(String::as_str), Some(CURRENT));
        Self(names.into_iter().map(|name| (name.clone(), fs::read(current.with_file_name(name)).unwrap())).collect())
    }

    /// Writes them to a new folder.
    pub(crate) fn write(&self) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in &self.0 {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let log = folder.path().join(CURRENT);
        (folder, log)
    }

    /// The lines of one of them.
    pub(crate) fn lines(&self, file: usize) -> Vec<String> {
        String::from_utf8(self.0[file].1.clone()).unwrap().lines().map(ToOwned::to_owned).collect()
    }

    /// The same with other lines in one of them.
    pub(crate) fn with_lines(&self, file: usize, lines: &[String]) -> Self {
        let mut changed = self.clone();
        changed.0[file].1 = lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes();
        changed
    }

    /// The number of the file that is written to.
    pub(crate) fn last(&self) -> usize {
        self.0.len() - 1
    }

    /// The end of the chain.
    pub(crate) fn head(&self) -> Head {
        head_of(self.lines(self.last()).last().unwrap())
    }

    /// Where the last line begins.
    pub(crate) fn last_line(&self) -> usize {
        self.0[self.last()].1.len() - self.lines(self.last()).last().unwrap().len() - 1
    }

    /// Whether others differ from these before the last line, and not only in that they end earlier.
    pub(crate) fn differs_before_its_end(&self, other: &Self) -> bool {
        let last = self.last();
        let (ours, theirs) = (&self.0[last].1, &other.0[last].1);
        let same = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
        self.0[..last] != other.0[..last] || same < self.last_line() && same < theirs.len()
    }

    /// Chained anew from the first record to the last, and the segments named anew, as somebody does who knows the format.
    pub(crate) fn chained_anew(&self) -> Self {
        let mut head = Head::default();
        let mut files = Vec::new();
        for file in 0..self.0.len() {
            let mut lines = self.lines(file);
            for line in &mut lines {
                let Ok(mut record) = serde_json::from_str::<Value>(line) else { continue };
                record["sequence"] = (head.sequence + 1).into();
                record["previous"] = head.hash.to_string().into();
                if record["act"] == "segment" {
                    record["head"] = serde_json::to_value(head).unwrap();
                }
                *line = text(&record);
                head = head.after(line.as_bytes());
            }
            let name = if file == self.last() { CURRENT.into() } else { format!("audit.{:016}.jsonl", head.sequence) };
            files.push((name, self.with_lines(file, &lines).0.swap_remove(file).1));
        }
        Self(files)
    }
}

/// A record as it stands in a line.
pub(crate) fn text(record: &Value) -> String {
    String::from_utf8(canonical::to_vec(record).unwrap()).unwrap()
}

/// The head of a log that ends with this line.
pub(crate) fn head_of(line: &str) -> Head {
    let record: Value = serde_json::from_str(line).unwrap();
    let before = Head { sequence: record["sequence"].as_u64().unwrap() - 1, ..Head::default() };
    before.after(line.as_bytes())
}
