//! How a token's user is verified, and what is tried after a failure: bounded, and never a PIN twice.

use crate::audit::record::Verification;
use crate::denial::{Code, Denial};
use crate::policy::{Requirements, UserVerification};
use crate::token::protocol::{Command, Failure, Reply, State};
use crate::token::select::Selected;
use crate::token::{Exchange, TokenError};

use super::patience::Patience;

/// PIN prompts of one request: the first, and one more after a wrong PIN. Three wrong ones in a row would lock the token
/// until it is plugged in again (CTAP 2.1 § 6.5.5.7.2).
const PIN_PROMPTS: u32 = 2;

/// Fingers of one request, before the PIN is asked for instead.
const FINGER_TRIES: u32 = 3;

/// The tries of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tries {
    verification: Verification,
    /// None where the token has no PIN.
    pin_retries: Option<u32>,
    pin_prompts: u32,
    fingers: u32,
    /// What went wrong before, for the next prompt.
    note: String,
}

/// What follows a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask again, as [`Tries::verification`] now says.
    Again,
    /// Refuse.
    GiveUp(Denial),
}

impl Tries {
    /// Finds out how the token can verify its user, if it has to.
    pub(super) async fn begin(
        exchange: &mut dyn Exchange,
        token: &Selected,
        requirements: Requirements,
        patience: &Patience<'_>,
    ) -> Result<Self, Denial> {
        if requirements.user_verification == UserVerification::NotRequired {
            return Ok(Self::new(Verification::None, None));
        }
        let command = Command::GetState { path: token.device.path.clone() };
        match patience.wait(exchange.call(command, &mut || ())).await? {
            Ok(Reply::State(state)) => Self::with_verification(&state),
            Ok(_) => Err(Denial::plain(Code::HelperFailed)),
            Err(failure) => Err(Denial::from(&failure)),
        }
    }

    fn new(verification: Verification, pin_retries: Option<u32>) -> Self {
        Self { verification, pin_retries, pin_prompts: 0, fingers: 0, note: String::new() }
    }

    /// By the token's own sensor where one is enrolled and not blocked, else by PIN.
    fn with_verification(state: &State) -> Result<Self, Denial> {
        let pin_retries = state.pin_retries.filter(|_| state.pin_set == Some(true));
        if state.built_in_uv == Some(true) && state.uv_retries != Some(0) {
            return Ok(Self::new(Verification::BuiltIn, pin_retries));
        }
        match pin_retries {
            Some(0) => Err(Denial::plain(Code::PinBlocked)),
            Some(_) => {
                let mut tries = Self::new(Verification::Pin, pin_retries);
                if state.built_in_uv == Some(true) {
                    tries.note = "The fingerprint sensor is blocked. ".into();
                }
                Ok(tries)
            }
            None => Err(Denial::plain(Code::PinNotSet)),
        }
    }

    pub(super) fn verification(&self) -> Verification {
        self.verification
    }

    pub(super) fn pin_question(&self) -> String {
        match self.pin_retries {
            Some(1) => format!("{}PIN (last try before the token blocks itself for good): ", self.note),
            Some(n) => format!("{}PIN ({n} tries left): ", self.note),
            None => format!("{}PIN: ", self.note),
        }
    }

    pub(super) fn presence_notice(&self) -> String {
        match self.verification {
            Verification::BuiltIn => format!("{}Put your finger on the token's sensor.", self.note),
            Verification::None | Verification::Pin => "Touch the token.".into(),
        }
    }

    /// Decides what follows `failure`.
    pub(super) fn after(&mut self, failure: &Failure) -> Next {
        let give_up = || Next::GiveUp(Denial::from(failure));
        match (&failure.error, self.verification) {
            // A key that asks for nothing, on a token that always verifies its user.
            (TokenError::PinRequired, Verification::None) => self.ask_for_pin("The token wants its PIN. "),
            (TokenError::PinInvalid { retries }, Verification::Pin) => {
                self.pin_retries = retries.or(self.pin_retries.map(|n| n.saturating_sub(1)));
                self.pin_prompts += 1;
                match self.pin_retries {
                    Some(0) => Next::GiveUp(Denial::plain(Code::PinBlocked)),
                    _ if self.pin_prompts >= PIN_PROMPTS => Next::GiveUp(self.wrong_pin()),
                    _ => self.ask_for_pin("The PIN was wrong. "),
                }
            }
            (TokenError::UvInvalid { retries }, Verification::BuiltIn) => {
                self.fingers += 1;
                if self.fingers < FINGER_TRIES && *retries != Some(0) {
                    self.note = "The finger was not recognised. ".into();
                    return Next::Again;
                }
                if self.pin_retries.is_none() {
                    return give_up();
                }
                self.ask_for_pin("The finger was not recognised. ")
            }
            (TokenError::UvBlocked | TokenError::PinRequired, Verification::BuiltIn) if self.pin_retries.is_some() => {
                self.ask_for_pin("The fingerprint sensor is blocked. ")
            }
            _ => give_up(),
        }
    }

