//! Management of keys and tokens: what `agent-cli` asks for over the control socket.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use ssh_key::public::{Ed25519PublicKey, KeyData, SkEcdsaSha2NistP256, SkEd25519};
use ssh_key::rand_core::{OsRng, RngCore};
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::audit::record::Act;
use crate::constraint::Constraints;
use crate::control::{AddedKey, Generate, Generated, TokenStatus};
use crate::denial::{Code, Denial};
use crate::identity::{self, Credential, Holder, Identity, KeyHandle, SkFlags};
use crate::keystore::file;
use crate::occasion::{audit_token, describe_device};
use crate::prompt::{Prompt, Prompter};
use crate::sign::Patience;
use crate::token::protocol::{
    Algorithm, Bytes, Command, Device, NewCredential, Pin, Reply, ResidentCredential, State, Verification,
};
use crate::token::select::{choose, list};
use crate::token::{Exchange, TokenError};

/// One management request under way.
pub(crate) struct Management<'a> {
    pub(crate) agent: &'a Agent,
    /// Where this request's questions go: the terminal it came from.
    pub(crate) terminal: &'a dyn Prompter,
    /// Cancelled when the client hangs up.
    pub(crate) client: &'a CancellationToken,
}

impl Management<'_> {
    fn patience(&self) -> Patience<'_> {
        Patience::new(self.client, self.agent.limits.request)
    }

    /// The tokens that are plugged in. One that is in use is shown without its state rather than waited for.
    pub(crate) async fn tokens(&self) -> Result<Vec<TokenStatus>, Denial> {
        let patience = self.patience();
        let mut exchange = self.begin(&patience).await?;
        let devices = patience.wait(list(exchange.as_mut())).await?.map_err(|f| Denial::from(&f))?;
        let Ok(_free) = self.agent.tokens.try_lock() else {
            let in_use = |device| TokenStatus { device, state: None, trouble: Some("in use".into()) };
            return Ok(devices.into_iter().map(in_use).collect());
        };
        let mut tokens = Vec::new();
        for device in devices {
            let (state, trouble) = match patience.wait(state(exchange.as_mut(), &device)).await? {
                Ok(state) => (Some(state), None),
                Err(denial) => (None, Some(denial.to_string())),
            };
            tokens.push(TokenStatus { device, state, trouble });
        }
        Ok(tokens)
    }

    /// Adds a key file, and the certificate beside it; under a passphrase, the person is asked for it now.
    pub(crate) async fn add_file(&self, path: PathBuf) -> Result<Vec<AddedKey>, Denial> {
        self.unlocked()?;
        let patience = self.patience();
        let mut identities = file::read(&path).map_err(|error| error.denial(&path))?;
        let protected = identities.iter().find(|identity| matches!(identity.holder, Holder::ProtectedFile(_)));
        if let Some(key) = protected.map(|identity| identity.public_key.clone()) {
            let question = format!("Passphrase for {}: ", crate::prompt::visible(&path.display().to_string()));
            let passphrase = self.secret(Prompt { lines: vec![], question }, &patience).await?;
            let opening = tokio::task::spawn_blocking({
                let path = path.clone();
                move || file::read_credential(&path, &key, passphrase.expose_secret().as_bytes())
            });
            let credential = patience.wait(opening).await?.map_err(|_| Denial::plain(Code::KeyFile))?;
            let holder = Holder::Credential(credential.map_err(|error| error.denial(&path))?);
            identities.iter_mut().for_each(|identity| identity.holder = holder.clone());
        }
        let mut added = Vec::new();
        for identity in identities {
            added.push(self.add(identity, path.display().to_string(), Some(path.clone())).await?);
        }
        Ok(added)
    }

    /// Adds the resident keys of a token.
    pub(crate) async fn add_resident(&self) -> Result<Vec<AddedKey>, Denial> {
        self.unlocked()?;
        let patience = self.patience();
        let _person = patience.wait(self.agent.person.lock()).await?;
        let _tokens = patience.wait(self.agent.tokens.lock()).await?;
        let mut exchange = self.begin(&patience).await?;
        let device =
            self.one_token(exchange.as_mut(), &patience, "Touch the token whose keys are to be added.").await?;
        let state = patience.wait(state(exchange.as_mut(), &device)).await??;
        if !state.credential_management {
            return Err(Denial::new(Code::TokenUnsupported, "this token can't list its resident keys"));
        }
        let pin = self.pin(&device, &state, &patience).await?;
        let command = Command::EnumerateCredentials { path: device.path.clone(), pin: Pin(pin) };
        let reply = self.finish(exchange.as_mut(), &patience, command, None).await?;
        let Reply::Credentials(credentials) = reply else {
            return Err(Denial::plain(Code::HelperFailed));
        };
        let mut added = Vec::new();
        for credential in credentials {
            let identity = resident_identity(&credential)?;
            added.push(self.add(identity, describe_device(&device), None).await?);
        }
        Ok(added)
    }

    /// Keys come to a locked agent by neither of its sockets.
    fn unlocked(&self) -> Result<(), Denial> {
        if self.agent.lock.is_locked() { Err(Denial::plain(Code::Locked)) } else { Ok(()) }
    }

    async fn add(&self, mut identity: Identity, from: String, path: Option<PathBuf>) -> Result<AddedKey, Denial> {
        identity.constraints.expires_at = self.agent.expiry(None);
        let added =
            AddedKey { fingerprint: identity::fingerprint(&identity.public_key), comment: identity.comment.clone() };
        record(self.agent, Act::Add { key: added.fingerprint.clone(), from }).await?;
        if let Err(error) = self.agent.change_keys(move |keys| keys.add(identity, path)).await {
            tracing::warn!(%error, "the key is held now, but not kept for the next start");
        }
        Ok(added)
    }

    /// Makes a credential on a token. Nothing is kept here: the client writes the key file, then adds it.
    pub(crate) async fn generate(&self, wanted: Generate) -> Result<Generated, Denial> {
        self.unlocked()?;
        if wanted.application != "ssh:" && !wanted.application.starts_with("ssh:") {
            return Err(Denial::new(Code::NotSupported, "the application has to begin with \"ssh:\""));
        }
        let patience = self.patience();
        let _person = patience.wait(self.agent.person.lock()).await?;
        let _tokens = patience.wait(self.agent.tokens.lock()).await?;
        let mut exchange = self.begin(&patience).await?;
        let device = self.one_token(exchange.as_mut(), &patience, "Touch the token on which to make the key.").await?;
        let state = patience.wait(state(exchange.as_mut(), &device)).await??;
        let verification = self.verification(exchange.as_mut(), &device, &state, &wanted, &patience).await?;
        let options = NewCredential {
            application: wanted.application.clone(),
            algorithm: wanted.algorithm,
            resident: wanted.resident,
            verify_required: wanted.verify_required,
            user_id: Bytes(random::<32>().to_vec()),
            user_name: wanted.user_name.clone(),
            challenge: Bytes(random::<32>().to_vec()),
        };
        let notice = match verification {
            Verification::BuiltIn => "Put your finger on the token's sensor to make the key.",
            Verification::None | Verification::Pin(_) => "Touch the token to make the key.",
        };
        let prompt =
            Prompt { lines: vec![format!("New key on {}", describe_device(&device))], question: notice.into() };
        let generating = Act::Generating { application: wanted.application.clone(), token: audit_token(&device) };
        record(self.agent, generating).await?;
        let command = Command::MakeCredential { path: device.path.clone(), options, verification };
        let reply = self.finish(exchange.as_mut(), &patience, command, Some(&prompt)).await?;
        let Reply::Credential(made) = reply else {
            return Err(Denial::plain(Code::HelperFailed));
        };
        let key = public_key(wanted.algorithm, &made.public_key.0, &wanted.application)
            .ok_or_else(|| Denial::new(Code::TokenUnproven, "the token gave no usable public key"))?;
        let act = Act::Generate { key: identity::fingerprint(&key), token: audit_token(&device) };
        if let Err(error) = self.agent.audit.act(act).await {
            // That it was about to be made is on record. Refusing now would lose a key that the token has.
            tracing::error!(%error, "the new key can't be recorded");
        }
        Ok(Generated {
            algorithm: wanted.algorithm,
            application: wanted.application,
            public_key: made.public_key,
            key_handle: made.key_handle,
            flags: flags(wanted.resident, wanted.verify_required).0,
            token: device,
        })
    }

    /// How the token's user is verified for a new key. Many tokens want it for every resident key.
    async fn verification(
        &self,
        exchange: &mut dyn Exchange,
        device: &Device,
        state: &State,
        wanted: &Generate,
        patience: &Patience<'_>,
    ) -> Result<Verification, Denial> {
        let pin_set = state.pin_set == Some(true);
        let sensor = state.built_in_uv == Some(true) && state.uv_retries != Some(0);
        if !pin_set && !sensor {
            if wanted.verify_required {
                return Err(Denial::plain(Code::PinNotSet));
            }
            return Ok(Verification::None);
        }
        // Looking for a credential that would be overwritten takes the PIN, on tokens that can be looked into.
        if wanted.resident && !wanted.replace && pin_set && state.credential_management {
            let pin = self.pin(device, state, patience).await?;
            self.refuse_twin(exchange, device, pin.clone(), wanted, patience).await?;
            return Ok(if sensor { Verification::BuiltIn } else { Verification::Pin(Pin(pin)) });
        }
        if sensor {
            return Ok(Verification::BuiltIn);
        }
        Ok(Verification::Pin(Pin(self.pin(device, state, patience).await?)))
    }

    /// A second resident credential with the same application and user name would be taken for the first one.
    async fn refuse_twin(
        &self,
        exchange: &mut dyn Exchange,
        device: &Device,
        pin: SecretString,
        wanted: &Generate,
        patience: &Patience<'_>,
    ) -> Result<(), Denial> {
        let command = Command::EnumerateCredentials { path: device.path.clone(), pin: Pin(pin) };
        let reply = self.finish(exchange, patience, command, None).await?;
        let Reply::Credentials(credentials) = reply else {
            return Err(Denial::plain(Code::HelperFailed));
        };
        let twin = |c: &ResidentCredential| c.application == wanted.application && c.user_name == wanted.user_name;
        if credentials.iter().any(twin) {
            return Err(Denial::new(
                Code::ResidentTwin,
                format!("the token already keeps a key for {} and user {}", wanted.application, wanted.user_name),
            ));
        }
        Ok(())
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
        let left = match state.pin_retries {
            Some(0) => return Err(Denial::plain(Code::PinBlocked)),
            Some(n) if state.pin_set == Some(true) => n,
            _ => return Err(Denial::plain(Code::PinNotSet)),
        };
        let question = format!("PIN of {} ({left} tries left): ", describe_device(device));
        self.secret(Prompt { lines: vec![], question }, patience).await
    }

    async fn secret(&self, prompt: Prompt, patience: &Patience<'_>) -> Result<SecretString, Denial> {
        let asked = self.terminal.request_pin(&prompt);
        Ok(patience.wait_at_most(self.agent.limits.prompt, Code::PromptTimeout, asked).await??)
    }

    /// Runs a command; when it does not succeed, whatever the token still waits for is cancelled.
    async fn finish(
        &self,
        exchange: &mut dyn Exchange,
        patience: &Patience<'_>,
        command: Command,
        notice: Option<&Prompt>,
    ) -> Result<Reply, Denial> {
        let mut shown = None;
        let mut presence = || shown = notice.map(|prompt| self.terminal.notify_presence(prompt));
        let result = patience.wait(exchange.call(command, &mut presence)).await;
        drop(shown);
        if !matches!(result, Ok(Ok(_))) {
            exchange.cancel().await;
        }
        result?.map_err(|failure| match failure.error {
            TokenError::PinInvalid { retries: Some(left) } => {
                Denial::new(Code::PinWrong, format!("{}, {left} tries left", failure.error))
            }
            _ => Denial::from(&failure),
        })
    }
}

