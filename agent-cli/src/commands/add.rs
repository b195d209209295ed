//! `agent-cli add`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent::control::{AddedKey, Event, Request};
use secrecy::SecretString;

use crate::control::{Control, unexpected};
use crate::conversation::Conversation;
use crate::places::find;
use crate::problem::Problem;
use crate::safe::safe;
use crate::terminal::Terminal;

/// The names of OpenSSH's key files that are on a token.
pub(crate) const DEFAULT_NAMES: [&str; 2] = ["id_ed25519_sk", "id_ecdsa_sk"];

/// What to add.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Key files
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Add resident keys of a token instead, of several those you choose; they are held until the agent ends
    #[arg(long, conflicts_with = "files")]
    resident: bool,
    /// Add all resident keys, and do not ask which
    #[arg(long, requires = "resident", conflicts_with = "files")]
    all: bool,
    /// Only resident keys of this application
    #[arg(long, requires = "resident", conflicts_with = "files", value_name = "ssh:NAME")]
    application: Option<String>,
}

/// Adds every key it can, and fails when one could not be added.
pub(crate) fn run(options: &Options, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    if options.resident {
        return add_resident(options, terminal);
    }
    let files = if options.files.is_empty() { default_files()? } else { options.files.clone() };
    let mut code = ExitCode::SUCCESS;
    for file in files {
        match add_file(&file, terminal, None) {
            Ok(()) => {}
            Err(problem) if problem.is_final() => return Err(problem),
            Err(problem) => {
                problem.show();
                code = problem.end();
            }
        }
    }
    Ok(code)
}

/// Adds a key file, for which the person is asked its passphrase unless it is `known`.
pub(crate) fn add_file(file: &Path, terminal: &mut Terminal, known: Option<SecretString>) -> Result<(), Problem> {
    let path = std::path::absolute(file).map_err(|error| Problem::failed(format!("{}: {error}", file.display())))?;
    for key in add(&Request::AddFile { path }, terminal, known)? {
        eprintln!("Identity added: {} ({})", safe(&file.display().to_string()), safe(&key.comment));
    }
    Ok(())
}

fn add_resident(options: &Options, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    let request = Request::AddResident { all: options.all, application: options.application.clone() };
    let added = add(&request, terminal, None)?;
    for key in &added {
        eprintln!("Resident identity added: {} ({})", safe(&key.fingerprint), safe(&key.comment));
    }
    if added.is_empty() {
        let which = options.application.as_deref().map(|application| format!(" for {application}")).unwrap_or_default();
        return Err(Problem::failed(format!("the token keeps no resident SSH key{which}"))
            .next("Make one with `agent-cli gen-keys`, or add a key file with `agent-cli add FILE`."));
    }
    Ok(ExitCode::SUCCESS)
}

fn add(request: &Request, terminal: &mut Terminal, known: Option<SecretString>) -> Result<Vec<AddedKey>, Problem> {
    let mut conversation = Conversation::begin(Control::connect()?, terminal, request)?.knowing(known);
    match conversation.result()? {
        Event::Added { keys } => Ok(keys),
        other => Err(unexpected(&other)),
    }
}

fn default_files() -> Result<Vec<PathBuf>, Problem> {
    let folder = find(None)?.home.join(".ssh");
    let files: Vec<_> = DEFAULT_NAMES.iter().map(|name| folder.join(name)).filter(|path| path.exists()).collect();
    if files.is_empty() {
        let names = DEFAULT_NAMES.join(" nor ");
        return Err(Problem::failed(format!("there is neither {names} in {}", folder.display()))
            .next("Name a key file, or make a key with `agent-cli gen-keys`."));
    }
    Ok(files)
}
