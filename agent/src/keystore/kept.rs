//! The list of key files that are read again at the next start: paths and fingerprints, no key material.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ssh_key::public::KeyData;

use super::KeystoreError;
use crate::identity::fingerprint;
use crate::state_file::StateFile;

#[derive(Debug)]
pub(super) struct KeptKeys {
    file: StateFile,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    version: u32,
    keys: Vec<Kept>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) path: PathBuf,
    /// The key's fingerprint.
    pub(super) key: String,
}

impl KeptKeys {
    pub(super) fn below(state: &Path) -> Self {
        Self { file: StateFile::at(state.join("keys.json")) }
    }

    pub(super) fn entries(&self) -> Result<Vec<Kept>, KeystoreError> {
        Ok(self.read().map_err(|source| self.error(source))?.keys)
    }

    pub(super) fn add(&self, path: PathBuf, key: &KeyData) -> Result<(), KeystoreError> {
        let key = fingerprint(key);
        self.change(|keys| {
            let known = keys.iter().any(|kept| kept.path == path && kept.key == key);
            if known {
                return false;
            }
            keys.retain(|kept| kept.key != key && kept.path != path);
            keys.push(Kept { path, key });
            true
        })
    }

    pub(super) fn remove(&self, key: &KeyData) -> Result<(), KeystoreError> {
        let key = fingerprint(key);
        self.change(|keys| {
            let before = keys.len();
            keys.retain(|kept| kept.key != key);
            keys.len() < before
        })
    }

    pub(super) fn remove_all(&self) -> Result<(), KeystoreError> {
        self.change(|keys| {
            let any = !keys.is_empty();
            keys.clear();
            any
        })
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Kept>) -> bool) -> Result<(), KeystoreError> {
        let work = || {
            let mut list = self.read()?;
            list.version = 1;
            Ok(change(&mut list.keys).then_some(list))
        };
        self.file.change(work).map_err(|source: io::Error| self.error(source))
    }

    fn read(&self) -> io::Result<List> {
        match self.file.read() {
            Ok(list) => Ok(list.unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                // An agent that does not start is worse than one that has to be given its keys again.
                let aside = self.file.path().with_extension("damaged");
                tracing::error!(%error, aside = %aside.display(), "the list of kept keys is damaged, and set aside");
                std::fs::rename(self.file.path(), aside)?;
                Ok(List::default())
            }
            Err(error) => Err(error),
        }
    }

    fn error(&self, source: io::Error) -> KeystoreError {
        KeystoreError { path: self.file.path().display().to_string(), source }
    }
}
