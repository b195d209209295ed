//! `agent-cli status`.

use std::path::Path;
use std::process::ExitCode;

use agent::audit::Unwritable;
use agent::control::{ConfigStatus, Event, Request, Status, UpstreamStatus};
use agent::denial::Code;
use agent::environment::socket_in_environment;
use jiff::Timestamp;
use serde::Serialize;

use super::rehearse::kept::{Today, every, last_of_each};
use super::rehearse::result::Rehearsal;
use crate::agent_socket::AgentSocket;
use crate::control::{Control, unexpected};
use crate::output::{aligned, print, print_json};
use crate::places::find;
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
    let rehearsals = Rehearsed::of(&status);
    if options.json {
        let rehearsals = rehearsals.ok();
        let rehearsal = rehearsals.as_ref().and_then(|all| all.first());
        print_json(&Answer { entry: Entry::of(&status), rehearsal, rehearsals: rehearsals.as_deref() })?
    } else {
        print(&describe(&status))?;
        print(&aligned("", Rehearsed::describe(rehearsals).into_iter().map(|line| ("rehearsal", line))))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The last rehearsal of a way, and what it says of today.
#[derive(Debug, Serialize)]
struct Rehearsed {
    time: Timestamp,
    destination: String,
    jumps: Vec<String>,
    forwarded: bool,
    passed: bool,
    /// Why it does not say that a login would succeed today.
    doubts: Vec<String>,
    /// The way, in words.
    #[serde(skip)]
    road: String,
}

impl Rehearsed {
    /// Each, the newest first.
    fn of(status: &Status) -> Result<Vec<Self>, Problem> {
        let paths = find(socket_in_environment().as_deref())?;
        let all = last_of_each(&paths).map_err(|error| Problem::failed(format!("it can't be read: {error}")))?;
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let keys = AgentSocket::at(&status.socket).ok().and_then(|mut agent| agent.list().ok());
        let tokens = match Control::connect()?.ask(&Request::Tokens) {
            Ok(Event::Tokens { tokens }) => Some(tokens),
            _ => None,
        };
        // A locked agent shows no keys.
        let keys = keys.filter(|_| !status.locked && status.away.is_none());
        let (keys, tokens) = (keys.as_deref(), tokens.as_deref());
        let today = Today { now: Timestamp::now(), every: every(&paths), keys, tokens };
        let of = |last: Rehearsal| {
            let (doubts, road) = (last.doubts(today), last.road());
            let Rehearsal { time, destination, jumps, forwarded, passed, .. } = last;
            Self { time, destination, jumps, forwarded, passed, doubts, road }
        };
        Ok(all.into_iter().map(of).collect())
    }

    fn describe(rehearsals: Result<Vec<Self>, Problem>) -> Vec<String> {
        let line = |Self { time, doubts, road, .. }: &Self| {
            let of = format!("of {road}, {}", time.strftime("%F"));
            if doubts.is_empty() { of } else { format!("{of}; rehearse again: {}", doubts.join("; ")) }
        };
        match rehearsals {
            Ok(none) if none.is_empty() => vec!["none yet: `agent-cli rehearse DEST`".into()],
            Ok(all) => all.iter().map(line).collect(),
            Err(problem) => vec![format!("rehearse again: {}", problem.what())],
        }
    }
}

fn describe(status: &Status) -> String {
    let prompts = match &status.prompts {
        Ok(place) => place.clone(),
        Err(reason) => format!("nowhere: {reason}. Run `agent-cli attach` in a terminal."),
    };
    let mut lines = vec![
        ("agent", format!("version {}, process {}", status.agent, status.pid)),
        ("socket", status.socket.display().to_string()),
        ("audit log", status.audit_log.display().to_string()),
    ];
    if let Some(trouble) = &status.audit_trouble {
        let line = format!("NOT WRITTEN, so nothing is signed: {}. {}", trouble.why, when_unwritable(trouble));
        lines.push(("audit log", line));
    }
    lines.extend([
        ("keys", status.keys.to_string()),
        ("terminals", format!("{} attached", status.attached)),
        ("prompts", prompts),
        ("settings", describe_config(&status.config)),
    ]);
    if let Some(trouble) = &status.config.trouble {
        lines.push(("settings", format!("not read again, so those above still hold: {}", trouble.replace('\n', "; "))));
    }
    if status.locked {
        lines.push(("locked", "under a password: unlock it with `ssh-add -X`".into()));
    }
    if let Some(reason) = status.away {
        lines.push(("locked", format!("since {reason}: unlock the session, or run `agent-cli unlock`")));
    }
    match &status.lookout {
        Some(Ok(reasons)) => lines.push(("lock on", reasons.clone())),
        Some(Err(trouble)) => lines.push(("lock on", format!("nothing, though it is set up: {trouble}"))),
        None => {}
    }
    lines.extend(status.upstreams.iter().map(|upstream| ("upstream", describe_upstream(upstream))));
    aligned("", lines)
}

/// What to do so that records are written again.
pub(crate) fn when_unwritable(trouble: &Unwritable) -> &'static str {
    if trouble.until_restart { "Restart the agent." } else { Code::AuditUnwritable.next() }
}

