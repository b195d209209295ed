//! The key that a new one is a backup of, and what is said of the two.

use agent::control::Generated;

use super::one_line;
use crate::agent_socket::AgentSocket;
use crate::commands::tokens::name::name_holding;
use crate::known_keys::known;
use crate::named_key::named;
use crate::problem::Problem;
use crate::safe::safe;
use crate::terminal::Terminal;

/// What a backup's file is called, behind the name of the original's.
pub(super) const ENDING: &str = "_backup";

/// The key that is backed up.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) fingerprint: String,
    comment: String,
}

impl Original {
    /// Finds it.
    pub(super) fn find(name: &str) -> Result<Self, Problem> {
        let (key, comment) = named(name, &AgentSocket::connect()?.list()?)?;
        if key.application.is_none() {
            return Err(Problem::failed(format!("{name} is on no token, and a copy of its file is a backup of it"))
                .next("Name a key that is on a token: see `agent-cli list`."));
        }
        Ok(Self { fingerprint: key.fingerprint, comment })
    }

    /// The comment of its backup; None where that of the original says nothing.
    pub(super) fn backup_comment(&self) -> Option<String> {
        let usable = !self.comment.is_empty() && one_line(&self.comment).is_ok();
        usable.then(|| format!("{} (backup)", self.comment))
    }

    /// Offers to give the token that holds it a name, where it has none.
    pub(super) fn offer_name(&self, terminal: &mut Terminal) -> Result<(), Problem> {
        let known = known(&[&self.fingerprint])?;
        if known.get(&self.fingerprint).is_some_and(|known| known.token.is_some()) {
            return Ok(());
        }
        terminal.say(&format!("No token with a name is known to hold {}.", self.fingerprint));
        terminal.say("By a name the agent knows it from the backup's token. To give it one, plug it in now, alone.");
        let Some(name) = terminal.ask_line("What do you call it? (empty: it stays without a name) ")? else {
            return Ok(());
        };
        name_holding(&name, Some(&self.fingerprint), terminal)?;
        terminal.ask_line("Now plug in the other token, and press Enter. ")?;
        Ok(())
    }
}

/// What the person is told of a backup.
pub(super) fn describe(made: &Generated, original: &Original) -> Vec<String> {
    let Original { fingerprint, .. } = original;
    let on = match &made.token_name {
        Some(name) => format!("on token {}", safe(name)),
        None => "on a token without a name".into(),
    };
    let mut lines = match made.backup_of {
        Some(_) => vec![format!("It is a backup of {fingerprint}, {on}.")],
        None => vec![format!(
            "It is a backup of {fingerprint}, {on}; but that could not be remembered: see the agent's messages."
        )],
    };
    if made.token_name.is_none() {
        lines.push("Without names the two tokens are told apart by nothing: `agent-cli tokens name NAME`.".into());
    }
    lines.push(format!(
        "Register both where you log in (`agent-cli export authorized-keys {fingerprint}`), and log in with the backup once, \
         so that it is known to work on the day you need it."
    ));
    lines
}
