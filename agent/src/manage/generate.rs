//! Keys that are made on a token.

use secrecy::SecretString;
use ssh_key::rand_core::{OsRng, RngCore};

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
        let fingerprints = vec![identity::fingerprint(&key)];
        let token_name = self.remember_keys(exchange.as_mut(), &device, fingerprints, &patience).await.unwrap_or(None);
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
            token_name,
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
        if credentials.ssh.iter().any(twin) {
            return Err(Denial::new(
                Code::ResidentTwin,
                format!("the token already keeps a key for {} and user {}", wanted.application, wanted.user_name),
            ));
        }
        Ok(())
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}
