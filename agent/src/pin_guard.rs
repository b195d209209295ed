//! What keeps a person from using up the tries of a token's PIN. Three wrong ones in a row lock the token until it is
//! plugged in again (CTAP 2.1 § 6.5.5.7.2), eight in all lock it for good (§ 6.5.2.3), and its keys are lost then.
//!
//! Whatever sends a PIN, to sign or to manage, asks here first. What is remembered is read from the token's own counter, so
//! that a try whose end nobody saw, and those of other programs, count as well.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::denial::{Code, Denial};
use crate::prompt::PromptError;
use crate::token::hidraw::Plugging;
use crate::token::protocol::State;

/// Wrong PINs between two pluggings-in. A third one in a row would make plugging in the only way on.
const MOST_WRONG: u32 = 2;

/// With so many tries left, a person has to insist.
const FEW: u32 = 2;

/// The wrong PINs of each token since it was plugged in.
#[derive(Debug, Default)]
pub struct PinGuard(Mutex<BTreeMap<String, Tries>>);

#[derive(Debug)]
struct Tries {
    plugging: Plugging,
    /// The most tries that the token has had since.
    most: u32,
    /// Those that it had when it was last asked.
    left: u32,
}

impl Tries {
    fn wrong(&self) -> u32 {
        self.most.saturating_sub(self.left)
    }
}

impl PinGuard {
    /// Whether a PIN may be asked for, by what the token says of itself now. Gives the tries that are left.
    ///
    /// # Errors
    /// The refusal: the token takes none, or has been given wrong ones enough.
    pub(crate) fn may_ask(&self, token: &Plugging, state: &State) -> Result<u32, Denial> {
        let left = match state.pin_retries {
            Some(left) if state.pin_set == Some(true) => left,
            _ => return Err(Denial::plain(Code::PinNotSet)),
        };
        if left == 0 {
            return Err(Denial::plain(Code::PinBlocked));
        }
        if state.power_cycle_needed {
            return Err(Denial::plain(Code::PinReplug));
        }
        if self.note(token, left) >= MOST_WRONG { Err(too_many(left)) } else { Ok(left) }
    }

    /// The token did not accept a PIN. `left` is what it says now.
    ///
    /// # Errors
    /// The refusal that ends the request, where no other PIN may be asked for.
    pub(crate) fn wrong(&self, token: &Plugging, left: u32) -> Result<(), Denial> {
        if left == 0 {
            return Err(Denial::plain(Code::PinBlocked));
        }
        if self.note(token, left) >= MOST_WRONG { Err(too_many(left)) } else { Ok(()) }
    }

    /// The token accepted a PIN, which gives all tries back.
    pub(crate) fn right(&self, token: &Plugging) {
        self.tokens().remove(token.path());
    }

    /// Takes note of the tries that are left, and says how many PINs were wrong since the token was plugged in.
    fn note(&self, token: &Plugging, left: u32) -> u32 {
        let mut tokens = self.tokens();
        // Another plugging-in has taken the place of the one before it: this does not grow.
        let tries = tokens
            .entry(token.path().to_owned())
            .and_modify(|tries| {
                // More than before: somebody has given the right PIN.
                let most = if left > tries.left { tries.most.max(left) } else { tries.most };
                *tries = match tries.plugging == *token {
                    true => Tries { plugging: token.clone(), most, left },
                    false => Tries { plugging: token.clone(), most: left, left },
                };
            })
            .or_insert_with(|| Tries { plugging: token.clone(), most: left, left });
        tries.wrong()
    }

    fn tokens(&self) -> MutexGuard<'_, BTreeMap<String, Tries>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_many(left: u32) -> Denial {
    let reason = format!("{MOST_WRONG} wrong PINs were tried since the token was plugged in; {left} tries are left");
    Denial::new(Code::PinGuard, reason)
}

/// A token that was told to have its PIN changed takes it for nothing else (CTAP 2.1 § 6.5.5.7.1): it would call the right
/// one wrong.
///
/// # Errors
/// The refusal.
pub(crate) fn usable(state: &State) -> Result<(), Denial> {
    if state.force_pin_change { Err(Denial::plain(Code::PinChangeRequired)) } else { Ok(()) }
}

