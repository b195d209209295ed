//! Which token is asked, and what the person has to say to that before it gets a PIN.

use super::absent::{Absence, Ended};
use super::token::Asking;
use crate::denial::{Code, Denial};
use crate::policy::{Permit, UserVerification};
use crate::prompt::{Prompt, Prompter};
use crate::token::known::holder_of;
use crate::token::select::{Selected, Standing, Wanted, select};
use crate::token::{Exchange, TokenError};

impl Asking<'_> {
    /// The token that holds the key, or the one that the person says does.
    pub(super) async fn select(&self, exchange: &mut dyn Exchange, permit: &Permit) -> Result<Selected, Ended> {
        let lines = self.signing.occasion(self.identity, permit, None).lines();
        let prompt = Prompt { lines, question: "Touch the token that holds this key.".into() };
        let mut notice = None;
        let mut on_choice = || notice = Some(self.agent().prompts.notify_presence(&prompt));
        let wanted = self.wanted(permit);
        let selected = self.patience.wait(select(exchange, &wanted, &mut on_choice)).await?;
        drop(notice);
        selected.map_err(|failure| {
            let name = wanted.holder().map(|holder| holder.name.clone());
            let denial = match (&failure.error, &name) {
                (TokenError::NoCredentials, Some(name)) => {
                    Denial::new(Code::KeyNotOnToken, format!("token {name}, which holds this key, is not plugged in"))
                }
                (TokenError::NoCredentials, None) => Denial::plain(Code::KeyNotOnToken),
                _ => Denial::from(&failure),
            };
            match denial.code {
                Code::KeyNotOnToken | Code::TokenAbsent => {
                    Ended::Absent(Absence { denial, name, lines: prompt.lines, pulled_out: false })
                }
                _ => Ended::Refused(denial),
            }
        })
    }

    /// A device that was neither named nor proven is shown to the person before it gets a PIN, once in each plugging-in.
    pub(super) async fn accept(&self, token: &mut Selected, permit: &Permit) -> Result<(), Denial> {
        if token.standing != Standing::FirstSeen {
            return Ok(());
        }
        let question = "This token was not seen here since it was plugged in. Is it yours, and may it get its PIN? ";
        let prompt = Prompt { lines: self.occasion(permit, token).lines(), question: question.into() };
        let asked = self.agent().prompts.confirm(&prompt);
        let limit = self.agent().settings().limits.prompt;
        let answered = self.patience.wait_at_most(limit, Code::PromptTimeout, token.while_plugged(asked)).await;
        self.agent().prompts.settled().await;
        answered???;
        self.agent().pluggings.confirm(&token.plugging);
        token.standing = Standing::Confirmed;
        Ok(())
    }

    /// The token has signed with the key: the next time that is known.
    pub(super) async fn remember(&self, token: &Selected) {
        self.agent().pluggings.signed_with(&token.plugging, self.fingerprint);
        let Some(name) = &token.name else { return };
        if holder_of(self.known, self.fingerprint).is_none_or(|holder| holder.name != *name) {
            self.agent().remember_keys(name, vec![self.fingerprint.to_owned()]).await;
        }
    }

    fn wanted(&self, permit: &Permit) -> Wanted<'_> {
        let is_verified = permit.requirements().user_verification != UserVerification::NotRequired;
        Wanted {
            credential: self.credential,
            key: &self.identity.public_key,
            fingerprint: self.fingerprint,
            may_hide: self.credential.flags.may_hide() && is_verified,
            known: self.known,
            pluggings: &self.agent().pluggings,
        }
    }
}
