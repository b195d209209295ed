//! `agent-cli list`.

use std::process::ExitCode;

use serde::Serialize;

use crate::agent_socket::{AgentSocket, Held};
use crate::output::{print, print_json};
use crate::problem::Problem;
use crate::safe::safe;

/// What to list.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the keys. Without any it fails, as `ssh-add -l` does, in either form.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Problem> {
    let held = AgentSocket::connect()?.list()?;
    if options.json {
        print_json(&Listing { keys: held.iter().map(Entry::of).collect() })?;
    } else if held.is_empty() {
        print("The agent has no identities.")?;
    } else {
        held.iter().try_for_each(|held| print(&safe(&held.key.describe(&held.comment))))?;
    }
    Ok(if held.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[derive(Debug, Serialize)]
struct Listing<'a> {
    keys: Vec<Entry<'a>>,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    fingerprint: &'a str,
    #[serde(rename = "type")]
    type_name: &'a str,
    bits: u32,
    comment: &'a str,
    /// Null for a key that is on no token.
    application: Option<&'a str>,
    /// As in a `.pub` file, without the comment.
    public_key: String,
}

impl<'a> Entry<'a> {
    fn of(held: &'a Held) -> Self {
        Self {
            fingerprint: &held.key.fingerprint,
            type_name: &held.key.type_name,
            bits: held.key.bits,
            comment: &held.comment,
            application: held.key.application.as_deref(),
            public_key: held.key.line(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public_key::PublicKey;

    #[test]
    fn a_key_in_json() {
        let line = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAAAAAAARzc2g6";
        let (key, _) = PublicKey::read_line(line).unwrap();
        let held = Held { key, comment: "me@here".into() };
        let expected = serde_json::json!({
            "fingerprint": held.key.fingerprint,
            "type": "ED25519-SK",
            "bits": 256,
            "comment": "me@here",
            "application": "ssh:",
            "public_key": line,
        });
        assert_eq!(serde_json::to_value(Entry::of(&held)).unwrap(), expected);
    }
}
