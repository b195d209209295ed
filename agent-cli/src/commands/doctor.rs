//! `agent-cli doctor`: whether a login would succeed now, and if not, what to do about it.
//!
//! Nothing here asks a person or a token for anything that counts, unless it is asked for: no try of a PIN is spent.

mod backup;
mod daemon;
mod finding;
mod hosts;
mod keys;
mod record;
mod registered;
mod rehearsal;
mod socket;
mod ssh_settings;
mod tokens;
mod whereabouts;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use agent::control::keys::Known;
use agent::paths::Paths;
use jiff::Timestamp;
use serde::Serialize;

use crate::agent_socket::{AgentSocket, Held};
use crate::known_keys::{known_to, last_uses};
use crate::output::{print, print_json};
use crate::problem::Problem;
use crate::safe::safe;
use crate::terminal::Terminal;
use daemon::Daemon;
use finding::{Finding, Verdict};
use socket::Socket;
use ssh_settings::SshSettings;

/// What to look at beside the agent, its tokens and its keys.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 ready, 1 not ready, 2 not ready, since no agent can be reached; 64 wrong usage")]
pub(crate) struct Options {
    /// Hosts to be logged in to, as for ssh: whether they are known, and whether ssh's configuration would keep the agent out
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// The configuration file that ssh is used with, as for ssh
    #[arg(short = 'F', value_name = "FILE")]
    ssh_config: Option<PathBuf>,
    /// Have the agent ask you a harmless question, where it would ask you for a login
    #[arg(long)]
    ask: bool,
    /// Have each key that is on a token sign something, which you agree to as to a login; a wrong PIN costs a try
    #[arg(long)]
    sign: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Looks at everything, and says whether it is ready.
pub(crate) fn run(options: &Options, terminal: impl Fn() -> Result<Terminal, Problem>) -> Result<ExitCode, Problem> {
    if let Some(host) = options.hosts.iter().find(|host| host.is_empty() || host.starts_with('-')) {
        return Err(Problem::usage(format!("{host:?} is no host's name")));
    }
    let Examination { findings, reachable } = examine(options, &terminal)?;
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    if options.json {
        print_json(&Answer { ready: bad == 0, findings: &findings })?;
    } else {
        print(&describe(&findings))?;
        print(&match bad {
            0 => "\nready".to_owned(),
            1 => "\nnot ready: 1 thing is to be mended".to_owned(),
            more => format!("\nnot ready: {more} things are to be mended"),
        })?;
    }
    Ok(match (bad, reachable) {
        (0, _) => ExitCode::SUCCESS,
        (_, true) => ExitCode::FAILURE,
        (_, false) => ExitCode::from(2),
    })
}

struct Examination {
    findings: Vec<Finding>,
    reachable: bool,
}

/// One thing after the other, in the order in which each is the reason for what comes after it.
fn examine(options: &Options, open: &dyn Fn() -> Result<Terminal, Problem>) -> Result<Examination, Problem> {
    let mut terminal = if options.sign { Some(open()?) } else { None };
    let now = Timestamp::now();
    let ssh_config = options.ssh_config.as_deref();
    let ssh = SshSettings::of(hosts::ANY, ssh_config);
    let socket = Socket::find(ssh.as_ref().ok())?;
    let paths = &socket.paths;
    let daemon = Daemon::ask(paths);
    let mut findings = vec![socket.finding(daemon.is_ok())];
    let keys = AgentSocket::at(&paths.socket).ok().and_then(|mut agent| agent.list().ok());
    match &daemon {
        Ok(daemon) => findings.extend(daemon.findings()),
        Err(problem) => findings.extend([daemon::settings_of(paths), daemon::unreachable(problem)]),
    }
    if options.ask && daemon.is_ok() {
        findings.push(daemon::ask_person(paths));
    }
    findings.push(tokens::device_access());
    match daemon.as_ref().map(|daemon| &daemon.tokens) {
        Ok(Ok(tokens)) => findings.extend(tokens::findings(tokens)),
        _ => findings.push(Finding::not_checked("tokens", "the agent can't be asked for them")),
    }
    match (&keys, &daemon) {
        (_, Ok(daemon)) if daemon.is_locked() => {
            findings.push(Finding::not_checked("keys", "a locked agent shows none"));
        }
        (Some(keys), _) => {
            findings.push(keys::on_tokens(keys));
            findings.extend(keys::certificates(keys, now));
            if let Some(terminal) = &mut terminal {
                findings.extend(keys::signatures(keys, paths, terminal)?);
            }
            findings.extend(with_others(keys, daemon.as_ref().ok(), paths));
        }
        (None, _) => findings.push(Finding::not_checked("keys", "the agent can't be asked for them")),
    }
    let default_log = paths.audit_log();
    let log = daemon::log_of(daemon.as_ref().ok(), &default_log);
    let unwritable = daemon.as_ref().ok().and_then(|daemon| daemon.status.audit_trouble.as_ref());
    let room = record::writable(log, unwritable);
    findings.extend([record::whole(log), room, record::anchored(paths), record::clock(log, now)]);
    let tokens = daemon.as_ref().ok().and_then(|daemon| daemon.tokens.as_deref().ok());
    findings.extend(rehearsal::findings(paths, keys.as_deref(), tokens, now));
    findings.push(hosts::general(&ssh));
    findings.extend(hosts::named(&options.hosts, ssh_config, paths, keys.as_deref()));
    findings.push(match &keys {
        _ if !registered::is_set_up(paths) => registered::not_set_up(),
        Some(keys) if !daemon.as_ref().is_ok_and(Daemon::is_locked) => {
            let terminal = match &mut terminal {
                Some(terminal) => terminal,
                none => none.insert(open()?),
            };
            registered::finding(keys, terminal)?
        }
        _ => registered::without_keys(),
    });
    Ok(Examination { findings, reachable: daemon.is_ok() })
}

/// The keys and their tokens, and the keys that stand in for others.
fn with_others(keys: &[Held], daemon: Option<&Daemon>, paths: &Paths) -> Vec<Finding> {
    let keys = whereabouts::on_tokens(keys);
    let Some((Ok(tokens), Ok(known))) = daemon.map(|daemon| (&daemon.tokens, known_with_backups(&keys, paths))) else {
        return ["at-hand", "backup"].map(|check| Finding::not_checked(check, "the agent does not tell")).into();
    };
    let mut findings = whereabouts::findings(&keys, tokens, &known, paths);
    // It takes a look at the whole record.
    let wants_uses = known.values().any(|known| !known.backups.is_empty());
    let uses = if wants_uses { last_uses().unwrap_or_default() } else { BTreeMap::new() };
    findings.extend(backup::findings(&keys, &known, &uses));
    findings
}

/// What is known of these keys, and of their backups, which the agent may not hold.
fn known_with_backups(keys: &[&str], paths: &Paths) -> Result<BTreeMap<String, Known>, Problem> {
    let mut known = known_to(paths, keys)?;
    let backups: Vec<_> = known.values().flat_map(|known| known.backups.clone()).collect();
    let missing: Vec<_> = backups.iter().map(String::as_str).filter(|key| !known.contains_key(*key)).collect();
    known.extend(known_to(paths, &missing)?);
    Ok(known)
}

fn describe(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
    let line = |finding: &Finding| {
        let verdict = match finding.verdict {
            Verdict::Good => "good",
            Verdict::Warning => "look",
            Verdict::Bad => "BAD",
            Verdict::NotChecked => "-",
        };
        let mut line = format!("{verdict:4}  {:width$}  {}", finding.check, safe(&finding.reason));
        if let Some(next) = &finding.next {
            line += &format!("\n{:1$}→ {2}", "", width + 8, safe(next));
        }
        line
    };
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    /// Whether nothing is bad.
    ready: bool,
    findings: &'a [Finding],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_stands_below_what_is_wrong() {
        let findings = [Finding::good("agent", "it runs"), Finding::bad("tokens", "none\u{1b}", "Plug yours in.")];
        let expected = "good  agent   it runs\nBAD   tokens  none\\u{1b}\n              → Plug yours in.";
        assert_eq!(describe(&findings), expected);
    }
}
