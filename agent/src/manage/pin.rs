//! A token's PIN, set and changed.

use secrecy::{ExposeSecret, SecretString};

use super::Management;
use super::at_hand::AtHand;
use crate::audit::record::TokenChange;
use crate::control::token::Answer;
use crate::denial::{Code, Denial};
use crate::occasion::describe_device;
use crate::prompt::Prompt;
use crate::token::protocol::{Command, Pin};

/// The longest PIN, in bytes of UTF-8 (CTAP 2.1 § 6.5.1).
const LONGEST_PIN: usize = 63;

impl Management<'_> {
    /// Sets a token's first PIN.
    pub(crate) async fn set_pin(&self) -> Result<Answer, Denial> {
        let mut token =
            self.at_hand(self.agent.settings().limits.request, "Touch the token that is to get a PIN.").await?;
        match token.state.pin_set {
            None => return Err(Denial::new(Code::TokenUnsupported, "this token can have no PIN")),
            Some(true) => return Err(Denial::plain(Code::PinAlreadySet)),
            Some(false) => {}
        }
        let new = self.new_pin(&mut token).await?;
        let command = Command::SetPin { path: token.path(), new: Pin(new) };
        self.change(&mut token, TokenChange::SetPin, command).await?;
        Ok(Answer::Done { token: token.device })
    }

    /// Changes a token's PIN. The old one is sent once: a wrong one costs one try.
    pub(crate) async fn change_pin(&self) -> Result<Answer, Denial> {
        let mut token =
            self.at_hand(self.agent.settings().limits.request, "Touch the token whose PIN is to be changed.").await?;
        match token.state.pin_set {
            None => return Err(Denial::new(Code::TokenUnsupported, "this token can have no PIN")),
            Some(false) => {
                let reason = "the token has no PIN yet, which `agent-cli tokens set-pin` sets";
                return Err(Denial::new(Code::PinNotSet, reason));
            }
            Some(true) => {}
        }
        let old = self.pin_to_change(&token.device, &token.state, &token.patience).await?;
        let new = self.new_pin(&mut token).await?;
        if old.expose_secret() == new.expose_secret() {
            return Err(Denial::new(Code::PinPolicy, "the new PIN is the old one"));
        }
        let command = Command::ChangePin { path: token.path(), old: Pin(old), new: Pin(new) };
        self.change(&mut token, TokenChange::ChangePin, command).await?;
        Ok(Answer::Done { token: token.device })
    }

    /// A new PIN, typed twice. One that the token would not take is not sent to it.
    async fn new_pin(&self, token: &mut AtHand<'_>) -> Result<SecretString, Denial> {
        let shortest = token.state.shortest_pin;
        let lines = vec![format!(
            "A new PIN for {}: at least {shortest} characters, and at most {LONGEST_PIN} bytes.",
            describe_device(&token.device)
        )];
        let first = self.secret(Prompt { lines, question: "New PIN: ".into() }, &token.patience).await?;
        check(first.expose_secret(), shortest)?;
        let question = "The same PIN again: ".into();
        let again = self.secret(Prompt { lines: vec![], question }, &token.patience).await?;
        if first.expose_secret() == again.expose_secret() { Ok(first) } else { Err(Denial::plain(Code::NewPinsDiffer)) }
    }
}

/// The length is counted in code points, as tokens count it (CTAP 2.1 § 6.5.1).
fn check(pin: &str, shortest: u32) -> Result<(), Denial> {
    if u32::try_from(pin.chars().count()).is_ok_and(|length| length < shortest) {
        return Err(Denial::new(Code::PinPolicy, format!("this token wants a PIN of at least {shortest} characters")));
    }
    if pin.len() > LONGEST_PIN {
        return Err(Denial::new(Code::PinPolicy, format!("a PIN has at most {LONGEST_PIN} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_measured_as_tokens_do() {
        for (pin, good) in [
            ("1234", false),
            ("äöüß名前", true),
            ("äöüß名", false),
            (&"x".repeat(63), true),
            (&"x".repeat(64), false),
            (&"ä".repeat(32), false),
        ] {
            assert_eq!(check(pin, 6).is_ok(), good, "{pin}");
        }
        assert!(check("123", 6).unwrap_err().reason.contains("at least 6 characters"));
    }
}
