//! How the agent says that it is.

use std::path::Path;

use agent::config::Loaded;
use agent::control::{Event, Request, Status, TokenStatus};
use agent::paths::Paths;

use super::finding::Finding;
use crate::agent_socket::START;
use crate::control::{Control, unexpected};
use crate::problem::Problem;

const SETTINGS: &str = "settings";

/// What a running agent says.
pub(super) struct Daemon {
    pub(super) status: Status,
    /// The tokens, or why they are not known.
    pub(super) tokens: Result<Vec<TokenStatus>, Problem>,
}

impl Daemon {
    /// Asks it.
    pub(super) fn ask(paths: &Paths) -> Result<Self, Problem> {
        let status = match Control::of(paths)?.ask(&Request::Status)? {
            Event::Status(status) => status,
            other => return Err(unexpected(&other)),
        };
        let tokens = Control::of(paths)?.ask(&Request::Tokens).and_then(|event| match event {
            Event::Tokens { tokens } => Ok(tokens),
            other => Err(unexpected(&other)),
        });
        Ok(Self { status, tokens })
    }

    /// Whether it is locked, for whichever reason.
    pub(super) fn is_locked(&self) -> bool {
        self.status.locked || self.status.away.is_some()
    }

    /// What is to be said of it.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let status = &self.status;
        let mut findings = vec![
            version(&status.agent),
            helper(&self.tokens),
            settings(status),
            lock(status),
            prompts(&status.prompts),
        ];
        findings.extend(status.upstreams.iter().map(|upstream| {
            let socket = upstream.socket.display();
            match &upstream.keys {
                Ok(keys) => Finding::good("upstream", format!("{socket} answers, keys: {keys}")),
                Err(trouble) => Finding::warning(
                    "upstream",
                    format!("{socket} is left out: {trouble}"),
                    "Start that agent, or take its [[upstream]] out of the settings.",
                ),
            }
        }));
        findings
    }
}

/// Has the agent ask something harmless.
pub(super) fn ask_person(paths: &Paths) -> Finding {
    const CHECK: &str = "question";
    match Control::of(paths).and_then(|control| control.ask(&Request::AskPerson)) {
        Ok(Event::Asked { yes: true }) => Finding::good(CHECK, "you were asked, and said yes"),
        Ok(Event::Asked { yes: false }) => Finding::good(CHECK, "you were asked, and said no"),
        Ok(other) => Finding::bad(CHECK, unexpected(&other).what(), "Restart the agent."),
        Err(problem) => {
            let next = problem.code.map_or("Restart the agent.", |code| code.next());
            Finding::bad(CHECK, format!("you could not be asked: {}", problem.what()), next)
        }
    }
}

/// The agent can't be asked: what depends on it was not looked at.
pub(super) fn unreachable(problem: &Problem) -> Finding {
    Finding::bad("agent", format!("it can't be asked: {}", problem.what()), START)
}

fn version(agent: &str) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    if agent == own {
        return Finding::good("agent", format!("it runs, in version {own} as this program"));
    }
    Finding::bad(
        "agent",
        format!("it is of version {agent}, and this program of {own}"),
        "Restart the agent: it has been updated since it started, or is another installation's.",
    )
}

/// The agent and its helper greet one another with the version of their messages.
fn helper(tokens: &Result<Vec<TokenStatus>, Problem>) -> Finding {
    match tokens {
        Ok(_) => Finding::good("helper", "the agent's token helper answers, in the agent's version"),
        Err(problem) => {
            let next = problem.code.map_or("Install the agent and its helper from one package.", |code| code.next());
            Finding::bad("helper", format!("the agent can't look for tokens: {}", problem.what()), next)
        }
    }
}

/// Whether an agent could start with what the files say.
pub(super) fn settings_of(paths: &Paths) -> Finding {
    match Loaded::of(paths) {
        Ok(_) => Finding::good(SETTINGS, "what the files say can be used"),
        Err(problems) => {
            let first = problems.0.first().map(ToString::to_string).unwrap_or_default();
            let next = "Mend the file; `agent-cli config check` tells of all mistakes.";
            Finding::bad(SETTINGS, format!("no agent could start with them: {first}"), next)
        }
    }
}

fn settings(status: &Status) -> Finding {
    let config = &status.config;
    if let Some(trouble) = &config.trouble {
        return Finding::bad(
            SETTINGS,
            format!("they could not be read again, so older ones hold: {}", trouble.replace('\n', "; ")),
            "Mend the file (`agent-cli config check` reads it as the agent does), then send the agent SIGHUP.",
        );
    }
    match config.at_next_start.as_slice() {
        [] => Finding::good(SETTINGS, "what the files say holds"),
        waiting => Finding::warning(
            SETTINGS,
            format!("what they say now of {} does not hold yet", waiting.join(", ")),
            "Restart the agent.",
        ),
    }
}

fn lock(status: &Status) -> Finding {
    if status.locked {
        return Finding::bad("lock", "the agent is locked under a password", "Unlock it with `ssh-add -X`.");
    }
    if let Some(reason) = status.away {
        let next = "Unlock your session, or run `agent-cli unlock`.";
        return Finding::bad("lock", format!("the agent is locked since {reason}"), next);
    }
    match &status.lookout {
        Some(Err(trouble)) => Finding::warning(
            "lock",
            format!("it is not locked, and would not be when you leave, though `lock_on` says so: {trouble}"),
            "Take `lock_on` out of the settings, or start the agent in a session that logind knows.",
        ),
        _ => Finding::good("lock", "it is not locked"),
    }
}

fn prompts(place: &Result<String, String>) -> Finding {
    match place {
        Ok(place) => Finding::good("prompts", format!("you would be asked {place}")),
        Err(reason) => Finding::bad(
            "prompts",
            format!("you could not be asked for a PIN: {reason}"),
            "Run `agent-cli attach` in a terminal, or `agent-cli attach --env` to hand this display or terminal over.",
        ),
    }
}

/// The log that the agent writes; where none runs, the one that it would.
pub(super) fn log_of<'a>(daemon: Option<&'a Daemon>, default: &'a Path) -> &'a Path {
    daemon.map_or(default, |daemon| &daemon.status.audit_log)
}
