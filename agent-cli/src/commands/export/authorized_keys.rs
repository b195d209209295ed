//! `agent-cli export authorized-keys`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use agent::control::keys::Known;
use serde::Serialize;

use crate::agent_socket::{AgentSocket, Held};
use crate::known_keys::known;
use crate::named_key::{Named, named, verify_required_by_file, with_fingerprint};
use crate::output::{print, print_json};
use crate::problem::Problem;
use crate::safe::safe;

/// Which keys.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Keys, by fingerprint, file or comment, each with those that stand in for it; by default all in the agent that are on
    /// tokens
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints them. What is missing is said, and ends with 1.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Problem> {
    let held = AgentSocket::connect()?.list()?;
    let (lines, missing) = lines_of(&chosen(options, &held)?, &held)?;
    if options.json {
        print_json(&Exported { keys: &lines })?;
    } else {
        lines.iter().try_for_each(|line| print(&line.line))?;
    }
    for line in lines.iter().filter(|line| line.verify_required.is_none()) {
        Problem::failed(format!("whether {} asks for PIN or finger is not known here", line.fingerprint))
            .next("Its line is without `verify-required`. After `agent-cli add FILE` with its key file that is known.")
            .show();
    }
    for fingerprint in &missing {
        Problem::failed(format!("the public key {fingerprint}, a backup, is neither in the agent nor in ~/.ssh"))
            .next(
                "Its line is missing. Put its .pub file into ~/.ssh, or add it with `agent-cli add FILE`, and repeat.",
            )
            .show();
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The keys that were named, or all on tokens.
fn chosen(options: &Options, held: &[Held]) -> Result<Vec<Named>, Problem> {
    let mut chosen = Vec::new();
    for name in &options.keys {
        let (key, comment) = named(name, held)?;
        if key.type_name.ends_with("-CERT") {
            return Err(Problem::failed(format!("{name} is a certificate")).next("Name the key itself."));
        }
        chosen.push((key, comment));
    }
    if options.keys.is_empty() {
        let on_token = |held: &&Held| held.key.application.is_some() && !held.key.type_name.ends_with("-CERT");
        chosen.extend(held.iter().filter(on_token).map(|held| (held.key.clone(), held.comment.clone())));
        if chosen.is_empty() {
            return Err(Problem::failed("the agent holds no key that is on a token")
                .next("Make one with `agent-cli gen-keys`, or name a key."));
        }
    }
    Ok(chosen)
}

/// Their lines, those of what stands in for each behind it; and what there is no public key of.
fn lines_of(chosen: &[Named], held: &[Held]) -> Result<(Vec<Line>, Vec<String>), Problem> {
    let mut order: Vec<String> = Vec::new();
    let first = facts(chosen.iter().map(|(key, _)| key.fingerprint.clone()).collect())?;
    let originals: Vec<_> = first.values().filter_map(|known| known.backup_of.clone()).collect();
    let of_originals = facts(originals)?;
    for (key, _) in chosen {
        let known = first.get(&key.fingerprint);
        let original = known.and_then(|known| known.backup_of.clone());
        let backups = match &original {
            Some(original) => of_originals.get(original).map(|known| known.backups.clone()),
            None => known.map(|known| known.backups.clone()),
        };
        let family = original.into_iter().chain([key.fingerprint.clone()]).chain(backups.unwrap_or_default());
        for one in family {
            if !order.contains(&one) {
                order.push(one);
            }
        }
    }
    let all = facts(order.clone())?;
    let (mut lines, mut missing) = (Vec::new(), Vec::new());
    for fingerprint in order {
        let chosen = chosen.iter().find(|(key, _)| key.fingerprint == fingerprint).cloned();
        match chosen.or_else(|| with_fingerprint(&fingerprint, held)) {
            Some(named) => lines.push(Line::of(&named, all.get(&fingerprint))),
            None => missing.push(fingerprint),
        }
    }
    Ok((lines, missing))
}

fn facts(fingerprints: Vec<String>) -> Result<BTreeMap<String, Known>, Problem> {
    known(&fingerprints.iter().map(String::as_str).collect::<Vec<_>>())
}

#[derive(Debug, Serialize)]
struct Exported<'a> {
    keys: &'a [Line],
}

#[derive(Debug, Serialize)]
struct Line {
    fingerprint: String,
    /// The whole line.
    line: String,
    /// Whether each use of it takes a PIN or a finger; null where that is not known here, and true where the line says so.
    verify_required: Option<bool>,
    /// The name of the token that it is on.
    token: Option<String>,
    /// The fingerprint of the key of which it is a backup.
    backup_of: Option<String>,
}

impl Line {
    fn of((key, comment): &Named, known: Option<&Known>) -> Self {
        let verify_required = match (key.application.is_some(), known.and_then(|known| known.verify_required)) {
            (false, _) => Some(false),
            (true, Some(known)) => Some(known),
            (true, None) => verify_required_by_file(&key.fingerprint),
        };
        let token = known.and_then(|known| known.token.clone());
        let options = if verify_required == Some(true) { "verify-required " } else { "" };
        // A comment is text of others, and must not become a line of its own.
        let comment = safe(comment);
        let on = token.as_ref().map(|name| format!("on token {}", safe(name)));
        let words = [Some(comment).filter(|comment| !comment.is_empty()), on];
        let words = words.into_iter().flatten().collect::<Vec<_>>().join(", ");
        Self {
            fingerprint: key.fingerprint.clone(),
            line: format!("{options}{} {words}", key.line()).trim_end().to_owned(),
            verify_required,
            token,
            backup_of: known.and_then(|known| known.backup_of.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public_key::PublicKey;

    const KEY: &str = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAAAAAAARzc2g6";

    #[test]
    fn a_line_is_one_line_whatever_the_comment() {
        let (key, _) = PublicKey::read_line(KEY).unwrap();
        let known = |verify_required| Known {
            fingerprint: key.fingerprint.clone(),
            token: Some("red".into()),
            verify_required: Some(verify_required),
            backup_of: None,
            backups: vec![],
        };
        let line = |comment: &str, known: Known| Line::of(&(key.clone(), comment.into()), Some(&known)).line;
        assert_eq!(line("me@here", known(true)), format!("verify-required {KEY} me@here, on token red"));
        assert_eq!(line("", known(false)), format!("{KEY} on token red"));
        let hostile = line("me\nssh-ed25519 AAAA", known(false));
        assert!(!hostile.contains('\n') && hostile.starts_with(KEY), "{hostile}");
    }
}
