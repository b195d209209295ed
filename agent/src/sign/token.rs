//! Stages 7 to 13 for a key on a token: the queues, the token that holds it, the person, the assertion.

use std::path::Path;
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::Signing;
use super::absent::{Absence, Ended};
use super::patience::Patience;
use super::retry::{Next, Tries};
use super::trail::{Signed, Trail};
use crate::agent::Agent;
use crate::assertion::Assertion;
use crate::audit::record::{self, Signer, Verification};
use crate::course::{self, Phase};
use crate::denial::{Code, Denial};
use crate::identity::{Credential, Holder, Identity, fingerprint};
use crate::occasion::{self, Occasion};
use crate::policy::Permit;
use crate::prompt::{Prompt, Prompter};
use crate::token::hidraw::Plugging;
use crate::token::known::KnownToken;
use crate::token::protocol::{self, Bytes, Command, Failure, RawAssertion, Reply};
use crate::token::select::Selected;
use crate::token::{Exchange, TokenError};

/// How often a request's token may be pulled out before the request is refused.
const MOST_PULLED_OUT: u32 = 3;

impl Signing<'_> {
    /// Has a token sign.
    pub(super) async fn by_token(&self, patience: &Patience<'_>, trail: &mut Trail<'_>) -> Result<Signed, Denial> {
        // 7: one person at a time. A client that hangs up leaves the queue.
        let _person = self.person(patience).await?;
        let mut pulled_out = 0;
        loop {
            // What is plugged in after this may be the token.
            let before = Plugging::all();
            let absence = match self.round(patience, trail).await {
                Ok(signed) => return Ok(signed),
                Err(Ended::Refused(denial)) => return Err(denial),
                Err(Ended::Absent(absence)) => absence,
            };
            pulled_out += u32::from(absence.pulled_out);
            if pulled_out >= MOST_PULLED_OUT {
                return Err(absence.denial);
            }
            self.wait_for_token(absence, &before, patience).await?;
        }
    }

    /// One conversation with the tokens, from looking for the right one to its signature.
    async fn round(&self, patience: &Patience<'_>, trail: &mut Trail<'_>) -> Result<Signed, Ended> {
        // 7: one conversation with the tokens at a time.
        let queue = course::clock(Phase::Queue);
        let _tokens = patience.wait(self.agent.tokens.lock()).await?;
        drop(queue);
        self.look_around(patience).await?;

        // The key as it is now: while this request waited, another may have opened its file.
        let identity = self.held().ok_or_else(|| Denial::plain(Code::KeyGone))?;
        let (identity, credential) = self.open_credential(identity, patience).await?;
        let permit = self.authorize(&identity)?;

        let known = self.agent.known_tokens().await;
        let fingerprint = fingerprint(&identity.public_key);
        let mut exchange = patience.wait(self.agent.authenticator.begin()).await?.map_err(|f| Denial::from(&f))?;
        let asking = Asking {
            signing: self,
            identity: &identity,
            credential: &credential,
            fingerprint: &fingerprint,
            known: &known,
            patience,
        };
        let result = asking.token(exchange.as_mut(), permit, trail).await;
        if result.is_err() {
            // Whatever the token still waits for, it waits for nobody.
            exchange.cancel().await;
        }
        result
    }

    /// The key handle, for which the person may have to give a key file's passphrase once.
    async fn open_credential(
        &self,
        identity: Arc<Identity>,
        patience: &Patience<'_>,
    ) -> Result<(Arc<Identity>, Credential), Denial> {
        let identity = match &identity.holder {
            Holder::ProtectedFile(path) => self.open_file(&identity, path, patience).await?,
            Holder::Credential(_) | Holder::Software(_) | Holder::Upstream(_) => identity,
        };
        match &identity.holder {
            Holder::Credential(credential) => {
                let credential = credential.clone();
                Ok((identity, credential))
            }
            Holder::ProtectedFile(_) | Holder::Software(_) | Holder::Upstream(_) => Err(Denial::plain(Code::KeyGone)),
        }
    }

    async fn open_file(
        &self,
        identity: &Arc<Identity>,
        path: &Path,
        patience: &Patience<'_>,
    ) -> Result<Arc<Identity>, Denial> {
        let permit = self.authorize(identity)?;
        let question = format!("Passphrase for {}: ", crate::prompt::visible(&path.display().to_string()));
        let passphrase = self.secret(&self.occasion(identity, &permit, None), question, patience).await?;
        // The key derivation is made to be slow, and must not hold up other clients.
        let unlocking = tokio::task::spawn_blocking({
            let (keystore, identity, path) = (self.agent.keystore.clone(), Arc::clone(identity), path.to_owned());
            move || keystore.unlock(&identity, &path, passphrase.expose_secret().as_bytes())
        });
        let unlocked = patience.wait(unlocking).await?.map_err(|_| Denial::plain(Code::KeyFile))?;
        unlocked.map_err(|error| error.denial(path))
    }
}

/// The part of a request that talks to a token.
pub(super) struct Asking<'a> {
    pub(super) signing: &'a Signing<'a>,
    pub(super) identity: &'a Identity,
    pub(super) credential: &'a Credential,
    /// The key's.
    pub(super) fingerprint: &'a str,
    /// The tokens that the person has named.
    pub(super) known: &'a [KnownToken],
    pub(super) patience: &'a Patience<'a>,
}

