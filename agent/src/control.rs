//! The control socket: management that is never forwarded. Lines of JSON; the agent speaks first, with
//! [`Event::Hello`]. A client sends one [`Request`], answers the questions that come up, and reads events until the one
//! that ends its request.

pub mod handler;
pub mod keys;
mod lines;
pub mod token;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::audit::Unwritable;
use crate::audit::record::{LeaveReason, RecordId};
use crate::denial::Denial;
use crate::prompt::environment::Environment;
use crate::refusal::Refusal;
use crate::token::protocol::{Algorithm, Bytes, Device, Pin, State};

/// The version of these messages.
pub const VERSION: u32 = 1;

/// The longest line either side accepts, in bytes.
pub const MAX_LINE: usize = 64 * 1024;

/// What a client asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum Request {
    /// How the agent is. Ends with [`Event::Status`].
    Status,
    /// Which tokens are plugged in. Ends with [`Event::Tokens`].
    Tokens,
    /// Makes this connection the place where prompts appear, until it closes. Begins with [`Event::Attached`].
    Attach,
    /// Adds a key file. Ends with [`Event::Added`].
    AddFile {
        /// The file, absolute.
        path: PathBuf,
    },
    /// Adds resident keys of a token, until the agent ends. The person chooses among several. Ends with [`Event::Added`].
    AddResident {
        /// Add them all, and ask nothing.
        all: bool,
        /// Only those of this application.
        application: Option<String>,
    },
    /// Makes a credential on a token. Ends with [`Event::Generated`].
    Generate(Generate),
    /// Answers a question.
    Answer {
        /// Which question.
        id: u64,
        /// The answer; None is a refusal.
        answer: Option<Pin>,
    },
    /// Has pinentry and askpass appear where this says. Ends with [`Event::HandedOver`].
    HandOver(Environment),
    /// Gives a token a name, by which it is known from then on. Ends with [`Event::TokenNamed`].
    NameToken {
        /// The name.
        name: String,
        /// A key that it has to hold, by its fingerprint: that it does is found out first, and remembered.
        holding: Option<String>,
    },
    /// Forgets a token's name. Ends with [`Event::TokenForgotten`].
    ForgetToken {
        /// The name.
        name: String,
    },
    /// Does something to a token. Ends with [`Event::Token`].
    Token(token::Request),
    /// Asks the person something that has no consequence, where they would be asked for a login. Ends with [`Event::Asked`].
    AskPerson,
    /// What is known of keys. Ends with [`Event::Keys`].
    Keys {
        /// Their fingerprints, at most [`keys::MOST`].
        fingerprints: Vec<String>,
    },
    /// Which of the tokens that are plugged in hold these keys, without a PIN or a touch. Ends with [`Event::Whereabouts`].
    Whereabouts {
        /// Their fingerprints, at most [`keys::MOST`].
        fingerprints: Vec<String>,
    },
    /// A new key takes the place of an old one among the backups. Ends with [`Event::Succeeded`].
    Succeed {
        /// The old one's fingerprint.
        old: String,
        /// The new one's.
        new: String,
    },
    /// A login is rehearsed, until the connection closes: what this program and those that it starts ask for meanwhile is no use in
    /// earnest. Begins with [`Event::Rehearsing`].
    Rehearse {
        /// The host, as `ssh` is given it.
        destination: String,
    },
    /// Its person is back: lifts the lock that came with their leaving, and no other. Ends with [`Event::Unlocked`].
    Unlock,
}

impl Request {
    /// What is asked, for the record of a refusal.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status => "show the status",
            Self::Tokens => "show the tokens",
            Self::Attach => "attach a terminal",
            Self::AddFile { .. } => "add a key file",
            Self::AddResident { .. } => "add resident keys",
            Self::Generate(_) => "generate a key",
            Self::Answer { .. } => "answer a question",
            Self::HandOver(_) => "hand a display or terminal over",
            Self::NameToken { .. } => "name a token",
            Self::ForgetToken { .. } => "forget a token",
            Self::Token(request) => request.name(),
            Self::AskPerson => "ask the person a question",
            Self::Keys { .. } => "show what is known of keys",
            Self::Whereabouts { .. } => "look for keys on tokens",
            Self::Succeed { .. } => "put a key in another's place",
            Self::Rehearse { .. } => "rehearse a login",
            Self::Unlock => "unlock the agent",
        }
    }
}

/// A key to be generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generate {
    /// `ssh:` or `ssh:NAME`.
    pub application: String,
    /// The key type.
    pub algorithm: Algorithm,
    /// Whether the token keeps the credential.
    pub resident: bool,
    /// Whether each signature needs a PIN or fingerprint.
    pub verify_required: bool,
    /// The name the token shows for a resident credential.
    pub user_name: String,
    /// Whether a resident credential with the same application and user may be left beside the new one.
    pub replace: bool,
    /// The fingerprint of a key that must not be on the same token: the new one is its backup.
    pub backup_of: Option<String>,
    /// The fingerprint of a key in whose place the new one comes: it must not be on a token that holds a backup of that one, or
    /// the original.
    pub replaces: Option<String>,
}

