//! `sk-helper`: the process that talks to FIDO2 tokens for the agent.
//!
//! It serves one request of the daemon: commands come in on standard input, messages go out on standard output
//! (`agent::token::protocol`), and it ends at the end of its input. A process of its own, because what it reads from a USB
//! device is parsed by a library that panics on some of it and waits for ever on some more: the daemon can kill a
//! process.

mod attempt;
mod commands;
mod daemon;
mod failure;
mod hid;
mod node;
mod operation;
mod status;
mod trace;
mod verdict;
mod verification;

use std::process::ExitCode;

use agent::token::protocol::{Hello, Message, VERSION};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use daemon::Daemon;
use failure::{Stop, complain};

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn serve() -> anyhow::Result<()> {
    keep_memory_private()?;
    report_panics_in_one_line();
    let mut daemon = Daemon::attach()?;
    daemon.say(&Hello { version: VERSION })?;
    while let Some(command) = daemon.next_command()? {
        let message = match command.and_then(|command| commands::execute(command, &mut daemon)) {
            Ok(reply) => Message::Reply(reply),
            Err(Stop::Failed(failure)) => Message::Failed(failure),
            Err(Stop::DaemonGone) => break,
        };
        daemon.say(&message)?;
    }
    Ok(())
}

/// PINs pass through this process: no core dump, and no debugger of the same user.
///
/// There is no PR_SET_PDEATHSIG. The end of input says that the daemon is gone, and leaves the time to cancel what the
/// token waits for; a SIGKILL would come microseconds later and leave the token blinking.
fn keep_memory_private() -> anyhow::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// The library panics on some of what a token may send. That ends one command, not the helper; the message may quote
/// what was parsed and is left out.
fn report_panics_in_one_line() {
    std::panic::set_hook(Box::new(|panic| match panic.location() {
        Some(place) => complain(&format!("panic in {}:{}", place.file(), place.line())),
        None => complain("panic"),
    }));
}
