//! Management of keys and tokens: what `agent-cli` asks for over the control socket.

mod at_hand;
mod backup;
mod credential;
mod credentials;
mod fingerprints;
mod generate;
mod keys;
mod names;
mod pin;
mod question;
mod resident;
mod tokens;
mod whereabouts;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::audit::record::{Act, RecordId};
use crate::control::token;
use crate::denial::{Code, Denial};
use crate::occasion::describe_device;
use crate::pin_guard;
use crate::prompt::attached::Terminal;
use crate::prompt::{Prompt, Prompter};
use crate::sign::Patience;
use crate::token::hidraw::Plugging;
use crate::token::protocol::{Command, Device, Reply, State};
use crate::token::select::{choose, list};
use crate::token::{Exchange, Step, TokenError};

/// One management request under way.
pub(crate) struct Management<'a> {
    pub(crate) agent: &'a Agent,
    /// Where this request's questions go: the terminal it came from.
    pub(crate) terminal: &'a Terminal,
    /// Cancelled when the client hangs up.
    pub(crate) client: &'a CancellationToken,
}

impl Management<'_> {
    fn patience(&self) -> Patience<'_> {
        Patience::new(self.agent, self.client, self.agent.settings().limits.request)
    }

    /// Keys come to a locked agent by neither of its sockets.
    fn unlocked(&self) -> Result<(), Denial> {
        if self.agent.lock.is_locked() { Err(Denial::plain(Code::Locked)) } else { Ok(()) }
    }

    /// Does something to a token itself.
    pub(crate) async fn token(&self, request: token::Request) -> Result<token::Answer, Denial> {
        use token::Request;
        match request {
            Request::SetPin => self.set_pin().await,
            Request::ChangePin => self.change_pin().await,
            Request::Fingerprints => self.fingerprints().await,
            Request::AddFingerprint { name } => self.add_fingerprint(name).await,
            Request::RenameFingerprint { fingerprint, name } => self.rename_fingerprint(&fingerprint, name).await,
            Request::RemoveFingerprint { fingerprint } => self.remove_fingerprint(&fingerprint).await,
            Request::Credentials => self.credentials().await,
            Request::DeleteCredential { credential } => self.delete_credential(credential.as_deref()).await,
        }
    }

    async fn begin(&self, patience: &Patience<'_>) -> Result<Box<dyn Exchange>, Denial> {
        patience.wait(self.agent.authenticator.begin()).await?.map_err(|failure| Denial::from(&failure))
    }

    /// The only token there is, or the one the person touches.
    async fn one_token(
        &self,
        exchange: &mut dyn Exchange,
        patience: &Patience<'_>,
        question: &str,
    ) -> Result<Device, Denial> {
        let mut devices = patience.wait(list(exchange)).await?.map_err(|f| Denial::from(&f))?;
        match devices.len() {
            0 => Err(Denial::plain(Code::TokenAbsent)),
            1 => Ok(devices.remove(0)),
            _ => {
                let prompt = Prompt { lines: vec![], question: question.into() };
                let mut notice = None;
                let mut on_choice = || notice = Some(self.terminal.notify_presence(&prompt));
                let chosen = patience.wait(choose(exchange, &devices, &mut on_choice)).await;
                if !matches!(chosen, Ok(Ok(_))) {
                    exchange.cancel().await;
                }
                drop(notice);
                chosen?.map_err(|failure| Denial::from(&failure))
            }
        }
    }

    async fn pin(&self, device: &Device, state: &State, patience: &Patience<'_>) -> Result<SecretString, Denial> {
        pin_guard::usable(state)?;
        self.pin_to_change(device, state, patience).await
    }

    /// The PIN, of which the token may want that it is changed first.
    async fn pin_to_change(
        &self,
        device: &Device,
        state: &State,
        patience: &Patience<'_>,
    ) -> Result<SecretString, Denial> {
        let plugging = Plugging::of(&device.path).ok_or_else(|| Denial::plain(Code::TokenAbsent))?;
        let left = self.agent.pin_guard.may_ask(&plugging, state)?;
        if let Some(stake) = pin_guard::stake(left) {
            let prompt = Prompt { lines: vec![describe_device(device)], question: stake };
            let asked = self.terminal.confirm(&prompt);
            let answer = patience.wait_at_most(self.agent.settings().limits.prompt, Code::PromptTimeout, asked).await?;
            pin_guard::insisted(answer, left)?;
        }
        let question = format!("PIN of {} ({left} tries left): ", describe_device(device));
        let pin = self.secret(Prompt { lines: vec![], question }, patience).await?;
        // Who answers that question, which names the device, at the terminal where they asked for it, says that it is theirs.
        // Another one that took its place is not.
        if !plugging.is_current() {
            return Err(Denial::plain(Code::TokenAbsent));
        }
        self.agent.pluggings.confirm(&plugging);
        Ok(pin)
    }

    async fn secret(&self, prompt: Prompt, patience: &Patience<'_>) -> Result<SecretString, Denial> {
        let asked = self.terminal.request_pin(&prompt);
        Ok(patience.wait_at_most(self.agent.settings().limits.prompt, Code::PromptTimeout, asked).await??)
    }

    /// Runs a command; when it does not succeed, whatever the token still waits for is cancelled.
    async fn finish(
        &self,
        exchange: &mut dyn Exchange,
        patience: &Patience<'_>,
        command: Command,
        notice: Option<&Prompt>,
    ) -> Result<Reply, Denial> {
        self.follow(exchange, patience, command, notice, &mut |_, _| ()).await
    }

    /// The same, with an ear for the touches of an enrolment: each one's status, and how many more are needed.
    async fn follow(
        &self,
        exchange: &mut dyn Exchange,
        patience: &Patience<'_>,
        command: Command,
        notice: Option<&Prompt>,
        sample: &mut (dyn FnMut(u8, u32) + Send),
    ) -> Result<Reply, Denial> {
        let token = command.sends_pin_to().and_then(Plugging::of);
        let mut shown = None;
        let mut step = |step| match step {
            Step::PresenceNeeded => shown = notice.map(|prompt| self.terminal.notify_presence(prompt)),
            Step::Sample { status, left } => sample(status, left),
        };
        let result = patience.wait(exchange.follow(command, &mut step)).await;
        drop(shown);
        if !matches!(result, Ok(Ok(_))) {
            exchange.cancel().await;
        }
        let result = result?;
        if let (Ok(_), Some(token)) = (&result, &token) {
            self.agent.pin_guard.right(token);
        }
        result.map_err(|failure| match (&failure.error, &token) {
            (TokenError::PinInvalid { retries: Some(left) }, Some(token)) => {
                let denial = Denial::new(Code::PinWrong, format!("{}, {left} tries left", failure.error));
                self.agent.pin_guard.wrong(token, *left).err().unwrap_or(denial)
            }
            _ => Denial::from(&failure),
        })
    }
}

/// Puts an act on record, without which it does not happen; the record of it.
pub(crate) async fn record(agent: &Agent, act: Act) -> Result<RecordId, Denial> {
    agent.audit.act(act).await.map_err(|error| {
        tracing::error!(%error, "the audit log can't be written");
        Denial::new(Code::AuditUnwritable, format!("the audit log can't be written: {error}"))
    })
}

async fn state(exchange: &mut dyn Exchange, device: &Device) -> Result<State, Denial> {
    match exchange.call(Command::GetState { path: device.path.clone() }, &mut || ()).await {
        Ok(Reply::State(state)) => Ok(state),
        Ok(_) => Err(Denial::plain(Code::HelperFailed)),
        Err(failure) => Err(Denial::from(&failure)),
    }
}
