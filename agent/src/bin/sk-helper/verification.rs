//! User verification around a command: a PIN is looked at before it is sent, and the tries left are counted after it
//! failed.

use agent::token::TokenError;
use agent::token::protocol::{Failure, Pin, Verification};

use crate::attempt::Job;
use crate::daemon::Daemon;
use crate::failure::{Stop, failure};
use crate::hid;
use crate::operation::perform;

/// How a command has its user verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    /// Not at all.
    None,
    /// By the token's sensor.
    BuiltIn,
    /// By a PIN.
    Pin,
}

impl Means {
    /// What a command asks for. A PIN that can't be right is refused here: the library panics on a long one, and any
    /// other would cost a try.
    pub(crate) fn of(verification: &Verification) -> Result<Self, Failure> {
        match verification {
            Verification::None => Ok(Self::None),
            Verification::BuiltIn => Ok(Self::BuiltIn),
            Verification::Pin(pin) => check(pin).map(|()| Self::Pin),
        }
    }

    /// Completes a failure with the tries left, and tells a blocked sensor from a blocked PIN.
    pub(crate) fn explain(self, stop: Stop, daemon: &mut Daemon, path: &str) -> Stop {
        let Stop::Failed(mut failure) = stop else { return stop };
        let explained = match (self, &failure.error) {
            (_, TokenError::PinInvalid { .. }) => {
                count(daemon, path, hid::pin_retries(path)).map(|retries| TokenError::PinInvalid { retries })
            }
            (_, TokenError::UvInvalid { .. }) => {
                count(daemon, path, hid::uv_retries(path)).map(|retries| TokenError::UvInvalid { retries })
            }
            // After too many fingers a token answers PIN_BLOCKED, or that it wants its PIN, and not UV_BLOCKED
            // (CTAP 2.1 § 6.1.2 step 11, § 6.2.2 step 6).
            (Self::BuiltIn, error @ (TokenError::PinBlocked | TokenError::PinRequired)) => {
                let error = error.clone();
                count(daemon, path, hid::uv_retries(path))
                    .map(|retries| if retries == Some(0) { TokenError::UvBlocked } else { error })
            }
            _ => return Stop::Failed(failure),
        };
        match explained {
            Ok(error) => {
                failure.error = error;
                Stop::Failed(failure)
            }
            Err(gone) => gone,
        }
    }
}

/// Refuses a PIN that can't be right.
pub(crate) fn check(pin: &Pin) -> Result<(), Failure> {
    if pin.is_possible() {
        return Ok(());
    }
    Err(failure(TokenError::PinInvalid { retries: None }, "a PIN has 4 to 63 characters: none was sent to the token"))
}

/// Refuses a PIN that no token could be given. What else this one wants of it is looked at beside the token.
pub(crate) fn check_new(pin: &Pin) -> Result<(), Failure> {
    check(pin).map_err(|failure| Failure { error: TokenError::PinPolicy, ..failure })
}

/// Asks for a counter; a token that does not tell leaves it unknown.
fn count(daemon: &mut Daemon, path: &str, job: Job<u32>) -> Result<Option<u32>, Stop> {
    match perform(daemon, path, job) {
        Ok(retries) => Ok(Some(retries)),
        Err(Stop::Failed(_)) => Ok(None),
        Err(Stop::DaemonGone) => Err(Stop::DaemonGone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_pins_are_refused() {
        for pin in ["", "123", "äöü", &"x".repeat(64), &"ä".repeat(32)] {
            assert!(check(&Pin(pin.into())).is_err(), "{pin}");
        }
        for pin in ["1234", "äöüß", &"x".repeat(63)] {
            assert!(check(&Pin(pin.into())).is_ok(), "{pin}");
        }
    }
}
