//! The identities the agent holds, and the list of those it takes up again after a restart.
//!
//! Its lock is held for moments only: listing keys never waits for a person, a token or a disk.

pub mod file;
mod kept;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::identity::{Holder, Identity, fingerprint};
use file::KeyFileError;
use kept::KeptKeys;

/// The most identities, and the longest list of them: OpenSSH's programs take no more (authfd.c, MAX_AGENT_IDENTITIES and
/// MAX_AGENT_REPLY_LEN), and show none of the keys where there are more.
const MOST_IDENTITIES: usize = 2048;
const LONGEST_LIST: usize = 256 * 1024;

/// The message's number and the number of keys, in front of a list.
const LIST_HEADER: usize = 5;

/// What all identities may take of memory, with their constraints: a key has some hundred bytes of those, and may have up
/// to 256 KiB, which nobody should be able to fill the memory with.
const MOST_MEMORY: usize = 4 * 1024 * 1024;

/// How long a lifetime may be over before it is noticed, where the machine was suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// All identities, in the order in which they were added.
#[derive(Debug)]
pub struct Keystore {
    held: Mutex<Arc<Identities>>,
    /// Notified of each change, for [`Self::forget_expired`].
    changed: Notify,
    kept: KeptKeys,
}

/// The identities at one moment. Whoever has them keeps them, whatever is added or removed meanwhile.
#[derive(Debug, Default)]
pub struct Identities {
    list: Vec<Arc<Identity>>,
    /// The answer to a client that may see all of them, made when the first one asks.
    encoded: OnceLock<Bytes>,
    next_expiry: Option<Duration>,
    any_destinations: bool,
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

impl Identities {
    fn new(list: Vec<Arc<Identity>>) -> Self {
        let next_expiry = list.iter().filter_map(|identity| identity.constraints.expires_at).min();
        let any_destinations = list.iter().any(|identity| !identity.constraints.destinations.is_empty());
        Self { list, encoded: OnceLock::new(), next_expiry, any_destinations }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Identity>> {
        self.list.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether some of them may be shown to some clients only.
    #[must_use]
    pub fn any_destinations(&self) -> bool {
        self.any_destinations
    }

    /// What `encode` makes of all of them, once for each change.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.encoded.get_or_init(|| encode(self)).clone()
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
                Ok(read) if read.iter().all(|identity| fingerprint(&identity.public_key) == entry.key) => {
                    identities.extend(read.into_iter().map(Arc::new));
                }
                Ok(_) => tracing::warn!(%path, "a kept key's file holds another key now, and is passed over"),
                Err(error) => tracing::warn!(%path, %error, "a kept key can't be read"),
            }
        }
        Ok(Self { held: Mutex::new(Arc::new(Identities::new(identities))), changed: Notify::new(), kept })
    }

    /// The identities that are good at `now`, a time since boot. Those whose lifetime is over are forgotten.
    #[must_use]
    pub fn list(&self, now: Duration) -> Arc<Identities> {
        let mut held = self.held();
        if held.next_expiry.is_some_and(|expiry| expiry <= now) {
            let alive = held.list.iter().filter(|identity| !identity.constraints.expired(now)).cloned().collect();
            *held = Arc::new(Identities::new(alive));
        }
        Arc::clone(&held)
    }

    /// The identity that clients name by `blob`, if it is good at `now`, a time since boot.
    #[must_use]
    pub fn find(&self, blob: &[u8], now: Duration) -> Option<Arc<Identity>> {
        self.list(now).list.iter().find(|identity| identity.blob == blob).cloned()
    }

