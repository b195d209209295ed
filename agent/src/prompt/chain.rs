//! The channels in their order: the first one that can ask does.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::task::JoinHandle;

use super::askpass::{self, Askpass};
use super::attached::{AttachedTerminals, Terminal};
use super::environment::Environment;
use super::pinentry::{self, Pinentry};
use super::tty::Tty;
use super::{PresenceNotice, Prompt, PromptError, Prompter};
use crate::audit::record::{PromptKind, RequestId};
use crate::config::{ChannelKind, PromptsConfig};
use crate::course::{self, Course};
use crate::refusal::Refusal;

/// The channels of one agent.
#[derive(Debug)]
pub struct Chain {
    /// Terminals attached with `agent-cli attach`.
    attached: AttachedTerminals,
    configured: Mutex<Configured>,
    /// See [`Pinentry`].
    pinentry_turn: Arc<tokio::sync::Mutex<()>>,
    askpass: askpass::Settings,
    /// Where pinentry and askpass appear.
    environment: Mutex<Environment>,
}

/// What the configuration says of them.
#[derive(Debug, Clone)]
struct Configured {
    order: Vec<ChannelKind>,
    pinentry: Result<PathBuf, String>,
    /// How long a person is asked.
    limit: Duration,
}

impl Configured {
    fn new(config: &PromptsConfig, limit: Duration) -> Self {
        Self { order: config.channels.clone(), pinentry: pinentry::find(config.pinentry.as_deref()), limit }
    }
}

impl Chain {
    /// The channels as configured, with the display or terminal that this process knows of.
    #[must_use]
    pub fn new(config: &PromptsConfig, limit: Duration) -> Self {
        Self {
            attached: AttachedTerminals::default(),
            configured: Mutex::new(Configured::new(config, limit)),
            pinentry_turn: Arc::default(),
            askpass: askpass::Settings::of_this_process(),
            environment: Mutex::new(Environment::of_this_process()),
        }
    }

    /// The channels as configured now, for each question that comes from now on.
    pub(crate) fn set_config(&self, config: &PromptsConfig, limit: Duration) {
        let configured = Configured::new(config, limit);
        *self.configured.lock().unwrap_or_else(PoisonError::into_inner) = configured;
    }

    /// Where a person would be asked now, or why nowhere.
    ///
    /// # Errors
    /// The reason, for a person.
    pub fn reachable(&self) -> Result<String, String> {
        let mut reasons = Vec::new();
        for channel in self.channels() {
            match channel {
                Ok(channel) => return Ok(channel.describe()),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(together(reasons))
    }

    /// How many terminals are attached.
    #[must_use]
    pub fn attached(&self) -> usize {
        self.attached.count()
    }

    /// Makes this terminal the one that gets the prompts. The channel that had them so far is told.
    pub fn attach(&self, terminal: Arc<Terminal>) {
        let what = "Prompts appear in another terminal from now on, until it leaves.";
        if !self.attached.attach(terminal) {
            self.announce(what);
        }
    }

    /// Takes a terminal out.
    pub fn detach(&self, terminal: &Arc<Terminal>) {
        self.attached.detach(terminal);
    }

    /// Says on the terminals on which a person was asked for it that a request has its signature.
    pub fn signed(&self, request: RequestId, asked: &str) {
        self.attached.signed(request, asked);
    }

    /// Says on the attached terminals that something was refused.
    pub fn refused(&self, request: Option<RequestId>, refusal: &Refusal) {
        self.attached.refused(request, refusal);
    }

    /// Has pinentry and askpass appear here from now on. The place where they appeared so far is told.
    pub fn hand_over(&self, environment: Environment) {
        if *self.environment() != environment {
            self.announce(&format!("Prompts appear elsewhere from now on: {}", environment.describe()));
        }
        *self.environment() = environment;
    }

    /// Waits until a question that is over has given its terminal back, which takes a moment where its program has to be
    /// ended: whoever asked shall not go on with a terminal that shows nothing.
    pub async fn settled(&self) {
        drop(self.pinentry_turn.lock().await);
    }

    /// Says something where pinentry and askpass would appear, if there is a way to, and in the agent's messages.
    fn announce(&self, what: &str) {
        let environment = self.environment().clone();
        tracing::warn!(so_far = environment.describe(), "{what}");
        if let Some(Ok(tty)) = environment.tty.as_deref().map(Tty::open) {
            tty.say(&format!("fido-ssh-agent: {what}"));
        }
    }

    fn environment(&self) -> MutexGuard<'_, Environment> {
        self.environment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All channels in their order; of those that can't be used now, why not.
    fn channels(&self) -> impl Iterator<Item = Result<Channel, String>> + '_ {
        let Configured { order, pinentry, limit } =
            self.configured.lock().unwrap_or_else(PoisonError::into_inner).clone();
        order.into_iter().map(move |kind| match kind {
            ChannelKind::Terminal => match self.attached.latest() {
                Some(terminal) => Ok(Channel::Terminal(terminal)),
                None => Err("no terminal is attached".into()),
            },
            ChannelKind::Pinentry => {
                let (program, environment) = (pinentry.as_ref()?, self.environment().clone());
                Pinentry::new(program, &environment, limit, &self.pinentry_turn).map(Channel::Pinentry)
            }
            ChannelKind::Askpass => Askpass::find(&self.askpass, &self.environment()).map(Channel::Askpass),
        })
    }
}

/// Several reasons as one clause.
fn together(mut reasons: Vec<String>) -> String {
    match (reasons.pop(), reasons.is_empty()) {
        (None, _) => "the configuration names no channel (`prompts.channels`)".into(),
        (Some(only), true) => only,
        (Some(last), false) => format!("{}, and {last}", reasons.join(", ")),
    }
}

#[derive(Debug)]
enum Channel {
    Terminal(Arc<Terminal>),
    Pinentry(Pinentry),
    Askpass(Askpass),
}

impl Channel {
    const TERMINAL: &str = "terminal";

