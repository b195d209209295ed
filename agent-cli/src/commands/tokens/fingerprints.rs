//! `agent-cli tokens fingerprints`.

use std::process::ExitCode;

use agent::control::token::{Answer, Fingerprint, Request};
use clap::Subcommand;
use serde::Serialize;

use super::{ask, unexpected_answer};
use crate::output::{print, print_json};
use crate::problem::Problem;
use crate::safe::safe;
use crate::terminal::Terminal;

/// What to do. Without a command they are listed.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Enrols a finger, touch by touch
    Add {
        /// What to call the fingerprint
        #[arg(long)]
        name: Option<String>,
    },
    /// Gives a fingerprint another name
    Rename {
        /// Its id or its name
        #[arg(value_name = "ID|NAME")]
        fingerprint: String,
        /// The new name
        name: String,
    },
    /// Removes a fingerprint
    Remove {
        /// Its id or its name
        #[arg(value_name = "ID|NAME")]
        fingerprint: String,
    },
}

/// Lists or changes the fingerprints of a token.
pub(crate) fn run(options: &Options, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    let (request, done) = match &options.command {
        None => return list(options.json, terminal),
        Some(Command::Add { name }) => (Request::AddFingerprint { name: name.clone() }, "is enrolled"),
        Some(Command::Rename { fingerprint, name }) => {
            (Request::RenameFingerprint { fingerprint: fingerprint.clone(), name: name.clone() }, "has its new name")
        }
        Some(Command::Remove { fingerprint }) => {
            (Request::RemoveFingerprint { fingerprint: fingerprint.clone() }, "is removed")
        }
    };
    match ask(request, terminal)? {
        Answer::Fingerprint { fingerprint, .. } => {
            terminal.say(&format!("Fingerprint {} {done}.", line(&fingerprint)));
            Ok(ExitCode::SUCCESS)
        }
        other => Err(unexpected_answer(other)),
    }
}

fn list(json: bool, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    let fingerprints = match ask(Request::Fingerprints, terminal)? {
        Answer::Fingerprints { fingerprints, .. } => fingerprints,
        other => return Err(unexpected_answer(other)),
    };
    if json {
        print_json(&Listing { fingerprints: &fingerprints })?;
    } else if fingerprints.is_empty() {
        print("The token knows no fingerprint.")?;
    } else {
        fingerprints.iter().try_for_each(|fingerprint| print(&safe(&line(fingerprint))))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(fingerprint: &Fingerprint) -> String {
    let name = Some(fingerprint.name.as_str()).filter(|name| !name.is_empty()).unwrap_or("(no name)");
    format!("{} {name}", fingerprint.id)
}

#[derive(Debug, Serialize)]
struct Listing<'a> {
    /// Each with its `id`, in hexadecimal, and its `name`, which may be empty.
    fingerprints: &'a [Fingerprint],
}
