//! Why a command has no answer.

use agent::token::TokenError;
use agent::token::protocol::Failure;

/// What ends a command without an answer.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It failed, and the daemon is told why.
    Failed(Failure),
    /// Nobody waits for the answer any more.
    DaemonGone,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What goes wrong while a token is asked. Which [`Failure`] it makes depends on what the device was seen to send: see
/// `verdict`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The library's words: all it says is text.
    #[error("{0}")]
    Library(#[from] anyhow::Error),
    /// An answer that is none to the question asked.
    #[error("{0}")]
    Nonsense(&'static str),
    /// The token, or the library, can't do this.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The device can't be used any more.
    #[error("{0}")]
    Gone(&'static str),
}

/// A failure that no status of the token stands behind.
pub(crate) fn failure(error: TokenError, detail: impl Into<String>) -> Failure {
    Failure { error, ctap_status: None, detail: detail.into() }
}
