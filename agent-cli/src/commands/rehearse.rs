//! `agent-cli rehearse`: a login as in an emergency, of which each step is told. The day it is needed must not be the first test.

mod judge;
pub(crate) mod kept;
pub(crate) mod recorded;
pub(crate) mod result;
mod road;
mod shown;
mod throw_away;
mod words;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use agent::control::{self, Event};
use agent::environment::socket_in_environment;
use jiff::Timestamp;

use crate::control::{Control, unexpected};
use crate::login;
use crate::output::{print, print_json};
use crate::places::find;
use crate::problem::Problem;
use crate::terminal::Terminal;
use judge::Evidence;
use result::{Recorded, Rehearsal, Times, Way};
use road::{Jump, Road, plain};
use words::Words;

/// Which way to go.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 passed, 1 failed, 2 no agent can be reached; 64 wrong usage")]
pub(crate) struct Options {
    /// The host, as `ssh` takes it: USER@HOST
    #[arg(value_name = "DEST", value_parser = plain)]
    destination: String,
    /// Go through these hosts, as with `ssh -J`
    #[arg(short = 'J', value_name = "JUMP", value_parser = plain, conflicts_with = "forward")]
    jump: Option<String>,
    /// Log in on this host with the agent forwarded, and from there on DEST, as with `ssh -A`
    #[arg(short = 'A', value_name = "JUMP", value_parser = plain)]
    forward: Option<String>,
    /// Test also whether DEST demands that the token verifies you: log in there once more, with a key made for that, which you put
    /// there for a while
    #[arg(long)]
    throw_away_key: bool,
    /// Forget the last rehearsal of this way, which is no longer yours, and log in nowhere
    #[arg(long, conflicts_with_all = ["json", "throw_away_key"])]
    forget: bool,
    /// The configuration file for ssh, as for ssh
    #[arg(short = 'F', value_name = "FILE")]
    ssh_config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Logs in, and tells how it went.
pub(crate) fn run(options: &Options, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    if options.forget {
        return forget(&options.road());
    }
    can_test(options, terminal)?;
    let (rehearsal, ended) = rehearse(options, terminal)?;
    let paths = find(socket_in_environment().as_deref())?;
    let kept = kept::keep(&paths, &rehearsal);
    if options.json {
        print_json(&rehearsal)?;
    } else {
        print(&shown::describe(&rehearsal))?;
    }
    kept.map_err(|error| {
        Problem::failed(format!("the result can't be kept: {error}")).next(format!(
            "See that {} is yours and has room; status and doctor know nothing of this rehearsal.",
            paths.state.display()
        ))
    })?;
    ended?;
    Ok(if rehearsal.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    fn road(&self) -> Road {
        Road {
            destination: self.destination.clone(),
            jump: match (&self.jump, &self.forward) {
                (Some(jump), _) => Jump::Through(jump.clone()),
                (None, Some(jump)) => Jump::Forward(jump.clone()),
                (None, None) => Jump::None,
            },
        }
    }
}

/// Forgets what was kept of this way: status and doctor speak of it no longer.
fn forget(road: &Road) -> Result<ExitCode, Problem> {
    let paths = find(socket_in_environment().as_deref())?;
    let way = Way { destination: &road.destination, jumps: &road.jumps(), forwarded: road.forwards() };
    match kept::forget(&paths, way) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Err(Problem::failed("no rehearsal of this way is kept")
            .next("`agent-cli status` names each, with -J or -A as it was.")),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Problem::failed(format!("what is kept can't be read: {error}")).next(format!(
                "Another version may have written it. Take {} away: all ways are forgotten then.",
                kept::path(&paths).display()
            )))
        }
        Err(error) => Err(Problem::failed(format!("what is kept can't be changed: {error}"))
            .next(format!("See that {} is yours and has room.", paths.state.display()))),
    }
}

