//! The identities the agent holds, and the list of those it takes up again after a restart.
//!
//! Its lock is held for moments only: listing keys never waits for a person, a token or a disk.

pub mod file;
mod kept;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ssh_key::public::KeyData;

use crate::identity::{Credential, Holder, Identity, fingerprint};
use file::KeyFileError;
use kept::KeptKeys;

/// All identities, in the order in which they were added.
#[derive(Debug)]
pub struct Keystore {
    identities: Mutex<Vec<Identity>>,
    kept: KeptKeys,
}

/// Why the list of kept keys could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct KeystoreError {
    /// The list's file.
    pub path: String,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

impl KeystoreError {
    /// For a change that was not carried through.
    pub(crate) fn unfinished(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { path: "the list of kept keys".into(), source: std::io::Error::other(reason) }
    }
}

impl Keystore {
    /// Takes up the keys listed below `state`. A key file that can't be read is passed over with a warning, and stays on
    /// the list: its disk may be plugged in again.
    ///
    /// # Errors
    /// When the list itself is there and can't be read.
    pub fn open(state: &Path) -> Result<Self, KeystoreError> {
        let kept = KeptKeys::below(state);
        let mut identities = Vec::new();
        for entry in kept.entries()? {
            let path = entry.path.display();
            match file::read(&entry.path) {
                Ok(identity) if fingerprint(&identity.public_key) == entry.key => identities.push(identity),
                Ok(_) => tracing::warn!(%path, "a kept key's file holds another key now, and is passed over"),
                Err(error) => tracing::warn!(%path, %error, "a kept key can't be read"),
            }
        }
        Ok(Self { identities: Mutex::new(identities), kept })
    }

    /// The identities that are good at `now`, a time since boot. Those whose lifetime is over are forgotten.
    #[must_use]
    pub fn list(&self, now: Duration) -> Vec<Identity> {
        let mut identities = self.identities();
        identities.retain(|identity| !identity.constraints.expired(now));
        identities.clone()
    }

    /// The identity of a public key.
    #[must_use]
    pub fn find(&self, key: &KeyData) -> Option<Identity> {
        self.identities().iter().find(|identity| identity.public_key == *key).cloned()
    }

    /// Adds an identity, or replaces the one with the same key, its comment and constraints too. With `path`, the file it
    /// came from, an unconstrained one is there again after a restart; a constrained one is not, even if it was kept
    /// before, or it would come back without its constraints. Reads and writes the list's file: not for the daemon's own
    /// thread.
    ///
    /// # Errors
    /// When the list of kept keys can't be written. The identity is added all the same.
    pub fn add(&self, identity: Identity, path: Option<PathBuf>) -> Result<(), KeystoreError> {
        let constrained = !identity.constraints.is_empty();
        let key = identity.public_key.clone();
        {
            let mut identities = self.identities();
            match identities.iter_mut().find(|other| other.public_key == key) {
                Some(other) => *other = identity,
                None => identities.push(identity),
            }
        }
        match path {
            _ if constrained => self.kept.remove(&key),
            Some(path) => self.kept.add(path, &key),
            None => Ok(()),
        }
    }

    /// Removes an identity for good; false when there is none of that key.
    ///
    /// # Errors
    /// When the list of kept keys can't be written.
    pub fn remove(&self, key: &KeyData) -> Result<bool, KeystoreError> {
        let there = {
            let mut identities = self.identities();
            let before = identities.len();
            identities.retain(|identity| identity.public_key != *key);
            identities.len() < before
        };
        self.kept.remove(key)?;
        Ok(there)
    }

    /// Removes all identities for good.
    ///
    /// # Errors
    /// When the list of kept keys can't be written.
    pub fn remove_all(&self) -> Result<(), KeystoreError> {
        self.identities().clear();
        self.kept.remove_all()
    }

    /// Opens the protected file of an identity and holds its credential from now on.
    ///
    /// # Errors
    /// When the file can't be read, or the passphrase is wrong.
    pub fn unlock(&self, identity: &Identity, path: &Path, passphrase: &[u8]) -> Result<Identity, KeyFileError> {
        let credential = file::read_credential(path, &identity.public_key, passphrase)?;
        let mut opened = identity.clone();
        opened.holder = Holder::Credential(credential);
        let mut identities = self.identities();
        // It may have been removed while the person typed; then it stays removed.
        if let Some(held) = identities.iter_mut().find(|held| held.public_key == opened.public_key) {
            held.holder = opened.holder.clone();
        }
        Ok(opened)
    }

    fn identities(&self) -> MutexGuard<'_, Vec<Identity>> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The credential of an identity, when it is at hand.
#[must_use]
pub fn credential(identity: &Identity) -> Option<&Credential> {
    match &identity.holder {
        Holder::Credential(credential) => Some(credential),
        Holder::ProtectedFile(_) => None,
    }
}