impl Asking<'_> {
    async fn token(&self, exchange: &mut dyn Exchange, permit: Permit, trail: &mut Trail<'_>) -> Result<Signed, Ended> {
        // 8: which token holds the key.
        let mut token = self.select(exchange, &permit).await?;
        let lines = self.signing.occasion(self.identity, &permit, None).lines();
        match self.ask(exchange, permit, &mut token, trail).await {
            Ok(signed) => Ok(signed),
            // It may be plugged in again.
            Err(denial) if denial.code == Code::TokenAbsent => {
                Err(Ended::Absent(Absence { denial, name: token.name, lines, pulled_out: true }))
            }
            Err(denial) => Err(Ended::Refused(denial)),
        }
    }

    async fn ask(
        &self,
        exchange: &mut dyn Exchange,
        mut permit: Permit,
        token: &mut Selected,
        trail: &mut Trail<'_>,
    ) -> Result<Signed, Denial> {
        // 8: how it can verify its user.
        let mut tries = self.begin(exchange, token, &permit).await?;

        if permit.requirements().confirm {
            let occasion = self.occasion(&permit, token);
            token.while_plugged(self.signing.confirm(&occasion, self.patience)).await??;
        }
        loop {
            // 9: the PIN, if the token needs it.
            let pin = self.pin(exchange, token, &permit, &mut tries).await?;

            // 10: minutes may have passed. A device that took the token's place gets no PIN that was meant for the token.
            if !token.is_plugged() {
                return Err(Denial::plain(Code::TokenAbsent));
            }
            self.signing.still_held(self.identity)?;
            permit = self.signing.authorize(self.identity)?;

            // 11: on record, or not at all.
            let signer =
                Signer::Token { token: occasion::audit_selected(token), user_verification: tries.verification() };
            let allowed = self.signing.allowed(self.identity, &permit, Some(token));
            let intended = trail.intent(allowed, signer).await?;

            // 12: the token.
            let failure = match self.answer(exchange, &permit, token, &mut tries, pin).await? {
                Ok(raw) => {
                    // 13: believed only now.
                    let assertion = self.verify(&raw, &permit)?;
                    self.signing.still_held(self.identity)?;
                    self.remember(token).await;
                    let says = record::Assertion {
                        flags: assertion.flags,
                        counter: assertion.counter,
                        counter_step: self.agent().counters.step(self.fingerprint, assertion.counter),
                        assertions: self.agent().authenticator.assertions(),
                        user_verification: tries.verification(),
                    };
                    return Ok(Signed::by_token(intended, assertion.signature(), says));
                }
                Err(failure) => failure,
            };
            // 12 → 9, within bounds.
            let tried = tries.verification();
            match tries.after(&failure, &self.agent().pin_guard, &token.plugging) {
                Next::Again => trail.attempt(tried, &failure).await?,
                Next::AlwaysVerified => {
                    trail.attempt(tried, &failure).await?;
                    tries = self.begin_anew(exchange, token, &tries).await?;
                }
                Next::GiveUp(denial) => {
                    if denial.code == Code::TokenAbsent {
                        // It may be plugged in again: then this was one attempt of the request.
                        trail.attempt(tried, &failure).await?;
                    }
                    return Err(denial);
                }
            }
        }
    }

    pub(super) async fn assert(
        &self,
        exchange: &mut dyn Exchange,
        permit: &Permit,
        token: &Selected,
        tries: &Tries,
        pin: Option<protocol::Pin>,
    ) -> Result<Result<RawAssertion, Failure>, Denial> {
        let path = token.device.path.clone();
        let application = self.credential.application.clone();
        let key_handle = Bytes(self.credential.key_handle.as_bytes().to_vec());
        let data = Bytes(self.signing.request.data.clone());
        let verification = match (tries.verification(), pin) {
            (Verification::BuiltIn, _) => protocol::Verification::BuiltIn,
            (Verification::Pin, Some(pin)) => protocol::Verification::Pin(pin),
            (Verification::PinAndBuiltIn, _) if tries.is_pin_proven() => protocol::Verification::BuiltIn,
            // Where more was required, what the token signs now is not released.
            _ => protocol::Verification::None,
        };
        let silent = !permit.requirements().user_presence && matches!(verification, protocol::Verification::None);
        let command = if silent {
            // A key made with `no-touch-required` is asked without a touch, as OpenSSH asks it.
            Command::Probe { path, application, key_handle, data }
        } else {
            Command::GetAssertion { path, application, key_handle, data, verification }
        };
        let prompt = self.prompt(permit, token, tries.presence_notice());
        let mut notice = None;
        let mut presence = || notice = Some(self.agent().prompts.notify_presence(&prompt));
        let answer = self.patience.wait(exchange.call(command, &mut presence)).await?;
        drop(notice);
        Ok(match answer {
            Ok(Reply::Assertion(raw)) => Ok(raw),
            Ok(_) => Err(Failure::new(TokenError::Protocol, "the helper answered something else")),
            Err(failure) => Err(failure),
        })
    }

    fn verify(&self, raw: &RawAssertion, permit: &Permit) -> Result<Assertion, Denial> {
        let key = &self.identity.public_key;
        Assertion::read(key, self.credential, &raw.auth_data.0, &raw.signature.0, &raw.credential_id.0)
            .and_then(|assertion| {
                assertion.verify(key, &self.signing.request.data, &permit.requirements()).map(|()| assertion)
            })
            .map_err(|error| Denial::new(Code::TokenUnproven, error.to_string()))
    }

    pub(super) fn occasion<'b>(&'b self, permit: &'b Permit, token: &'b Selected) -> Occasion<'b> {
        self.signing.occasion(self.identity, permit, Some(token))
    }

    fn prompt(&self, permit: &Permit, token: &Selected, question: String) -> Prompt {
        Prompt { lines: self.occasion(permit, token).lines(), question }
    }

    pub(super) fn agent(&self) -> &Agent {
        self.signing.agent
    }
}
