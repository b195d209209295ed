//! A small file that all agents of a user share: changed under a lock, written anew and renamed, so that a crash leaves the
//! old one or the new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The file at a path, and its lock beside it.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// Where it is, or will be.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds, if it is there.
    ///
    /// # Errors
    /// When it can't be read; what can't be understood is [`io::ErrorKind::InvalidData`].
    pub fn read<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        match std::fs::read(&self.path) {
            Ok(bytes) => {
                let content = serde_json::from_slice(&bytes);
                content.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes what `change` makes, which reads what is there under the same lock; None leaves it as it is.
    ///
    /// # Errors
    /// Those of `change`, and when it can't be written.
    pub fn change<T: Serialize, E: From<io::Error>>(
        &self,
        change: impl FnOnce() -> Result<Option<T>, E>,
    ) -> Result<(), E> {
        let lock = private().open(self.path.with_extension("lock"))?;
        lock.lock()?;
        match change()? {
            Some(content) => Ok(self.write(&content)?),
            None => Ok(()),
        }
    }

    fn write(&self, content: &impl Serialize) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = private().truncate(true).open(&new)?;
        file.write_all(&serde_json::to_vec_pretty(content)?)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}
