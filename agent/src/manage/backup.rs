//! Keys that are to be on another token than those they stand in for.

use super::Management;
use super::credential::public_key;
use super::whereabouts::Holds;
use crate::control::keys::{Known, MOST};
use crate::denial::{Code, Denial};
use crate::identity;
use crate::occasion::describe_device;
use crate::prompt::{Prompt, PromptError, Prompter, visible};
use crate::sign::Patience;
use crate::token::Exchange;
use crate::token::known::{KnownTokens, family, holder_of, original_of};
use crate::token::probe::recognise;
use crate::token::protocol::{Device, ResidentCredential, State};

/// What may be asked of a person before a token has its name.
const MOST_QUESTIONS: usize = 3;

/// A key that must not be on the token at hand, of which that is not certain yet.
pub(super) struct Doubt {
    fingerprint: String,
    /// Whether a token that lists its resident keys lists this one.
    resident: bool,
}

impl Management<'_> {
    /// What is known of these keys, beside what they are.
    pub(crate) async fn known_keys(&self, fingerprints: Vec<String>) -> Result<Vec<Known>, Denial> {
        if fingerprints.len() > MOST {
            return Err(Denial::new(Code::NotSupported, format!("more than {MOST} keys were asked for at a time")));
        }
        let (tokens, backups) = self.agent.change_known_tokens(|known| Ok((known.list()?, known.backups()?))).await?;
        let known = |fingerprint: String| {
            let verify_required = self.held(&fingerprint).map(|(_, key)| key.flags.user_verification_required());
            let of = original_of(&backups, &fingerprint).map(str::to_owned);
            let others = family(&backups, &fingerprint).into_iter().skip(1);
            Known {
                token: holder_of(&tokens, &fingerprint).map(|token| token.name.clone()),
                verify_required,
                backups: if of.is_none() { others.collect() } else { Vec::new() },
                backup_of: of,
                fingerprint,
            }
        };
        Ok(fingerprints.into_iter().map(known).collect())
    }

    /// Has a new key take the place of an old one among the backups.
    pub(crate) async fn succeed(&self, old: String, new: String) -> Result<(), Denial> {
        self.unlocked()?;
        self.agent.change_known_tokens(move |known| known.succeed(&old, &new)).await
    }

    /// Remembers that a key is another's backup. Refusing now would lose a key that the token has.
    pub(super) async fn remember_backup(&self, key: String, of: String) -> Option<String> {
        let remembered = of.clone();
        match self.agent.change_known_tokens(move |known| known.add_backup(&key, &of)).await {
            Ok(()) => Some(remembered),
            Err(denial) => {
                tracing::error!("which key the new one is a backup of can't be remembered: {denial}");
                None
            }
        }
    }

    /// The key and those that stand in for it, `except` for one, of which the token at hand must hold none: those that it may
    /// hold, as far as can be told without its PIN or a touch.
    pub(super) async fn on_another_token(
        &self,
        exchange: &mut dyn Exchange,
        device: &Device,
        key: &str,
        except: Option<&str>,
        patience: &Patience<'_>,
    ) -> Result<Vec<Doubt>, Denial> {
        let (tokens, backups) = self.agent.change_known_tokens(|known| Ok((known.list()?, known.backups()?))).await?;
        let mut doubts = Vec::new();
        for fingerprint in family(&backups, key).into_iter().filter(|one| except != Some(one.as_str())) {
            match self.holds(exchange, device, &fingerprint, &tokens, patience).await? {
                Holds::Yes => return Err(same_token(&fingerprint)),
                Holds::No => {}
                Holds::NotSaid => {
                    let resident =
                        self.held(&fingerprint).is_some_and(|(_, credential)| credential.flags.is_resident());
                    doubts.push(Doubt { fingerprint, resident });
                }
            }
        }
        Ok(doubts)
    }

    /// The same by what it keeps, once it was opened.
    pub(super) fn not_among(&self, kept: &[ResidentCredential], doubts: &mut Vec<Doubt>) -> Result<(), Denial> {
        let kept = fingerprints(kept);
        if let Some(doubt) = doubts.iter().find(|doubt| kept.contains(&doubt.fingerprint)) {
            return Err(same_token(&doubt.fingerprint));
        }
        doubts.retain(|doubt| !doubt.resident);
        Ok(())
    }

    /// What is left, the person has to decide.
    pub(super) async fn decide(
        &self,
        device: &Device,
        doubts: &[Doubt],
        patience: &Patience<'_>,
    ) -> Result<(), Denial> {
        if doubts.is_empty() {
            return Ok(());
        }
        let mut lines =
            vec![format!("It can't be told whether {} holds one of these keys already:", describe_device(device))];
        lines.extend(doubts.iter().map(|doubt| format!("  {}", visible(&doubt.fingerprint))));
        let question = "A key and its backup have to be on different tokens. Is this another one?".into();
        let prompt = Prompt { lines, question };
        let asked = self.terminal.confirm(&prompt);
        let answer = patience.wait_at_most(self.agent.settings().limits.prompt, Code::PromptTimeout, asked).await?;
        answer.map_err(|error| match error {
            PromptError::Refused => Denial::new(
                Code::PromptRefused,
                "nobody said that this is another token than the one that holds the key, so no key was made on it",
            ),
            other => other.into(),
        })
    }

    /// Offers to give a token a name that has none: without one a backup's token is not known from the other.
    pub(super) async fn offer_name(
        &self,
        exchange: &mut dyn Exchange,
        device: &Device,
        state: &State,
        patience: &Patience<'_>,
    ) -> Result<(), Denial> {
        for _ in 0..MOST_QUESTIONS {
            let known = self.agent.change_known_tokens(KnownTokens::list).await?;
            if patience.wait(recognise(exchange, device, &known)).await?.is_some() {
                return Ok(());
            }
            let lines = vec![format!(
                "{} has no name. By a name the agent knows it from the other one.",
                describe_device(device)
            )];
            let question = "What do you call this token? (empty: it stays without a name) ".into();
            let prompt = Prompt { lines, question };
            let asked = self.terminal.request_line(&prompt);
            let limit = self.agent.settings().limits.prompt;
            let name = match patience.wait_at_most(limit, Code::PromptTimeout, asked).await? {
                Ok(name) => name,
                Err(PromptError::Refused) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            match self.mark(exchange, device, state, name, &known, patience).await {
                Ok(()) => return Ok(()),
                Err(denial) if denial.code == Code::TokenName => self.terminal.say(denial.reason),
                // It works without a name, and says so each time.
                Err(denial) if denial.code == Code::TokenNotRecognisable => {
                    self.terminal.say(denial.reason);
                    return Ok(());
                }
                Err(denial) => return Err(denial),
            }
        }
        Ok(())
    }

    /// Refuses a token that does not prove to hold this key: silently, or by what it keeps, once its PIN was given.
    pub(super) async fn has_to_hold(
        &self,
        exchange: &mut dyn Exchange,
        device: &Device,
        state: &State,
        fingerprint: &str,
        patience: &Patience<'_>,
    ) -> Result<(), Denial> {
        let reason = format!("this token does not prove to hold {}, so it got no name", visible(fingerprint));
        let not = || Denial::new(Code::KeyNotOnToken, reason);
        match self.holds(exchange, device, fingerprint, &[], patience).await? {
            Holds::Yes => return Ok(()),
            Holds::No => return Err(not()),
            Holds::NotSaid => {}
        }
        if state.pin_set != Some(true) || !state.credential_management {
            return Err(not());
        }
        let pin = self.pin(device, state, patience).await?;
        let kept = self.kept(exchange, device, pin, patience).await?;
        if fingerprints(&kept).iter().any(|kept| kept == fingerprint) { Ok(()) } else { Err(not()) }
    }
}

fn same_token(fingerprint: &str) -> Denial {
    let reason = format!("this token holds {} already: whoever loses it loses both", visible(fingerprint));
    Denial::new(Code::BackupSameToken, reason)
}

fn fingerprints(kept: &[ResidentCredential]) -> Vec<String> {
    let key = |kept: &ResidentCredential| public_key(kept.algorithm, &kept.public_key.0, &kept.application);
    kept.iter().filter_map(key).map(|key| identity::fingerprint(&key)).collect()
}
