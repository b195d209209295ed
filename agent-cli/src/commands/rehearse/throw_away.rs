//! Whether the host demands that the token verifies its user, tried with a key that is made for that: its token signs for whoever
//! touches it, and `ssh` asks the token itself, as somebody would who has found it. Nothing of this program's changes the host.

mod heard;
mod line;
mod reason;

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::Permissions;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agent::audit::record::RecordId;
use agent::control::{self, Event, Generate, Generated, TokenStatus};
use agent::token::protocol::Algorithm;
use jiff::Timestamp;
use tempfile::TempDir;

use super::judge::not_enforced;
use super::recorded;
use super::result::{Finding, Recorded, Rehearsal, VerifyRequired};
use super::road::Road;
use crate::agent_socket::AgentSocket;
use crate::commands::generate::algorithm_of;
use crate::control::{Control, unexpected};
use crate::conversation::Conversation;
use crate::key_file::Place;
use crate::login;
use crate::new_key::{KeyFiles, key_files};
use crate::problem::Problem;
use crate::terminal::Terminal;
use heard::{Heard, Offers, Outcome};
use line::Line;
use reason::Reason;

/// Settles what the login has left open, where it is asked for. It fails only where a signal ends the program.
pub(super) fn settle(
    road: &Road,
    settings: &Path,
    rehearsal: &mut Rehearsal,
    is_asked_for: bool,
    terminal: &mut Terminal,
) -> Result<(), Problem> {
    if rehearsal.verify_required != VerifyRequired::NotTested {
        return Ok(());
    }
    let rehearsed = Rehearsed { road, settings, rehearsal };
    let verdict = match (rehearsal.passed, is_asked_for) {
        (false, _) => Ok(Err(rehearsed.untested(Reason::LoginFailed, None))),
        (true, false) => Ok(Err(rehearsed.untested(Reason::NotAskedFor, None))),
        (true, true) => rehearsed.attempt(terminal),
    };
    let (verdict, ended) = match verdict {
        Ok(verdict) => (verdict, Ok(())),
        Err(problem) if problem.is_interruption() => {
            (Err(rehearsed.untested(Reason::LeftUntested, None)), Err(problem))
        }
        Err(problem) => (Err(rehearsed.untested(Reason::NoKey, Some(problem.what()))), Ok(())),
    };
    match verdict {
        Ok(verify_required) => {
            rehearsal.verify_required = verify_required;
            if verify_required == VerifyRequired::NotEnforced {
                rehearsal.remarks.push(not_enforced(road.destination.clone()));
            }
        }
        Err(untested) => rehearsal.not_tested = Some(untested),
    }
    ended
}

/// What is known of the login that came before.
#[derive(Debug, Clone, Copy)]
struct Rehearsed<'a> {
    road: &'a Road,
    /// The file that `ssh` is given in the place of the person's own.
    settings: &'a Path,
    rehearsal: &'a Rehearsal,
}

/// What it came to. Where it was not tested, a finding says why.
type Verdict = Result<VerifyRequired, Finding>;

