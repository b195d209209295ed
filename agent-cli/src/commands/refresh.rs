//! `agent-cli refresh`: a new key in the place of an old one, which is retired only once the new one does what it is for.

mod retire;
mod state;
mod test_login;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent::control::Generate;
use secrecy::SecretString;
use serde::Serialize;

use super::add::{DEFAULT_NAMES, add_file};
use super::generate::{self, NewKey};
use super::publish::{Published, report};
use super::tokens::credentials::delete;
use crate::agent_socket::AgentSocket;
use crate::directory::{self, Directory};
use crate::key_file::Place;
use crate::output::Telling;
use crate::places::find;
use crate::problem::Problem;
use crate::publication::{Candidate, publish};
use crate::safe::safe;
use crate::terminal::Terminal;
use retire::retire;
use state::{State, Step};

/// What a new key's file is called until the old one is retired, behind its name.
const NEW: &str = "_new";

/// Which key, and what has to be seen before the old one is retired.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The old key's file, by default the one in ~/.ssh with OpenSSH's name for a key on a token
    file: Option<PathBuf>,
    /// Log in on this host with the new key only, before the old one is retired (as `ssh` takes it: USER@HOST)
    #[arg(long, value_name = "DEST", value_parser = destination)]
    test_login: Option<String>,
    /// Delete the old key from its token in the end, once you have typed its name
    #[arg(long)]
    delete_old: bool,
    /// Write the new file without a passphrase, and do not ask for one
    #[arg(long)]
    no_passphrase: bool,
    #[command(flatten)]
    directory: directory::Options,
    /// Do not ask whether to publish the new key
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Options {
    fn telling(&self) -> Telling {
        Telling::of(self.json)
    }
}

/// What was done.
#[derive(Debug, Serialize)]
struct Told<'a> {
    new: Named<'a>,
    old: Named<'a>,
    #[serde(flatten)]
    published: Published,
    /// The host on which the new key has logged in; null where none was to be tried.
    test_login: Option<&'a str>,
    /// Whether the place has the old key's line still; null where that can't be read.
    old_still_published: Option<bool>,
    /// Whether it was deleted from its token.
    old_deleted: bool,
}

#[derive(Debug, Serialize)]
struct Named<'a> {
    fingerprint: &'a str,
    file: PathBuf,
}

/// The new key in the old one's place.
struct Renewed {
    fingerprint: String,
    published: Published,
    /// Where the old key's file is now.
    aside: PathBuf,
}

