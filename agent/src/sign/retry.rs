//! The tries of one request: what is tried first, and what follows a failure. Bounded, and never a PIN twice.

use crate::audit::record::Verification;
use crate::denial::{Code, Denial};
use crate::pin_guard::PinGuard;
use crate::policy::UserVerification;
use crate::token::TokenError;
use crate::token::hidraw::Plugging;
use crate::token::protocol::{Failure, State};

/// PIN prompts of one request: the first, and one more after a wrong PIN.
const PIN_PROMPTS: u32 = 2;

/// Fingers of one request, before the PIN is asked for instead.
const FINGER_TRIES: u32 = 3;

/// The tries of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tries {
    required: UserVerification,
    verification: Verification,
    /// Whether the token has one to fall back to.
    pin_set: bool,
    /// Whether the request came through another host: the person may not see who really asks, and gets one try.
    forwarded: bool,
    pin_prompts: u32,
    pin_proven: bool,
    fingers: u32,
    /// What went wrong before, for the next prompt.
    note: String,
}

/// What follows a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask again, as [`Tries::verification`] now says.
    Again,
    /// Begin anew: this token verifies its user for every signature, whatever the key asks (alwaysUv, CTAP 2.1 § 7.2).
    AlwaysVerified,
    /// Refuse.
    GiveUp(Denial),
}

/// The token's own sensor.
enum Sensor {
    Ready,
    Blocked,
    /// There is none, or no finger is enrolled.
    Absent,
}

impl Tries {
    /// Where the token need not verify its user.
    pub(super) fn without_verification(forwarded: bool) -> Self {
        Self {
            required: UserVerification::NotRequired,
            verification: Verification::None,
            pin_set: false,
            forwarded,
            pin_prompts: 0,
            pin_proven: false,
            fingers: 0,
            note: String::new(),
        }
    }

    /// What comes first, as the token is now. A PIN is looked after when it is asked for: see [`super::verification`].
    pub(super) fn with_verification(
        required: UserVerification,
        state: &State,
        forwarded: bool,
    ) -> Result<Self, Denial> {
        use UserVerification::{BuiltIn, BuiltInThenPin, NotRequired, Pin, PinAndBuiltIn};
        let sensor = match (state.built_in_uv, state.uv_retries) {
            (Some(true), Some(0)) => Sensor::Blocked,
            (Some(true), _) => Sensor::Ready,
            _ => Sensor::Absent,
        };
        let (verification, note) = match (required, sensor) {
            (NotRequired, _) => (Verification::None, ""),
            (Pin, _) | (BuiltInThenPin, Sensor::Absent) => (Verification::Pin, ""),
            (BuiltIn | BuiltInThenPin, Sensor::Ready) => (Verification::BuiltIn, ""),
            (BuiltInThenPin, Sensor::Blocked) => (Verification::Pin, "The fingerprint sensor is blocked. "),
            (PinAndBuiltIn, Sensor::Ready) => (Verification::PinAndBuiltIn, ""),
            // The right PIN gives the sensor its tries back (CTAP 2.1 § 6.5.3).
            (PinAndBuiltIn, Sensor::Blocked) => {
                (Verification::PinAndBuiltIn, "The fingerprint sensor is blocked until the PIN is given. ")
            }
            (BuiltIn, Sensor::Blocked) => return Err(Denial::plain(Code::FingerBlocked)),
            (BuiltIn | PinAndBuiltIn, Sensor::Absent) => return Err(Denial::plain(Code::NoFingerprint)),
        };
        Ok(Self {
            required,
            verification,
            pin_set: state.pin_set == Some(true),
            note: note.into(),
            ..Self::without_verification(forwarded)
        })
    }

    /// The same after something that the next prompt is to say.
    pub(super) fn noting(mut self, note: &str) -> Self {
        self.note.insert_str(0, note);
        self
    }

    pub(super) fn verification(&self) -> Verification {
        self.verification
    }

    pub(super) fn is_forwarded(&self) -> bool {
        self.forwarded
    }

    /// Whether a PIN has to be asked for now.
    pub(super) fn wants_pin(&self) -> bool {
        match self.verification {
            Verification::Pin => true,
            Verification::PinAndBuiltIn => !self.pin_proven,
            Verification::None | Verification::BuiltIn => false,
        }
    }

    /// The token has accepted the PIN by itself, and the finger comes next.
    pub(super) fn pin_is_proven(&mut self) {
        self.pin_proven = true;
        self.note.clear();
    }

    pub(super) fn is_pin_proven(&self) -> bool {
        self.pin_proven
    }

    /// The prompt for a PIN, for a token that has so many tries left.
    pub(super) fn pin_question(&self, left: u32) -> String {
        match left {
            1 => format!("{}PIN (last try before the token blocks itself for good): ", self.note),
            n => format!("{}PIN ({n} tries left): ", self.note),
        }
    }

