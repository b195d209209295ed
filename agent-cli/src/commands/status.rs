//! `agent-cli status`.

use std::path::Path;
use std::process::ExitCode;

use agent::control::{Event, Request, Status};
use serde::Serialize;

use crate::control::{Control, unexpected};
use crate::output::{aligned, print, print_json};
use crate::problem::Problem;

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows how the agent is.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Problem> {
    let status = match Control::connect()?.ask(&Request::Status)? {
        Event::Status(status) => status,
        other => return Err(unexpected(&other)),
    };
    if options.json {
        print_json(&Entry::of(&status))?
    } else {
        print(&describe(&status))?
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(status: &Status) -> String {
    let prompts = match &status.prompts {
        Ok(()) if status.attached > 0 => "in the attached terminal".into(),
        Ok(()) => "through askpass".into(),
        Err(reason) => format!("nowhere: {reason}. Run `agent-cli attach` in a terminal."),
    };
    aligned(
        "",
        [
            ("agent", format!("version {}, process {}", status.agent, status.pid)),
            ("socket", status.socket.display().to_string()),
            ("audit log", status.audit_log.display().to_string()),
            ("keys", status.keys.to_string()),
            ("terminals", format!("{} attached", status.attached)),
            ("prompts", prompts),
        ],
    )
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    agent: &'a str,
    pid: u32,
    socket: &'a Path,
    audit_log: &'a Path,
    keys: usize,
    attached: usize,
    prompts_reachable: bool,
    /// Why no person could be asked; null when one could be.
    prompts_trouble: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn of(status: &'a Status) -> Self {
        Self {
            agent: &status.agent,
            pid: status.pid,
            socket: &status.socket,
            audit_log: &status.audit_log,
            keys: status.keys,
            attached: status.attached,
            prompts_reachable: status.prompts.is_ok(),
            prompts_trouble: status.prompts.as_ref().err().map(String::as_str),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(attached: usize, prompts: Result<(), String>) -> Status {
        Status {
            agent: "1.2.3".into(),
            pid: 42,
            socket: "/run/agent.sock".into(),
            audit_log: "/state/audit.jsonl".into(),
            keys: 2,
            attached,
            prompts,
        }
    }

    #[test]
    fn it_says_where_prompts_go() {
        let last = |status: &Status| describe(status).lines().last().unwrap_or_default().to_owned();
        assert_eq!(last(&status(1, Ok(()))), "prompts    in the attached terminal");
        assert_eq!(last(&status(0, Ok(()))), "prompts    through askpass");
        let nowhere = last(&status(0, Err("no terminal is attached".into())));
        assert!(
            nowhere.starts_with("prompts    nowhere: no terminal is attached. Run `agent-cli attach`"),
            "{nowhere}"
        );
    }

    #[test]
    fn the_status_in_json() {
        let json = serde_json::to_value(Entry::of(&status(0, Err("no way".into())))).unwrap();
        let expected = serde_json::json!({
            "agent": "1.2.3", "pid": 42, "socket": "/run/agent.sock", "audit_log": "/state/audit.jsonl", "keys": 2,
            "attached": 0, "prompts_reachable": false, "prompts_trouble": "no way",
        });
        assert_eq!(json, expected);
    }
}