/// Puts an act on record, without which it does not happen.
pub(crate) async fn record(agent: &Agent, act: Act) -> Result<(), Denial> {
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

fn resident_identity(found: &ResidentCredential) -> Result<Identity, Denial> {
    let unusable = || Denial::new(Code::TokenUnproven, "the token listed a key that can't be read");
    let public_key = public_key(found.algorithm, &found.public_key.0, &found.application).ok_or_else(unusable)?;
    // A fingerprint token reports no flags; credProtect 3 is what makes a key verify-required (CTAP 2.1 § 12.1).
    let credential = Credential {
        application: found.application.clone(),
        key_handle: KeyHandle::new(found.key_handle.0.clone()),
        flags: flags(true, found.protection == 3),
    };
    Ok(Identity {
        blob: identity::key_blob(&public_key),
        public_key,
        comment: format!("{} {}", found.application, found.user_name),
        holder: Holder::Credential(credential),
        constraints: Constraints::default(),
    })
}

fn public_key(algorithm: Algorithm, bytes: &[u8], application: &str) -> Option<KeyData> {
    match algorithm {
        Algorithm::Ed25519 => {
            let key = Ed25519PublicKey(bytes.try_into().ok()?);
            Some(KeyData::SkEd25519(SkEd25519::new(key, application)))
        }
        Algorithm::EcdsaP256 => {
            let point = p256::EncodedPoint::from_bytes(bytes).ok()?;
            Some(KeyData::SkEcdsaSha2NistP256(SkEcdsaSha2NistP256::new(point, application)))
        }
    }
}

fn flags(resident: bool, verify_required: bool) -> SkFlags {
    let resident = if resident { SkFlags::RESIDENT_KEY } else { 0 };
    let verify = if verify_required { SkFlags::USER_VERIFICATION_REQUIRED } else { 0 };
    SkFlags(SkFlags::USER_PRESENCE_REQUIRED | resident | verify)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}