    pub(super) fn presence_notice(&self) -> String {
        match self.verification {
            Verification::BuiltIn | Verification::PinAndBuiltIn => {
                format!("{}Put your finger on the token's sensor.", self.note)
            }
            Verification::None | Verification::Pin => "Touch the token.".into(),
        }
    }

    /// Decides what follows `failure`.
    pub(super) fn after(&mut self, failure: &Failure, guard: &PinGuard, token: &Plugging) -> Next {
        match (&failure.error, self.verification) {
            (TokenError::PinRequired, Verification::None) => Next::AlwaysVerified,
            (TokenError::PinInvalid { retries }, Verification::Pin | Verification::PinAndBuiltIn) => {
                let guarded = retries.map_or(Ok(()), |left| guard.wrong(token, left));
                let left = retries.map_or_else(String::new, |n| format!(", {n} tries left"));
                let wrong = format!("{}{left}", Code::PinWrong.meaning());
                guarded.and_then(|()| self.ask_again_for_pin("The PIN was wrong. ", &wrong)).into()
            }
            (TokenError::UvInvalid { retries }, Verification::BuiltIn | Verification::PinAndBuiltIn) => {
                self.fingers += 1;
                if self.fingers < FINGER_TRIES && *retries != Some(0) {
                    self.note = "The finger was not recognised. ".into();
                    return Next::Again;
                }
                self.fall_back_to_pin("The finger was not recognised. ", Denial::from(failure))
            }
            (TokenError::UvBlocked, Verification::BuiltIn | Verification::PinAndBuiltIn) => {
                self.fall_back_to_pin("The fingerprint sensor is blocked. ", Denial::from(failure))
            }
            // What a token answers whose sensor did not know the finger, and that has a PIN (CTAP 2.1 § 6.2.2 step 6).
            (TokenError::PinRequired, Verification::BuiltIn | Verification::PinAndBuiltIn) => {
                self.fall_back_to_pin("The token wants its PIN. ", Denial::plain(Code::FingerNotRecognised))
            }
            _ => Next::GiveUp(Denial::from(failure)),
        }
    }

    /// After a PIN that was none of the token's, or can be none.
    pub(super) fn ask_again_for_pin(&mut self, note: &str, reason: &str) -> Result<(), Denial> {
        self.pin_prompts += 1;
        if self.forwarded {
            return Err(Denial::new(Code::PinWrong, format!("{reason}; a forwarded request has one try")));
        }
        if self.pin_prompts >= PIN_PROMPTS {
            return Err(Denial::new(Code::PinWrong, reason));
        }
        self.note = note.into();
        Ok(())
    }

    /// The PIN takes the finger's place, where the finger alone would have done.
    fn fall_back_to_pin(&mut self, note: &str, otherwise: Denial) -> Next {
        if self.required != UserVerification::BuiltInThenPin || !self.pin_set {
            return Next::GiveUp(otherwise);
        }
        self.note = note.into();
        self.verification = Verification::Pin;
        Next::Again
    }
}

