//! `agent-cli published`: whether what is registered, the key files and the agent's keys are the same.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::process::ExitCode;

use agent::control::token::{Answer, Request};
use serde::Serialize;

use super::tokens;
use crate::agent_socket::AgentSocket;
use crate::comparison::{Comparison, Difference, Here, Row, default_files};
use crate::directory::{self, Directory, Standing};
use crate::known_keys::known_to_the_agent_listed;
use crate::output::{aligned, print, print_json};
use crate::problem::Problem;
use crate::publication::Candidate;
use crate::safe::safe;
use crate::terminal::Terminal;

/// What to compare.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Public keys that have to be published; by default all in ~/.ssh are looked at, one of which has to be
    #[arg(value_name = "FILE.pub")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    directory: directory::Options,
    /// Look at the keys that the plugged-in token keeps, too, which takes its PIN
    #[arg(long)]
    token: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Compares them.
pub(crate) fn run(options: &Options, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    let files = if options.files.is_empty() { default_files()? } else { named_files(&options.files)? };
    let held = AgentSocket::connect()?.list()?;
    let mut directory = Directory::open(&options.directory, terminal)?;
    let standing = directory.look(terminal)?;
    let on_token = if options.token { Some(kept(terminal)?) } else { None };

    let here = Here { files: &files, named: &options.files, held: &held, on_token: on_token.as_ref() };
    let mut comparison = here.compared(&standing, directory.holds_one_key());
    let fingerprints: Vec<_> = comparison.rows.iter().map(|row| row.key.fingerprint.as_str()).collect();
    // The rest is worth showing without it.
    let known = known_to_the_agent_listed(&fingerprints).unwrap_or_else(|problem| {
        problem.show();
        BTreeMap::new()
    });
    comparison.know(&known);
    let Comparison { rows, differences } = comparison;
    if options.json {
        print_json(&Listing::of(&directory, &standing, &rows, &differences))?;
        return Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let account = standing.account.map(|account| ("account", account));
    print(&aligned("", [("place", directory.name())].into_iter().chain(account)))?;
    rows.iter().try_for_each(|row| print(&describe(row)))?;
    let problem = |Difference { what, next }: &Difference| format!("{what}. {next}");
    match differences.as_slice() {
        [] => print("All of them agree.").map(|()| ExitCode::SUCCESS),
        all => Err(all.iter().map(problem).fold(Problem::failed("they do not agree"), Problem::next)),
    }
}

/// The fingerprints of the keys that the token keeps.
fn kept(terminal: &mut Terminal) -> Result<HashSet<String>, Problem> {
    match tokens::ask(Request::Credentials, terminal)? {
        Answer::Credentials { credentials, .. } => Ok(credentials.into_iter().map(|kept| kept.fingerprint).collect()),
        other => Err(tokens::unexpected_answer(other)),
    }
}

fn named_files(files: &[PathBuf]) -> Result<Vec<Candidate>, Problem> {
    files.iter().map(|file| Candidate::read(file)).collect()
}

fn describe(row: &Row) -> String {
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let files: Vec<_> = row.files.iter().map(|file| file.display().to_string()).collect();
    let files = if files.is_empty() { "none".into() } else { files.join(", ") };
    let rows = [("published", yes(row.published)), ("file", files), ("agent", yes(row.held))];
    let token = row.on_token.map(|on_token| ("token", yes(on_token)));
    let backup = row.backup_of.clone().map(|original| ("backup of", original));
    let rows = rows.into_iter().chain(token).chain(backup);
    format!("{}\n{}", safe(&row.key.describe(&row.comment)), aligned("  ", rows))
}

#[derive(Debug, Serialize)]
struct Listing<'a> {
    agree: bool,
    place: String,
    /// Null where the place names nobody.
    account: Option<&'a str>,
    keys: Vec<EntryOf<'a>>,
    differences: &'a [Difference],
}

#[derive(Debug, Serialize)]
struct EntryOf<'a> {
    fingerprint: &'a str,
    #[serde(rename = "type")]
    type_name: &'a str,
    comment: &'a str,
    published: bool,
    files: &'a [PathBuf],
    agent: bool,
    /// Null where the token was not looked at.
    token: Option<bool>,
    backup_of: Option<&'a str>,
}

impl<'a> Listing<'a> {
    fn of(directory: &Directory, standing: &'a Standing, rows: &'a [Row], differences: &'a [Difference]) -> Self {
        let entry = |row: &'a Row| EntryOf {
            fingerprint: &row.key.fingerprint,
            type_name: &row.key.type_name,
            comment: &row.comment,
            published: row.published,
            files: &row.files,
            agent: row.held,
            token: row.on_token,
            backup_of: row.backup_of.as_deref(),
        };
        Self {
            agree: differences.is_empty(),
            place: directory.name(),
            account: standing.account.as_deref(),
            keys: rows.iter().map(entry).collect(),
            differences,
        }
    }
}
