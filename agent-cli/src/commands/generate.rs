//! `agent-cli gen-keys`.

mod backup;
mod told;

use std::path::PathBuf;
use std::process::ExitCode;

use agent::control::{Event, Generate, Generated, Request};
use agent::denial::{Code, Denial};
use agent::identity::SkFlags;
use agent::token::protocol::Algorithm;
use clap::ValueEnum;
use secrecy::{ExposeSecret, SecretString};

use self::backup::Original;
use self::told::Told;
use super::add::{DEFAULT_NAMES, add_file};
use super::publish::{Published, report};
use crate::control::{Control, unexpected};
use crate::conversation::Conversation;
use crate::directory::{self, Directory};
use crate::key_file::{Place, WriteError};
use crate::new_key::{KeyFiles, key_files};
use crate::output::Telling;
use crate::places::find;
use crate::problem::Problem;
use crate::public_key::PublicKey;
use crate::publication::{Candidate, publish};
use crate::safe::safe;
use crate::terminal::Terminal;

/// The key to make.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The key's type
    #[arg(long = "type", value_enum, default_value_t = KeyType::Ed25519Sk)]
    key_type: KeyType,
    /// Where to write the key, by default ~/.ssh/id_ed25519_sk or id_ecdsa_sk; FILE.pub is its public part
    #[arg(long)]
    file: Option<PathBuf>,
    /// What the token knows the key by, "ssh:" or "ssh:NAME"
    #[arg(long, value_name = "ssh:NAME", default_value = "ssh:", value_parser = application)]
    application: String,
    /// The user name the token keeps with a resident key, by default yours
    #[arg(long, value_name = "NAME", value_parser = one_line)]
    user: Option<String>,
    /// The key's comment, by default USER@HOST
    #[arg(long, value_name = "TEXT", value_parser = one_line)]
    comment: Option<String>,
    /// Let the token keep nothing of the key: without the file it is lost
    #[arg(long)]
    no_resident: bool,
    /// Let a touch be enough for a login, without fingerprint or PIN
    #[arg(long)]
    no_verify_required: bool,
    /// Make a resident key even where the token keeps one for the same application and user
    #[arg(long, conflicts_with = "no_resident")]
    replace: bool,
    /// Make the key on another token than the one that holds KEY (a fingerprint, file or comment), in whose place it can be
    /// used when that token is lost; by default its file and comment say so
    #[arg(long, value_name = "KEY")]
    backup_of: Option<String>,
    /// Write the file without a passphrase, and do not ask for one
    #[arg(long)]
    no_passphrase: bool,
    /// Publish the key once it is made, as `agent-cli publish` does
    #[arg(long)]
    publish: bool,
    #[command(flatten)]
    directory: directory::Options,
    /// Do not ask whether to publish it
    #[arg(long, requires = "publish")]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The types of keys that tokens make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KeyType {
    Ed25519Sk,
    EcdsaSk,
}

/// Makes the key. Everything that can go wrong before a token is asked is looked at first, and the passphrase is asked
/// for before it: who stops there leaves nothing behind on the token.
pub(crate) fn run(options: &Options, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    let home = find(None)?.home;
    let (algorithm, [ed25519, ecdsa]) = (options.key_type, DEFAULT_NAMES);
    let default_name = if algorithm == KeyType::Ed25519Sk { ed25519 } else { ecdsa };
    let original = options.backup_of.as_deref().map(Original::find).transpose()?;
    let ending = original.as_ref().map_or("", |_| backup::ENDING);
    let file = options.file.clone().unwrap_or_else(|| home.join(".ssh").join(format!("{default_name}{ending}")));
    let place = Place::check(&file, &home)?;
    let wanted = Generate { backup_of: original.as_ref().map(|key| key.fingerprint.clone()), ..options.wanted()? };
    let comment = options.comment.clone().or_else(|| original.as_ref().and_then(Original::backup_comment));
    let comment = comment.map_or_else(default_comment, Ok)?;
    // Who can't sign in there learns of it before there is a key.
    let mut directory = options.open_directory(terminal)?;
    if let Some(original) = &original {
        original.offer_name(terminal)?;
    }
    let telling = Telling::of(options.json);
    let new = make(&place, wanted, &comment, options.no_passphrase, telling, terminal)?;
    let mut told = Told::of(&new.made, &new.files, &place, &comment);
    // Whatever fails from here on, there is a key to be told of.
    let finished = options.finish(&new, &place, original.as_ref(), directory.as_mut(), &mut told, terminal);
    telling.end(&told)?;
    finished.map(|()| ExitCode::SUCCESS)
}

