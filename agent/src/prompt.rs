//! Asking a person. The text of a prompt is made here, once for every channel; the channels are the files below.

mod askpass;
mod assuan;
pub mod attached;
mod chain;
pub mod environment;
#[cfg(feature = "notify")]
mod notify;
mod pinentry;
mod text;
mod tty;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::denial::{Code, Denial};
pub use chain::Chain;
pub use text::{cut, name, visible};

/// What a person is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// What the request is about, a line each; see [`crate::occasion`].
    pub lines: Vec<String>,
    /// The question, or the notice.
    pub question: String,
}

impl Prompt {
    /// The prompt as one text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text + &self.question
    }
}

/// Why a person gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// There is no way to ask.
    #[error("{0}")]
    NoChannel(String),
    /// The person said no, or gave an empty answer.
    #[error("the person said no, or gave no answer")]
    Refused,
    /// The question was there, and went away without an answer. It is not asked elsewhere: whoever ended it may want that.
    #[error("{0}")]
    Lost(String),
    /// The channel's own time limit came first.
    #[error("the prompt was not answered in time")]
    TimeUp,
}

impl From<PromptError> for Denial {
    fn from(error: PromptError) -> Self {
        match error {
            PromptError::NoChannel(reason) => Self::new(Code::NoPrompter, reason),
            PromptError::Refused => Self::plain(Code::PromptRefused),
            PromptError::Lost(reason) => Self::new(Code::PromptLost, reason),
            PromptError::TimeUp => Self::plain(Code::PromptTimeout),
        }
    }
}

/// A way to a person. Dropping a question's future withdraws the question.
#[async_trait]
pub trait Prompter: Send + Sync {
    /// Yes, or [`PromptError::Refused`].
    async fn confirm(&self, prompt: &Prompt) -> Result<(), PromptError>;

    /// A PIN, or the passphrase of a key file.
    async fn request_pin(&self, prompt: &Prompt) -> Result<SecretString, PromptError>;

    /// Says that the token waits to be touched, as long as the notice lives.
    fn notify_presence(&self, prompt: &Prompt) -> PresenceNotice;
}

/// A notice that is up. Dropping it takes it down.
#[must_use]
pub struct PresenceNotice(#[allow(dead_code, reason = "held for its drop")] Option<Box<dyn Send + Sync>>);

impl PresenceNotice {
    /// A notice that is up as long as `guard` lives.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Some(Box::new(guard)))
    }

    /// No notice: there is no way to show one, and the token blinks by itself.
    pub fn none() -> Self {
        Self(None)
    }
}
