//! `agent-cli tokens`: what is plugged in, and what is done to a token itself.

pub(super) mod credentials;
mod fingerprints;
mod list;
pub(super) mod name;
mod pin;

use std::process::ExitCode;

use agent::control::token::{Answer, Request};
use agent::control::{self, Event};
use clap::Subcommand;

use crate::control::{Control, unexpected};
use crate::conversation::Conversation;
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
    /// Sets the PIN of a token that has none
    SetPin,
    /// Changes the PIN of a token; a wrong old one costs one of its tries
    ChangePin,
    /// Lists the fingerprints a token knows, or changes them
    Fingerprints(fingerprints::Options),
    /// Lists the keys for SSH that a token keeps, or deletes one
    Credentials(credentials::Options),
}

/// Lists the tokens, or does what the command says. Only what asks a person opens the `terminal`.
pub(crate) fn run(
    options: &Options,
    terminal: impl FnOnce() -> Result<Terminal, Problem>,
) -> Result<ExitCode, Problem> {
    match options.command.as_ref().unwrap_or(&Command::List(options.list)) {
        Command::Name(options) => name::name(options, &mut terminal()?),
        Command::Forget(options) => name::forget(options),
        Command::List(options) => list::run(*options),
        Command::SetPin => pin::set(&mut terminal()?),
        Command::ChangePin => pin::change(&mut terminal()?),
        Command::Fingerprints(options) => fingerprints::run(options, &mut terminal()?),
        Command::Credentials(options) => credentials::run(options, &mut terminal()?),
    }
}

/// Asks the agent to do something to a token, and shows its questions until it is done.
pub(super) fn ask(request: Request, terminal: &mut Terminal) -> Result<Answer, Problem> {
    let request = control::Request::Token(request);
    match Conversation::begin(Control::connect()?, terminal, &request)?.result()? {
        Event::Token(answer) => Ok(answer),
        other => Err(unexpected(&other)),
    }
}

/// The agent answered one request with the answer to another.
pub(super) fn unexpected_answer(answer: Answer) -> Problem {
    unexpected(&Event::Token(answer))
}
