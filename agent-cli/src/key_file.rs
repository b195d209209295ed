//! The two files of a new key. They are there whole or not at all, and never take the place of another file.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::new_key::KeyFiles;
use crate::problem::Problem;

/// Where a new key goes.
#[derive(Debug)]
pub(crate) struct Place {
    /// FILE.
    pub(crate) private: PathBuf,
    /// FILE.pub.
    pub(crate) public: PathBuf,
    folder: PathBuf,
    /// Whether the folder is ours to make.
    makes_folder: bool,
}

/// Why the files are not there, or not both.
#[derive(Debug)]
pub(crate) struct WriteError {
    /// The file that could not be written.
    pub(crate) path: PathBuf,
    /// What the system said.
    pub(crate) error: io::Error,
    /// Whether the private file was written before.
    pub(crate) private_is_there: bool,
}

impl Place {
    /// Looks at everything that can be seen to be wrong before a token is asked. Only `~/.ssh` is made where it is
    /// missing.
    pub(crate) fn check(file: &Path, home: &Path) -> Result<Self, Problem> {
        let private =
            std::path::absolute(file).map_err(|error| Problem::failed(format!("{}: {error}", file.display())))?;
        let (Some(folder), Some(name)) = (private.parent(), private.file_name()) else {
            return Err(Problem::usage(format!("{} is no file", file.display())));
        };
        let mut public_name = name.to_owned();
        public_name.push(".pub");
        let public = private.with_file_name(public_name);
        for path in [&private, &public] {
            if path.symlink_metadata().is_ok() {
                return Err(Problem::failed(format!("{} is there already, and is not overwritten", path.display()))
                    .next("Name another file with --file, or move this one away."));
            }
        }
        let makes_folder = !folder.exists() && folder == home.join(".ssh");
        let looked_at = if makes_folder { home } else { folder };
        rustix::fs::access(looked_at, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            Problem::failed(format!("no file can be made in {}: {}", looked_at.display(), io::Error::from(error)))
                .next("Name a file in a folder of yours with --file.")
        })?;
        Ok(Self { folder: folder.to_owned(), private, public, makes_folder })
    }

    /// Writes both files, the private one first: the public one can be made from it.
    pub(crate) fn write(&self, files: &KeyFiles) -> Result<(), WriteError> {
        let wrong = |path: &Path, private_is_there| {
            let path = path.to_owned();
            move |error| WriteError { path, error, private_is_there }
        };
        if self.makes_folder {
            make_folder(&self.folder).map_err(wrong(&self.folder, false))?;
        }
        write_new(&self.private, files.private.as_bytes(), 0o600).map_err(wrong(&self.private, false))?;
        write_new(&self.public, files.public.as_bytes(), 0o644).map_err(wrong(&self.public, true))
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file that is on disk before it has its name. A file that has got the name in the meantime keeps it.
fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> KeyFiles {
        KeyFiles { private: "private\n".to_owned().into(), public: "public\n".into(), fingerprint: String::new() }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn both_files_are_written_with_their_modes() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".ssh");
        let place = Place::check(&folder.join("id"), home.path()).unwrap();
        assert!(names(home.path()).is_empty(), "nothing is made before there is a key");
        place.write(&files()).unwrap();
        assert_eq!(names(&folder), ["id", "id.pub"]);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!([&folder, &place.private, &place.public].map(|path| mode(path)), [0o700, 0o600, 0o644]);
        assert_eq!(std::fs::read_to_string(&place.private).unwrap(), "private\n");
    }

    #[test]
    fn a_file_that_is_there_is_refused_before_and_kept_after() {
        for (taken, private_is_there) in [("id", false), ("id.pub", true)] {
            let home = tempfile::tempdir().unwrap();
            let file = home.path().join("id");
            let place = Place::check(&file, home.path()).unwrap();
            std::fs::write(home.path().join(taken), "mine").unwrap();
            assert!(Place::check(&file, home.path()).is_err());
            let error = place.write(&files()).unwrap_err();
            assert_eq!((error.error.kind(), error.private_is_there), (io::ErrorKind::AlreadyExists, private_is_there));
            assert_eq!(std::fs::read_to_string(home.path().join(taken)).unwrap(), "mine");
            assert_eq!(names(home.path()).len(), if private_is_there { 2 } else { 1 }, "no temporary file is left");
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_a_file_too() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("id");
        std::os::unix::fs::symlink("nowhere", &file).unwrap();
        assert!(Place::check(&file, home.path()).is_err());
    }

    #[test]
    fn only_the_folder_for_keys_is_made() {
        let home = tempfile::tempdir().unwrap();
        assert!(Place::check(&home.path().join("keys").join("id"), home.path()).is_err());
        assert!(Place::check(&home.path().join(".ssh").join("id"), home.path()).is_ok());
    }
}
