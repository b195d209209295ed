//! The list of key files that are read again at the next start: paths and fingerprints, no key material.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ssh_key::public::KeyData;

use super::KeystoreError;
use crate::identity::fingerprint;

#[derive(Debug)]
pub(super) struct KeptKeys {
    path: PathBuf,
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
        Self { path: state.join("keys.json") }
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

    /// Changes the list under a lock, since all agents of a user share it; written anew and renamed, so that a crash
    /// leaves the old list or the new one.
    fn change(&self, change: impl FnOnce(&mut Vec<Kept>) -> bool) -> Result<(), KeystoreError> {
        let work = || -> io::Result<()> {
            let lock = private().open(self.path.with_extension("lock"))?;
            lock.lock()?;
            let mut list = self.read()?;
            if !change(&mut list.keys) {
                return Ok(());
            }
            list.version = 1;
            let new = self.path.with_extension("new");
            let mut file = private().truncate(true).open(&new)?;
            file.write_all(&serde_json::to_vec_pretty(&list)?)?;
            file.sync_all()?;
            std::fs::rename(&new, &self.path)?;
            self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        work().map_err(|source| self.error(source))
    }

    fn read(&self) -> io::Result<List> {
        match std::fs::read(&self.path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(list) => Ok(list),
                Err(error) => {
                    // An agent that does not start is worse than one that has to be given its keys again.
                    let aside = self.path.with_extension("damaged");
                    tracing::error!(%error, aside = %aside.display(), "the list of kept keys is damaged, and set aside");
                    std::fs::rename(&self.path, aside)?;
                    Ok(List::default())
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(List::default()),
            Err(error) => Err(error),
        }
    }

    fn error(&self, source: io::Error) -> KeystoreError {
        KeystoreError { path: self.path.display().to_string(), source }
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}
