//! `agent-cli export`: keys in the form that others take them in.

mod authorized_keys;

use std::process::ExitCode;

use clap::Subcommand;

use crate::problem::Problem;

/// In which form.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints lines for authorized_keys: of keys and their backups, with `verify-required` where a key asks for it
    AuthorizedKeys(authorized_keys::Options),
}

/// Prints them.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Problem> {
    match &options.command {
        Command::AuthorizedKeys(options) => authorized_keys::run(options),
    }
}
