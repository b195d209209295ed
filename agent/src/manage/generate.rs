//! Keys that are made on a token.

use secrecy::SecretString;
use ssh_key::rand_core::{OsRng, RngCore};

use super::backup::Doubt;
use super::credential::{flags, public_key};
use super::{Management, record, state};
use crate::audit::record::Act;
use crate::control::{Generate, Generated};
use crate::denial::{Code, Denial};
use crate::identity;
use crate::occasion::{audit_token, describe_device};
use crate::prompt::Prompt;
use crate::sign::Patience;
use crate::token::Exchange;
use crate::token::hidraw::Plugging;
use crate::token::protocol::{
    Bytes, Command, Device, NewCredential, Pin, Reply, ResidentCredential, State, Verification,
};

impl Management<'_> {
    /// Makes a credential on a token. Nothing is kept here: the client writes the key file, then adds it.
    pub(crate) async fn generate(&self, wanted: Generate) -> Result<Generated, Denial> {
        self.unlocked()?;
        if wanted.application != "ssh:" && !wanted.application.starts_with("ssh:") {
            return Err(Denial::new(Code::NotSupported, "the application has to begin with \"ssh:\""));
        }
        let limit = self.agent.settings().limits.request;
        // A backup takes a name and one more touch before the key is made.
        let limit = if wanted.backup_of.is_some() { limit * 2 } else { limit };
        let patience = Patience::new(self.agent, self.client, limit);
        let _person = patience.wait(self.agent.person.lock()).await?;
        let _tokens = patience.wait(self.agent.tokens.lock()).await?;
        let mut exchange = self.begin(&patience).await?;
        let device = self.one_token(exchange.as_mut(), &patience, "Touch the token on which to make the key.").await?;
        let plugging = Plugging::of(&device.path).ok_or_else(|| Denial::plain(Code::TokenAbsent))?;
        let state = patience.wait(state(exchange.as_mut(), &device)).await??;
        let exchange_with = exchange.as_mut();
        let mut doubts = match (&wanted.backup_of, &wanted.replaces) {
            (Some(key), _) => self.on_another_token(exchange_with, &device, key, None, &patience).await?,
            (None, Some(old)) => self.on_another_token(exchange_with, &device, old, Some(old), &patience).await?,
            (None, None) => Vec::new(),
        };
        let verification =
            self.verification(exchange.as_mut(), &device, &state, &wanted, &mut doubts, &patience).await?;
        self.decide(&device, &doubts, &patience).await?;
        if wanted.backup_of.is_some() {
            self.offer_name(exchange.as_mut(), &device, &state, &patience).await?;
        }
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
        // What was found out, and what the person has said, is about this device, and not about one that took its place.
        if !plugging.is_current() {
            return Err(Denial::plain(Code::TokenAbsent));
        }
        let generating = Act::Generating { application: wanted.application.clone(), token: audit_token(&device) };
        record(self.agent, generating).await?;
        let command = Command::MakeCredential { path: device.path.clone(), options, verification };
        let reply = self.finish(exchange.as_mut(), &patience, command, Some(&prompt)).await?;
        let Reply::Credential(made) = reply else {
            return Err(Denial::plain(Code::HelperFailed));
        };
        let key = public_key(wanted.algorithm, &made.public_key.0, &wanted.application)
            .ok_or_else(|| Denial::new(Code::TokenUnproven, "the token gave no usable public key"))?;
        let fingerprint = identity::fingerprint(&key);
        let act = Act::Generate { key: fingerprint.clone(), token: audit_token(&device) };
        if let Err(error) = self.agent.audit.act(act).await {
            // That it was about to be made is on record. Refusing now would lose a key that the token has.
            tracing::error!(%error, "the new key can't be recorded");
        }
        let backup_of = match wanted.backup_of {
            Some(original) => self.remember_backup(fingerprint.clone(), original).await,
            None => None,
        };
        let token_name =
            self.remember_keys(exchange.as_mut(), &device, vec![fingerprint], &patience).await.unwrap_or(None);
        Ok(Generated {
            algorithm: wanted.algorithm,
            application: wanted.application,
            public_key: made.public_key,
            key_handle: made.key_handle,
            flags: flags(wanted.resident, wanted.verify_required).0,
            token: device,
            token_name,
            backup_of,
        })
    }

    /// How the token's user is verified for a new key. Many tokens want it for every resident key.
    async fn verification(
        &self,
        exchange: &mut dyn Exchange,
        device: &Device,
        state: &State,
        wanted: &Generate,
        doubts: &mut Vec<Doubt>,
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
        // What the token keeps tells which credential would be overwritten, and whether it holds a key that it must not. Looking
        // takes the PIN, on tokens that can be looked into.
        let twin = wanted.resident && !wanted.replace;
        if (twin || !doubts.is_empty()) && pin_set && state.credential_management {
            let pin = self.pin(device, state, patience).await?;
            let kept = self.kept(exchange, device, pin.clone(), patience).await?;
            self.not_among(&kept, doubts)?;
            if twin {
                refuse_twin(&kept, wanted)?;
            }
            return Ok(if sensor { Verification::BuiltIn } else { Verification::Pin(Pin(pin)) });
        }
        if sensor {
            return Ok(Verification::BuiltIn);
        }
        Ok(Verification::Pin(Pin(self.pin(device, state, patience).await?)))
    }

    /// The resident keys for SSH that a token keeps.
    pub(super) async fn kept(
        &self,
        exchange: &mut dyn Exchange,
        device: &Device,
        pin: SecretString,
        patience: &Patience<'_>,
    ) -> Result<Vec<ResidentCredential>, Denial> {
        let command = Command::EnumerateCredentials { path: device.path.clone(), pin: Pin(pin) };
        match self.finish(exchange, patience, command, None).await? {
            Reply::Credentials(credentials) => Ok(credentials.ssh),
            _ => Err(Denial::plain(Code::HelperFailed)),
        }
    }
}

/// A second resident credential with the same application and user name would be taken for the first one.
fn refuse_twin(kept: &[ResidentCredential], wanted: &Generate) -> Result<(), Denial> {
    let twin = |c: &ResidentCredential| c.application == wanted.application && c.user_name == wanted.user_name;
    if kept.iter().any(twin) {
        return Err(Denial::new(
            Code::ResidentTwin,
            format!("the token already keeps a key for {} and user {}", wanted.application, wanted.user_name),
        ));
    }
    Ok(())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}
