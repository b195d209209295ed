//! `agent-cli tokens name` and `agent-cli tokens forget`.

use std::process::ExitCode;

use agent::control::{Event, Request};

use crate::control::{Control, unexpected};
use crate::conversation::Conversation;
use crate::output::print;
use crate::problem::Problem;
use crate::safe::safe;
use crate::terminal::Terminal;

/// The name.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What you call the token
    name: String,
}

/// Gives a token a name.
pub(crate) fn name(options: &Options, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    name_holding(&options.name, None, terminal)?;
    Ok(ExitCode::SUCCESS)
}

/// Gives a token a name, that of the key `holding` if one is given.
pub(crate) fn name_holding(name: &str, holding: Option<&str>, terminal: &mut Terminal) -> Result<(), Problem> {
    let request = Request::NameToken { name: name.to_owned(), holding: holding.map(str::to_owned) };
    match Conversation::begin(Control::connect()?, terminal, &request)?.result()? {
        Event::TokenNamed(token) => {
            let product = if token.device.product.is_empty() { "FIDO token" } else { &token.device.product };
            print(&format!("{} at {} is called {} now.", safe(product), safe(&token.device.path), safe(&token.name)))
        }
        other => Err(unexpected(&other)),
    }
}

/// Forgets a token's name.
pub(crate) fn forget(options: &Options) -> Result<ExitCode, Problem> {
    match Control::connect()?.ask(&Request::ForgetToken { name: options.name.clone() })? {
        Event::TokenForgotten => {
            print(&format!("{} is no token's name any more.", safe(&options.name)))?;
            Ok(ExitCode::SUCCESS)
        }
        other => Err(unexpected(&other)),
    }
}