fn describe_config(config: &ConfigStatus) -> String {
    let files = match config.files.as_slice() {
        [] => "those that hold by default".into(),
        files => files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", then "),
    };
    match config.at_next_start.as_slice() {
        [] => files,
        waiting => {
            format!("{files}; what they say now of {} holds once the agent is started again", waiting.join(", "))
        }
    }
}

fn describe_upstream(upstream: &UpstreamStatus) -> String {
    let socket = upstream.socket.display();
    let mut line = match &upstream.keys {
        Ok(1) => format!("{socket}: 1 key"),
        Ok(keys) => format!("{socket}: {keys} keys"),
        Err(trouble) => format!("{socket}: left out: {trouble}"),
    };
    if let Some(last) = &upstream.last_trouble {
        line += &format!("; {} s ago: {}", last.seconds_ago, last.what);
    }
    if !upstream.takes_bindings {
        line += "; it takes no session bindings, so it can't hold keys to their destinations";
    }
    line
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    entry: Entry<'a>,
    rehearsal: Option<&'a Rehearsed>,
    /// None where they can't be read.
    rehearsals: Option<&'a [Rehearsed]>,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    agent: &'a str,
    pid: u32,
    socket: &'a Path,
    audit_log: &'a Path,
    /// Why the last record could not be written; null where it was.
    audit_log_trouble: Option<&'a str>,
    keys: usize,
    attached: usize,
    prompts_reachable: bool,
    /// Where a person would be asked; null where nobody could be.
    prompts_channel: Option<&'a str>,
    /// Why no person could be asked; null when one could be.
    prompts_trouble: Option<&'a str>,
    upstreams: Vec<Upstream<'a>>,
    /// Whether it is locked, for whichever reason.
    locked: bool,
    /// Why it does not see when its person leaves, though it is set up to; null where it does, or is not.
    lock_on_trouble: Option<&'a str>,
    config: &'a ConfigStatus,
}

#[derive(Debug, Serialize)]
struct Upstream<'a> {
    socket: &'a Path,
    /// How many keys it offers; null while it is left out.
    keys: Option<usize>,
    /// Why it is left out, or what the last trouble with it was.
    trouble: Option<&'a str>,
    takes_bindings: bool,
}

impl<'a> Upstream<'a> {
    fn of(status: &'a UpstreamStatus) -> Self {
        let last = status.last_trouble.as_ref().map(|trouble| &trouble.what);
        Self {
            socket: &status.socket,
            keys: status.keys.as_ref().ok().copied(),
            trouble: status.keys.as_ref().err().or(last).map(String::as_str),
            takes_bindings: status.takes_bindings,
        }
    }
}

impl<'a> Entry<'a> {
    fn of(status: &'a Status) -> Self {
        Self {
            agent: &status.agent,
            pid: status.pid,
            socket: &status.socket,
            audit_log: &status.audit_log,
            audit_log_trouble: status.audit_trouble.as_ref().map(|trouble| trouble.why.as_str()),
            keys: status.keys,
            attached: status.attached,
            prompts_reachable: status.prompts.is_ok(),
            prompts_channel: status.prompts.as_ref().ok().map(String::as_str),
            prompts_trouble: status.prompts.as_ref().err().map(String::as_str),
            upstreams: status.upstreams.iter().map(Upstream::of).collect(),
            locked: status.locked || status.away.is_some(),
            lock_on_trouble: status.lookout.as_ref().and_then(|seen| seen.as_ref().err()).map(String::as_str),
            config: &status.config,
        }
    }
}

