//! `agent-cli tokens`: what is plugged in, and what is done to a token itself.

mod list;
mod name;

use std::process::ExitCode;

use clap::Subcommand;

use crate::problem::Problem;
use crate::terminal::Terminal;

/// What to do. Without a command the tokens are listed.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: list::Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the tokens that are plugged in, as without a command
    List(list::Options),
    /// Gives a token a name, so that it is known from others of its kind
    Name(name::Options),
    /// Forgets the name of a token
    Forget(name::Options),
}

/// Lists the tokens, or does what the command says. Only what asks a person opens the `terminal`.
pub(crate) fn run(
    options: &Options,
    terminal: impl FnOnce() -> Result<Terminal, Problem>,
) -> Result<ExitCode, Problem> {
    match options.command.as_ref().unwrap_or(&Command::List(options.list)) {
        Command::List(options) => list::run(options),
        Command::Name(options) => name::name(options, &mut terminal()?),
        Command::Forget(options) => name::forget(options),
    }
}
