//! A request for a signature: who asks for what, what proves it, how it went.

use serde::{Deserialize, Serialize};

use super::RunId;
use crate::audit::chain::Hash;
use crate::denial::Denial;
use crate::policy::Ground;
use crate::token::protocol::Bytes;

/// Who asks for what with which key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The program that asked, as the process table shows it (*reported*).
    pub peer: Peer,
    /// The key's fingerprint.
    pub key: String,
    /// The key's FIDO application; null for a key that is none of ours.
    pub application: Option<String>,
    /// What the certificate says that was asked for; null where the plain key was.
    pub certificate: Option<Certified>,
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
    /// Whether the kernel named the process itself (SO_PEERPIDFD), so that no other one can have taken its number meanwhile.
    pub pinned: bool,
    /// The programs from it up to the session: `ssh`, `bash`, …
    pub programs: Vec<Program>,
}

/// A program that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its process id.
    pub pid: i32,
    /// Its name.
    pub name: String,
    /// Its file; null where the system does not say.
    pub executable: Option<String>,
}

/// What a certificate says of itself. That its authority says so was not verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// Its key id.
    pub id: String,
    /// Its serial number, as text: it has 64 bits.
    pub serial: String,
    /// The fingerprint of its authority's key.
    pub authority: String,
}

/// What was to be signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Meaning {
    /// A login.
    Login {
        /// As whom.
        user: String,
        /// The service that is asked for: `ssh-connection`.
        service: String,
        /// How: `publickey`, or `publickey-hostbound-v00@openssh.com`, which names the host key.
        method: String,
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
        /// What else it says of itself; null where it can't be read.
        certified: Option<Certified>,
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
    /// Why it may be made: `docs/audit.md` lists the rules.
    pub rule: Ground,
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
    /// What its person calls it; null where it did not prove to be one that has a name.
    pub name: Option<String>,
    /// The identifier of its model, 16 bytes in hexadecimal digits; null where it was not asked.
    pub aaguid: Option<String>,
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
    /// How many tries are left of the PIN, or of the finger where that was tried; null where the token did not say.
    pub tries_left: Option<u32>,
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
        subject: Option<Box<Subject>>,
    },
    /// The agent was killed between the two records: whether a signature left is not known.
    Unknown {
        /// The run of the agent that wrote the intent: not the one that writes this.
        intent_by: RunId,
    },
}

/// What a token says of a signature (*verified*: the signature covers flags and counter).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assertion {
    /// The authenticator data's flags: 1 user present, 4 user verified.
    pub flags: u8,
    /// The token's signature counter.
    pub counter: u32,
    /// By how much that is more than at this key's last use in the same run of the agent; null at its first.
    pub counter_step: Option<i64>,
    /// How many assertions this run of the agent has had of tokens by then, this one included. Those without a touch, by which
    /// it finds the right token, raise the counters of some tokens, too.
    pub assertions: u64,
    /// How its user was verified in the end.
    pub user_verification: Verification,
}

/// What happened between a request and its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// What a person was asked and told, in its order.
    pub prompts: Vec<Prompted>,
    /// What took how long.
    pub times: Times,
}

/// Something that a person was asked or told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompted {
    /// What kind of thing.
    pub kind: PromptKind,
    /// Where: `terminal`, `pinentry`, `askpass`.
    pub channel: String,
    /// The SHA-256 of its text, in UTF-8.
    pub hash: Hash,
    /// How long it was there, in milliseconds; null for a notice, which nobody answers.
    pub ms: Option<u64>,
}

/// The kinds of prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptKind {
    /// Yes or no.
    Confirm,
    /// A PIN or a passphrase.
    Secret,
    /// That the token waits to be touched.
    Notice,
}

/// What took how long, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// From the request to this record.
    pub total: u64,
    /// Of that, the wait for other requests: for the person, the tokens.
    pub queue: u64,
    /// The person's answers.
    pub person: u64,
    /// The tokens, the touch included.
    pub token: u64,
    /// The agent behind this one.
    pub upstream: u64,
    /// The disk, for the records before this one.
    pub disk: u64,
}
