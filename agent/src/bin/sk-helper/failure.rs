//! Why a command has no answer.

use std::io::{self, Write};

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
    /// What the helper knows without asking the token.
    #[error("{1}")]
    Known(TokenError, &'static str),
}

/// A failure that no status of the token stands behind.
pub(crate) fn failure(error: TokenError, detail: impl Into<String>) -> Failure {
    Failure { error, ctap_status: None, detail: detail.into() }
}

/// Says something to whoever reads the log. Nobody may be left to read it, and that must not end the process, as it does
/// with `eprintln`.
pub(crate) fn complain(words: &str) {
    let _ = writeln!(io::stderr(), "sk-helper: {words}");
}