impl From<Result<(), Denial>> for Next {
    fn from(allowed: Result<(), Denial>) -> Self {
        allowed.map_or_else(Self::GiveUp, |()| Self::Again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use UserVerification::{BuiltIn, BuiltInThenPin, Pin, PinAndBuiltIn};

    fn state(pin_set: bool, sensor: Option<bool>, uv_retries: Option<u32>) -> State {
        State {
            pin_set: Some(pin_set),
            built_in_uv: sensor,
            credential_management: true,
            force_pin_change: false,
            power_cycle_needed: false,
            pin_retries: pin_set.then_some(8),
            uv_retries,
            ..State::default()
        }
    }

    fn fail(error: TokenError) -> Failure {
        Failure::new(error, "")
    }

    struct Story {
        tries: Tries,
        guard: PinGuard,
        token: Plugging,
    }

    impl Story {
        fn of(required: UserVerification, state: &State, forwarded: bool) -> Self {
            let (guard, token) = (PinGuard::default(), Plugging::for_tests("/dev/hidraw0", 1));
            if state.pin_set == Some(true) {
                guard.may_ask(&token, state).unwrap();
            }
            Self { tries: Tries::with_verification(required, state, forwarded).unwrap(), guard, token }
        }

        fn after(&mut self, error: TokenError) -> Result<Verification, Code> {
            match self.tries.after(&fail(error), &self.guard, &self.token) {
                Next::Again => Ok(self.tries.verification()),
                Next::AlwaysVerified => panic!("the user was to be verified"),
                Next::GiveUp(denial) => Err(denial.code),
            }
        }
    }

    const WITH_FINGER: (bool, Option<bool>, Option<u32>) = (true, Some(true), Some(3));

    /// Each mode on each kind of token: what comes first.
    #[test]
    fn table_of_modes() {
        let (none, built_in, pin, both) =
            (Ok(Verification::None), Ok(Verification::BuiltIn), Ok(Verification::Pin), Ok(Verification::PinAndBuiltIn));
        let (absent, blocked) = (Err(Code::NoFingerprint), Err(Code::FingerBlocked));
        for (what, (pin_set, sensor, retries), expected) in [
            ("PIN only", (true, None, None), [none, pin, absent, pin, absent]),
            ("no finger enrolled", (true, Some(false), Some(3)), [none, pin, absent, pin, absent]),
            ("finger", WITH_FINGER, [none, pin, built_in, built_in, both]),
            ("finger, not counted", (true, Some(true), None), [none, pin, built_in, built_in, both]),
            ("finger, no PIN", (false, Some(true), Some(3)), [none, pin, built_in, built_in, both]),
            ("finger blocked", (true, Some(true), Some(0)), [none, pin, blocked, pin, both]),
        ] {
            let modes = [UserVerification::NotRequired, Pin, BuiltIn, BuiltInThenPin, PinAndBuiltIn];
            for (required, expected) in modes.into_iter().zip(expected) {
                let tries = Tries::with_verification(required, &state(pin_set, sensor, retries), false);
                let found = tries.map(|tries| tries.verification()).map_err(|denial| denial.code);
                assert_eq!(found, expected, "{required:?} on a token with {what}");
            }
        }
    }

    #[test]
    fn a_wrong_pin_is_asked_for_again_once() {
        let mut story = Story::of(Pin, &state(true, None, None), false);
        assert_eq!(story.tries.pin_question(8), "PIN (8 tries left): ");
        assert_eq!(story.after(TokenError::PinInvalid { retries: Some(7) }), Ok(Verification::Pin));
        assert_eq!(story.tries.pin_question(7), "The PIN was wrong. PIN (7 tries left): ");
        assert_eq!(story.after(TokenError::PinInvalid { retries: Some(6) }), Err(Code::PinGuard));
    }

    #[test]
    fn a_wrong_pin_of_a_token_that_does_not_count_is_asked_for_again_once() {
        let mut story = Story::of(Pin, &state(true, None, None), false);
        assert_eq!(story.after(TokenError::PinInvalid { retries: None }), Ok(Verification::Pin));
        assert_eq!(story.after(TokenError::PinInvalid { retries: None }), Err(Code::PinWrong));
    }

    #[test]
    fn a_forwarded_request_has_one_try() {
        for required in [Pin, PinAndBuiltIn] {
            let mut story = Story::of(required, &state(true, Some(true), Some(3)), true);
            assert_eq!(story.after(TokenError::PinInvalid { retries: Some(7) }), Err(Code::PinWrong));
        }
    }

    #[test]
    fn a_declined_touch_never_becomes_a_pin_prompt() {
        for required in [Pin, BuiltIn, BuiltInThenPin, PinAndBuiltIn] {
            let mut story = Story::of(required, &state(true, Some(true), Some(3)), false);
            assert_eq!(story.after(TokenError::OperationDenied), Err(Code::DeclinedOnToken));
        }
    }

    /// The PIN takes the finger's place where the mode says so, and nowhere else.
    #[test]
    fn a_blocked_sensor_leads_to_the_pin() {
        for (error, note, refusal) in [
            (TokenError::UvBlocked, "The fingerprint sensor is blocked. ", Code::FingerBlocked),
            (TokenError::PinRequired, "The token wants its PIN. ", Code::FingerNotRecognised),
        ] {
            let mut story = Story::of(BuiltInThenPin, &state(true, Some(true), Some(3)), false);
            assert_eq!(story.after(error.clone()), Ok(Verification::Pin));
            assert_eq!(story.tries.pin_question(8), format!("{note}PIN (8 tries left): "));
            for (required, pin_set) in [(BuiltIn, true), (PinAndBuiltIn, true), (BuiltInThenPin, false)] {
                let mut story = Story::of(required, &state(pin_set, Some(true), Some(3)), false);
                assert_eq!(story.after(error.clone()), Err(refusal), "{required:?}");
            }
        }
    }

    #[test]
    fn unrecognised_fingers_are_bounded() {
        let invalid = || TokenError::UvInvalid { retries: None };
        for (required, verification, end) in [
            (BuiltInThenPin, Verification::BuiltIn, Ok(Verification::Pin)),
            (BuiltIn, Verification::BuiltIn, Err(Code::FingerNotRecognised)),
            (PinAndBuiltIn, Verification::PinAndBuiltIn, Err(Code::FingerNotRecognised)),
        ] {
            let mut story = Story::of(required, &state(true, Some(true), Some(5)), false);
            assert_eq!([story.after(invalid()), story.after(invalid())], [Ok(verification); 2]);
            assert_eq!(story.after(invalid()), end, "{required:?}");
        }
    }

    #[test]
    fn a_pin_that_was_proven_is_not_asked_for_again() {
        let mut story = Story::of(PinAndBuiltIn, &state(true, Some(true), Some(5)), false);
        assert!(story.tries.wants_pin());
        story.tries.pin_is_proven();
        assert_eq!(story.after(TokenError::UvInvalid { retries: Some(4) }), Ok(Verification::PinAndBuiltIn));
        assert!(!story.tries.wants_pin());
    }
}
