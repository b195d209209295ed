//! One token at hand: chosen, asked how it is, and nobody else's until the request is over.

use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::MutexGuard;

use super::{Management, record, state};
use crate::audit::record::{Act, TokenChange};
use crate::denial::{Code, Denial};
use crate::occasion::audit_token;
use crate::prompt::Prompt;
use crate::sign::Patience;
use crate::token::Exchange;
use crate::token::hidraw::Plugging;
use crate::token::protocol::{Command, Device, Pin, Reply, ResidentCredential, ResidentCredentials, State};

/// A token, for one management request.
pub(super) struct AtHand<'a> {
    pub(super) device: Device,
    pub(super) state: State,
    pub(super) exchange: Box<dyn Exchange>,
    pub(super) patience: Patience<'a>,
    /// What the person was told of: whatever takes its place gets no PIN.
    plugging: Plugging,
    _person: MutexGuard<'a, ()>,
    _tokens: MutexGuard<'a, ()>,
}

impl AtHand<'_> {
    pub(super) fn path(&self) -> String {
        self.device.path.clone()
    }

    /// That it is still the device that was chosen, before a PIN is sent to it.
    pub(super) fn still_there(&self) -> Result<(), Denial> {
        if self.plugging.is_current() { Ok(()) } else { Err(Denial::plain(Code::TokenAbsent)) }
    }
}

impl Management<'_> {
    /// Takes the only token there is, or the one the person touches, for at most `limit`.
    pub(super) async fn at_hand(&self, limit: Duration, question: &str) -> Result<AtHand<'_>, Denial> {
        let patience = Patience::new(self.agent, self.client, limit);
        let person = patience.wait(self.agent.person.lock()).await?;
        let tokens = patience.wait(self.agent.tokens.lock()).await?;
        let mut exchange = self.begin(&patience).await?;
        let device = self.one_token(exchange.as_mut(), &patience, question).await?;
        let plugging = Plugging::of(&device.path).ok_or_else(|| Denial::plain(Code::TokenAbsent))?;
        let state = patience.wait(state(exchange.as_mut(), &device)).await??;
        Ok(AtHand { device, state, exchange, patience, plugging, _person: person, _tokens: tokens })
    }

    /// Its PIN, from the person. It is held for the commands of this one request, and for no other.
    pub(super) async fn pin_of(&self, token: &mut AtHand<'_>) -> Result<SecretString, Denial> {
        self.pin(&token.device, &token.state, &token.patience).await
    }

    /// Runs a command on it.
    pub(super) async fn run(
        &self,
        token: &mut AtHand<'_>,
        command: Command,
        notice: Option<&Prompt>,
    ) -> Result<Reply, Denial> {
        token.still_there()?;
        self.finish(token.exchange.as_mut(), &token.patience, command, notice).await
    }

    /// Changes it: on record before, and after.
    pub(super) async fn change(
        &self,
        token: &mut AtHand<'_>,
        change: TokenChange,
        command: Command,
    ) -> Result<(), Denial> {
        self.changing(token, &change).await?;
        match self.run(token, command, None).await? {
            Reply::Done => {
                self.changed(token, change).await;
                Ok(())
            }
            _ => Err(Denial::plain(Code::HelperFailed)),
        }
    }

    /// Puts on record that it is about to be changed, without which it is not.
    pub(super) async fn changing(&self, token: &mut AtHand<'_>, change: &TokenChange) -> Result<(), Denial> {
        let act = Act::ChangingToken { change: change.clone(), token: audit_token(&token.device) };
        record(self.agent, act).await.map(drop)
    }

    /// Puts on record that it was.
    pub(super) async fn changed(&self, token: &mut AtHand<'_>, change: TokenChange) {
        // That it was about to be changed is on record already, and there is no way back.
        let act = Act::ChangedToken { change, token: audit_token(&token.device) };
        if let Err(denial) = record(self.agent, act).await {
            tracing::error!("{denial}");
        }
    }

    /// The resident keys it keeps, in an order that is the same the next time.
    pub(super) async fn resident_keys(
        &self,
        token: &mut AtHand<'_>,
        pin: &SecretString,
    ) -> Result<ResidentCredentials, Denial> {
        let command = Command::EnumerateCredentials { path: token.path(), pin: Pin(pin.clone()) };
        match self.run(token, command, None).await? {
            Reply::Credentials(mut found) => {
                let names = |key: &ResidentCredential| {
                    (key.application.clone(), key.user_name.clone(), key.key_handle.0.clone())
                };
                found.ssh.sort_by_key(names);
                Ok(found)
            }
            _ => Err(Denial::plain(Code::HelperFailed)),
        }
    }
}
