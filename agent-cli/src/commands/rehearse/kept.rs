//! The last rehearsal of each of the last ways, for whoever asks later whether there was one, and whether it says anything of today.

use std::io;
use std::path::PathBuf;

use agent::config::Loaded;
use agent::config::rehearse::RehearseConfig;
use agent::control::TokenStatus;
use agent::paths::Paths;
use agent::state_file::StateFile;
use jiff::{SignedDuration, Timestamp};

use super::recorded::UsedToken;
use super::result::{Rehearsal, Way};
use crate::agent_socket::Held;

/// Of so many ways.
const MOST: usize = 20;

pub(super) fn path(paths: &Paths) -> PathBuf {
    paths.state.join("rehearsals.json")
}

fn file(paths: &Paths) -> StateFile {
    StateFile::at(path(paths))
}

/// Keeps it, behind those of other ways.
pub(super) fn keep(paths: &Paths, rehearsal: &Rehearsal) -> io::Result<()> {
    let file = file(paths);
    file.change(|| {
        // What another version has written is given up: what comes counts.
        let mut all: Vec<Rehearsal> = match file.read() {
            Ok(all) => all.unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Vec::new(),
            Err(error) => return Err(error),
        };
        all.retain(|kept| kept.way() != rehearsal.way());
        all.push(rehearsal.clone());
        all.drain(..all.len().saturating_sub(MOST));
        Ok(Some(all))
    })
}

/// Forgets that of this way. Whether there was one; where there was none, and where the file can't be understood, it stays as
/// it is.
pub(super) fn forget(paths: &Paths, way: Way<'_>) -> io::Result<bool> {
    let file = file(paths);
    let mut found = false;
    file.change(|| {
        let mut all: Vec<Rehearsal> = file.read()?.unwrap_or_default();
        let before = all.len();
        all.retain(|kept| kept.way() != way);
        found = all.len() < before;
        Ok::<_, io::Error>(found.then_some(all))
    })?;
    Ok(found)
}

/// The last one of each way that is kept, the newest first.
pub(crate) fn last_of_each(paths: &Paths) -> io::Result<Vec<Rehearsal>> {
    let mut all: Vec<Rehearsal> = file(paths).read()?.unwrap_or_default();
    all.reverse();
    Ok(all)
}

/// What holds today.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Today<'a> {
    pub(crate) now: Timestamp,
    /// After how long a rehearsal is old.
    pub(crate) every: SignedDuration,
    /// The agent's keys; None where they are not known.
    pub(crate) keys: Option<&'a [Held]>,
    /// The tokens that are plugged in; None where they are not known.
    pub(crate) tokens: Option<&'a [TokenStatus]>,
}

/// After how long a rehearsal is old, by the settings; by default where they can't be read, of which others speak.
pub(crate) fn every(paths: &Paths) -> SignedDuration {
    Loaded::of(paths).map_or_else(|_| RehearseConfig::default().every(), |loaded| loaded.config.rehearse.every())
}

impl Rehearsal {
    /// Why it does not say that a login would succeed today; nothing where it does.
    pub(crate) fn doubts(&self, today: Today<'_>) -> Vec<String> {
        let mut doubts = Vec::new();
        if !self.passed {
            let cause =
                self.cause.as_ref().map_or_else(String::new, |cause| format!(": {} ({})", cause.what, cause.code));
            doubts.push(format!("it failed{cause}"));
        }
        let age = today.now.duration_since(self.time);
        if age > today.every {
            doubts.push(format!("it was {} days ago", age.as_hours() / 24));
        }
        let Some(login) = self.login() else { return doubts };
        if today.keys.is_some_and(|keys| keys.iter().all(|held| held.key.fingerprint != login.key)) {
            doubts.push(format!("it was with another key than the agent has today, {}", login.key));
        }
        if let (Some(used), Some(tokens)) = (&login.token, today.tokens)
            && !tokens.is_empty()
            && !tokens.iter().any(|token| is(used, token))
        {
            let name = used.name.as_ref().unwrap_or(&used.product);
            doubts.push(format!("it was with another token than is plugged in today, {name}"));
        }
        doubts
    }
}

/// A name is proven; without one there is only what a token says of itself.
fn is(used: &UsedToken, token: &TokenStatus) -> bool {
    match (&used.name, &token.name) {
        (Some(used), Some(name)) => used == name,
        _ => (&used.product, &used.serial) == (&token.device.product, &token.device.serial),
    }
}