impl Options {
    /// Adds the key, and publishes it where that is asked for.
    fn finish(
        &self,
        NewKey { made, files, passphrase }: &NewKey,
        place: &Place,
        original: Option<&Original>,
        directory: Option<&mut Directory>,
        told: &mut Told,
        terminal: &mut Terminal,
    ) -> Result<(), Problem> {
        if let Some(original) = original {
            backup::describe(made, original).iter().try_for_each(|line| Telling::of(self.json).line(line))?;
        } else if made.token_name.is_none() {
            eprintln!("With `agent-cli tokens name NAME` the agent knows this token from others, and asks only it.");
        }
        let file = place.private.display();
        add_file(&place.private, terminal, passphrase.clone()).map_err(|problem| {
            let problem = problem.next(format!(
                "The key is made and saved; only the agent does not hold it yet: `agent-cli add {file}`."
            ));
            if self.publish {
                problem.next(format!("Then publish it: `agent-cli publish {file}.pub`."))
            } else {
                problem
            }
        })?;
        told.added = true;
        if let Some(directory) = directory {
            let published = self.publish(directory, files, place, terminal).map_err(|problem| {
                problem
                    .next(format!("The key is made, saved and added; to publish it: `agent-cli publish {file}.pub`."))
            })?;
            told.published = Some(published);
        }
        Ok(())
    }

    fn open_directory(&self, terminal: &mut Terminal) -> Result<Option<Directory>, Problem> {
        match (self.publish, self.directory.are_given()) {
            (true, _) => Directory::open(&self.directory, terminal).map(Some),
            (false, false) => Ok(None),
            (false, true) => Err(Problem::usage("--to and --token-stdin say how to publish").next("Add --publish.")),
        }
    }

    fn publish(
        &self,
        directory: &mut Directory,
        files: &KeyFiles,
        place: &Place,
        terminal: &mut Terminal,
    ) -> Result<Published, Problem> {
        let verify_required = Some(!self.no_verify_required);
        let candidate = Candidate::of_line(&files.public, verify_required, &place.public)
            .ok_or_else(|| Problem::failed("the public key's line can't be published"))?;
        let outcome = publish(directory, &candidate, self.yes, terminal)?;
        report(directory, &candidate, outcome, Telling::of(self.json))
    }

    fn wanted(&self) -> Result<Generate, Problem> {
        Ok(Generate {
            application: self.application.clone(),
            algorithm: match self.key_type {
                KeyType::Ed25519Sk => Algorithm::Ed25519,
                KeyType::EcdsaSk => Algorithm::EcdsaP256,
            },
            resident: !self.no_resident,
            verify_required: !self.no_verify_required,
            user_name: self.user.clone().map_or_else(user, Ok)?,
            replace: self.replace,
            backup_of: None,
            replaces: None,
        })
    }
}

/// The type of a key on a token.
pub(crate) fn algorithm_of(key: &PublicKey) -> Algorithm {
    if key.type_name.starts_with("ECDSA") { Algorithm::EcdsaP256 } else { Algorithm::Ed25519 }
}

/// A key that was made, and is in its files.
pub(crate) struct NewKey {
    pub(crate) made: Generated,
    pub(crate) files: KeyFiles,
    pub(crate) passphrase: Option<SecretString>,
}

/// Makes a key, and writes its files.
pub(crate) fn make(
    place: &Place,
    wanted: Generate,
    comment: &str,
    no_passphrase: bool,
    telling: Telling,
    terminal: &mut Terminal,
) -> Result<NewKey, Problem> {
    let control = Control::connect()?;
    let passphrase = if no_passphrase {
        None
    } else {
        foreseeable()?;
        new_passphrase(terminal)?
    };
    let mut conversation = Conversation::begin(control, terminal, &Request::Generate(wanted.clone()))?;
    let made = match conversation.result() {
        Ok(Event::Generated(made)) => made,
        Ok(other) => return Err(left_behind(unexpected(&other), &wanted)),
        Err(problem) if may_have_made_it(&problem) => return Err(left_behind(problem, &wanted)),
        Err(problem) => return Err(problem),
    };
    let files = write(place, &made, comment, passphrase.as_ref())?;
    telling.line(&format!("Your identification has been saved in {}", safe(&place.private.display().to_string())))?;
    telling.line(&format!("Your public key has been saved in {}", safe(&place.public.display().to_string())))?;
    telling.line(&format!("The key fingerprint is:\n{} {}", files.fingerprint, safe(comment)))?;
    Ok(NewKey { made, files, passphrase })
}

