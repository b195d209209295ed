//! A sign request, from the frame that asked for it to the signature: one stage after the other.

mod patience;
mod retry;
mod trail;

use secrecy::{ExposeSecret, SecretString};
use ssh_key::Signature;
use ssh_key::public::KeyData;
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, since_boot};
use crate::assertion::Assertion;
use crate::audit::record::{self, Intent, Signer, Verification};
use crate::denial::{Code, Denial};
use crate::identity::{Credential, Holder, Identity};
use crate::occasion::{self, Occasion};
use crate::payload::{self, Payload};
use crate::peer::Peer;
use crate::policy::{self, Authorization, Permit, Question};
use crate::prompt::{Prompt, Prompter};
use crate::session_binding::SessionBindings;
use crate::token::protocol::{self, Bytes, Command, Failure, RawAssertion, Reply};
use crate::token::select::{Selected, select};
use crate::token::{Exchange, TokenError};
pub(crate) use patience::Patience;
use retry::{Next, Tries};
use trail::{Signed, Trail};

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The key that is to sign.
    pub key: KeyData,
    /// The same, or a certificate of it, as the client encoded it: it stands in the data of a login.
    pub key_blob: Vec<u8>,
    /// What is to be signed.
    pub data: Vec<u8>,
    /// What the connection is bound to.
    pub bindings: SessionBindings,
    /// Who asks.
    pub peer: Peer,
}

/// Serves a request: stages 4 to 14 of the architecture. `client` is cancelled when the client hangs up.
///
/// # Errors
/// A refusal, which is on record by then.
pub async fn sign(agent: &Agent, request: &Request, client: &CancellationToken) -> Result<Signature, Denial> {
    // 5: what is asked, read from the bytes. It comes before 4 so that the record of an unknown key has it too.
    let payload = Payload::parse(&request.data, &request.key_blob);
    let subject = occasion::subject(&request.key, &payload, &request.bindings, &request.peer);
    let mut trail = Trail::begin(agent.audit.as_ref(), agent.next_request(), subject);
    let result = Signing { agent, request, payload: &payload, client }.run(&mut trail).await;
    // 14: exactly one outcome, whichever stage ended the request.
    trail.end(result).await
}

/// One request under way.
struct Signing<'a> {
    agent: &'a Agent,
    request: &'a Request,
    payload: &'a Payload,
    client: &'a CancellationToken,
}