/// What the person has to insist on before a PIN is asked for, where few tries are left.
pub(crate) fn stake(left: u32) -> Option<String> {
    match left {
        1 => Some("This is the last try for the token's PIN. If it is wrong, the PIN is blocked for good and the keys on the token are lost. Try all the same? ".into()),
        2..=FEW => Some(format!("Only {left} tries are left for the token's PIN. After {left} wrong ones it is blocked for good and the keys on the token are lost. Try all the same? ")),
        _ => None,
    }
}

/// What the answer to the prompt of [`stake`] means.
///
/// # Errors
/// The refusal, where the person did not insist or could not be asked.
pub(crate) fn insisted(answer: Result<(), PromptError>, left: u32) -> Result<(), Denial> {
    answer.map_err(|error| match error {
        PromptError::Refused => {
            Denial::new(Code::PinFewTries, format!("PIN tries left: {left}, and no other one was insisted on"))
        }
        other => other.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: u64) -> Plugging {
        Plugging::for_tests("/dev/hidraw0", number)
    }

    fn with(left: u32) -> State {
        State { pin_set: Some(true), credential_management: true, pin_retries: Some(left), ..State::default() }
    }

    fn asked(guard: &PinGuard, token: &Plugging, left: u32) -> Result<u32, Code> {
        guard.may_ask(token, &with(left)).map_err(|denial| denial.code)
    }

    #[test]
    fn two_wrong_pins_are_the_end_until_the_token_is_plugged_in_again() {
        let (guard, first, second) = (PinGuard::default(), token(1), token(2));
        assert_eq!(asked(&guard, &first, 8), Ok(8));
        assert_eq!(guard.wrong(&first, 7), Ok(()));
        assert_eq!(asked(&guard, &first, 7), Ok(7), "another request");
        assert_eq!(guard.wrong(&first, 6).unwrap_err().code, Code::PinGuard);
        assert_eq!(asked(&guard, &first, 6), Err(Code::PinGuard));
        assert_eq!(asked(&guard, &second, 6), Ok(6), "plugged in again");
        assert_eq!(guard.wrong(&second, 5), Ok(()));
    }

    #[test]
    fn a_right_pin_begins_anew() {
        let (guard, token) = (PinGuard::default(), token(1));
        assert_eq!(asked(&guard, &token, 8), Ok(8));
        assert_eq!(guard.wrong(&token, 7), Ok(()));
        guard.right(&token);
        assert_eq!(asked(&guard, &token, 8), Ok(8));
        assert_eq!(guard.wrong(&token, 7), Ok(()));
    }

    #[test]
    fn what_other_programs_tried_counts() {
        let (guard, token) = (PinGuard::default(), token(1));
        assert_eq!(asked(&guard, &token, 8), Ok(8));
        assert_eq!(asked(&guard, &token, 6), Err(Code::PinGuard), "two wrong ones by another program");
        assert_eq!(asked(&guard, &token, 8), Ok(8), "and the right one");
        assert_eq!(asked(&guard, &token, 7), Ok(7));
    }

    #[test]
    fn a_token_that_takes_no_pin_is_not_asked_for_one() {
        let (guard, token) = (PinGuard::default(), token(1));
        let refusal = |state: &State| guard.may_ask(&token, state).unwrap_err().code;
        assert_eq!(refusal(&with(0)), Code::PinBlocked);
        assert_eq!(refusal(&State { pin_set: Some(false), pin_retries: None, ..with(8) }), Code::PinNotSet);
        assert_eq!(refusal(&State { power_cycle_needed: true, ..with(5) }), Code::PinReplug);
        assert_eq!(usable(&State { force_pin_change: true, ..with(8) }).unwrap_err().code, Code::PinChangeRequired);
        assert_eq!(guard.wrong(&token, 0).unwrap_err().code, Code::PinBlocked);
    }

    #[test]
    fn the_last_tries_have_to_be_insisted_on() {
        for (left, insisted) in [(8, false), (3, false), (2, true), (1, true)] {
            assert_eq!(stake(left).is_some(), insisted, "{left}");
        }
    }
}