    /// Forgets each identity when its time is over, whether or not anybody asks for it then. `clock` gives the time since
    /// boot. Never ends.
    pub async fn forget_expired(&self, clock: impl Fn() -> Duration) {
        loop {
            let next = self.list(clock()).next_expiry;
            let sleep = async {
                match next {
                    // Time in which the machine is suspended counts for a lifetime, and not for a sleep.
                    Some(expiry) => tokio::time::sleep(expiry.saturating_sub(clock()).min(LONGEST_SLEEP)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Whether there is room for an identity at `now`, a time since boot, in place of the one with the same key.
    #[must_use]
    pub fn has_room_for(&self, identity: &Identity, now: Duration) -> bool {
        let held = self.list(now);
        let others = || held.list.iter().filter(|other| other.blob != identity.blob).map(AsRef::as_ref);
        let all = || others().chain([identity]);
        all().count() <= MOST_IDENTITIES
            && LIST_HEADER + all().map(Identity::listed_size).sum::<usize>() <= LONGEST_LIST
            && all().map(Identity::size).sum::<usize>() <= MOST_MEMORY
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
        self.change(|identities| {
            let identity = Arc::new(identity);
            match identities.iter_mut().find(|other| other.blob == identity.blob) {
                Some(other) => *other = identity,
                None => identities.push(identity),
            }
        });
        match path {
            _ if constrained => self.kept.remove(&key),
            Some(path) => self.kept.add(path, &key),
            None => Ok(()),
        }
    }

    /// Removes an identity for good; false when there is none of that name.
    ///
    /// # Errors
    /// When the list of kept keys can't be written.
    pub fn remove(&self, blob: &[u8]) -> Result<bool, KeystoreError> {
        let Some(identity) = self.held().list.iter().find(|identity| identity.blob == blob).cloned() else {
            return Ok(false);
        };
        self.change(|identities| identities.retain(|identity| identity.blob != blob));
        self.kept.remove(&identity.public_key)?;
        Ok(true)
    }

    /// Removes all identities for good.
    ///
    /// # Errors
    /// When the list of kept keys can't be written.
    pub fn remove_all(&self) -> Result<(), KeystoreError> {
        self.change(Vec::clear);
        self.kept.remove_all()
    }

    /// Opens the protected file of an identity and holds its credential from now on.
    ///
    /// # Errors
    /// When the file can't be read, or the passphrase is wrong.
    pub fn unlock(&self, identity: &Identity, path: &Path, passphrase: &[u8]) -> Result<Arc<Identity>, KeyFileError> {
        let credential = file::read_credential(path, &identity.public_key, passphrase)?;
        let opened = Arc::new(Identity { holder: Holder::Credential(credential), ..identity.clone() });
        // It may have been removed while the person typed; then it stays removed.
        self.change(|identities| {
            if let Some(held) = identities.iter_mut().find(|held| held.blob == identity.blob && ***held == *identity) {
                *held = Arc::clone(&opened);
            }
        });
        Ok(opened)
    }

    /// Whether this very identity is still held: neither removed, nor added anew, perhaps with more constraints.
    #[must_use]
    pub fn still_holds(&self, identity: &Identity) -> bool {
        self.held().list.iter().any(|held| held.blob == identity.blob && **held == *identity)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Identity>>)) {
        let mut held = self.held();
        let mut list = held.list.clone();
        change(&mut list);
        *held = Arc::new(Identities::new(list));
        self.changed.notify_one();
    }

    fn held(&self) -> MutexGuard<'_, Arc<Identities>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::since_boot;
    use crate::constraint::Constraints;
    use crate::software_key::SoftwareKey;

    #[test]
    fn a_key_is_forgotten_when_its_time_is_over_though_nobody_asks() {
        let folder = tempfile::tempdir().unwrap();
        let keystore = Keystore::open(folder.path()).unwrap();
        let pair = ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]);
        let public_key = ssh_key::public::KeyData::Ed25519(pair.public);
        let key = SoftwareKey::ed25519(&[7; 32], &pair.public.0).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let added = async {
                // Only once the other waits: it has to notice what is added later.
                tokio::task::yield_now().await;
                let expires_at = Some(since_boot() + Duration::from_millis(20));
                let identity = Identity {
                    blob: crate::identity::key_blob(&public_key),
                    public_key,
                    comment: String::new(),
                    holder: Holder::Software(key),
                    constraints: Constraints { expires_at, ..Constraints::default() },
                };
                keystore.add(identity, None).unwrap();
                let held = Arc::downgrade(&keystore.held().list[0]);
                while held.upgrade().is_some() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                () = added => {}
                () = keystore.forget_expired(since_boot) => panic!("it never ends"),
                () = tokio::time::sleep(Duration::from_secs(60)) => panic!("the key is still there"),
            }
        });
        assert!(keystore.held().list.is_empty());
    }
}
