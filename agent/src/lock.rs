//! Locking the agent under a password (RFC 9987 § 3.6).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time;
use ssh_key::rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

use crate::denial::{Code, Denial};

/// Rounds of key derivation: what ssh-agent takes. The password is for minutes, and its hash never leaves this memory.
const ROUNDS: u32 = 1;

/// How much longer each wrong password makes its caller wait, and the longest wait (ssh-agent.c, `process_lock_agent`).
const DELAY: Duration = Duration::from_millis(100);
const MOST_FAILURES: u32 = 100;

/// The agent's lock.
#[derive(Debug, Default)]
pub struct Lock(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    password: Option<Hash>,
    failures: u32,
}

struct Hash {
    salt: [u8; 16],
    hash: Zeroizing<[u8; 32]>,
}

/// Why a lock was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// It is locked already, or is not locked.
    #[error("the agent is in that state already")]
    NoChange,
    /// An empty password is none.
    #[error("the password is empty")]
    Empty,
    /// The password is not the one it was locked with. Whoever gave it has to wait this long for the answer.
    #[error("the password is wrong")]
    Wrong(Duration),
}

impl LockError {
    /// The refusal for whoever asked.
    pub(crate) fn denial(&self) -> Denial {
        let code = if matches!(self, Self::Wrong(_)) { Code::Locked } else { Code::LockUnchanged };
        Denial::new(code, self.to_string())
    }
}

impl Lock {
    /// Whether it is locked.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.state().password.is_some()
    }

    /// Locks. Deriving the hash takes milliseconds: not for the daemon's own thread.
    ///
    /// # Errors
    /// [`LockError::Empty`], [`LockError::NoChange`].
    pub fn lock(&self, password: &[u8]) -> Result<(), LockError> {
        let hash = Hash::of(password).ok_or(LockError::Empty)?;
        let mut state = self.state();
        if state.password.is_some() {
            return Err(LockError::NoChange);
        }
        state.password = Some(hash);
        Ok(())
    }

    /// Unlocks. Deriving the hash takes milliseconds: not for the daemon's own thread.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn unlock(&self, password: &[u8]) -> Result<(), LockError> {
        let salt = self.state().password.as_ref().map(|expected| expected.salt).ok_or(LockError::NoChange)?;
        // Nobody who only asks whether it is locked waits for this.
        let hash = derive(password, &salt).ok_or(LockError::Empty)?;
        let mut state = self.state();
        let expected = state.password.as_ref().ok_or(LockError::NoChange)?;
        if constant_time::verify_slices_are_equal(&*hash, &*expected.hash).is_ok() {
            *state = State::default();
            return Ok(());
        }
        state.failures = MOST_FAILURES.min(state.failures + 1);
        Err(LockError::Wrong(DELAY * state.failures))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hash {
    fn of(password: &[u8]) -> Option<Self> {
        let mut salt = [0; 16];
        OsRng.fill_bytes(&mut salt);
        let hash = derive(password, &salt)?;
        Some(Self { salt, hash })
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash")
    }
}

/// None for an empty password.
fn derive(password: &[u8], salt: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut hash = Zeroizing::new([0; 32]);
    bcrypt_pbkdf::bcrypt_pbkdf(password, salt, ROUNDS, hash.as_mut_slice()).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_password_opens_it_and_wrong_ones_cost_more_and_more() {
        let lock = Lock::default();
        assert_eq!(lock.lock(b""), Err(LockError::Empty));
        assert_eq!(lock.unlock(b"right"), Err(LockError::NoChange));
        lock.lock(b"right").unwrap();
        assert!(lock.is_locked());
        assert_eq!(lock.lock(b"other"), Err(LockError::NoChange));
        assert_eq!(lock.unlock(b""), Err(LockError::Empty));
        for failures in 1..=3 {
            assert_eq!(lock.unlock(b"wrong"), Err(LockError::Wrong(DELAY * failures)));
        }
        lock.unlock(b"right").unwrap();
        assert!(!lock.is_locked());
    }

    #[test]
    fn nobody_waits_longer_than_ten_seconds() {
        let lock = Lock::default();
        lock.lock(b"right").unwrap();
        lock.state().failures = MOST_FAILURES;
        assert_eq!(lock.unlock(b"wrong"), Err(LockError::Wrong(Duration::from_secs(10))));
    }
}
