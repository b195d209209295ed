//! Locking the agent: under a password (RFC 9987 § 3.6), and while its person is away. Each holds for itself.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time;
use ssh_key::rand_core::{OsRng, RngCore};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::audit::record::LeaveReason;
use crate::denial::{Code, Denial};

/// Rounds of key derivation: what ssh-agent takes. The password is for minutes, and its hash never leaves this memory.
const ROUNDS: u32 = 1;

/// How much longer each wrong password makes its caller wait, and the longest wait (ssh-agent.c, `process_lock_agent`).
const DELAY: Duration = Duration::from_millis(100);
const MOST_FAILURES: u32 = 100;

/// The agent's lock.
#[derive(Debug, Default)]
pub struct Lock {
    password: Mutex<State>,
    /// Why its person is away; None while they are here.
    away: watch::Sender<Option<LeaveReason>>,
}

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
    /// There is no password: it is locked while its person is away.
    #[error("the agent is locked since {0}: unlock the session, or run `agent-cli unlock` on this machine")]
    Away(LeaveReason),
}

impl LockError {
    /// The refusal for whoever asked.
    pub(crate) fn denial(&self) -> Denial {
        let code = if matches!(self, Self::Wrong(_) | Self::Away(_)) { Code::Locked } else { Code::LockUnchanged };
        Denial::new(code, self.to_string())
    }
}

impl Lock {
    /// Whether it is locked.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.has_password() || self.away().is_some()
    }

    /// Whether it is locked under a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.state().password.is_some()
    }

    /// Why its person is away; None while they are here.
    #[must_use]
    pub fn away(&self) -> Option<LeaveReason> {
        *self.away.borrow()
    }

    /// Locks until its person comes back. False where it is locked so already.
    pub fn leave(&self, reason: LeaveReason) -> bool {
        self.away.send_if_modified(|away| away.is_none() && away.replace(reason).is_none())
    }

    /// Lifts that lock, and no other. False where there is none.
    pub fn come_back(&self) -> bool {
        self.away.send_if_modified(|away| away.take().is_some())
    }

    /// Waits until its person is away.
    pub(crate) async fn left(&self) -> Denial {
        let mut away = self.away.subscribe();
        match away.wait_for(Option::is_some).await.ok().and_then(|reason| *reason) {
            Some(reason) => Denial::new(Code::Locked, format!("{reason} while the request waited")),
            None => Denial::plain(Code::Locked),
        }
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
        let salt = self.state().password.as_ref().map(|expected| expected.salt);
        let salt = salt.ok_or_else(|| self.away().map_or(LockError::NoChange, LockError::Away))?;
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
        self.password.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_password_and_an_absence_lock_each_for_itself() {
        let lock = Lock::default();
        assert!(!lock.come_back());
        assert!(lock.leave(LeaveReason::Suspend));
        assert!(!lock.leave(LeaveReason::ScreenLock), "it is locked already");
        assert_eq!(lock.unlock(b"any"), Err(LockError::Away(LeaveReason::Suspend)));
        lock.lock(b"right").unwrap();
        lock.unlock(b"right").unwrap();
        assert!(lock.is_locked() && !lock.has_password());

        lock.lock(b"right").unwrap();
        assert!(lock.come_back());
        assert!(lock.is_locked() && lock.away().is_none());
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
