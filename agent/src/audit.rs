//! The record of every use of a key, and of every refusal.
//!
//! The invariant: if a signature leaves the agent, its INTENT and its OUTCOME are on disk.

pub mod anchor;
pub mod backwards;
pub mod canonical;
pub mod chain;
pub mod checkpoint;
pub mod follow;
pub mod history;
pub mod log;
pub mod reader;
pub mod record;
pub mod refusals;
pub mod run;
#[cfg(test)]
pub(crate) mod samples;
pub mod uses;
pub mod verify;

use async_trait::async_trait;

use serde::{Deserialize, Serialize};

use record::{Act, Attempt, Course, Event, Intent, Outcome, RecordId, RequestId};

/// Why a record could not be written. Whoever asked gets no signature.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct AuditError {
    /// The log file.
    pub path: String,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

/// The last record could not be written, and nothing was since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwritable {
    /// Why.
    pub why: String,
    /// Whether that does not change before an agent is started anew.
    pub until_restart: bool,
}

/// Where records go. Each call returns when the record is durable.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Before a token or another agent is asked for a signature.
    async fn intent(&self, request: RequestId, intent: Intent) -> Result<(), AuditError>;
    /// A try that did not end the request: a wrong PIN, a finger that was not recognised.
    async fn attempt(&self, request: RequestId, attempt: Attempt) -> Result<(), AuditError>;
    /// How the request ended; exactly one for each request.
    async fn outcome(&self, request: RequestId, outcome: Outcome, course: Course) -> Result<RecordId, AuditError>;
    /// Both at once, by one write, where nothing outside the agent happens between them: a software key has signed.
    async fn intent_and_outcome(
        &self,
        request: RequestId,
        intent: Intent,
        outcome: Outcome,
        course: Course,
    ) -> Result<(), AuditError>;
    /// What nobody waits for, nor relies on: it is written with what comes next.
    fn note(&self, event: Event);
    /// Something other than a signature that an investigator wants to know of.
    async fn act(&self, act: Act) -> Result<RecordId, AuditError>;
    /// Why the last record could not be written; None where it was.
    fn trouble(&self) -> Option<Unwritable>;
}
