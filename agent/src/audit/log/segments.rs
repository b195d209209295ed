//! The files of a log: the one that is written to, and beside it the segments that are full, in their order.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// What a log's file is called while it is no segment yet.
const NEW: &str = "new";

/// How many digits the number of a segment's last record has in its name, so that names sort as numbers do.
const DIGITS: usize = 16;

/// Where the segments of one log are. That of `audit.jsonl` whose last record has the number 42 is
/// `audit.0000000000000042.jsonl`.
#[derive(Debug, Clone)]
pub struct Segments {
    current: PathBuf,
}

/// A segment that is full.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// The number of its last record, by its name.
    pub last: u64,
    /// Its file.
    pub path: PathBuf,
}

impl Segments {
    /// Those of the log that is written to this file.
    #[must_use]
    pub fn of(current: &Path) -> Self {
        Self { current: current.to_owned() }
    }

    /// The file that is written to.
    #[must_use]
    pub fn current(&self) -> &Path {
        &self.current
    }

    /// The segments that are full, the oldest first.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn archived(&self) -> io::Result<Vec<Segment>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.folder())? {
            let path = entry?.path();
            found.extend(self.last_in_name(&path).map(|last| Segment { last, path }));
        }
        found.sort();
        Ok(found)
    }

    /// All files in the order of their records, the one that is written to last, if it is there.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn all(&self) -> io::Result<Vec<PathBuf>> {
        let mut files: Vec<_> = self.archived()?.into_iter().map(|segment| segment.path).collect();
        files.extend(self.current.exists().then(|| self.current.clone()));
        Ok(files)
    }

    /// Ends a change of segments in which an agent was killed.
    pub(super) fn finish_rotation(&self) -> io::Result<()> {
        let new = self.new_file();
        if !new.exists() {
            return Ok(());
        }
        match self.current.exists() {
            // The full one was not renamed yet.
            true => fs::remove_file(new),
            false => fs::rename(new, &self.current),
        }?;
        self.sync_folder()
    }

    /// Opens or creates the file that is written to.
    pub(super) fn open_current(&self) -> io::Result<File> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.current)?;
        let found = file.metadata()?;
        if found.mode() & 0o077 != 0 {
            // As where it came back from a backup.
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        if found.len() == 0 {
            // Without this a new log's name may not outlive a crash.
            self.sync_folder()?;
        }
        Ok(file)
    }

    /// A fresh descriptor for it.
    pub(super) fn reopen_current(&self) -> io::Result<File> {
        OpenOptions::new().append(true).open(&self.current)
    }

    /// Puts a file with these records, and so much room on the disk, in the place of the current one, whose last record has
    /// this number. The new file is whole and on disk before the names change, so that at no moment a record has no name.
    pub(super) fn rotate(&self, last: u64, records: &[u8], room: u64) -> Result<File, RotationError> {
        let (new, full) = (self.new_file(), self.full_file(last));
        let file = new_file(&new, records, room).map_err(RotationError::NotBegun)?;
        fs::rename(&self.current, &full).map_err(RotationError::NotBegun)?;
        if let Err(error) = fs::rename(&new, &self.current) {
            return Err(match fs::rename(&full, &self.current) {
                Ok(()) => RotationError::NotBegun(error),
                Err(_) => RotationError::NotEnded(error),
            });
        }
        self.sync_folder().map_err(RotationError::NotEnded)?;
        Ok(file)
    }

    /// Removes the segments up to the record with this number, the oldest first, so that what is left is always one log.
    pub(super) fn remove_up_to(&self, last: u64) -> io::Result<()> {
        let mut outdated = self.archived()?.into_iter().filter(|segment| segment.last <= last);
        outdated.try_for_each(|segment| fs::remove_file(segment.path))?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(self.folder())?.sync_all()
    }

    fn folder(&self) -> &Path {
        self.current.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn new_file(&self) -> PathBuf {
        self.named(NEW)
    }

    fn full_file(&self, last: u64) -> PathBuf {
        self.named(&format!("{last:0DIGITS$}"))
    }

    /// The log's name with something before its extension.
    fn named(&self, what: &str) -> PathBuf {
        let mut name = OsString::from(self.current.file_stem().unwrap_or_default());
        name.push(".");
        name.push(what);
        if let Some(extension) = self.current.extension() {
            name.push(".");
            name.push(extension);
        }
        self.current.with_file_name(name)
    }

    /// The number of the last record in a full segment, by its name; None for any other file.
    #[must_use]
    pub fn last_in_name(&self, file: &Path) -> Option<u64> {
        let name = file.file_name()?.to_str()?;
        let stem = self.current.file_stem()?.to_str()?;
        let rest = name.strip_prefix(stem)?.strip_prefix('.')?;
        let digits = match self.current.extension() {
            Some(extension) => rest.strip_suffix(extension.to_str()?)?.strip_suffix('.')?,
            None => rest,
        };
        let plain = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| plain)
    }
}

/// Why no other segment was begun.
#[derive(Debug, thiserror::Error)]
pub(super) enum RotationError {
    /// All is as it was before.
    #[error(transparent)]
    NotBegun(io::Error),
    /// Which names the files have after a crash is not known.
    #[error(transparent)]
    NotEnded(io::Error),
}

/// Writes a file that has to be new, with so much room for more. One that is there could not be finished before.
fn new_file(path: &Path, records: &[u8], room: u64) -> io::Result<File> {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    let taken = fallocate(&file, FallocateFlags::KEEP_SIZE, 0, room.saturating_add(records.len() as u64));
    // A file system that can't: a full disk is met later.
    if let Err(full @ (Errno::NOSPC | Errno::DQUOT)) = taken {
        return Err(full.into());
    }
    file.write_all(records)?;
    file.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_found_by_their_names_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let names = ["audit.0000000000000100.jsonl", "audit.0000000000000020.jsonl"];
        for name in names.into_iter().chain([
            "audit.jsonl",
            "audit.20.jsonl",
            "other.0000000000000020.jsonl",
            "audit.new.jsonl",
        ]) {
            fs::write(path(name), "").unwrap();
        }
        let segments = Segments::of(&path("audit.jsonl"));
        assert_eq!(segments.all().unwrap(), [path(names[1]), path(names[0]), path("audit.jsonl")]);
        assert_eq!(segments.archived().unwrap().iter().map(|segment| segment.last).collect::<Vec<_>>(), [20, 100]);
    }

    #[test]
    fn a_change_of_segments_that_was_cut_short_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let segments = Segments::of(&path("audit.jsonl"));
        fs::write(path("audit.new.jsonl"), "new").unwrap();
        fs::write(path("audit.jsonl"), "full").unwrap();
        segments.finish_rotation().unwrap();
        assert_eq!(fs::read_to_string(path("audit.jsonl")).unwrap(), "full", "it had not begun");
        assert!(!path("audit.new.jsonl").exists());

        fs::write(path("audit.new.jsonl"), "new").unwrap();
        fs::rename(path("audit.jsonl"), segments.full_file(7)).unwrap();
        segments.finish_rotation().unwrap();
        assert_eq!(fs::read_to_string(path("audit.jsonl")).unwrap(), "new", "only the second name was missing");
    }
}