impl Signing<'_> {
    async fn run(&self, trail: &mut Trail<'_>) -> Result<Signed, Denial> {
        let patience = Patience::new(self.client, self.agent.limits.request);

        // 4: the key. A certificate of it is another identity, and none can be added so far.
        if self.request.key_blob != payload::key_blob(&self.request.key) {
            return Err(Denial::new(Code::UnknownKey, "the agent does not hold this certificate"));
        }
        let identity = self.held().ok_or_else(|| Denial::plain(Code::UnknownKey))?;

        // 6: may it sign this? Nobody is troubled with what is refused anyway.
        self.authorize(&identity)?;

        // 7: one person, one conversation with the tokens at a time. A client that hangs up leaves the queue.
        let _person = patience.wait(self.agent.person.lock()).await?;
        let _tokens = patience.wait(self.agent.tokens.lock()).await?;

        // The key as it is now: while this request waited, another may have opened its file.
        let identity = self.held().ok_or_else(|| Denial::plain(Code::KeyGone))?;
        let (identity, credential) = self.open_credential(identity, &patience).await?;
        let permit = self.authorize(&identity)?;

        let mut exchange = patience.wait(self.agent.authenticator.begin()).await?.map_err(|f| Denial::from(&f))?;
        let asking = Asking { signing: self, identity: &identity, credential: &credential, patience: &patience };
        let result = asking.token(exchange.as_mut(), permit, trail).await;
        if result.is_err() {
            // Whatever the token still waits for, it waits for nobody.
            exchange.cancel().await;
        }
        result
    }

    fn held(&self) -> Option<Identity> {
        self.agent.keystore.find(&self.request.key)
    }

    fn authorize(&self, identity: &Identity) -> Result<Permit, Denial> {
        let question =
            Question { identity, payload: self.payload, bindings: &self.request.bindings, now: since_boot() };
        match policy::authorize(&question, self.agent.settings) {
            Authorization::Allowed(permit) => Ok(permit),
            Authorization::Denied(denial) => Err(denial),
        }
    }

    /// The key handle, for which the person may have to give a key file's passphrase once.
    async fn open_credential(
        &self,
        identity: Identity,
        patience: &Patience<'_>,
    ) -> Result<(Identity, Credential), Denial> {
        let path = match &identity.holder {
            Holder::Credential(credential) => {
                let credential = credential.clone();
                return Ok((identity, credential));
            }
            Holder::ProtectedFile(path) => path.clone(),
        };
        let permit = self.authorize(&identity)?;
        let question = format!("Passphrase for {}: ", crate::prompt::visible(&path.display().to_string()));
        let prompt = self.prompt(&identity, &permit, None, question);
        let passphrase = self.secret(&prompt, patience).await?;
        let keystore = self.agent.keystore.clone();
        // The key derivation is made to be slow, and must not hold up other clients.
        let unlocking = tokio::task::spawn_blocking({
            let path = path.clone();
            move || keystore.unlock(&identity, &path, passphrase.expose_secret().as_bytes())
        });
        let unlocked = patience.wait(unlocking).await?.map_err(|_| Denial::plain(Code::KeyFile))?;
        let identity = unlocked.map_err(|error| error.denial(&path))?;
        match &identity.holder {
            Holder::Credential(credential) => {
                let credential = credential.clone();
                Ok((identity, credential))
            }
            Holder::ProtectedFile(_) => Err(Denial::plain(Code::KeyFile)),
        }
    }

    async fn secret(&self, prompt: &Prompt, patience: &Patience<'_>) -> Result<SecretString, Denial> {
        let asked = self.agent.prompts.request_pin(prompt);
        Ok(patience.wait_at_most(self.agent.limits.prompt, Code::PromptTimeout, asked).await??)
    }

    fn prompt(&self, identity: &Identity, permit: &Permit, token: Option<&Selected>, question: String) -> Prompt {
        let occasion = Occasion {
            identity,
            payload: self.payload,
            route: permit.route(),
            peer: &self.request.peer,
            token: token.map(|token| &token.device),
            token_proven: token.is_some_and(|token| token.proven),
        };
        Prompt { lines: occasion.lines(), question }
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
            let prompt = self.prompt(&permit, &token, "Allow this? ".into());
            let asked = self.agent().prompts.confirm(&prompt);
            self.patience.wait_at_most(self.agent().limits.prompt, Code::PromptTimeout, asked).await??;
        }
        loop {
            // 9: the PIN, if the token needs it.
            let pin = match tries.verification() {
                Verification::Pin => {
                    let prompt = self.prompt(&permit, &token, tries.pin_question());
                    Some(self.signing.secret(&prompt, self.patience).await?)
                }
                Verification::None | Verification::BuiltIn => None,
            };

            // 10: minutes may have passed.
            self.still_held()?;
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
                    self.still_held()?;
                    let says = record::Assertion {
                        flags: assertion.flags,
                        counter: assertion.counter,
                        user_verification: tries.verification(),
                    };
                    return Ok(Signed::by_token(intended, assertion.signature().clone(), says));
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

    /// A key that was removed or replaced in the meantime, perhaps by one with more constraints, signs nothing.
    fn still_held(&self) -> Result<(), Denial> {
        if self.signing.held().as_ref() == Some(self.identity) { Ok(()) } else { Err(Denial::plain(Code::KeyGone)) }
    }

    async fn select(&self, exchange: &mut dyn Exchange, permit: &Permit) -> Result<Selected, Denial> {
        let lines = self.signing.prompt(self.identity, permit, None, String::new()).lines;
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
        Occasion {
            identity: self.identity,
            payload: self.signing.payload,
            route: permit.route(),
            peer: &self.signing.request.peer,
            token: Some(&token.device),
            token_proven: token.proven,
        }
    }

    fn prompt(&self, permit: &Permit, token: &Selected, question: String) -> Prompt {
        Prompt { lines: self.occasion(permit, token).lines(), question }
    }

    fn agent(&self) -> &Agent {
        self.signing.agent
    }
}
