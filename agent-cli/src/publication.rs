//! Publishing a key: what is there is shown, the person agrees, the key is proven, registered, and looked for where it
//! should stand then.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent::identity::SkFlags;
use serde::Serialize;
use ssh_key::PrivateKey;
use ssh_key::private::KeypairData;

use crate::agent_socket::AgentSocket;
use crate::directory::{Directory, Standing};
use crate::output::aligned;
use crate::problem::Problem;
use crate::proof::prove;
use crate::public_key::PublicKey;
use crate::terminal::Terminal;

/// What a line of a `.pub` file may have, in bytes: a file that is longer holds something else.
const LONGEST_LINE: u64 = 64 * 1024;

/// For how long a place is looked at again that does not show yet what it was told.
const READ_BACK: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2)];

/// A key to be published.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// The key.
    pub(crate) key: PublicKey,
    /// All of its line, comment included.
    pub(crate) line: String,
    /// Whether each use takes a fingerprint or PIN; None where nobody says so.
    pub(crate) verify_required: Option<bool>,
    /// The file it is in.
    pub(crate) file: PathBuf,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It is registered.
    Published,
    /// It was already.
    WasThere,
}

impl Candidate {
    /// The key in a `.pub` file. What it demands is in the private file beside it, where that is under no passphrase.
    pub(crate) fn read(file: &Path) -> Result<Self, Problem> {
        let unreadable = |why: &str| {
            Problem::failed(format!("{}: {why}", file.display())).next("Name the public key's file, FILE.pub.")
        };
        let content = read_bounded(file).map_err(|error| unreadable(&error.to_string()))?;
        let content = String::from_utf8(content).map_err(|_| unreadable("this is no public key's file"))?;
        let lines: Vec<_> = content.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect();
        let &[line] = lines.as_slice() else { return Err(unreadable("this is no file of one public key")) };
        let mut candidate = Self::of_line(line, None, file).ok_or_else(|| unreadable("this is no public key"))?;
        candidate.verify_required = demands_verification(&file.with_extension(""), &candidate.key);
        Ok(candidate)
    }

    /// The key of this line. None where it is none, or a certificate: those are no keys that hosts are told of.
    pub(crate) fn of_line(line: &str, verify_required: Option<bool>, file: &Path) -> Option<Self> {
        let line = line.trim();
        let (key, _) = PublicKey::read_line(line)?;
        let fit = !key.type_name.ends_with("-CERT") && !line.chars().any(char::is_control);
        fit.then(|| Self { key, line: line.to_owned(), verify_required, file: file.to_owned() })
    }

    /// The comment on its line.
    pub(crate) fn comment(&self) -> &str {
        self.line.splitn(3, ' ').nth(2).unwrap_or_default()
    }

    /// In a line for a person.
    pub(crate) fn describe(&self) -> String {
        self.key.describe(self.comment())
    }
}

fn read_bounded(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut content = Vec::new();
    std::fs::File::open(file)?.take(LONGEST_LINE).read_to_end(&mut content)?;
    Ok(content)
}

/// What the private file of this key says. None where it is not there, under a passphrase, or another key's.
pub(crate) fn demands_verification(private: &Path, key: &PublicKey) -> Option<bool> {
    let private = PrivateKey::from_openssh(zeroize::Zeroizing::new(read_bounded(private).ok()?).as_slice()).ok()?;
    if private.public_key().to_bytes().ok()? != key.blob {
        return None;
    }
    let flags = match private.key_data() {
        KeypairData::SkEd25519(key) => key.flags(),
        KeypairData::SkEcdsaSha2NistP256(key) => key.flags(),
        KeypairData::Encrypted(_) => return None,
        _ => 0,
    };
    Some(SkFlags(flags).user_verification_required())
}

