//! `agent-cli list`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use agent::control::keys::Known;
use serde::Serialize;

use crate::agent_socket::{AgentSocket, Held};
use crate::known_keys::{good_for, known_to_the_agent_listed, last_uses};
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
    let on_tokens = held.iter().filter(|held| held.key.application.is_some());
    let fingerprints: Vec<_> = on_tokens.map(|held| held.key.fingerprint.as_str()).collect();
    // The keys themselves are worth showing, whatever else can't be.
    let known = known_to_the_agent_listed(&fingerprints).unwrap_or_else(|problem| {
        problem.show();
        BTreeMap::new()
    });
    let is_one_of_several = |known: &Known| known.backup_of.is_some() || !known.backups.is_empty();
    // It takes a look at the whole record.
    let wants_uses = !known.is_empty() && (options.json || known.values().any(is_one_of_several));
    let uses = if wants_uses { last_uses()? } else { BTreeMap::new() };
    let about = |held: &Held| (known.get(&held.key.fingerprint), uses.get(&held.key.fingerprint).copied());
    if options.json {
        print_json(&Listing { keys: held.iter().map(|held| Entry::of(held, about(held))).collect() })?;
    } else if held.is_empty() {
        print("The agent has no identities.")?;
    } else {
        for held in &held {
            print(&safe(&held.key.describe(&held.comment)))?;
            let (known, last_use) = about(held);
            known
                .and_then(|known| good_for(known, last_use))
                .map_or(Ok(()), |line| print(&format!("    {}", safe(&line))))?;
        }
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
    /// The name of the token that it is on; null where none with a name is known to hold it.
    token: Option<&'a str>,
    /// The fingerprint of the key of which it is a backup.
    backup_of: Option<&'a str>,
    /// Those of its backups.
    backups: &'a [String],
    /// When it signed last, by the record; null where it never did, and for a key that is on no token.
    last_used: Option<jiff::Timestamp>,
}

impl<'a> Entry<'a> {
    fn of(held: &'a Held, (known, last_used): (Option<&'a Known>, Option<jiff::Timestamp>)) -> Self {
        Self {
            fingerprint: &held.key.fingerprint,
            type_name: &held.key.type_name,
            bits: held.key.bits,
            comment: &held.comment,
            application: held.key.application.as_deref(),
            public_key: held.key.line(),
            token: known.and_then(|known| known.token.as_deref()),
            backup_of: known.and_then(|known| known.backup_of.as_deref()),
            backups: known.map_or(&[], |known| &known.backups),
            last_used,
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
            "token": null,
            "backup_of": null,
            "backups": [],
            "last_used": null,
        });
        assert_eq!(serde_json::to_value(Entry::of(&held, (None, None))).unwrap(), expected);
    }
}