#[cfg(test)]
mod tests {
    use agent::audit::record::LeaveReason;
    use agent::control::Trouble;

    use super::*;

    fn status(attached: usize, prompts: Result<String, String>) -> Status {
        Status {
            agent: "1.2.3".into(),
            pid: 42,
            socket: "/run/agent.sock".into(),
            audit_log: "/state/audit.jsonl".into(),
            audit_trouble: None,
            keys: 2,
            devices: None,
            attached,
            prompts,
            upstreams: vec![],
            locked: false,
            away: None,
            lookout: None,
            config: ConfigStatus::default(),
        }
    }

    #[test]
    fn it_says_why_it_is_locked_and_what_locks_it() {
        let away = Status { away: Some(LeaveReason::Suspend), ..status(0, Ok("through askpass".into())) };
        let away = Status { lookout: Some(Err("there is no system bus".into())), ..away };
        let text = describe(&away);
        assert!(text.contains("\nlocked     since the machine went to sleep: unlock the session, or run"), "{text}");
        assert!(text.contains("\nlock on    nothing, though it is set up: there is no system bus"), "{text}");
        let json = serde_json::to_value(Entry::of(&away)).unwrap();
        assert_eq!((&json["locked"], &json["lock_on_trouble"]), (&true.into(), &"there is no system bus".into()));
    }

    #[test]
    fn it_says_where_prompts_go() {
        let last = |status: &Status| describe(status).lines().nth(5).unwrap_or_default().to_owned();
        assert_eq!(last(&status(0, Ok("through askpass".into()))), "prompts    through askpass");
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
            "agent": "1.2.3", "pid": 42, "socket": "/run/agent.sock", "audit_log": "/state/audit.jsonl",
            "audit_log_trouble": null, "keys": 2, "attached": 0, "prompts_reachable": false, "prompts_channel": null, "prompts_trouble": "no way",
            "upstreams": [], "locked": false, "lock_on_trouble": null,
            "config": {"files": [], "hash": "", "trouble": null, "at_next_start": []},
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn it_says_which_settings_hold_and_which_wait() {
        let mut status = status(0, Ok("through askpass".into()));
        let line = |status: &Status| describe(status).lines().skip(6).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(line(&status), ["settings   those that hold by default"]);
        status.config.files = vec!["/etc/one".into(), "/home/two".into()];
        status.config.at_next_start = vec!["helper".into(), "lock_on".into()];
        status.config.trouble = Some("/home/two:1: duplicate key".into());
        assert_eq!(
            line(&status),
            [
                "settings   /etc/one, then /home/two; what they say now of helper, lock_on holds once the agent is started again",
                "settings   not read again, so those above still hold: /home/two:1: duplicate key",
            ]
        );
    }

    fn upstream(keys: Result<usize, String>, last: Option<&str>) -> UpstreamStatus {
        let last_trouble = last.map(|what| Trouble { seconds_ago: 7, what: what.into() });
        UpstreamStatus { socket: "/run/other".into(), keys, last_trouble, takes_bindings: last.is_none() }
    }

    #[test]
    fn each_upstream_has_a_line() {
        let mut status = status(0, Ok("through askpass".into()));
        status.upstreams =
            vec![upstream(Ok(3), None), upstream(Err("it is slow".into()), None), upstream(Ok(1), Some("it was slow"))];
        let text = describe(&status);
        let lines: Vec<_> = text.lines().skip(7).collect();
        assert_eq!(lines[0], "upstream   /run/other: 3 keys");
        assert_eq!(lines[1], "upstream   /run/other: left out: it is slow");
        assert!(
            lines[2].starts_with("upstream   /run/other: 1 key; 7 s ago: it was slow; it takes no session bindings")
        );
        let json = serde_json::to_value(Entry::of(&status)).unwrap();
        let expected = serde_json::json!({
            "socket": "/run/other", "keys": null, "trouble": "it is slow", "takes_bindings": true,
        });
        assert_eq!(json["upstreams"][1], expected);
    }
}
