//! What a record holds. One record is one line of JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::chain::{Hash, Head};
use crate::denial::{Code, Denial};
use crate::token::protocol::Bytes;

/// The version of the records' schema.
pub const VERSION: u32 = 2;

/// One line of the log. What is written holds its event by reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<E = Event> {
    /// [`VERSION`].
    pub version: u32,
    /// 1 for the first record of a log, one more for each that follows, over all its segments.
    pub sequence: u64,
    /// The hash of the record before it.
    pub previous: Hash,
    /// Wall clock.
    pub time: jiff::Timestamp,
    /// The daemon's process id: with `request`, names a request.
    pub agent_pid: u32,
    /// What happened.
    #[serde(flatten)]
    pub event: E,
}

/// Names a record within its log, by its sequence number: what a refusal is called in messages, on terminals, and by
/// `agent-cli why`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordId(pub u64);

impl std::fmt::Display for RecordId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Names a request within one run of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Event {
    /// A signature is about to be made.
    Intent {
        /// The request.
        request: RequestId,
        /// What is about to be done.
        #[serde(flatten)]
        intent: Intent,
    },
    /// A try that did not end the request.
    Attempt {
        /// The request.
        request: RequestId,
        /// What was tried.
        #[serde(flatten)]
        attempt: Attempt,
    },
    /// A request's end.
    Outcome {
        /// The request.
        request: RequestId,
        /// How it ended.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// Something other than a signature.
    Act {
        /// What was done.
        #[serde(flatten)]
        act: Act,
    },
}

/// Who asks for what with which key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The program that asked, as the process table shows it (*reported*).
    pub peer: Peer,
    /// The key's fingerprint.
    pub key: String,
    /// The key's FIDO application; null for a key that is none of ours.
    pub application: Option<String>,
    /// What was to be signed (*verified*: read from the signed bytes).
    pub meaning: Meaning,
    /// The connection's bindings, the nearest host first (*verified* by the hosts' signatures).
    pub bindings: Vec<Binding>,
}

/// The program that asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its process id.
    pub pid: i32,
    /// Its user id.
    pub uid: u32,
    /// The programs from it up to the session: `ssh`, `bash`, …
    pub programs: Vec<String>,
}

/// What was to be signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Meaning {
    /// A login.
    Login {
        /// As whom.
        user: String,
        /// The host key's fingerprint, where the login names it.
        host_key: Option<String>,
    },
    /// An SSHSIG signature.
    Signature {
        /// Its namespace.
        namespace: String,
    },
    /// A certificate.
    Certificate {
        /// Its type.
        certificate: String,
    },
    /// Something else.
    Opaque,
}

/// One binding of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The fingerprint of the host's key.
    pub host_key: String,
    /// Whether the connection was forwarded to that host.
    pub forwarding: bool,
}

/// What is about to be done, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Who asks for what.
    pub subject: Subject,
    /// What proves it.
    pub evidence: Evidence,
    /// Where the signature goes, in the words of the prompt.
    pub destination: String,
    /// What holds the private key.
    pub signer: Signer,
}

/// With this and the signature in the outcome anybody can check, by the public key alone, that the key has signed what the
/// record says, and for which host. Only what is about to be signed has it: a refusal proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The public key, or the certificate that was asked for, as SSH encodes it.
    pub key: Kept,
    /// The data to be signed.
    pub data: Kept,
    /// The connection's bindings, as the hosts have made them.
    pub bindings: Vec<BindingEvidence>,
}

/// A host's own word that the session is one with it (OpenSSH PROTOCOL.agent § 1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingEvidence {
    /// The host's public key or certificate, as SSH encodes it.
    pub host_key: Kept,
    /// The session identifier.
    pub session_id: Bytes,
    /// The host's signature over it.
    pub signature: Bytes,
    /// Whether the connection was forwarded to that host.
    pub forwarding: bool,
}

