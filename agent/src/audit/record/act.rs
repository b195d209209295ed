//! What happens beside signatures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::OpenRequest;
use super::request::{Binding, Peer, Token};
use crate::audit::chain::{Hash, Head};
use crate::denial::{Code, Denial};

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
    Start,
    /// The agent ended in order.
    Stop {
        /// How many assertions it has had of tokens.
        assertions: u64,
    },
    /// The agent has read its configuration again, and goes by it from now on: this record names it already.
    ConfigChanged {
        /// SHA-256 of the files' bytes, the administrator's file first.
        config: Hash,
        /// The settings that say something else than before.
        settings: Vec<SettingChange>,
    },
    /// An agent behind this one does not answer any more.
    UpstreamLost {
        /// Its socket.
        socket: String,
        /// What happened.
        error: String,
    },
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
    /// A program of this machine says that it rehearses a login: what it and the programs that it starts ask for from now on is no
    /// use in earnest.
    RehearsalBegun {
        /// The host, as `ssh` was given it.
        destination: String,
        /// The program.
        peer: Peer,
    },
    /// It has ended.
    RehearsalEnded {
        /// The number of the record that says that it began.
        rehearsal: u64,
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
