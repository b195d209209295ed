//! The right token is not there: the person is told, and the request goes on by itself once it is plugged in.

use std::collections::BTreeSet;

use super::Signing;
use super::patience::Patience;
use crate::denial::{Code, Denial};
use crate::prompt::{Prompt, PromptError, Prompter};
use crate::token::hidraw::{LOOK_AGAIN, Plugging};

/// Why a round with the tokens ended without a signature.
pub(super) enum Ended {
    /// For good.
    Refused(Denial),
    /// The token is not there. Another round may do better when one is plugged in.
    Absent(Absence),
}

impl From<Denial> for Ended {
    fn from(denial: Denial) -> Self {
        Self::Refused(denial)
    }
}

/// A token that is not there.
pub(super) struct Absence {
    /// The refusal, where nobody plugs it in.
    pub(super) denial: Denial,
    /// The name that the person gave it, where that is known.
    pub(super) name: Option<String>,
    /// What the request is about.
    pub(super) lines: Vec<String>,
    /// Whether it was there, and was pulled out.
    pub(super) pulled_out: bool,
}

impl Absence {
    fn question(&self) -> String {
        let token = match &self.name {
            Some(name) => format!("token {name}"),
            None => "the token that holds this key".into(),
        };
        format!("Plug in {token}: the request then goes on by itself. Wait for it? ")
    }
}

impl Signing<'_> {
    /// Waits until something is plugged in that was not there `before`. It is a question and not a notice, so that the
    /// person who has another token with them can say no, and ssh goes on to its next key. Where nobody can be told, nobody
    /// would know what ssh waits for: then it is refused at once.
    pub(super) async fn wait_for_token(
        &self,
        absence: Absence,
        before: &BTreeSet<Plugging>,
        patience: &Patience<'_>,
    ) -> Result<(), Denial> {
        let prompts = &self.agent.prompts;
        let question = absence.question();
        let Absence { denial, lines, .. } = absence;
        if prompts.reachable().is_err() {
            return Err(denial);
        }
        tracing::info!(reason = denial.reason, "waiting for a token to be plugged in");
        let prompt = Prompt { lines, question };
        let not_now = async {
            loop {
                match prompts.confirm(&prompt).await {
                    // They will plug it in.
                    Ok(()) => std::future::pending().await,
                    // They may be looking for it.
                    Err(PromptError::TimeUp) => {}
                    Err(_) => return,
                }
            }
        };
        let plugged = async {
            tokio::select! {
                () = plugged_anew(before) => true,
                () = not_now => false,
            }
        };
        let ended = patience.wait(plugged).await;
        prompts.settled().await;
        match ended {
            Ok(true) => Ok(()),
            Ok(false) => Err(denial),
            Err(ended) if ended.code == Code::RequestTimeout => Err(denial),
            Err(ended) => Err(ended),
        }
    }
}

/// Looks again and again: what tells of new devices (udev) tells it of those that are not ready yet, too. One that is new is
/// looked at a second time, by when udev has given its node to the user.
async fn plugged_anew(before: &BTreeSet<Plugging>) {
    let mut last = before.clone();
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let now = Plugging::all();
        if now == last && !now.is_subset(before) {
            return;
        }
        last = now;
    }
}
