//! What a record holds. One record is one line of JSON.

mod act;
mod request;

use serde::{Deserialize, Serialize};

use super::chain::Hash;
pub use act::{Act, LeaveReason, SettingChange, TokenChange};
pub use request::{
    Assertion, Attempt, Binding, BindingEvidence, Certified, Course, Evidence, Intent, Kept, Meaning, Outcome, Peer,
    Program, PromptKind, Prompted, Signer, Subject, Times, Token, Verification,
};

/// The version of the records' schema: `docs/audit.md`.
pub const VERSION: u32 = 3;

/// One line of the log. What is written holds its parts by reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<E = Event, A = AgentRun> {
    /// [`VERSION`].
    pub version: u32,
    /// 1 for the first record of a log, one more for each that follows, over all its segments.
    pub sequence: u64,
    /// The hash of the record before it.
    pub previous: Hash,
    /// Wall clock.
    pub time: jiff::Timestamp,
    /// Milliseconds since the machine was booted, the time in which it slept included (CLOCK_BOOTTIME): two records of one
    /// `boot_id` are so far apart, whatever was done to the wall clock between them.
    pub boot_ms: u64,
    /// The agent that wrote it.
    pub agent: A,
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

/// One run of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRun {
    /// Which of the user's agents: the name of its folder.
    pub instance: String,
    /// Made anew at each start.
    pub run: RunId,
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The kernel's name for this boot (random(4)).
    pub boot_id: String,
    /// The SHA-256 of its configuration; without one, that of nothing.
    pub config: Hash,
}

/// Names a run of an agent: a random number below 2⁵³. Process ids come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunId(pub u64);

/// Names a request within one run of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "most records are intents and outcomes, and none is kept for long")]
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
        /// What happened on the way; null where nobody knows, since the agent was killed.
        course: Option<Course>,
    },
    /// What became of a signature. It is written when there is something else to write, and missing where the agent was
    /// killed before.
    Delivery {
        /// The request.
        request: RequestId,
        /// Whether the client's socket took it.
        delivered: bool,
    },
    /// Something other than a signature.
    Act {
        /// What was done.
        #[serde(flatten)]
        act: Act,
    },
}

/// A request with an intent and no outcome yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OpenRequest {
    /// The run of the agent that wrote the intent.
    pub run: RunId,
    /// The request.
    pub request: RequestId,
}
