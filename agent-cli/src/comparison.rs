//! What is registered in a place, the key files and the agent's keys, held against one another.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use agent::control::keys::Known;
use serde::Serialize;

use crate::agent_socket::Held;
use crate::directory::Standing;
use crate::places::find;
use crate::problem::Problem;
use crate::public_key::PublicKey;
use crate::publication::Candidate;

/// A key, and where it is.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) key: PublicKey,
    pub(crate) comment: String,
    pub(crate) published: bool,
    pub(crate) files: Vec<PathBuf>,
    /// Whether the agent holds it.
    pub(crate) held: bool,
    /// Whether the token keeps it; None where it was not looked at.
    pub(crate) on_token: Option<bool>,
    /// The fingerprint of the key of which it is a backup.
    pub(crate) backup_of: Option<String>,
}

/// What does not agree, and what to do about it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    pub(crate) what: String,
    pub(crate) next: String,
}

/// What is compared with what stands in a place.
pub(crate) struct Here<'a> {
    /// The keys in files.
    pub(crate) files: &'a [Candidate],
    /// Those of the files that were named: their keys have to be published.
    pub(crate) named: &'a [PathBuf],
    /// The agent's keys.
    pub(crate) held: &'a [Held],
    /// The fingerprints of the keys that the token keeps, where it was asked.
    pub(crate) on_token: Option<&'a HashSet<String>>,
}

impl Here<'_> {
    /// Each key, and where it is. Of a place in which others' keys are as well, only what is here, too.
    pub(crate) fn compared(&self, standing: &Standing, holds_one_key: bool) -> Comparison {
        let mut rows = Vec::new();
        for candidate in self.files {
            row(&mut rows, &candidate.key, candidate.comment()).files.push(candidate.file.clone());
        }
        for held in self.held.iter().filter(|held| !held.key.type_name.ends_with("-CERT")) {
            row(&mut rows, &held.key, &held.comment).held = true;
        }
        for (key, comment) in standing.entries.iter().filter_map(|entry| entry.key.as_ref()) {
            if holds_one_key || rows.iter().any(|row| row.key.blob == key.blob) {
                row(&mut rows, key, comment).published = true;
            }
        }
        rows.retain(|row| row.published || row.key.application.is_some() || !self.named.is_empty());
        for row in &mut rows {
            row.on_token = self.on_token.map(|kept| kept.contains(&row.key.fingerprint));
        }
        let differences = differences(&rows, self.named, standing);
        Comparison { rows, differences }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) rows: Vec<Row>,
    pub(crate) differences: Vec<Difference>,
}

impl Comparison {
    /// Adds what is known of the keys.
    pub(crate) fn know(&mut self, known: &BTreeMap<String, Known>) {
        for row in &mut self.rows {
            row.backup_of = known.get(&row.key.fingerprint).and_then(|known| known.backup_of.clone());
        }
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

/// The keys in ~/.ssh. What is none there is none of ours to complain about.
pub(crate) fn default_files() -> Result<Vec<Candidate>, Problem> {
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
}
