//! The keys for SSH that a token keeps: listed, and deleted.

use super::Management;
use super::at_hand::AtHand;
use super::credential::{identity, is_verify_required};
use crate::agent::since_boot;
use crate::audit::record::TokenChange;
use crate::control::token::{Answer, Credential};
use crate::denial::{Code, Denial};
use crate::identity;
use crate::occasion::describe_device;
use crate::prompt::{Prompt, name};
use crate::token::protocol::{Algorithm, Command, Pin, ResidentCredential};

impl Management<'_> {
    /// Which keys for SSH a token keeps.
    pub(crate) async fn credentials(&self) -> Result<Answer, Denial> {
        let mut token = self.listable("Touch the token whose keys are to be listed.").await?;
        let pin = self.pin_of(&mut token).await?;
        let found = self.resident_keys(&mut token, &pin).await?;
        let credentials = found.ssh.iter().map(|found| self.shown(found)).collect::<Result<_, _>>()?;
        Ok(Answer::Credentials { token: token.device, credentials, other_parties: found.other_parties })
    }

    /// Deletes one, after the person has typed its name. Nothing brings it back.
    pub(crate) async fn delete_credential(&self, which: Option<&str>) -> Result<Answer, Denial> {
        let mut token = self.listable("Touch the token that keeps the key.").await?;
        let pin = self.pin_of(&mut token).await?;
        let found = self.resident_keys(&mut token, &pin).await?.ssh;
        let shown: Vec<_> = found.iter().map(|found| self.shown(found)).collect::<Result<_, _>>()?;
        let index = match which {
            Some(which) => find(which, &shown),
            None if shown.is_empty() => None,
            None => {
                let question = "Which one is to be deleted? Its number: ".into();
                let answer = self.line(Prompt { lines: numbered(&shown), question }, &mut token).await?;
                find(&answer, &shown)
            }
        };
        let chosen = index.and_then(|index| Some((found.get(index)?, shown.get(index)?)));
        let (found, credential) = chosen.ok_or_else(|| Denial::plain(Code::NoSuchCredential))?;
        self.insist(&mut token, credential).await?;
        let change = TokenChange::DeleteCredential {
            key: credential.fingerprint.clone(),
            application: credential.application.clone(),
        };
        let (path, key_handle) = (token.path(), found.key_handle.clone());
        self.change(&mut token, change, Command::DeleteCredential { path, pin: Pin(pin), key_handle }).await?;
        Ok(Answer::Deleted { token: token.device, credential: credential.clone() })
    }

    /// Whoever deletes a key has its name before their eyes, and in their fingers.
    async fn insist(&self, token: &mut AtHand<'_>, credential: &Credential) -> Result<(), Denial> {
        let lines = vec![
            format!("Delete this key from {}, for good:", describe_device(&token.device)),
            format!("  {}", line(credential)),
        ];
        let question = "Type its application or its user name to delete it: ".into();
        let typed = self.line(Prompt { lines, question }, token).await?;
        let names = [&credential.application, &credential.user_name];
        if names.iter().any(|wanted| !wanted.is_empty() && (typed == **wanted || typed == name(wanted))) {
            return Ok(());
        }
        let reason = "what was typed is neither the key's application nor its user name, so nothing was deleted";
        Err(Denial::new(Code::PromptRefused, reason))
    }

    /// A token that can list what it keeps.
    pub(super) async fn listable(&self, question: &str) -> Result<AtHand<'_>, Denial> {
        let token = self.at_hand(self.agent.settings().limits.request, question).await?;
        if !token.state.credential_management {
            return Err(Denial::new(Code::TokenUnsupported, "this token can't list its resident keys"));
        }
        if token.state.pin_set != Some(true) {
            let reason = "resident keys are listed by PIN, and the token has none yet";
            return Err(Denial::new(Code::PinNotSet, reason));
        }
        Ok(token)
    }

    /// A line from the person.
    pub(super) async fn line(&self, prompt: Prompt, token: &mut AtHand<'_>) -> Result<String, Denial> {
        let asked = self.terminal.request_line(&prompt);
        Ok(token.patience.wait_at_most(self.agent.settings().limits.prompt, Code::PromptTimeout, asked).await??)
    }

    /// As the person is shown it.
    pub(super) fn shown(&self, found: &ResidentCredential) -> Result<Credential, Denial> {
        let identity = identity(found)?;
        Ok(Credential {
            fingerprint: identity::fingerprint(&identity.public_key),
            algorithm: found.algorithm,
            application: found.application.clone(),
            user_name: found.user_name.clone(),
            verify_required: is_verify_required(found),
            held: self.agent.keystore.find(&identity.blob, since_boot()).is_some(),
        })
    }
}

/// The list a person chooses from.
pub(super) fn numbered(credentials: &[Credential]) -> Vec<String> {
    credentials.iter().enumerate().map(|(n, credential)| format!("{:>3}  {}", n + 1, line(credential))).collect()
}

fn line(credential: &Credential) -> String {
    let kind = match credential.algorithm {
        Algorithm::Ed25519 => "ED25519-SK",
        Algorithm::EcdsaP256 => "ECDSA-SK",
    };
    let verify = if credential.verify_required { ", verify-required" } else { "" };
    let (application, user) = (name(&credential.application), name(&credential.user_name));
    format!("{application}  {user}  {} ({kind}{verify})", credential.fingerprint)
}

/// Its place, by its fingerprint or its number in the list.
fn find(which: &str, credentials: &[Credential]) -> Option<usize> {
    let number = which.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    number
        .filter(|index| *index < credentials.len())
        .or_else(|| credentials.iter().position(|credential| credential.fingerprint == which))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(fingerprint: &str) -> Credential {
        Credential {
            fingerprint: fingerprint.into(),
            algorithm: Algorithm::Ed25519,
            application: "ssh:".into(),
            user_name: "me \u{202e}".into(),
            verify_required: true,
            held: false,
        }
    }

    #[test]
    fn one_is_found_by_number_or_fingerprint() {
        let credentials = [credential("SHA256:a"), credential("SHA256:b")];
        for (which, index) in
            [("1", Some(0)), ("2", Some(1)), ("SHA256:b", Some(1)), ("0", None), ("3", None), ("SHA256:", None)]
        {
            assert_eq!(find(which, &credentials), index, "{which}");
        }
    }

    #[test]
    fn the_list_deceives_nobody() {
        assert_eq!(
            numbered(&[credential("SHA256:a")]),
            ["  1  ssh:  \"me \\u{202e}\"  SHA256:a (ED25519-SK, verify-required)"]
        );
    }
}
