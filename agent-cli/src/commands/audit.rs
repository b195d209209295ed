//! `agent-cli audit`: reading the record, with or without an agent.

mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use agent::config;

use crate::control::find;
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
}

/// Does it.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Problem> {
    let log = match &options.log {
        Some(log) => log.clone(),
        None => find(config::socket_in_environment().as_deref())?.audit_log(),
    };
    match &options.command {
        Command::Verify(options) => verify::run(options, &log),
    }
}
