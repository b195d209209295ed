//! Asking a person. The text of a prompt is made here, once for every channel; the channels are the files below.

pub mod askpass;
pub mod attached;
mod text;

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::denial::{Code, Denial};
use askpass::Askpass;
use attached::{AttachedTerminals, Terminal};
pub use text::{name, visible};

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
}

impl From<PromptError> for Denial {
    fn from(error: PromptError) -> Self {
        match error {
            PromptError::NoChannel(reason) => Self::new(Code::NoPrompter, reason),
            PromptError::Refused => Self::plain(Code::PromptRefused),
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

/// The channels in their order: the terminal that was attached last, then askpass.
#[derive(Debug, Default)]
pub struct Chain {
    /// Terminals attached with `agent-cli attach`.
    pub attached: AttachedTerminals,
    askpass: Option<Askpass>,
    /// Why there is no askpass, for the refusal.
    no_askpass: String,
}

impl Chain {
    /// Channels of a daemon whose environment gave this askpass, or the reason why there is none.
    #[must_use]
    pub fn new(askpass: Result<Askpass, String>) -> Self {
        let (askpass, no_askpass) = match askpass {
            Ok(askpass) => (Some(askpass), String::new()),
            Err(reason) => (None, reason),
        };
        Self { attached: AttachedTerminals::default(), askpass, no_askpass }
    }

    /// Whether a person can be asked now, or why not.
    ///
    /// # Errors
    /// The reason, for a person.
    pub fn reachable(&self) -> Result<(), String> {
        self.channel().map(|_| ()).map_err(|error| error.to_string())
    }

    fn channel(&self) -> Result<Channel<'_>, PromptError> {
        if let Some(terminal) = self.attached.latest() {
            return Ok(Channel::Terminal(terminal));
        }
        let reason = || PromptError::NoChannel(format!("no terminal is attached, and {}", self.no_askpass));
        self.askpass.as_ref().map(Channel::Askpass).ok_or_else(reason)
    }
}

enum Channel<'a> {
    Terminal(Arc<Terminal>),
    Askpass(&'a Askpass),
}

impl Channel<'_> {
    fn prompter(&self) -> &dyn Prompter {
        match self {
            Self::Terminal(terminal) => terminal.as_ref(),
            Self::Askpass(askpass) => *askpass,
        }
    }
}

#[async_trait]
impl Prompter for Chain {
    async fn confirm(&self, prompt: &Prompt) -> Result<(), PromptError> {
        self.channel()?.prompter().confirm(prompt).await
    }

    async fn request_pin(&self, prompt: &Prompt) -> Result<SecretString, PromptError> {
        self.channel()?.prompter().request_pin(prompt).await
    }

    fn notify_presence(&self, prompt: &Prompt) -> PresenceNotice {
        match self.channel() {
            Ok(channel) => channel.prompter().notify_presence(prompt),
            Err(_) => PresenceNotice::none(),
        }
    }
}
