//! What is known of the devices that are plugged in, as long as they are: it is gone with the plugging-in it was found out in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::hidraw::Plugging;

/// What was found out in each plugging-in.
#[derive(Debug, Default)]
pub(crate) struct Pluggings(Mutex<BTreeMap<Plugging, FoundOut>>);

#[derive(Debug, Default)]
struct FoundOut {
    /// The person was shown the device and said that it is theirs.
    confirmed: bool,
    /// The fingerprints of the keys that it has signed with, as was verified.
    signed_with: BTreeSet<String>,
}

impl Pluggings {
    /// Whether the person said of this device that it is theirs.
    pub(crate) fn is_confirmed(&self, plugging: &Plugging) -> bool {
        self.lock().get(plugging).is_some_and(|found| found.confirmed)
    }

    pub(crate) fn confirm(&self, plugging: &Plugging) {
        self.of(plugging, |found| found.confirmed = true);
    }

    /// Whether this device has signed with the key.
    pub(crate) fn has_signed_with(&self, plugging: &Plugging, fingerprint: &str) -> bool {
        self.lock().get(plugging).is_some_and(|found| found.signed_with.contains(fingerprint))
    }

    pub(crate) fn signed_with(&self, plugging: &Plugging, fingerprint: &str) {
        self.of(plugging, |found| {
            found.signed_with.insert(fingerprint.to_owned());
        });
    }

    fn of(&self, plugging: &Plugging, change: impl FnOnce(&mut FoundOut)) {
        let mut known = self.lock();
        known.retain(|plugging, _| plugging.is_current());
        change(known.entry(plugging.clone()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Plugging, FoundOut>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