/// What the agent says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// First of all.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// The agent's version.
        agent: String,
    },
    /// A question to the person.
    Question {
        /// Names it in the answer.
        id: u64,
        /// What kind of answer is wanted.
        kind: QuestionKind,
        /// What it is about.
        lines: Vec<String>,
        /// The question itself.
        question: String,
    },
    /// A notice to the person; it stays up until it is withdrawn.
    Notice {
        /// Names it.
        id: u64,
        /// What it is about.
        lines: Vec<String>,
        /// The notice itself.
        notice: String,
    },
    /// A question or notice is over.
    Withdraw {
        /// Which.
        id: u64,
    },
    /// This terminal gets the prompts now.
    Attached,
    /// Another terminal gets the prompts from now on.
    Replaced,
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::Tokens`].
    Tokens {
        /// The tokens.
        tokens: Vec<TokenStatus>,
    },
    /// To [`Request::AddFile`] and [`Request::AddResident`].
    Added {
        /// The keys that were added.
        keys: Vec<AddedKey>,
    },
    /// To [`Request::Generate`].
    Generated(Generated),
    /// The request was refused.
    Refused {
        /// Why.
        denial: Denial,
        /// The record that says so; None where it could not be written.
        id: Option<RecordId>,
    },
    /// A request to the agent's socket has its signature. Sent to terminals on which a prompt of it was shown.
    Signed {
        /// What was asked.
        asked: String,
    },
    /// A request was refused. Sent to terminals on which a prompt of it was shown, and to the one that gets the prompts.
    RequestRefused {
        /// Whether a prompt of it was shown on this terminal, for which it is over then.
        shown: bool,
        /// What, and why.
        refusal: Refusal,
    },
    /// To [`Request::HandOver`].
    HandedOver {
        /// Where a person would be asked now, or why nowhere.
        prompts: Result<String, String>,
    },
    /// To [`Request::NameToken`].
    TokenNamed(NamedToken),
    /// To [`Request::ForgetToken`].
    TokenForgotten,
    /// To [`Request::AskPerson`].
    Asked {
        /// Whether the person said yes.
        yes: bool,
    },
    /// To [`Request::Unlock`].
    Unlocked,
    /// How far a request is.
    Progress {
        /// In a line for the person.
        line: String,
    },
    /// To [`Request::Token`].
    Token(token::Answer),
    /// To [`Request::Keys`].
    Keys {
        /// What is known of each, in the order in which they were asked for.
        keys: Vec<keys::Known>,
    },
    /// To [`Request::Whereabouts`].
    Whereabouts {
        /// Where each is, in the order in which they were asked for.
        keys: Vec<keys::Whereabouts>,
    },
    /// To [`Request::Succeed`].
    Succeeded,
    /// To [`Request::Rehearse`].
    Rehearsing {
        /// The record that says so.
        id: RecordId,
    },
}

/// What a question wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionKind {
    /// Yes or no.
    Confirm,
    /// A PIN or passphrase: not shown while it is typed.
    Secret,
    /// A line, shown while it is typed.
    Line,
}

/// How the agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub agent: String,
    /// Its process id.
    pub pid: u32,
    /// Its socket.
    pub socket: PathBuf,
    /// Its audit log.
    pub audit_log: PathBuf,
    /// Why the last record could not be written; None where it was.
    pub audit_trouble: Option<Unwritable>,
    /// How many keys it holds.
    pub keys: usize,
    /// How many FIDO devices the kernel shows it; none is asked anything. None where an agent of before does not say.
    pub devices: Option<usize>,
    /// How many terminals are attached.
    pub attached: usize,
    /// Where it would ask a person now, or why nowhere.
    pub prompts: Result<String, String>,
    /// The agents whose keys it offers after its own.
    pub upstreams: Vec<UpstreamStatus>,
    /// Whether it is locked under a password.
    pub locked: bool,
    /// Why it is locked until its person is back; None where it is not.
    pub away: Option<LeaveReason>,
    /// What locks it when its person leaves, or why nothing does; None where it is not set up to.
    pub lookout: Option<Result<String, String>>,
    /// How it stands with its configuration.
    pub config: ConfigStatus,
}

/// How it stands with the configuration's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Those that were read.
    pub files: Vec<PathBuf>,
    /// SHA-256 of their bytes, in hexadecimal.
    pub hash: String,
    /// Why they could not be read again; what was read before holds then.
    pub trouble: Option<String>,
    /// The settings that say something else by now, which holds once the agent is started again.
    pub at_next_start: Vec<String>,
}

/// Another agent whose keys are offered too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Its socket.
    pub socket: PathBuf,
    /// How many keys it offers on this machine, or why it is left out.
    pub keys: Result<usize, String>,
    /// The last trouble with it, where it is over.
    pub last_trouble: Option<Trouble>,
    /// Whether it took all session bindings so far. One that does not can't hold its keys to their destinations.
    pub takes_bindings: bool,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// How long ago.
    pub seconds_ago: u64,
    /// What it was.
    pub what: String,
}

/// A token that is plugged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    /// What the person calls it; None when they gave it no name, or when the token did not prove to be the one they named.
    pub name: Option<String>,
    /// As the system shows it.
    pub device: Device,
    /// As it describes itself; None while it is in use, or when it does not answer.
    pub state: Option<State>,
    /// Why there is no state.
    pub trouble: Option<String>,
}

/// A token that has a name now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedToken {
    /// Its name.
    pub name: String,
    /// The token.
    pub device: Device,
}

/// A key that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedKey {
    /// Its fingerprint.
    pub fingerprint: String,
    /// Its comment.
    pub comment: String,
}

/// A key that was generated: what an OpenSSH sk key file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// The key type.
    pub algorithm: Algorithm,
    /// The FIDO application.
    pub application: String,
    /// Ed25519: 32 bytes; P-256: the uncompressed point.
    pub public_key: Bytes,
    /// The credential id.
    pub key_handle: Bytes,
    /// The flags of the key file (`SkFlags`).
    pub flags: u8,
    /// The token it is on.
    pub token: Device,
    /// What the person calls that, if it has a name.
    pub token_name: Option<String>,
    /// The fingerprint of the key whose backup it is, where that is remembered.
    pub backup_of: Option<String>,
}
