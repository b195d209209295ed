//! How a token's user is verified in one request: the token's state, the prompts for a PIN, the PIN that is proven by
//! itself.

use super::retry::Tries;
use super::token::Asking;
use crate::audit::record::Verification;
use crate::denial::{Code, Denial};
use crate::pin_guard;
use crate::policy::{Permit, UserVerification};
use crate::prompt::{Prompt, Prompter};
use crate::token::protocol::{Command, Failure, Pin, RawAssertion, Reply, State};
use crate::token::select::Selected;
use crate::token::{Exchange, TokenError};

impl Asking<'_> {
    /// Finds out how the token can verify its user, if it has to.
    pub(super) async fn begin(
        &self,
        exchange: &mut dyn Exchange,
        token: &mut Selected,
        permit: &Permit,
    ) -> Result<Tries, Denial> {
        let forwarded = permit.route().is_forwarded();
        match permit.requirements().user_verification {
            UserVerification::NotRequired => Ok(Tries::without_verification(forwarded)),
            required => {
                let state = self.state(exchange, token).await?;
                token.aaguid = Some(state.aaguid.clone());
                Tries::with_verification(required, &state, forwarded)
            }
        }
    }

    /// The same for a token that verifies its user though neither key nor configuration ask for it.
    pub(super) async fn begin_anew(
        &self,
        exchange: &mut dyn Exchange,
        token: &Selected,
        before: &Tries,
    ) -> Result<Tries, Denial> {
        let state = self.state(exchange, token).await?;
        let tries = Tries::with_verification(UserVerification::BuiltInThenPin, &state, before.is_forwarded())?;
        Ok(tries.noting("The token verifies its user each time. "))
    }

    /// Asks for the PIN where one is needed: within what the guard allows, of a device that the person accepts, and in a
    /// second prompt before that where few tries are left. The tries are read from the token at this moment, since other programs use it too.
    pub(super) async fn pin(
        &self,
        exchange: &mut dyn Exchange,
        token: &mut Selected,
        permit: &Permit,
        tries: &mut Tries,
    ) -> Result<Option<Pin>, Denial> {
        if !tries.wants_pin() {
            return Ok(None);
        }
        let state = self.state(exchange, token).await?;
        let left = self.agent().pin_guard.may_ask(&token.plugging, &state)?;
        pin_guard::usable(&state)?;
        self.accept(token, permit).await?;
        if let Some(stake) = pin_guard::stake(left) {
            self.insist(token, permit, stake, left).await?;
        }
        loop {
            let occasion = self.occasion(permit, token);
            let asked = self.signing.secret(&occasion, tries.pin_question(left), self.patience);
            let pin = Pin(token.while_plugged(asked).await??);
            if pin.is_possible() {
                return Ok(Some(pin));
            }
            tries.ask_again_for_pin("A PIN has 4 to 63 characters. ", "a PIN has 4 to 63 characters: none was sent")?;
        }
    }

    async fn insist(&self, token: &Selected, permit: &Permit, stake: String, left: u32) -> Result<(), Denial> {
        let prompt = Prompt { lines: self.occasion(permit, token).lines(), question: stake };
        let asked = self.agent().prompts.confirm(&prompt);
        let limit = self.agent().settings().limits.prompt;
        let answer = self.patience.wait_at_most(limit, Code::PromptTimeout, token.while_plugged(asked)).await??;
        pin_guard::insisted(answer, left)
    }

    /// Has the token sign. Where PIN and finger are both asked for, the PIN is proven first: with the parameter that a PIN
    /// gives, a token does not look at the finger (CTAP 2.1 § 6.2.2).
    pub(super) async fn answer(
        &self,
        exchange: &mut dyn Exchange,
        permit: &Permit,
        token: &Selected,
        tries: &mut Tries,
        mut pin: Option<Pin>,
    ) -> Result<Result<RawAssertion, Failure>, Denial> {
        let by_pin = pin.is_some();
        if tries.verification() == Verification::PinAndBuiltIn
            && let Some(pin) = pin.take()
        {
            if let Err(failure) = self.prove(exchange, token, pin).await? {
                return Ok(Err(failure));
            }
            self.agent().pin_guard.right(&token.plugging);
            tries.pin_is_proven();
            if !token.is_plugged() {
                return Err(Denial::plain(Code::TokenAbsent));
            }
        }
        let answer = self.assert(exchange, permit, token, tries, pin).await?;
        if by_pin && answer.is_ok() {
            self.agent().pin_guard.right(&token.plugging);
        }
        Ok(answer)
    }

    async fn prove(
        &self,
        exchange: &mut dyn Exchange,
        token: &Selected,
        pin: Pin,
    ) -> Result<Result<(), Failure>, Denial> {
        let command = Command::VerifyPin { path: token.device.path.clone(), pin };
        Ok(match self.patience.wait(exchange.call(command, &mut || ())).await? {
            Ok(Reply::PinVerified) => Ok(()),
            Ok(_) => Err(Failure::new(TokenError::Protocol, "the helper answered something else")),
            Err(failure) => Err(failure),
        })
    }

    async fn state(&self, exchange: &mut dyn Exchange, token: &Selected) -> Result<State, Denial> {
        let command = Command::GetState { path: token.device.path.clone() };
        match self.patience.wait(exchange.call(command, &mut || ())).await? {
            Ok(Reply::State(state)) => Ok(state),
            Ok(_) => Err(Denial::plain(Code::HelperFailed)),
            Err(failure) => Err(Denial::from(&failure)),
        }
    }
}
