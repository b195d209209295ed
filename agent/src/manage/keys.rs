//! Keys that are added.

use std::path::PathBuf;

use secrecy::ExposeSecret;

use super::{Management, record};
use crate::audit::record::Act;
use crate::control::AddedKey;
use crate::denial::{Code, Denial};
use crate::identity::{self, Holder, Identity};
use crate::keystore::file;
use crate::prompt::Prompt;

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

    pub(super) async fn add(
        &self,
        mut identity: Identity,
        from: String,
        path: Option<PathBuf>,
    ) -> Result<AddedKey, Denial> {
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