    /// As the settings and the audit log call it.
    fn name(&self) -> &'static str {
        match self {
            Self::Terminal(_) => Self::TERMINAL,
            Self::Pinentry(_) => "pinentry",
            Self::Askpass(_) => "askpass",
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Terminal(_) => "in the attached terminal".into(),
            Self::Pinentry(pinentry) => format!("through {}", pinentry.describe()),
            Self::Askpass(_) => "through askpass".into(),
        }
    }

    async fn confirm(&self, prompt: &Prompt) -> Result<(), PromptError> {
        match self {
            Self::Terminal(terminal) => terminal.confirm(prompt).await,
            Self::Pinentry(pinentry) => pinentry.confirm(prompt).await,
            Self::Askpass(askpass) => askpass.confirm(prompt).await,
        }
    }

    async fn request_pin(&self, prompt: &Prompt) -> Result<SecretString, PromptError> {
        match self {
            Self::Terminal(terminal) => terminal.request_pin(prompt).await,
            Self::Pinentry(pinentry) => pinentry.request_pin(prompt).await,
            Self::Askpass(askpass) => askpass.request_pin(prompt).await,
        }
    }
}

/// Tries a question on each channel until one could ask it. What is asked once is not asked elsewhere.
macro_rules! first_that_can_ask {
    ($chain:expr, $question:ident, $kind:expr, $prompt:expr) => {{
        let mut reasons = Vec::new();
        for channel in $chain.channels() {
            let channel = match channel {
                Ok(channel) => channel,
                Err(reason) => {
                    reasons.push(reason);
                    continue;
                }
            };
            let question = course::question($kind, channel.name(), $prompt);
            match channel.$question($prompt).await {
                Err(PromptError::NoChannel(reason)) => {
                    question.was_not_asked();
                    reasons.push(reason);
                }
                other => return other,
            }
        }
        Err(PromptError::NoChannel(together(reasons)))
    }};
}

#[async_trait]
impl Prompter for Chain {
    async fn confirm(&self, prompt: &Prompt) -> Result<(), PromptError> {
        first_that_can_ask!(self, confirm, PromptKind::Confirm, prompt)
    }

    async fn request_pin(&self, prompt: &Prompt) -> Result<SecretString, PromptError> {
        first_that_can_ask!(self, request_pin, PromptKind::Secret, prompt)
    }

    fn notify_presence(&self, prompt: &Prompt) -> PresenceNotice {
        let mut others = Vec::new();
        for channel in self.channels().flatten() {
            match channel {
                Channel::Terminal(terminal) => {
                    if let Some(course) = course::current() {
                        course.noticed(Channel::TERMINAL, prompt);
                    }
                    return terminal.notify_presence(prompt);
                }
                other => others.push(other),
            }
        }
        let bus = self.environment().dbus_session_bus_address.clone();
        PresenceNotice::new(Notice(tokio::spawn(show(bus, others, prompt.clone(), course::current()))))
    }
}

/// Shows a notice on the desktop, or else on the first channel that can.
#[cfg_attr(not(feature = "notify"), allow(unused_variables, reason = "only notifications need the bus"))]
async fn show(bus: Option<String>, channels: Vec<Channel>, prompt: Prompt, course: Option<Arc<Course>>) {
    let shown = |channel: &str| {
        if let Some(course) = &course {
            course.noticed(channel, &prompt);
        }
    };
    #[cfg(feature = "notify")]
    if let Some(bus) = bus {
        shown("desktop");
        let Err(reason) = super::notify::show(&bus, &prompt).await;
        tracing::debug!("no notification on the desktop: {reason}");
    }
    for channel in channels {
        shown(channel.name());
        let result = match &channel {
            Channel::Pinentry(pinentry) => pinentry.notify(&prompt).await,
            Channel::Askpass(askpass) => askpass.notify(&prompt).await,
            Channel::Terminal(_) => continue,
        };
        match result {
            Err(PromptError::NoChannel(reason)) => tracing::debug!("no notice there: {reason}"),
            _ => return,
        }
    }
}

/// A notice that is taken down when this is dropped.
struct Notice(JoinHandle<()>);

impl Drop for Notice {
    fn drop(&mut self) {
        self.0.abort();
    }
}
