//! Which of the tokens that are plugged in hold which keys, as far as they say so silently.

use super::Management;
use super::backup::Holds;
use crate::control::keys::{MOST, Whereabouts};
use crate::denial::{Code, Denial};
use crate::token::known::KnownTokens;
use crate::token::select::list;

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
}
