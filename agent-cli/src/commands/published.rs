//! `agent-cli published`: whether what is registered, the key files and the agent's keys are the same.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent::control::token::{Answer, Request};
use serde::Serialize;

use super::tokens;
use crate::agent_socket::AgentSocket;
use crate::control::find;
use crate::directory::{self, Directory, Standing};
use crate::known_keys::known_to_the_agent_listed;
use crate::output::{aligned, print, print_json};
use crate::problem::Problem;
use crate::public_key::PublicKey;
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

/// A key, and where it is.
#[derive(Debug)]
struct Row {
    key: PublicKey,
    comment: String,
    published: bool,
    files: Vec<PathBuf>,
    /// Whether the agent holds it.
    held: bool,
    /// Whether the token keeps it; None where it was not looked at.
    on_token: Option<bool>,
    /// The fingerprint of the key of which it is a backup.
    backup_of: Option<String>,
}

/// What does not agree, and what to do about it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    what: String,
    next: String,
}

/// Compares them.
pub(crate) fn run(options: &Options, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    let files = if options.files.is_empty() { default_files()? } else { named_files(&options.files)? };
    let held = AgentSocket::connect()?.list()?;
    let mut directory = Directory::open(&options.directory, terminal)?;
    let standing = directory.look(terminal)?;
    let on_token = if options.token { Some(kept(terminal)?) } else { None };

    let mut rows = Vec::new();
    let has_all = directory.holds_one_key();
    for candidate in &files {
        row(&mut rows, &candidate.key, candidate.comment()).files.push(candidate.file.clone());
    }
    for held in held.iter().filter(|held| !held.key.type_name.ends_with("-CERT")) {
        row(&mut rows, &held.key, &held.comment).held = true;
    }
    for (key, comment) in standing.entries.iter().filter_map(|entry| entry.key.as_ref()) {
        // In a file there are others' keys as well.
        if has_all || rows.iter().any(|row| row.key.blob == key.blob) {
            row(&mut rows, key, comment).published = true;
        }
    }
    rows.retain(|row| row.published || row.key.application.is_some() || !options.files.is_empty());
    let fingerprints: Vec<_> = rows.iter().map(|row| row.key.fingerprint.as_str()).collect();
    // The rest is worth showing without it.
    let known = known_to_the_agent_listed(&fingerprints).unwrap_or_else(|problem| {
        problem.show();
        BTreeMap::new()
    });
    for row in &mut rows {
        row.backup_of = known.get(&row.key.fingerprint).and_then(|known| known.backup_of.clone());
        row.on_token = on_token.as_ref().map(|kept| kept.contains(&row.key.fingerprint));
    }
    let differences = differences(&rows, &options.files, &standing);
    if options.json {
        print_json(&Listing::of(&directory, &standing, &rows, &differences))?;
        return Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let account = standing.account.map(|account| ("account", account));
    print(&aligned("", [("place", directory.name())].into_iter().chain(account)))?;
    rows.iter().try_for_each(|row| print(&row.describe()))?;
    let problem = |Difference { what, next }: &Difference| format!("{what}. {next}");
    match differences.as_slice() {
        [] => print("All of them agree.").map(|()| ExitCode::SUCCESS),
        all => Err(all.iter().map(problem).fold(Problem::failed("they do not agree"), Problem::next)),
    }
}

/// The row of a key, a new one if need be.
fn row<'r>(rows: &'r mut Vec<Row>, key: &PublicKey, comment: &str) -> &'r mut Row {
    let at = rows.iter().position(|row| row.key.blob == key.blob).unwrap_or_else(|| {
        let (key, comment) = (key.clone(), comment.to_owned());
        let (files, on_token, backup_of) = (Vec::new(), None, None);
        rows.push(Row { key, comment, published: false, files, held: false, on_token, backup_of });
        rows.len() - 1
    });
    &mut rows[at]
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

/// The keys in ~/.ssh. What is none there is none of ours to complain about.
fn default_files() -> Result<Vec<Candidate>, Problem> {
    let folder = find(None)?.home.join(".ssh");
    let entries = match folder.read_dir() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| Problem::failed(format!("{}: {error}", folder.display())))?,
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|name| name == "pub")).collect();
    files.sort();
    Ok(files.iter().filter_map(|file| Candidate::read(file).ok()).collect())
}

/// All that does not agree. A key that is not published is no matter, unless it was named, or none is.
fn differences(rows: &[Row], named: &[PathBuf], standing: &Standing) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut differ = |what: String, next: String| all.push(Difference { what, next });
    for entry in standing.entries.iter().filter(|entry| entry.key.is_none()) {
        differ(format!("What is published is {}", entry.describe()), "Publish yours in its place.".into());
    }
    let mine = |row: &&Row| row.held || !row.files.is_empty();
    let published: Vec<_> = rows.iter().filter(|row| row.published).collect();
    let is_unpublished = |row: &&Row| !row.published && row.files.iter().any(|file| named.contains(file));
    for row in rows.iter().filter(is_unpublished) {
        differ(format!("{} is not published", row.key.fingerprint), row.publish());
    }
    if !published.iter().any(mine) && !all_named_are_unpublished(rows, named) {
        let what =
            if published.is_empty() { "No key is published" } else { "The key that is published is none that is here" };
        let best = rows.iter().filter(mine).min_by_key(|row| (row.files.is_empty(), !row.held));
        let next = best.map_or_else(|| "Make one with `agent-cli gen-keys --publish`.".into(), Row::publish);
        differ(what.into(), next);
    }
    for row in published.into_iter().filter(mine) {
        let name = &row.key.fingerprint;
        match row.files.first() {
            Some(file) if !row.held => {
                differ(format!("The agent does not hold {name}"), format!("`agent-cli add {}`", private(file)));
            }
            None => differ(
                format!("{name} is in no file"),
                "`ssh-keygen -K` writes the resident keys of a token to files.".into(),
            ),
            Some(_) => {}
        }
        if row.on_token == Some(false) {
            differ(
                format!("The token keeps no key {name}"),
                "Plug in the one that does; a key that is not resident is in its file alone.".into(),
            );
        }
    }
    all
}

fn all_named_are_unpublished(rows: &[Row], named: &[PathBuf]) -> bool {
    let is_named = |row: &&Row| row.files.iter().any(|file| named.contains(file));
    !named.is_empty() && rows.iter().filter(is_named).all(|row| !row.published)
}

fn private(public: &Path) -> String {
    public.with_extension("").display().to_string()
}

impl Row {
    fn publish(&self) -> String {
        match self.files.first() {
            Some(file) => format!("`agent-cli publish {}`", file.display()),
            None => "Write its public key to a file (`ssh-add -L` prints it), and publish that with `agent-cli publish FILE.pub`.".into(),
        }
    }

    fn describe(&self) -> String {
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let files: Vec<_> = self.files.iter().map(|file| file.display().to_string()).collect();
        let files = if files.is_empty() { "none".into() } else { files.join(", ") };
        let rows = [("published", yes(self.published)), ("file", files), ("agent", yes(self.held))];
        let token = self.on_token.map(|on_token| ("token", yes(on_token)));
        let backup = self.backup_of.clone().map(|original| ("backup of", original));
        let rows = rows.into_iter().chain(token).chain(backup);
        format!("{}\n{}", safe(&self.key.describe(&self.comment)), aligned("  ", rows))
    }
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