/// Publishes a key, once the person has agreed (`yes`: they have already) and the key has signed for them.
pub(crate) fn publish(
    directory: &mut Directory,
    candidate: &Candidate,
    yes: bool,
    terminal: &mut Terminal,
) -> Result<Outcome, Problem> {
    let mut agent = AgentSocket::connect()?;
    if !agent.list()?.iter().any(|held| held.key.blob == candidate.key.blob) {
        let file = candidate.file.with_extension("");
        return Err(Problem::failed("the agent does not hold this key, so it can't be proven, and is not published")
            .next(format!("Add it first: `agent-cli add {}`, or `agent-cli add --resident`.", file.display())));
    }
    let standing = directory.look(terminal)?;
    show(directory, candidate, &standing, terminal);
    if is_there(directory, candidate, candidate.verify_required.unwrap_or_default(), &standing) {
        return Ok(Outcome::WasThere);
    }
    if !yes && !terminal.confirm(question(directory, candidate, &standing))? {
        return Err(Problem::failed("nothing was published").next("With --yes you are not asked."));
    }
    terminal.say("The key has to prove itself by a test signature: the agent asks for it.");
    let proof = prove(&mut agent, &candidate.key, candidate.verify_required.unwrap_or_default(), terminal)?;
    let verify_required = candidate.verify_required.unwrap_or(proof.user_verified);
    directory.register(&candidate.line, verify_required, terminal)?;
    for pause in READ_BACK {
        terminal.pause(pause)?;
        let standing = directory.read_back(terminal).map_err(|problem| {
            problem.next("The key was taken, and could not be read back: look with `agent-cli published`.")
        })?;
        if is_there(directory, candidate, verify_required, &standing) {
            return Ok(Outcome::Published);
        }
    }
    Err(Problem::failed(format!("{} took the key, and does not show it", directory.name()))
        .next("It may take a while: look with `agent-cli published`, and publish again where it is not there."))
}

/// Whether the key stands there as it would be written.
fn is_there(directory: &Directory, candidate: &Candidate, verify_required: bool, standing: &Standing) -> bool {
    let mut ours = standing.entries.iter().filter(|entry| entry.is(&candidate.key));
    match directory {
        Directory::Graph(_) => ours.any(|entry| entry.text == candidate.line),
        Directory::File(_) => ours.any(|entry| entry.verify_required || !verify_required),
    }
}

/// Shows what is about to change: whose account it is, what is there, and what becomes of it.
fn show(directory: &Directory, candidate: &Candidate, standing: &Standing, terminal: &mut Terminal) {
    let mut rows = vec![("place", directory.name())];
    rows.extend(standing.account.as_ref().map(|account| ("account", account.clone())));
    let (ours, others): (Vec<_>, Vec<_>) = standing.entries.iter().partition(|entry| entry.is(&candidate.key));
    rows.push(match (directory.holds_one_key(), ours.first().or(others.first())) {
        (true, Some(entry)) => ("there now", entry.describe()),
        (false, _) if ours.is_empty() => {
            ("there now", format!("not this key; {}, which stay as they are", keys(others.len())))
        }
        (false, _) => ("there now", format!("this key; {} besides, which stay as they are", keys(others.len()))),
        (true, None) => ("there now", "no key".into()),
    });
    rows.push(("this key", candidate.describe()));
    aligned("", rows).lines().for_each(|line| terminal.say(line));
    if directory.holds_one_key() && !others.is_empty() {
        terminal.say("There is one key to an account, so this one takes the place of the one that is there. A token with that one,");
        terminal
            .say("such as a second token kept as a backup, logs in nowhere any more once the hosts have been told.");
    }
    if !standing.lost.is_empty() {
        terminal.say(&format!("What else stands there is removed: {}", standing.lost.join(", ")));
    }
    if candidate.key.application.is_none() {
        terminal.say("This key is on no token.");
    } else if candidate.verify_required == Some(false) {
        terminal.say("This key is used by a touch alone, without fingerprint or PIN.");
    }
}

fn keys(count: usize) -> String {
    match count {
        0 => "no others".into(),
        1 => "1 other".into(),
        more => format!("{more} others"),
    }
}

fn question(directory: &Directory, candidate: &Candidate, standing: &Standing) -> &'static str {
    let replaces = directory.holds_one_key() && standing.entries.iter().any(|entry| !entry.is(&candidate.key));
    if replaces { "Publish this key in the place of the one that is there?" } else { "Publish this key?" }
}
