//! `agent-cli tokens credentials`.

use std::process::ExitCode;

use agent::control::token::{Answer, Credential, Request};
use agent::token::protocol::Algorithm;
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
    /// Deletes a key from the token for good; you type its name first
    Delete {
        /// Its fingerprint, or its number in the list; without it you are asked
        #[arg(value_name = "FINGERPRINT|NUMBER")]
        credential: Option<String>,
    },
}

/// Lists the keys that a token keeps, or deletes one.
pub(crate) fn run(options: &Options, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    match &options.command {
        None => list(options.json, terminal),
        Some(Command::Delete { credential }) => delete(credential.clone(), terminal),
    }
}

fn list(json: bool, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    let (credentials, other_parties) = match ask(Request::Credentials, terminal)? {
        Answer::Credentials { credentials, other_parties, .. } => (credentials, other_parties),
        other => return Err(unexpected_answer(other)),
    };
    if json {
        print_json(&Listing {
            credentials: credentials.iter().map(Entry::of).collect(),
            other_relying_parties: other_parties,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    if credentials.is_empty() {
        print("The token keeps no key for SSH.")?;
    }
    credentials.iter().enumerate().try_for_each(|(n, credential)| print(&safe(&describe(n + 1, credential))))?;
    match other_parties {
        0 => {}
        1 => print("It keeps keys for 1 other relying party.")?,
        count => print(&format!("It keeps keys for {count} other relying parties."))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Deletes a key, by its fingerprint or number, or one that the person is asked for.
pub(crate) fn delete(credential: Option<String>, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    let deleted = match ask(Request::DeleteCredential { credential }, terminal)? {
        Answer::Deleted { credential, .. } => credential,
        other => return Err(unexpected_answer(other)),
    };
    terminal.say(&format!("Deleted from the token: {} ({})", deleted.fingerprint, deleted.application));
    if deleted.held {
        terminal.say("The agent still lists the key, which signs no more. `agent-cli list` shows it; `agent-cli remove` with its public key file, or the agent's end, removes it.");
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(number: usize, credential: &Credential) -> String {
    let kind = type_name(credential.algorithm);
    let verify = if credential.verify_required { ", verify-required" } else { "" };
    let held = if credential.held { ", held by the agent" } else { "" };
    let Credential { application, user_name, fingerprint, .. } = credential;
    format!("{number:>3}  {application}  {user_name}  {fingerprint} ({kind}{verify}{held})")
}

fn type_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Ed25519 => "ED25519-SK",
        Algorithm::EcdsaP256 => "ECDSA-SK",
    }
}

#[derive(Debug, Serialize)]
struct Listing<'a> {
    credentials: Vec<Entry<'a>>,
    /// How many others the token keeps keys for.
    other_relying_parties: u32,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    fingerprint: &'a str,
    #[serde(rename = "type")]
    type_name: &'static str,
    application: &'a str,
    user_name: &'a str,
    verify_required: bool,
    held: bool,
}

impl<'a> Entry<'a> {
    fn of(credential: &'a Credential) -> Self {
        Self {
            fingerprint: &credential.fingerprint,
            type_name: type_name(credential.algorithm),
            application: &credential.application,
            user_name: &credential.user_name,
            verify_required: credential.verify_required,
            held: credential.held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_in_a_line_and_in_json() {
        let credential = Credential {
            fingerprint: "SHA256:abc".into(),
            algorithm: Algorithm::EcdsaP256,
            application: "ssh:there".into(),
            user_name: "me".into(),
            verify_required: true,
            held: false,
        };
        assert_eq!(describe(2, &credential), "  2  ssh:there  me  SHA256:abc (ECDSA-SK, verify-required)");
        let expected = serde_json::json!({
            "fingerprint": "SHA256:abc", "type": "ECDSA-SK", "application": "ssh:there", "user_name": "me",
            "verify_required": true, "held": false,
        });
        assert_eq!(serde_json::to_value(Entry::of(&credential)).unwrap(), expected);
    }
}
