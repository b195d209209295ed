//! Keys that are added: from files, and from a token that keeps them.

use std::path::PathBuf;

use secrecy::ExposeSecret;

use super::credential::{flags, public_key};
use super::{Management, record, state};
use crate::audit::record::Act;
use crate::constraint::Constraints;
use crate::control::AddedKey;
use crate::denial::{Code, Denial};
use crate::identity::{self, Credential, Holder, Identity, KeyHandle};
use crate::keystore::file;
use crate::occasion::describe_device;
use crate::prompt::Prompt;
use crate::token::protocol::{Command, Pin, Reply, ResidentCredential};

impl Management<'_> {
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
        let keys = credentials.ssh.iter().filter_map(|credential| resident_identity(credential).ok());
        let keys = keys.map(|identity| identity::fingerprint(&identity.public_key)).collect();
        self.remember_keys(exchange.as_mut(), &device, keys, &patience).await?;
        let mut added = Vec::new();
        for credential in credentials.ssh {
            let identity = resident_identity(&credential)?;
            added.push(self.add(identity, describe_device(&device), None).await?);
        }
        Ok(added)
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
