//! Stages 7 to 13 for a key on a token: the queues, the token that holds it, the person, the assertion.

use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::Signing;
use super::patience::Patience;
use super::retry::{Next, Tries};
use super::trail::{Signed, Trail};
use crate::agent::Agent;
use crate::assertion::Assertion;
use crate::audit::record::{self, Intent, Signer, Verification};
use crate::denial::{Code, Denial};
use crate::identity::{Credential, Holder, Identity};
use crate::occasion::{self, Occasion};
use crate::policy::Permit;
use crate::prompt::{Prompt, Prompter};
use crate::token::protocol::{self, Bytes, Command, Failure, RawAssertion, Reply};
use crate::token::select::{Selected, select};
use crate::token::{Exchange, TokenError};

impl Signing<'_> {
    /// Has a token sign.
    pub(super) async fn by_token(&self, patience: &Patience<'_>, trail: &mut Trail<'_>) -> Result<Signed, Denial> {
        // 7: one person, one conversation with the tokens at a time. A client that hangs up leaves the queue.
        let _person = self.person(patience).await?;
        let _tokens = patience.wait(self.agent.tokens.lock()).await?;
        self.look_around(patience).await?;

        // The key as it is now: while this request waited, another may have opened its file.
        let identity = self.held().ok_or_else(|| Denial::plain(Code::KeyGone))?;
        let (identity, credential) = self.open_credential(identity, patience).await?;
        let permit = self.authorize(&identity)?;

        let mut exchange = patience.wait(self.agent.authenticator.begin()).await?.map_err(|f| Denial::from(&f))?;
        let asking = Asking { signing: self, identity: &identity, credential: &credential, patience };
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
struct Asking<'a> {
    signing: &'a Signing<'a>,
    identity: &'a Identity,
    credential: &'a Credential,
    patience: &'a Patience<'a>,
}

impl Asking<'_> {
    async fn token(
        &self,
        exchange: &mut dyn Exchange,
        mut permit: Permit,
        trail: &mut Trail<'_>,
    ) -> Result<Signed, Denial> {
        // 8: which token holds the key, and how it can verify its user.
        let token = self.select(exchange, &permit).await?;
        let mut tries = Tries::begin(exchange, &token, permit.requirements(), self.patience).await?;

        if permit.requirements().confirm {
            self.signing.confirm(&self.occasion(&permit, &token), self.patience).await?;
        }
        loop {
            // 9: the PIN, if the token needs it.
            let pin = match tries.verification() {
                Verification::Pin => {
                    let occasion = self.occasion(&permit, &token);
                    Some(self.signing.secret(&occasion, tries.pin_question(), self.patience).await?)
                }
                Verification::None | Verification::BuiltIn => None,
            };

            // 10: minutes may have passed. A device that took the token's place gets no PIN that was meant for the token.
            if !token.is_plugged() {
                return Err(Denial::plain(Code::TokenAbsent));
            }
            self.signing.still_held(self.identity)?;
            permit = self.signing.authorize(self.identity)?;

            // 11: on record, or not at all.
            let intended = trail
                .intent(|subject| Intent {
                    subject,
                    destination: self.occasion(&permit, &token).destination(),
                    signer: Signer::Token {
                        token: occasion::audit_token(&token.device),
                        user_verification: tries.verification(),
                    },
                })
                .await?;

            // 12: the token.
            let failure = match self.assert(exchange, &permit, &token, &tries, pin).await? {
                Ok(raw) => {
                    // 13: believed only now.
                    let assertion = self.verify(&raw, &permit)?;
                    self.signing.still_held(self.identity)?;
                    let says = record::Assertion {
                        flags: assertion.flags,
                        counter: assertion.counter,
                        user_verification: tries.verification(),
                    };
                    return Ok(Signed::by_token(intended, assertion.signature(), says));
                }
                Err(failure) => failure,
            };
            // 12 → 9, within bounds.
            let tried = tries.verification();
            match tries.after(&failure) {
                Next::Again => trail.attempt(tried, &failure).await?,
                Next::GiveUp(denial) => return Err(denial),
            }
        }
    }

    async fn select(&self, exchange: &mut dyn Exchange, permit: &Permit) -> Result<Selected, Denial> {
        let lines = self.signing.occasion(self.identity, permit, None).lines();
        let prompt = Prompt { lines, question: "Touch the token that holds this key.".into() };
        let mut notice = None;
        let mut on_choice = || notice = Some(self.agent().prompts.notify_presence(&prompt));
        let selecting = select(exchange, self.credential, &self.identity.public_key, &mut on_choice);
        let selected = self.patience.wait(selecting).await?;
        drop(notice);
        selected.map_err(|failure| match failure.error {
            TokenError::NoCredentials => Denial::plain(Code::KeyNotOnToken),
            _ => Denial::from(&failure),
        })
    }

    async fn assert(
        &self,
        exchange: &mut dyn Exchange,
        permit: &Permit,
        token: &Selected,
        tries: &Tries,
        pin: Option<SecretString>,
    ) -> Result<Result<RawAssertion, Failure>, Denial> {
        let path = token.device.path.clone();
        let application = self.credential.application.clone();
        let key_handle = Bytes(self.credential.key_handle.as_bytes().to_vec());
        let data = Bytes(self.signing.request.data.clone());
        let verification = match (tries.verification(), pin) {
            (Verification::BuiltIn, _) => protocol::Verification::BuiltIn,
            (Verification::Pin, Some(pin)) => protocol::Verification::Pin(protocol::Pin(pin)),
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

    fn occasion<'b>(&'b self, permit: &'b Permit, token: &'b Selected) -> Occasion<'b> {
        self.signing.occasion(self.identity, permit, Some(token))
    }

    fn prompt(&self, permit: &Permit, token: &Selected, question: String) -> Prompt {
        Prompt { lines: self.occasion(permit, token).lines(), question }
    }

    fn agent(&self) -> &Agent {
        self.signing.agent
    }
}
