//! `agent-cli publish`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::add::DEFAULT_NAMES;
use crate::directory::{self, Directory};
use crate::output::Telling;
use crate::places::find;
use crate::problem::Problem;
use crate::publication::{Candidate, Outcome, publish};
use crate::safe::safe;
use crate::terminal::Terminal;

/// What to publish, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The public key, by default the one in ~/.ssh with OpenSSH's name for a key on a token
    #[arg(value_name = "FILE.pub")]
    file: Option<PathBuf>,
    #[command(flatten)]
    directory: directory::Options,
    /// Do not ask whether to publish it; the file has to be named
    #[arg(long, requires = "file")]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What came of publishing a key.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Published {
    place: String,
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
struct Told<'a> {
    fingerprint: &'a str,
    #[serde(flatten)]
    published: Published,
}

/// Publishes one key.
pub(crate) fn run(options: &Options, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    let candidate = Candidate::read(&options.file.clone().map_or_else(default_file, Ok)?)?;
    let mut directory = Directory::open(&options.directory, terminal)?;
    let outcome = publish(&mut directory, &candidate, options.yes, terminal)?;
    let telling = Telling::of(options.json);
    let published = report(&directory, &candidate, outcome, telling)?;
    telling.end(&Told { fingerprint: &candidate.key.fingerprint, published })?;
    Ok(ExitCode::SUCCESS)
}

/// Says what came of it.
pub(crate) fn report(
    directory: &Directory,
    candidate: &Candidate,
    outcome: Outcome,
    telling: Telling,
) -> Result<Published, Problem> {
    let how = match outcome {
        Outcome::Published => "Published",
        Outcome::WasThere => "Published already, and left as it is",
    };
    telling.line(&safe(&format!("{how}: {} ({})", candidate.key.fingerprint, directory.name())))?;
    Ok(Published { place: directory.name(), outcome })
}

fn default_file() -> Result<PathBuf, Problem> {
    let folder = find(None)?.home.join(".ssh");
    let files = DEFAULT_NAMES.iter().map(|name| folder.join(format!("{name}.pub")));
    let mut there: Vec<_> = files.filter(|file| file.exists()).collect();
    match (there.pop(), there.is_empty()) {
        (Some(file), true) => Ok(file),
        (None, _) => Err(Problem::usage(format!("there is no public key of a token in {}", folder.display()))
            .next("Name its file, or make a key with `agent-cli gen-keys --publish`.")),
        _ => Err(Problem::usage(format!("there are several public keys of tokens in {}", folder.display()))
            .next("Name the file of the one to publish.")),
    }
}
