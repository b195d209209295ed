//! Destination constraints (statements 5, 6 and 13).

use super::key::{canonical, is_another};
use super::reader::Reader;
use super::reason::{Notes, Reason};
use crate::cast::{Facts, Holder, HostKey, cast};

const MOST_DESTINATIONS: usize = 1024;
const LONGEST_USER: usize = 256;

/// One step that is permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    from: Hop,
    to: Hop,
}

/// One end of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hop {
    user: Vec<u8>,
    name: Vec<u8>,
    keys: Vec<(Vec<u8>, bool)>,
}

/// A session that is bound to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) host: HostKey,
    pub(super) session: Vec<u8>,
    pub(super) forwarding: bool,
}

/// Reads the list of a key's destinations.
pub(super) fn destinations(list: &[u8], notes: &mut Notes) -> Option<Vec<Destination>> {
    let mut list = Reader(list);
    let mut destinations = Vec::new();
    while !list.is_empty() {
        if destinations.len() == MOST_DESTINATIONS {
            return None;
        }
        let mut one = Reader(list.string()?);
        let from = hop(one.string()?, notes)?;
        let to = hop(one.string()?, notes)?;
        let reserved = one.string()?;
        let from_fits = from.user.is_empty() && from.name.is_empty() == from.keys.is_empty();
        let to_fits = !to.name.is_empty() && !to.keys.is_empty();
        if !reserved.is_empty() || !from_fits || !to_fits {
            return None;
        }
        notes.note_if(!one.is_empty(), Reason::LeftOver);
        destinations.push(Destination { from, to });
    }
    Some(destinations)
}

fn hop(hop: &[u8], notes: &mut Notes) -> Option<Hop> {
    let mut hop = Reader(hop);
    let user = hop.text(notes)?.to_vec();
    let name = hop.text(notes)?.to_vec();
    let reserved = hop.string()?;
    if !reserved.is_empty() || user.len() > LONGEST_USER {
        return None;
    }
    let mut keys = Vec::new();
    while !hop.is_empty() {
        let key = hop.string().and_then(|key| public_key(key, notes))?;
        keys.push((key, hop.byte()? != 0));
    }
    Some(Hop { user, name, keys })
}

/// A public key, which need not be anybody's.
fn public_key(blob: &[u8], notes: &mut Notes) -> Option<Vec<u8>> {
    let key = canonical(blob, notes);
    let is_key = match cast().host_key(&key) {
        Some(HostKey::Certified(..)) => {
            notes.note_if(true, Reason::CertificateInConstraint);
            true
        }
        Some(HostKey::Plain(_)) => true,
        None => is_another(&key),
    };
    is_key.then_some(key)
}

/// Whether a key with these constraints may be seen over a connection, or used by `user` at its end. The connection's
/// `failed` says whether any binding of it failed.
pub(super) fn permitted(
    destinations: &[Destination],
    bindings: &[Binding],
    failed: bool,
    user: Option<&[u8]>,
    now: u64,
    notes: &mut Notes,
) -> bool {
    if destinations.is_empty() {
        return true;
    }
    let permitted = |version| {
        let good = |facts: &Facts, name: &[u8]| facts.is_good(now) && facts.names(name, version);
        walk(destinations, bindings, user, &good)
    };
    let (by_ours, by_theirs) = (permitted(Version::Ten), permitted(Version::Nine));
    // In 10.5 too an attempt that failed hides such keys, until another one succeeds.
    notes.note_if(failed, Reason::FailedBinding);
    notes.note_if(!by_ours, Reason::NoPrincipals);
    notes.note_theirs_if(!by_theirs, Reason::PrincipalPatterns);
    by_ours || by_theirs
}

/// What certificates name hosts by.
#[derive(Clone, Copy)]
enum Version {
    /// As Debian's 9.2: by their principals, as they are; one without any is for all hosts.
    Nine,
    /// As 10.5, and ours: by patterns; one without any is for none.
    Ten,
}

/// Whether a host's certificate is good for a name.
type Good<'g> = &'g dyn Fn(&Facts, &[u8]) -> bool;

fn walk(destinations: &[Destination], bindings: &[Binding], user: Option<&[u8]>, good: Good<'_>) -> bool {
    let Some((last, before)) = bindings.split_last() else {
        return user.is_none();
    };
    let step = |from: Option<&Binding>, to: Option<&Binding>, user: Option<&[u8]>| {
        destinations.iter().any(|one| {
            let from_fits = match from {
                None => one.from.keys.is_empty(),
                Some(from) => one.from.is(from, good),
            };
            let user_fits = one.to.user.is_empty() || user.is_none_or(|user| matches(&one.to.user, user));
            from_fits && user_fits && to.is_none_or(|to| one.to.is(to, good))
        })
    };
    let mut from = None;
    for hop in before {
        if !hop.forwarding || !step(from, Some(hop), None) {
            return false;
        }
        from = Some(hop);
    }
    if last.forwarding && user.is_some() {
        return false;
    }
    let onward = || !last.forwarding || user.is_some() || step(Some(last), None, None);
    step(from, Some(last), user) && onward()
}

impl Hop {
    fn is(&self, bound: &Binding, good: Good<'_>) -> bool {
        let has = |holder: Holder, authority: bool| {
            let wanted = cast().host_blob(HostKey::Plain(holder));
            self.keys.iter().any(|(key, is_authority)| *is_authority == authority && key == wanted)
        };
        match bound.host {
            HostKey::Plain(holder) => has(holder, false),
            HostKey::Certified(holder, kind) => {
                let facts = kind.facts(holder);
                has(facts.authority, true) && good(&facts, &self.name)
            }
        }
    }
}

impl Facts {
    fn is_good(&self, now: u64) -> bool {
        self.is_host && self.valid.contains(&now) && !self.critical
    }

    fn names(&self, host: &[u8], version: Version) -> bool {
        let mut principals = self.principals.iter().map(|principal| principal.as_bytes());
        match version {
            Version::Nine => self.principals.is_empty() || principals.any(|principal| principal == host),
            Version::Ten => principals.any(|principal| matches(principal, host)),
        }
    }
}

/// Whether a text fits a pattern (match.c): `*` is anything, `?` any byte.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', pattern)), _) if matches(pattern, text) => true,
        (Some((b'*', _)), Some((_, text))) => matches(pattern, text),
        (Some((b'?', pattern)), Some((_, text))) => matches(pattern, text),
        (Some((p, pattern)), Some((t, text))) => p == t && matches(pattern, text),
        _ => false,
    }
}