impl Rehearsed<'_> {
    /// Makes the key, has the person put it there, and logs in with it.
    fn attempt(self, terminal: &mut Terminal) -> Result<Verdict, Problem> {
        let destination = &self.road.destination;
        let before = tokens()?;
        if !before.is_empty() && before.iter().all(verifies_always) {
            return Ok(Err(self.untested(Reason::TokenVerifiesAlways, None)));
        }
        terminal.say(&format!(
            "It let you in. Now to whether {destination} lets in a key whose token verifies nobody: one is made for that. The token \
             keeps nothing of it, the agent does not get it, and its file is gone in the end."
        ));
        let folder = private_folder()?;
        let (made, files) = make(self.algorithm()?, folder.path(), terminal)?;
        // It may have been plugged in since.
        if tokens()?.iter().any(|token| token.device == made.token && verifies_always(token)) {
            return Ok(Err(self.untested(Reason::TokenVerifiesAlways, None)));
        }
        let hop = self.rehearsal.hops.last();
        let software = hop.and_then(|hop| hop.software.as_deref());
        let line = Line::of(files.public.trim_end(), software, Timestamp::now());
        let is_put_there = line.is_put_there(destination, terminal);
        let outcome = is_put_there.and_then(|is_there| is_there.then(|| self.log_in(folder, terminal)).transpose());
        let outcome = match outcome {
            Err(problem) if !problem.is_interruption() => Ok(Some(Outcome::Unclear(Some(problem.what().to_owned())))),
            outcome => outcome,
        };
        // Whatever came of it, it may be there.
        terminal.say(&format!("Take the line out at {destination} again; it is of no use {}.", line.after()));
        let Some(outcome) = outcome? else { return Ok(Err(self.untested(Reason::LeftUntested, None))) };
        Ok(match outcome {
            Outcome::LetIn => Ok(VerifyRequired::NotEnforced),
            Outcome::SignatureRefused => Ok(VerifyRequired::Enforced),
            Outcome::KeyRefused => Err(self.untested(Reason::KeyRefused, None)),
            Outcome::EachKeyTaken => Err(self.untested(Reason::EachKeyTaken, None)),
            Outcome::NotSigned(said) => Err(self.untested(Reason::NotSigned, Some(&said))),
            Outcome::Unclear(said) => Err(self.untested(Reason::Unclear, self.refused_since().or(said).as_deref())),
        })
    }

    /// The host takes a key of the type that it just took, if that was one of a token's.
    fn algorithm(self) -> Result<Algorithm, Problem> {
        let Some(login) = self.rehearsal.login() else { return Ok(Algorithm::Ed25519) };
        let held = AgentSocket::connect()?.list()?;
        let key = held.iter().map(|held| &held.key).find(|key| key.fingerprint == login.key);
        Ok(key.filter(|key| key.application.is_some()).map_or(Algorithm::Ed25519, algorithm_of))
    }

    /// The same way, but that the last `ssh` on it has this key alone. Those that go to the jump hosts have the agent's still: they
    /// are given none of these options.
    fn log_in(self, folder: TempDir, terminal: &mut Terminal) -> Result<Outcome, Problem> {
        const OURS: [&str; 5] = [
            "AddKeysToAgent=no",
            "ForwardAgent=no",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "PreferredAuthentications=publickey",
        ];
        let options = OURS.iter().flat_map(|option| ["-o".into(), OsString::from(option)]);
        let [unknown, key, again] = [UNKNOWN, KEY, KEY_AGAIN].map(|name| folder.path().join(name));
        let keys = [&unknown, &key, &again].into_iter().flat_map(|file| ["-i".into(), file.into()]);
        let mut arguments: Vec<OsString> = options.chain(keys).collect();
        arguments.extend(self.road.arguments(self.settings));
        terminal.say(&format!("Logging in on {} with that key.", self.road.destination));
        let (mut voice, mut heard) = (terminal.voice()?, Heard::of(Offers { unknown, key, again }));
        login::listen(&arguments, folder.path(), terminal, |line| {
            let was_accepted = heard.is_accepted();
            let end = heard.hear(line);
            if heard.is_accepted() && !was_accepted {
                voice.say("Touch the token. Nothing else is asked for this time.");
            }
            if end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(heard.outcome())
    }

    /// Why the agent has refused on the way there, where it did.
    fn refused_since(self) -> Option<String> {
        let Recorded { log, begun, requests } = &self.rehearsal.record;
        let all = recorded::since(Path::new(log), RecordId(*begun), std::process::id()).ok()?;
        let refused = all.iter().skip(requests.len()).rev().find(|request| request.code.is_some())?;
        refused.reason.as_ref().map(|reason| format!("the agent refused: {reason}"))
    }

    fn untested(self, reason: Reason, more: Option<&str>) -> Finding {
        reason.finding(&self.road.destination, more)
    }
}

fn tokens() -> Result<Vec<TokenStatus>, Problem> {
    match Control::connect()?.ask(&control::Request::Tokens)? {
        Event::Tokens { tokens } => Ok(tokens),
        other => Err(unexpected(&other)),
    }
}

fn verifies_always(token: &TokenStatus) -> bool {
    token.state.as_ref().is_some_and(|state| state.always_uv)
}

fn private_folder() -> Result<TempDir, Problem> {
    let folder = tempfile::Builder::new().prefix("rehearse-").permissions(Permissions::from_mode(0o700)).tempdir();
    folder.map_err(|error| Problem::failed(format!("there is no folder for it: {error}")))
}

/// The files in the folder.
const KEY: &str = "key";
const KEY_AGAIN: &str = "key.pub";
const UNKNOWN: &str = "unknown.pub";

/// Makes the key, and writes its files; and that of a key that no host can know, since nobody has its private half. Nobody keeps
/// it: the token holds nothing of it, and the agent is not given it.
fn make(algorithm: Algorithm, folder: &Path, terminal: &mut Terminal) -> Result<(Generated, KeyFiles), Problem> {
    let wanted = Generate {
        application: "ssh:throw-away".into(),
        algorithm,
        resident: false,
        verify_required: false,
        user_name: "throw-away".into(),
        replace: false,
        backup_of: None,
        replaces: None,
    };
    let place = Place::check(&folder.join(KEY), folder)?;
    let control = Control::connect()?;
    let made = match Conversation::begin(control, terminal, &control::Request::Generate(wanted))?.result()? {
        Event::Generated(made) => made,
        other => return Err(unexpected(&other)),
    };
    let files = |made: &Generated| {
        key_files(made, "throw-away", None)
            .map_err(|error| Problem::failed(format!("the key has no form as an OpenSSH key file: {error}")))
    };
    let unknown = files(&Generated { application: "ssh:unknown".into(), ..made.clone() })?;
    let made_files = files(&made)?;
    let not_written = |path: &Path, error: &dyn Display| Problem::failed(format!("{}: {error}", path.display()));
    place.write(&made_files).map_err(|failed| not_written(&failed.path, &failed.error))?;
    let path = folder.join(UNKNOWN);
    std::fs::write(&path, unknown.public).map_err(|error| not_written(&path, &error))?;
    Ok((made, made_files))
}

#[cfg(test)]
mod tests {
    use agent::token::protocol::{Device, State};

    use super::*;

    #[test]
    fn a_token_that_is_silent_is_not_known_to_verify() {
        let device =
            Device { path: String::new(), product: String::new(), serial: String::new(), vendor_id: 0, product_id: 0 };
        let token = |state| TokenStatus { name: None, device: device.clone(), state, trouble: None };
        let says = |always_uv| token(Some(State { always_uv, ..State::default() }));
        assert!(verifies_always(&says(true)) && !verifies_always(&says(false)) && !verifies_always(&token(None)));
    }
}