/// Makes the new key, publishes it, logs in with it, and retires the old one: in this order, and no further where one of them
/// fails. Repeated, it goes on with the new key that is there.
pub(crate) fn run(options: &Options, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    let home = find(None)?.home;
    let old = Candidate::read(&public_file(options.file.as_deref(), &home)?)?;
    let application = old.key.application.clone().ok_or_else(|| {
        Problem::usage(format!("{} is on no token", old.file.display()))
            .next("`ssh-keygen` makes new keys that are in files.")
    })?;
    has_to_hold(&old)?;
    // Who can't sign in there learns of it before there is a key.
    let mut directory = Directory::open(&options.directory, terminal)?;
    let mut state = State::of(&old, &directory);
    let retired = renew(options, &old, &application, &home, &mut directory, &mut state, terminal);
    let Renewed { fingerprint, published, aside } = retired.map_err(|problem| state.tell(problem))?;
    let telling = options.telling();
    state.done(&aside).iter().try_for_each(|line| telling.line(&safe(line)))?;
    let still_there = still_there(&mut directory, &old, terminal).map_err(|problem| problem.show()).ok();
    if still_there == Some(true) {
        let name = directory.name();
        telling.line(&safe(&format!(
            "The old key stands in {name} still: hosts let it in until its line is taken out there."
        )))?;
    }
    let deleted = options.delete_old.then(|| delete(Some(old.key.fingerprint.clone()), terminal)).transpose();
    telling.end(&Told {
        new: Named { fingerprint: &fingerprint, file: old.file.with_extension("") },
        old: Named { fingerprint: &old.key.fingerprint, file: aside },
        published,
        test_login: options.test_login.as_deref(),
        old_still_published: still_there,
        old_deleted: matches!(deleted, Ok(Some(_))),
    })?;
    deleted.map_err(|problem| {
        let again = format!("agent-cli tokens credentials delete {}", old.key.fingerprint);
        problem.next(format!("All else is done. If the token keeps the old key, it does so still: `{again}`."))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// All but the deletion.
fn renew(
    options: &Options,
    old: &Candidate,
    application: &str,
    home: &Path,
    directory: &mut Directory,
    state: &mut State,
    terminal: &mut Terminal,
) -> Result<Renewed, Problem> {
    let (new, passphrase) = new_key(options, old, application, home, state, terminal)?;
    state.step = Step::Publishing;
    let outcome = publish(directory, &new, options.yes, terminal)?;
    state.step = Step::Published;
    let published = report(directory, &new, outcome, options.telling())?;
    match &options.test_login {
        Some(destination) => test_login::log_in(destination, &new, terminal)?,
        None if terminal.confirm("Nobody has logged in with the new key yet. Retire the old one all the same?")? => {}
        None => {
            return Err(Problem::failed("the old key is not retired")
                .next("With `--test-login USER@HOST` the new key is tried first."));
        }
    }
    let aside = retire(old, &new, passphrase, state, terminal)?;
    Ok(Renewed { fingerprint: new.key.fingerprint, published, aside })
}

/// The old key's FILE.pub.
fn public_file(given: Option<&Path>, home: &Path) -> Result<PathBuf, Problem> {
    let files = match given {
        Some(file) if file.extension().is_some_and(|extension| extension == "pub") => return Ok(file.to_owned()),
        Some(file) => return Ok(beside(file, ".pub")),
        None => DEFAULT_NAMES.map(|name| home.join(".ssh").join(format!("{name}.pub"))),
    };
    let mut there = files.into_iter().filter(|file| file.exists());
    match (there.next(), there.next()) {
        (Some(file), None) => Ok(file),
        (None, _) => Err(Problem::usage("there is no key of a token in ~/.ssh").next("Name its file.")),
        _ => Err(Problem::usage("there are several keys of tokens in ~/.ssh")
            .next("Name the file of the one that is meant.")),
    }
}

/// A file whose name is this one's and more.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(ending);
    name.into()
}

/// The old key has to be of use until the new one is.
fn has_to_hold(old: &Candidate) -> Result<(), Problem> {
    if AgentSocket::connect()?.list()?.iter().any(|held| held.key.blob == old.key.blob) {
        return Ok(());
    }
    Err(Problem::failed("the agent does not hold the old key")
        .next(format!("Add it first: `agent-cli add {}`.", old.file.with_extension("").display())))
}

/// The new key, which the agent holds; one that an earlier refresh has left is gone on with.
fn new_key(
    options: &Options,
    old: &Candidate,
    application: &str,
    home: &Path,
    state: &mut State,
    terminal: &mut Terminal,
) -> Result<(Candidate, Option<SecretString>), Problem> {
    let file = beside(&old.file.with_extension(""), NEW);
    let public = beside(&file, ".pub");
    let (new, passphrase) = if file.exists() && public.exists() {
        let new = Candidate::read(&public)?;
        terminal.say(&format!("An earlier refresh has left a new key, which is gone on with: {}", new.describe()));
        state.made(&new);
        (new, None)
    } else {
        let place = Place::check(&file, home)?;
        let wanted = Generate {
            application: application.to_owned(),
            algorithm: generate::algorithm_of(&old.key),
            resident: true,
            verify_required: true,
            user_name: generate::user()?,
            // The old one is there until the new one is known to work.
            replace: true,
            backup_of: None,
            replaces: Some(old.key.fingerprint.clone()),
        };
        let NewKey { files, passphrase, .. } =
            generate::make(&place, wanted, old.comment(), options.no_passphrase, options.telling(), terminal)?;
        let new = Candidate::of_line(&files.public, Some(true), &place.public)
            .ok_or_else(|| Problem::failed("the new key's line can't be published"))?;
        state.made(&new);
        (new, passphrase)
    };
    let held = AgentSocket::connect()?.list()?.iter().any(|held| held.key.blob == new.key.blob);
    if !held {
        add_file(&file, terminal, passphrase.clone())?;
    }
    Ok((new, passphrase))
}

/// A place that holds many keys lets the old one in until its line is gone.
fn still_there(directory: &mut Directory, old: &Candidate, terminal: &mut Terminal) -> Result<bool, Problem> {
    if directory.holds_one_key() {
        return Ok(false);
    }
    Ok(directory.read_back(terminal)?.entries.iter().any(|entry| entry.is(&old.key)))
}

fn destination(text: &str) -> Result<String, String> {
    let plain =
        !text.is_empty() && !text.starts_with('-') && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if plain { Ok(text.to_owned()) } else { Err("it has to be a host as `ssh` takes it, such as USER@HOST".into()) }
}
