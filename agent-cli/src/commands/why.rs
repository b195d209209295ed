//! `agent-cli why`.

use std::path::PathBuf;
use std::process::ExitCode;

use agent::audit::record::RecordId;
use agent::audit::refusals::{self, Asked, Recorded};
use agent::environment::socket_in_environment;
use serde::Serialize;

use crate::output::{aligned, print, print_json};
use crate::places::find;
use crate::problem::Problem;

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// One refusal, by the number that the agent's messages and terminals call it by
    #[arg(value_parser = id)]
    id: Option<u64>,
    /// So many of the last refusals
    #[arg(short = 'n', long = "number", value_name = "N", default_value_t = 3, conflicts_with = "id")]
    number: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// As it is told: `12` or `#12`.
fn id(text: &str) -> Result<u64, std::num::ParseIntError> {
    text.strip_prefix('#').unwrap_or(text).parse()
}

/// Shows what was refused, from the audit log itself: it is there when the agent is not.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Problem> {
    let log = log()?;
    let unreadable = |error| {
        Problem::failed(format!("the audit log can't be read: {}: {error}", log.display()))
            .next("An agent writes one when it is started first; SSH_AUTH_SOCK says whose is read.")
    };
    let found = match options.id {
        Some(id) => {
            let found = refusals::find(&log, RecordId(id)).map_err(unreadable)?;
            let none = || {
                Problem::failed(format!("there is no refusal #{id} in {}", log.display()))
                    .next("`agent-cli why` shows the last ones; each agent has a log of its own.")
            };
            vec![found.ok_or_else(none)?]
        }
        None => refusals::last(&log, options.number.into()).map_err(unreadable)?,
    };
    if options.json {
        print_json(&List { refusals: found.iter().map(Entry::of).collect() })?;
    } else if found.is_empty() {
        print("Nothing was refused.")?;
    } else {
        print(&found.iter().map(describe).collect::<Vec<_>>().join("\n\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// That of the agent which SSH_AUTH_SOCK names. Where that is another program, or an agent far away, it has none here; then
/// the default agent is meant.
fn log() -> Result<PathBuf, Problem> {
    let named = find(socket_in_environment().as_deref())?.audit_log();
    if named.exists() { Ok(named) } else { find(None).map(|default| default.audit_log()) }
}

fn describe(recorded: &Recorded) -> String {
    let refusal = recorded.refusal();
    let denial = &recorded.denial;
    let time = recorded.time.strftime("%Y-%m-%d %H:%M:%S UTC");
    let mut rows = vec![("asked", refusal.asked), ("by", refusal.by)];
    if let Some(peer) = recorded.peer().filter(|peer| peer.programs.len() > 1) {
        rows.push((
            "started by",
            peer.programs.iter().skip(1).map(|program| program.name.as_str()).collect::<Vec<_>>().join(", by "),
        ));
    }
    if let Asked::Signature { destination: Some(destination), .. } = &recorded.asked {
        rows.push(("where", destination.clone()));
    }
    rows.push(("reason", denial.reason.clone()));
    rows.extend(denial.code.setting().map(|setting| ("setting", setting.to_owned())));
    rows.push(("what to do", denial.code.next().to_owned()));
    format!("{}  {time}  {}\n{}", recorded.id, denial.code, aligned("  ", rows))
}

#[derive(Debug, Serialize)]
struct List<'a> {
    refusals: Vec<Entry<'a>>,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    recorded: &'a Recorded,
    /// What the code means. (A signature's `meaning` is what was to be signed.)
    code_meaning: &'static str,
    /// The setting that decides it, where one does.
    setting: Option<&'static str>,
    next: &'static str,
    /// In words: what was asked.
    asked: String,
    /// In words: by whom.
    by: String,
}

impl<'a> Entry<'a> {
    fn of(recorded: &'a Recorded) -> Self {
        let (code, refusal) = (recorded.denial.code, recorded.refusal());
        Self {
            recorded,
            code_meaning: code.meaning(),
            setting: code.setting(),
            next: code.next(),
            asked: refusal.asked,
            by: refusal.by,
        }
    }
}

#[cfg(test)]
mod tests {
    use agent::audit::chain::Hash;
    use agent::audit::record::{AgentRun, Peer, Program, RunId};
    use agent::denial::{Code, Denial};

    use super::*;

    fn program(pid: i32, name: &str) -> Program {
        Program { pid, name: name.into(), executable: None }
    }

    fn recorded() -> Recorded {
        let agent = AgentRun {
            instance: "default".into(),
            run: RunId(5),
            pid: 1,
            version: "1".into(),
            boot_id: "boot".into(),
            config: Hash::NONE,
        };
        Recorded {
            id: RecordId(12),
            time: "2026-11-22T10:00:00Z".parse().unwrap(),
            agent,
            denial: Denial::plain(Code::ForwardedManagement),
            asked: Asked::Other {
                request: "remove all".into(),
                peer: Peer {
                    pid: 7,
                    uid: 1000,
                    pinned: true,
                    programs: vec![program(7, "ssh"), program(8, "bash"), program(9, "tmux\u{1b}")],
                },
                bindings: vec![],
            },
        }
    }

    #[test]
    fn a_refusal_says_what_was_asked_by_whom_and_what_to_do() {
        let code = Code::ForwardedManagement;
        let expected = format!(
            "#12  2026-11-22 10:00:00 UTC  forwarded-management
  asked       remove all
  by          ssh (7)
  started by  bash, by tmux\\u{{1b}}
  reason      {}
  setting     forwarded_management
  what to do  {}",
            code.meaning(),
            code.next()
        );
        assert_eq!(describe(&recorded()), expected);
    }

    #[test]
    fn the_same_in_json() {
        let recorded = recorded();
        let json = serde_json::to_value(Entry::of(&recorded)).unwrap();
        let code = Code::ForwardedManagement;
        let expected = serde_json::json!({
            "id": 12, "time": "2026-11-22T10:00:00Z", "code": "forwarded-management",
            "agent": {"instance": "default", "run": 5, "pid": 1, "version": "1", "boot_id": "boot", "config": "0".repeat(64)},
            "reason": code.meaning(), "code_meaning": code.meaning(), "setting": "forwarded_management", "next": code.next(),
            "kind": "other", "request": "remove all", "bindings": [],
            "peer": {"pid": 7, "uid": 1000, "pinned": true, "programs": [
                {"pid": 7, "name": "ssh", "executable": null},
                {"pid": 8, "name": "bash", "executable": null},
                {"pid": 9, "name": "tmux\u{1b}", "executable": null},
            ]},
            "asked": "remove all", "by": "ssh (7)",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_number_may_have_its_sign() {
        assert_eq!((id("12"), id("#12")), (Ok(12), Ok(12)));
        assert!(id("twelve").is_err() && id("##1").is_err());
    }
}
