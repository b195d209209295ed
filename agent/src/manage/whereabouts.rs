//! Which of the tokens that are plugged in hold which keys, as far as they say so silently.

use super::Management;
use crate::agent::since_boot;
use crate::control::keys::{MOST, Whereabouts};
use crate::denial::{Code, Denial};
use crate::identity::{self, Credential, Holder, Identity};
use crate::sign::Patience;
use crate::token::Exchange;
use crate::token::hidraw::Plugging;
use crate::token::known::{KnownToken, KnownTokens, holder_of};
use crate::token::probe::{Answer, probe, probe_marker};
use crate::token::protocol::Device;
use crate::token::select::list;

/// Whether a token holds a key.
pub(super) enum Holds {
    Yes,
    No,
    NotSaid,
}

impl Management<'_> {
    /// Looks for these keys. It costs no touch and no try of a PIN; while somebody uses a token, it is not asked.
    pub(crate) async fn whereabouts(&self, fingerprints: Vec<String>) -> Result<Vec<Whereabouts>, Denial> {
        self.unlocked()?;
        if fingerprints.len() > MOST {
            return Err(Denial::new(Code::NotSupported, format!("more than {MOST} keys were asked for at a time")));
        }
        let patience = self.patience();
        let known = self.agent.change_known_tokens(KnownTokens::list).await?;
        let Ok(_tokens) = self.agent.tokens.try_lock() else { return Err(Denial::plain(Code::TokenBusy)) };
        let mut exchange = self.begin(&patience).await?;
        let devices = patience.wait(list(exchange.as_mut())).await?.map_err(|failure| Denial::from(&failure))?;
        let mut keys = Vec::new();
        for fingerprint in fingerprints {
            let mut key = Whereabouts { fingerprint, token: None, perhaps: Vec::new() };
            for device in &devices {
                match self.holds(exchange.as_mut(), device, &key.fingerprint, &known, &patience).await {
                    Ok(Holds::Yes) => key.token = Some(device.path.clone()),
                    Ok(Holds::No) => {}
                    // One that does not answer as it should may hold it as well as another.
                    Ok(Holds::NotSaid) | Err(_) => key.perhaps.push(device.path.clone()),
                }
            }
            if key.token.is_some() {
                key.perhaps.clear();
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// Whether a token holds a key, as far as it says so without its PIN or a touch.
    pub(super) async fn holds(
        &self,
        exchange: &mut dyn Exchange,
        device: &Device,
        fingerprint: &str,
        tokens: &[KnownToken],
        patience: &Patience<'_>,
    ) -> Result<Holds, Denial> {
        let plugging = Plugging::of(&device.path).ok_or_else(|| Denial::plain(Code::TokenAbsent))?;
        if self.agent.pluggings.has_signed_with(&plugging, fingerprint) {
            return Ok(Holds::Yes);
        }
        if let Some(holder) = holder_of(tokens, fingerprint) {
            match patience.wait(probe_marker(exchange, device, holder)).await? {
                Ok(Answer::Proven) => return Ok(Holds::Yes),
                Ok(Answer::No) => return Ok(Holds::No),
                Ok(Answer::NotSaid) => {}
                Err(failure) => return Err(Denial::from(&failure)),
            }
        }
        let Some((identity, credential)) = self.held(fingerprint) else { return Ok(Holds::NotSaid) };
        match patience.wait(probe(exchange, device, &credential, &identity.public_key)).await? {
            Ok(Answer::Proven) => Ok(Holds::Yes),
            Ok(Answer::No) if !credential.flags.may_hide() => Ok(Holds::No),
            Ok(Answer::No | Answer::NotSaid) => Ok(Holds::NotSaid),
            Err(failure) => Err(Denial::from(&failure)),
        }
    }

    /// A key that the agent holds, and how a token is asked for it.
    pub(super) fn held(&self, fingerprint: &str) -> Option<(Identity, Credential)> {
        let identities = self.agent.keystore.list(since_boot());
        let found = identities.iter().find(|identity| identity::fingerprint(&identity.public_key) == fingerprint)?;
        match &found.holder {
            Holder::Credential(credential) => Some(((**found).clone(), credential.clone())),
            Holder::ProtectedFile(_) | Holder::Software(_) | Holder::Upstream(_) => None,
        }
    }
}
