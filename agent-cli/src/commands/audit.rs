//! `agent-cli audit`: reading the record, with or without an agent.

mod acts;
mod checkpoint;
mod export;
mod filter;
mod follow;
mod names;
pub(crate) mod reading;
mod report;
mod show;
mod sign;
mod verify;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent::environment;

use crate::places::find;
use crate::problem::Problem;

/// What to do with it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
    /// The log, by default that of the agent in SSH_AUTH_SOCK
    #[arg(long, global = true, value_name = "FILE")]
    log: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Checks that the record is whole and unchanged
    Verify(verify::Options),
    /// Shows what happened: each request, and all that was done with keys and tokens
    Show(show::Options),
    /// Shows what happened, and goes on with what happens, until Ctrl-C
    Follow(show::Options),
    /// Makes a page of HTML that shows what happened, with its evidence and what verification says of it
    Report(report::Options),
    /// Prints what happened for programs that collect events
    Export(export::Options),
    /// Has the end of the record signed by your own key: kept elsewhere, it tells what the record was
    Checkpoint(checkpoint::Options),
}

/// Does it.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Problem> {
    let log = match &options.log {
        Some(log) => log.clone(),
        None => find(environment::socket_in_environment().as_deref())?.audit_log(),
    };
    match &options.command {
        Command::Verify(options) => verify::run(options, &log),
        Command::Show(options) => show::run(options, &log),
        Command::Follow(options) => follow::run(options, &log),
        Command::Report(options) => report::run(options, &log),
        Command::Export(options) => export::run(options, &log),
        Command::Checkpoint(options) => checkpoint::run(options, &log),
    }
}

fn unreadable(log: &Path, error: &std::io::Error) -> Problem {
    let problem = Problem::failed(format!("the audit log can't be read: {}: {error}", log.display()));
    match error.kind() {
        ErrorKind::NotFound => problem.next(
            "An agent writes one when it is started first. Where it is another's, name its socket with SSH_AUTH_SOCK, or the \
             file with --log FILE.",
        ),
        _ => problem.next("Name the log with --log FILE, or the agent's socket with SSH_AUTH_SOCK."),
    }
}