/// Who can't be asked to put a key there learns of it before they are asked anything.
fn can_test(options: &Options, terminal: &Terminal) -> Result<(), Problem> {
    match options {
        Options { throw_away_key: true, forward: Some(jump), .. } => Err(Problem::usage(
            "what DEST demands of a key does not depend on the way to it, so --throw-away-key is not for -A",
        )
        .next(format!("Go through {jump} for that: -J {jump}."))),
        Options { throw_away_key: true, .. } if !terminal.is_attended() => {
            Err(Problem::failed("there is no terminal at which you could be asked to put a key there")
                .next("Rehearse at a terminal, or without --throw-away-key."))
        }
        _ => Ok(()),
    }
}

/// What it came to, and whether a signal ended what comes after the login.
fn rehearse(options: &Options, terminal: &mut Terminal) -> Result<(Rehearsal, Result<(), Problem>), Problem> {
    let road = options.road();
    let settings = road::settings(options.ssh_config.as_deref())?;
    let status = match Control::connect()?.ask(&control::Request::Status)? {
        Event::Status(status) => status,
        other => return Err(unexpected(&other)),
    };
    let request = control::Request::Rehearse { destination: road.destination.clone() };
    let (begun, rehearsing) = match Control::connect()?.hold(&request)? {
        (Event::Rehearsing { id }, rehearsing) => (id, rehearsing),
        (other, _) => return Err(unexpected(&other)),
    };
    terminal.say(&format!("Logging in on {}. It is in earnest but for what is run there: nothing.", road.destination));
    let login = login::run(&road.arguments(settings.path()), None, terminal)?;
    let requests = recorded::since(&status.audit_log, begun, std::process::id())?;

    let words = Words::read(&login.lines);
    let unreachable = status.prompts.as_ref().err().filter(|_| terminal.is_attended());
    let evidence = Evidence {
        road: &road,
        words: &words,
        requests: &requests,
        code: login.code,
        unreachable: unreachable.map(String::as_str),
    };
    let (cause, hops) = (evidence.cause(), hops(&evidence));
    let (remarks, emergency) = (evidence.remarks(), evidence.emergency());
    let mut rehearsal = Rehearsal {
        time: Timestamp::now(),
        passed: cause.is_none(),
        cause,
        hops,
        times: Times::of(milliseconds(login.took), &requests),
        verify_required: evidence.verify_required(),
        not_tested: None,
        remarks,
        emergency,
        jumps: road.jumps(),
        forwarded: road.forwards(),
        destination: road.destination.clone(),
        record: Recorded { log: status.audit_log.display().to_string(), begun: begun.0, requests },
    };
    let ended = throw_away::settle(&road, settings.path(), &mut rehearsal, options.throw_away_key, terminal);
    // From here on the record says that it is over.
    drop(rehearsing);
    Ok((rehearsal, ended))
}

/// Each hop, with how long it took since the one before it.
fn hops(evidence: &Evidence<'_>) -> Vec<result::Hop> {
    let mut before = Duration::ZERO;
    let hop = |(place, hop): (usize, &words::Hop)| {
        let began = before;
        before = hop.let_in.unwrap_or(before);
        result::Hop {
            host: evidence.name(place),
            address: hop.address.clone().or_else(|| hop.looked_up.clone()).or_else(|| hop.name.clone()),
            user: hop.user.clone(),
            software: hop.software.clone(),
            host_key: hop.host_key.clone(),
            known: hop.known,
            let_in: hop.let_in.is_some(),
            ms: hop.let_in.map(|at| milliseconds(at.saturating_sub(began))),
            methods: hop.methods.clone(),
            key: hop.accepted.clone(),
            hostbound: hop.hostbound,
            agent_forwarding: hop.forwards.then_some(hop.forwarded),
            requests: evidence.requests_of(hop).map(|request| request.record).collect(),
        }
    };
    evidence.words.hops.iter().enumerate().map(hop).collect()
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
