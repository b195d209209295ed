//! Stages 7 to 13 for a key in the agent's memory: no token, and a person only where the key asks for one.

use super::Signing;
use super::patience::Patience;
use super::trail::Signed;
use crate::denial::{Code, Denial};
use crate::identity::Identity;
use crate::policy::Permit;
use crate::software_key::{SoftwareKey, SoftwareKeyError};

impl Signing<'_> {
    /// Signs here. Nothing has happened outside by then, so the intent is written with the outcome.
    pub(super) async fn by_software_key(
        &self,
        identity: &Identity,
        key: &SoftwareKey,
        mut permit: Permit,
        patience: &Patience<'_>,
    ) -> Result<Signed, Denial> {
        if permit.requirements().confirm {
            let _person = self.person(patience).await?;
            self.look_around(patience).await?;
            self.confirm(&self.occasion(identity, &permit, None), patience).await?;
            // Minutes may have passed.
            self.still_held(identity)?;
            permit = self.authorize(identity)?;
        }
        let allowed = self.allowed(identity, &permit, None);
        let (data, flags) = (&self.request.data, self.request.flags);
        let signature = if key.is_slow() {
            let signing = self.request.turn.work({
                let (key, data) = (key.clone(), data.clone());
                move || key.sign(&data, flags)
            });
            patience.wait(signing).await?.unwrap_or(Err(SoftwareKeyError::Signing))
        } else {
            key.sign(data, flags)
        };
        Ok(Signed::by_software(allowed, signature.map_err(denial)?))
    }
}

fn denial(error: SoftwareKeyError) -> Denial {
    let code = if error == SoftwareKeyError::Sha1 { Code::Sha1 } else { Code::KeyRejected };
    Denial::new(code, error.to_string())
}
