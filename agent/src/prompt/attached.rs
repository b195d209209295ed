//! Terminals that were attached with `agent-cli attach`, and the ones that `agent-cli` itself runs in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{mpsc, oneshot};

use super::{PresenceNotice, Prompt, PromptError, Prompter};
use crate::audit::record::RequestId;
use crate::control::{Event, QuestionKind};
use crate::course;
use crate::refusal::Refusal;

/// One terminal: the far end of a control connection.
#[derive(Debug)]
pub struct Terminal {
    events: mpsc::Sender<Event>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    last_id: u64,
    questions: BTreeMap<u64, oneshot::Sender<Option<SecretString>>>,
    /// The requests of which a prompt was shown here, until they are over.
    shown: BTreeSet<RequestId>,
}

impl Terminal {
    /// A terminal whose prompts are sent to `events`.
    #[must_use]
    pub fn new(events: mpsc::Sender<Event>) -> Arc<Self> {
        Arc::new(Self { events, open: Mutex::default() })
    }

    /// Passes on what the person answered to question `id`; None is a refusal.
    pub fn answer(&self, id: u64, answer: Option<SecretString>) {
        if let Some(question) = self.open().questions.remove(&id) {
            // A question that was withdrawn in the meantime has nobody waiting.
            let _ = question.send(answer);
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_id(&self) -> u64 {
        let mut open = self.open();
        open.last_id += 1;
        open.shown.extend(course::request());
        open.last_id
    }

    async fn ask(&self, kind: QuestionKind, prompt: &Prompt) -> Result<SecretString, PromptError> {
        let id = self.next_id();
        let (sender, receiver) = oneshot::channel();
        self.open().questions.insert(id, sender);
        let _withdraw = Withdraw { terminal: self, id };
        let lines = prompt.lines.clone();
        let question = Event::Question { id, kind, lines, question: prompt.question.clone() };
        let gone = || PromptError::NoChannel("the attached terminal went away, or does not read".into());
        self.events.try_send(question).map_err(|_| gone())?;
        let gone = |_| PromptError::Lost("the attached terminal went away before there was an answer".into());
        receiver.await.map_err(gone)?.ok_or(PromptError::Refused)
    }

    /// Asks for a line that is shown while it is typed.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn request_line(&self, prompt: &Prompt) -> Result<String, PromptError> {
        let line = self.ask(QuestionKind::Line, prompt).await?;
        let line = line.expose_secret().trim();
        if line.is_empty() { Err(PromptError::Refused) } else { Ok(line.to_owned()) }
    }

    /// Says how far a request is.
    pub fn say(&self, line: String) {
        // Whoever does not read is told less.
        let _ = self.events.try_send(Event::Progress { line });
    }

    /// Says that a request is over, where a prompt of it was shown here.
    fn end(&self, request: RequestId, event: impl FnOnce() -> Event) -> bool {
        let shown = self.open().shown.remove(&request);
        if shown {
            let _ = self.events.try_send(event());
        }
        shown
    }

    /// Ends all questions: the terminal is gone.
    pub fn close(&self) {
        self.open().questions.clear();
    }
}

/// Takes a question back, if it was not answered.
struct Withdraw<'a> {
    terminal: &'a Terminal,
    id: u64,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        self.terminal.open().questions.remove(&self.id);
        let _ = self.terminal.events.try_send(Event::Withdraw { id: self.id });
    }
}

/// Takes a notice off the screen.
struct TakeDown {
    events: mpsc::Sender<Event>,
    id: u64,
}

impl Drop for TakeDown {
    fn drop(&mut self) {
        let _ = self.events.try_send(Event::Withdraw { id: self.id });
    }
}

#[async_trait]
impl Prompter for Terminal {
    async fn confirm(&self, prompt: &Prompt) -> Result<(), PromptError> {
        let answer = self.ask(QuestionKind::Confirm, prompt).await?;
        let yes = ["y", "yes"].iter().any(|yes| answer.expose_secret().trim().eq_ignore_ascii_case(yes));
        if yes { Ok(()) } else { Err(PromptError::Refused) }
    }

    async fn request_pin(&self, prompt: &Prompt) -> Result<SecretString, PromptError> {
        let pin = self.ask(QuestionKind::Secret, prompt).await?;
        if pin.expose_secret().is_empty() { Err(PromptError::Refused) } else { Ok(pin) }
    }

    fn notify_presence(&self, prompt: &Prompt) -> PresenceNotice {
        let id = self.next_id();
        let notice = Event::Notice { id, lines: prompt.lines.clone(), notice: prompt.question.clone() };
        match self.events.try_send(notice) {
            Ok(()) => PresenceNotice::new(TakeDown { events: self.events.clone(), id }),
            Err(_) => PresenceNotice::none(),
        }
    }
}

/// The terminals that are attached now; the latest gets the prompts.
#[derive(Debug, Default)]
pub struct AttachedTerminals(Mutex<Vec<Arc<Terminal>>>);

impl AttachedTerminals {
    /// Adds a terminal, which gets the prompts from now on. The one it replaces is told. Whether there was one.
    pub fn attach(&self, terminal: Arc<Terminal>) -> bool {
        let mut terminals = self.terminals();
        let replaces = terminals.last().inspect(|replaced| drop(replaced.events.try_send(Event::Replaced))).is_some();
        terminals.push(terminal);
        replaces
    }

    /// Removes a terminal.
    pub fn detach(&self, terminal: &Arc<Terminal>) {
        self.terminals().retain(|other| !Arc::ptr_eq(other, terminal));
        terminal.close();
    }

    /// Says that a request has its signature, on the terminals on which a prompt of it was shown.
    pub fn signed(&self, request: RequestId, asked: &str) {
        for terminal in self.terminals().iter() {
            terminal.end(request, || Event::Signed { asked: asked.into() });
        }
    }

    /// Says that something was refused, on the terminal that gets the prompts, and on those on which a prompt of the
    /// request was shown.
    pub fn refused(&self, request: Option<RequestId>, refusal: &Refusal) {
        let terminals = self.terminals();
        let event = |shown| Event::RequestRefused { shown, refusal: refusal.clone() };
        for (n, terminal) in terminals.iter().enumerate() {
            let shown = request.is_some_and(|request| terminal.end(request, || event(true)));
            if !shown && n + 1 == terminals.len() {
                let _ = terminal.events.try_send(event(false));
            }
        }
    }

    /// The one that gets the prompts.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Terminal>> {
        self.terminals().last().cloned()
    }

    /// How many are attached.
    #[must_use]
    pub fn count(&self) -> usize {
        self.terminals().len()
    }

    fn terminals(&self) -> MutexGuard<'_, Vec<Arc<Terminal>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