/// What a client sent, as it was, or its hash where there is no room for it in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Kept {
    /// The bytes.
    Whole(Bytes),
    /// What is left of more than a record has room for.
    Hashed {
        /// How many there were.
        length: u64,
        /// Their SHA-256.
        hash: Hash,
    },
}

impl Kept {
    /// The bytes, where they are kept.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Whole(bytes) => Some(&bytes.0),
            Self::Hashed { .. } => None,
        }
    }
}

/// What holds a private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Signer {
    /// A token.
    Token {
        /// Which one.
        token: Token,
        /// How its user is going to be verified first.
        user_verification: Verification,
    },
    /// The agent itself. It signs in memory, so the intent is on disk together with the outcome.
    Software,
    /// Another agent, to which the request is passed on.
    Upstream {
        /// Its socket.
        socket: String,
    },
}

/// A token, as it shows itself. Neither field proves which token it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its product name.
    pub product: String,
    /// Its USB serial number.
    pub serial: String,
    /// Its node.
    pub path: String,
}

/// How a user was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verification {
    /// Not at all.
    None,
    /// By the token's own sensor.
    BuiltIn,
    /// By PIN.
    Pin,
    /// By PIN, which was proven to the token by itself, and after that by its own sensor. The signature's flags speak of the
    /// second alone.
    PinAndBuiltIn,
}

/// A try that did not end the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// How the user was to be verified.
    pub user_verification: Verification,
    /// Why it did not succeed.
    pub error: String,
    /// The CTAP status byte, where the token gave one.
    pub ctap_status: Option<u8>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum Outcome {
    /// With a signature.
    Signed {
        /// What the token says of it; null where no token signed.
        assertion: Option<Assertion>,
        /// The signature, as SSH encodes it.
        signature: Bytes,
    },
    /// With a refusal.
    Refused {
        /// Why.
        #[serde(flatten)]
        denial: Denial,
        /// Who asked for what, where no intent says so.
        subject: Option<Subject>,
    },
    /// The agent was killed between the two records: whether a signature left is not known.
    Unknown {
        /// The process id of the agent that wrote the intent: not the one that writes this.
        intent_by: u32,
    },
}

/// What a token says of a signature (*verified*: the signature covers flags and counter).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assertion {
    /// The authenticator data's flags: 1 user present, 4 user verified.
    pub flags: u8,
    /// The token's signature counter.
    pub counter: u32,
    /// How its user was verified in the end.
    pub user_verification: Verification,
}

/// A request with an intent and no outcome yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OpenRequest {
    /// The agent that wrote the intent.
    pub agent_pid: u32,
    /// The request.
    pub request: RequestId,
}