/// Why the agent would refuse, as far as that can be told before somebody has typed a passphrase for nothing.
fn foreseeable() -> Result<(), Problem> {
    let status = match Control::connect()?.ask(&Request::Status)? {
        Event::Status(status) => status,
        other => return Err(unexpected(&other)),
    };
    let code = if status.locked || status.away.is_some() {
        Code::Locked
    } else if status.devices == Some(0) {
        Code::TokenAbsent
    } else {
        return Ok(());
    };
    Err(Problem::refused(Denial::plain(code), None))
}

/// A new passphrase, asked for twice. None for an empty one.
fn new_passphrase(terminal: &mut Terminal) -> Result<Option<SecretString>, Problem> {
    let stopped =
        || Problem::failed("no passphrase was given, so no key was made").next("Repeat, or pass --no-passphrase.");
    loop {
        let first = terminal.ask_secret("Enter passphrase (empty for no passphrase): ")?.ok_or_else(stopped)?;
        let again = terminal.ask_secret("Enter same passphrase again: ")?.ok_or_else(stopped)?;
        if first.expose_secret() == again.expose_secret() {
            return Ok(Some(first).filter(|passphrase| !passphrase.expose_secret().is_empty()));
        }
        terminal.say("Passphrases do not match. Try again.");
    }
}

fn write(
    place: &Place,
    made: &Generated,
    comment: &str,
    passphrase: Option<&SecretString>,
) -> Result<KeyFiles, Problem> {
    let on_token = |problem: Problem| match SkFlags(made.flags).is_resident() {
        false => problem.next("The token keeps nothing of this key. Make another."),
        true => problem.next(format!("The token keeps the key ({}). {RECOVER}", made.application)),
    };
    let files = key_files(made, comment, passphrase)
        .map_err(|error| on_token(Problem::failed(format!("the key has no form as an OpenSSH key file: {error}"))))?;
    place.write(&files).map_err(|WriteError { path, error, private_is_there }| {
        let problem = Problem::failed(format!("{} can't be written: {error}", path.display()));
        if private_is_there {
            let (private, public) = (place.private.display(), place.public.display());
            problem.next(format!(
                "The key itself is saved in {private}. Write its public part with `ssh-keygen -y -f {private} > {public}`."
            ))
        } else {
            on_token(problem)
        }
    })?;
    Ok(files)
}

/// What helps when a token keeps a key that is in no file.
const RECOVER: &str = "`ssh-keygen -K` writes the resident keys of a token to files; `agent-cli add --resident` adds \
                       them to the agent.";

/// Whether it is open what the token did. Where it or the person said no, it made nothing.
fn may_have_made_it(problem: &Problem) -> bool {
    match problem.code {
        Some(code) => {
            matches!(code, Code::AuditUnwritable | Code::TokenUnproven | Code::HelperFailed | Code::RequestTimeout)
        }
        None => true,
    }
}

fn left_behind(problem: Problem, wanted: &Generate) -> Problem {
    if !wanted.resident {
        return problem;
    }
    let (application, user) = (&wanted.application, &wanted.user_name);
    problem.next(format!(
        "No file was written. If the token was touched, it may keep a new key ({application}, user {user}). {RECOVER}"
    ))
}

/// The user's name by the system's account database, as `ssh-keygen` takes it: not every shell sets USER.
pub(crate) fn user() -> Result<String, Problem> {
    uzers::get_current_username().and_then(|name| name.into_string().ok()).ok_or_else(|| {
        Problem::usage("this user id has no name").next("Say whose key it is with --user NAME and --comment TEXT.")
    })
}

fn default_comment() -> Result<String, Problem> {
    let host = rustix::system::uname();
    Ok(format!("{}@{}", user()?, host.nodename().to_string_lossy()))
}

fn application(text: &str) -> Result<String, String> {
    if !text.starts_with("ssh:") {
        return Err("it has to begin with \"ssh:\"".into());
    }
    one_line(text)
}

/// These stand in a line of a `.pub` file, and on a token's screen.
fn one_line(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        true => Err("it must be one line, without control characters".into()),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_token_may_keep_is_said_unless_it_said_no() {
        for (code, open) in [
            (Code::AuditUnwritable, true),
            (Code::HelperFailed, true),
            (Code::TouchTimeout, false),
            (Code::PinWrong, false),
            (Code::DeclinedOnToken, false),
        ] {
            assert_eq!(may_have_made_it(&Problem::refused(Denial::plain(code), None)), open, "{code}");
        }
        assert!(may_have_made_it(&Problem::interrupted(2)));
    }

    #[test]
    fn what_stands_in_a_line_is_a_line() {
        assert!(application("ssh:there").is_ok() && application("web.example").is_err());
        assert!(one_line("me@here").is_ok() && one_line("a\nb").is_err());
    }
}