    fn ask_for_pin(&mut self, note: &str) -> Next {
        if self.pin_retries == Some(0) {
            return Next::GiveUp(Denial::plain(Code::PinBlocked));
        }
        self.note = note.into();
        self.verification = Verification::Pin;
        Next::Again
    }

    fn wrong_pin(&self) -> Denial {
        let left = self.pin_retries.map_or_else(String::new, |n| format!(", {n} tries left"));
        Denial::new(Code::PinWrong, format!("{}{left}", Code::PinWrong.meaning()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(pin: Option<u32>, sensor: Option<bool>, uv_retries: Option<u32>) -> State {
        State {
            pin_set: Some(pin.is_some()),
            built_in_uv: sensor,
            credential_management: true,
            force_pin_change: false,
            power_cycle_needed: false,
            pin_retries: pin,
            uv_retries,
            ..State::default()
        }
    }

    fn fail(error: TokenError) -> Failure {
        Failure::new(error, "")
    }

    #[test]
    fn the_sensor_comes_first_where_it_works() {
        for (what, state, expected) in [
            ("pin only", state(Some(8), None, None), Ok(Verification::Pin)),
            ("sensor", state(Some(8), Some(true), Some(3)), Ok(Verification::BuiltIn)),
            ("sensor without fingers", state(Some(8), Some(false), Some(3)), Ok(Verification::Pin)),
            ("sensor blocked", state(Some(8), Some(true), Some(0)), Ok(Verification::Pin)),
            ("pin blocked", state(Some(0), None, None), Err(Code::PinBlocked)),
            ("nothing", state(None, None, None), Err(Code::PinNotSet)),
        ] {
            let found = Tries::with_verification(&state).map(|t| t.verification()).map_err(|d| d.code);
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn a_wrong_pin_is_asked_for_again_once() {
        let mut tries = Tries::with_verification(&state(Some(8), None, None)).unwrap();
        assert_eq!(tries.pin_question(), "PIN (8 tries left): ");
        assert_eq!(tries.after(&fail(TokenError::PinInvalid { retries: Some(7) })), Next::Again);
        assert_eq!(tries.pin_question(), "The PIN was wrong. PIN (7 tries left): ");
        let Next::GiveUp(denial) = tries.after(&fail(TokenError::PinInvalid { retries: Some(6) })) else { panic!() };
        assert_eq!(denial.code, Code::PinWrong);
        assert!(denial.reason.ends_with("6 tries left"));
    }

    #[test]
    fn a_declined_touch_never_becomes_a_pin_prompt() {
        for sensor in [None, Some(true)] {
            let mut tries = Tries::with_verification(&state(Some(8), sensor, Some(3))).unwrap();
            let Next::GiveUp(denial) = tries.after(&fail(TokenError::OperationDenied)) else { panic!() };
            assert_eq!(denial.code, Code::DeclinedOnToken);
        }
    }

    #[test]
    fn a_blocked_sensor_leads_to_the_pin() {
        let mut tries = Tries::with_verification(&state(Some(8), Some(true), Some(3))).unwrap();
        assert_eq!(tries.after(&fail(TokenError::UvBlocked)), Next::Again);
        assert_eq!(tries.verification(), Verification::Pin);
        assert!(tries.pin_question().contains("blocked"));
    }

    #[test]
    fn unrecognised_fingers_are_bounded() {
        let mut tries = Tries::with_verification(&state(Some(8), Some(true), Some(5))).unwrap();
        let invalid = fail(TokenError::UvInvalid { retries: None });
        assert_eq!(tries.after(&invalid), Next::Again);
        assert_eq!(tries.after(&invalid), Next::Again);
        assert_eq!(tries.verification(), Verification::BuiltIn);
        assert_eq!(tries.after(&invalid), Next::Again);
        assert_eq!(tries.verification(), Verification::Pin);
    }
}