/// Something other than a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "act")]
pub enum Act {
    /// A segment begins: its first record.
    Segment {
        /// The end of the segment before it.
        head: Head,
        /// The requests under way.
        open: Vec<OpenRequest>,
    },
    /// Segments were removed, as configured: all records up to this head.
    SegmentsRemoved {
        /// The end of the last one that was removed.
        head: Head,
    },
    /// The line before this one is no record: the agent was killed, or the disk was full, while it was written.
    Torn {
        /// How many bytes of it were written.
        length: u64,
        /// Their hash.
        hash: Hash,
    },
    /// What is not on record, since the log could not be written when it happened. No signature was given out.
    Missed {
        /// How many requests were refused, by the codes of their refusals.
        refusals: BTreeMap<Code, u64>,
        /// How many other records there would be, by what they are called here.
        acts: BTreeMap<String, u64>,
        /// When the first of them was to be written.
        first: jiff::Timestamp,
        /// When the last was.
        last: jiff::Timestamp,
    },
    /// The agent started.
    Start {
        /// Its version.
        agent: String,
    },
    /// The agent ended in order.
    Stop,
    /// A key was added.
    Add {
        /// Its fingerprint.
        key: String,
        /// From where: the program that added it, or the key file.
        from: String,
    },
    /// A key was removed.
    Remove {
        /// Its fingerprint.
        key: String,
    },
    /// All keys were removed.
    RemoveAll,
    /// The agent was locked.
    Lock,
    /// The agent was unlocked.
    Unlock,
    /// A request that is none for a signature was refused: to add, remove, lock or unlock, or one that makes no sense.
    Refused {
        /// What was asked.
        request: String,
        /// The program that asked.
        peer: Peer,
        /// The connection's bindings, the nearest host first.
        bindings: Vec<Binding>,
        /// Why.
        #[serde(flatten)]
        denial: Denial,
    },
    /// A program was refused too often, and is refused everything for a while, without a record of each request.
    Muted {
        /// The program.
        peer: Peer,
        /// How often it was refused.
        refusals: u32,
        /// For how long.
        seconds: u64,
    },
    /// That while is over.
    Unmuted {
        /// The program.
        peer: Peer,
        /// How many of its requests were refused meanwhile.
        refused: u64,
    },
    /// A connection of root was let in, as configured.
    RootConnection {
        /// The program.
        peer: Peer,
    },
    /// A terminal was attached, or a display or terminal handed over: prompts appear there, and the next PIN is typed there.
    Attach {
        /// The program.
        peer: Peer,
        /// Where pinentry and askpass appear from then on; null where the program itself shows the prompts.
        handed_over: Option<String>,
    },
    /// A token is about to be asked for a new credential.
    Generating {
        /// The FIDO application.
        application: String,
        /// The token.
        token: Token,
    },
    /// A credential was made on a token.
    Generate {
        /// The new key's fingerprint.
        key: String,
        /// The token.
        token: Token,
    },
    /// A token is given a name, by which it is trusted with its PIN from then on.
    NameToken {
        /// The name.
        name: String,
        /// The token.
        token: Token,
    },
    /// A token's name is forgotten.
    ForgetToken {
        /// The name.
        name: String,
    },
    /// The agent was locked, since its person left.
    Leave {
        /// How that was seen.
        reason: LeaveReason,
    },
    /// That lock was lifted.
    ComeBack {
        /// The program that said so over the control socket; null where the session was unlocked.
        peer: Option<Peer>,
    },
    /// The agent has read its configuration again, and goes by it from now on.
    ConfigChanged {
        /// SHA-256 of the files' bytes, the administrator's file first.
        config: Hash,
        /// The settings that say something else than before.
        settings: Vec<SettingChange>,
    },
    /// A token is about to be changed.
    ChangingToken {
        /// How.
        #[serde(flatten)]
        change: TokenChange,
        /// The token.
        token: Token,
    },
    /// A token was changed.
    ChangedToken {
        /// How.
        #[serde(flatten)]
        change: TokenChange,
        /// The token.
        token: Token,
    },
}

/// A setting that says something else than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingChange {
    /// Its name, `limits.touch_seconds`; `host` stands for all of `[[host]]`.
    pub name: String,
    /// What it said, in JSON, of which a long one is cut; null where it was not given.
    pub from: Option<String>,
    /// What it says.
    pub to: Option<String>,
    /// Whether that holds only once the agent is started again.
    pub at_next_start: bool,
}

/// How it is seen that a person leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaveReason {
    /// The machine is about to sleep.
    Suspend,
    /// The session's screen is locked.
    ScreenLock,
}

impl std::fmt::Display for LeaveReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Suspend => "the machine went to sleep",
            Self::ScreenLock => "the session was locked",
        })
    }
}

/// What is done to a token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum TokenChange {
    /// It gets its first PIN.
    SetPin,
    /// It gets another PIN.
    ChangePin,
    /// A fingerprint is enrolled.
    AddFingerprint,
    /// A fingerprint gets another name.
    RenameFingerprint {
        /// The token's id of it, in hexadecimal.
        fingerprint: String,
    },
    /// A fingerprint is removed.
    RemoveFingerprint {
        /// The token's id of it, in hexadecimal.
        fingerprint: String,
    },
    /// A credential is deleted, for good.
    DeleteCredential {
        /// The key's fingerprint.
        key: String,
        /// The FIDO application.
        application: String,
    },
}
