//! The settings change while the agent runs when it is told to read its files again (SIGHUP); where these are wrong, what held
//! before goes on to hold.

use crate::agent::Agent;
use crate::audit::record::{Act, SettingChange};
use crate::config::{Given, Loaded, holds_at_next_start};
use crate::control::ConfigStatus;
use crate::paths::Paths;
use crate::signals::{Hangup, HungUp};
use crate::token::helper::Helpers;

/// The longest text of a value that is put on record, in characters: a list of hosts has no end.
const LONGEST_VALUE: usize = 256;

/// Reads the configuration again when it is asked to.
pub(crate) struct Reloading {
    hangup: Hangup,
    paths: Paths,
    helpers: Helpers,
    /// By which the agent was started.
    first: Loaded,
    /// By which it goes now.
    latest: Loaded,
}

impl Reloading {
    pub(crate) fn new(hangup: Hangup, paths: Paths, helpers: Helpers, loaded: Loaded) -> Self {
        Self { hangup, paths, helpers, first: loaded.clone(), latest: loaded }
    }

    /// Reads the files again at each SIGHUP, until one says that the agent's terminal is gone.
    pub(crate) async fn watch(&mut self, agent: &Agent) {
        while self.hangup.come().await == HungUp::BySomebody {
            if let Err(trouble) = self.reload(agent).await {
                tracing::error!("the settings stay as they were: {trouble}");
                agent.change_config_status(|status| status.trouble = Some(trouble));
            }
        }
    }

    async fn reload(&mut self, agent: &Agent) -> Result<(), String> {
        let paths = self.paths.clone();
        let loaded =
            tokio::task::spawn_blocking(move || Loaded::of(&paths)).await.map_err(|error| error.to_string())?;
        let loaded = loaded.map_err(|problems| problems.to_string())?;
        if loaded.hash != self.latest.hash {
            // On record before it holds, so that no signature is given out by rules that nobody can look up.
            let settings = changes(&self.latest, &loaded);
            let written = agent.audit.act(Act::ConfigChanged { config: loaded.hash, settings }).await;
            written.map_err(|error| format!("the change can't be recorded: {error}"))?;
        }
        let limits = loaded.config.limits();
        self.helpers.set_touch_limit(limits.touch);
        agent.prompts.set_config(&loaded.config.prompts, limits.prompt);
        agent.muting.set_settings(loaded.config.mute.settings());
        agent.put_in_force(loaded.config.settings(), limits, loaded.config.host.clone());
        let status = status(&self.first, &loaded);
        let changed = loaded.differences(&self.latest).join(", ");
        let waits = status.at_next_start.join(", ");
        tracing::info!(changed, waits, "the settings were read again; those that wait hold at the next start");
        agent.change_config_status(|now| *now = status);
        self.latest = loaded;
        Ok(())
    }
}

/// How it stands with the files, where the agent was started by `first`.
pub(crate) fn status(first: &Loaded, latest: &Loaded) -> ConfigStatus {
    let mut at_next_start = latest.differences(first);
    at_next_start.retain(|name| holds_at_next_start(name));
    ConfigStatus { files: latest.files.clone(), hash: latest.hash.to_string(), trouble: None, at_next_start }
}

fn changes(before: &Loaded, after: &Loaded) -> Vec<SettingChange> {
    let text = |loaded: &Loaded, name: &str| loaded.given().get(name).map(Given::text).map(clipped);
    let change = |name: String| SettingChange {
        from: text(before, &name),
        to: text(after, &name),
        at_next_start: holds_at_next_start(&name),
        name,
    };
    after.differences(before).into_iter().map(change).collect()
}

fn clipped(text: String) -> String {
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
