//! What a hostile client does, and what it gets for it.

use tests::SUCCESS;

use crate::keys::Keys;
use crate::line::{Answer, Line};
use crate::message::{EXTENSION_FAILURE, FAILURE};
use crate::target::Target;

/// A client that attacks, over one connection after the other.
pub(crate) struct Attack<'t, 'e> {
    target: &'t Target<'e>,
    preparation: Vec<Vec<u8>>,
    line: Option<Line>,
    /// How many messages were answered on this line.
    answered: usize,
    /// What came of it.
    pub(crate) tally: Tally,
}

/// What came of an attack.
#[derive(Default)]
pub(crate) struct Tally {
    /// Answers that say no, and connections that the agent closed.
    pub(crate) refused: usize,
    /// What was answered otherwise.
    pub(crate) served: Vec<String>,
    /// What was not answered.
    pub(crate) unanswered: Vec<String>,
    /// What other clients did not get meanwhile.
    pub(crate) shut_out: Vec<String>,
    /// What had to succeed first, and did not: it would be worthless to see the rest refused.
    pub(crate) unprepared: Vec<String>,
}

impl<'t, 'e> Attack<'t, 'e> {
    /// One that has done nothing yet.
    pub(crate) fn on(target: &'t Target<'e>) -> Self {
        Self { target, preparation: Vec::new(), line: None, answered: 0, tally: Tally::default() }
    }

    /// The agent.
    pub(crate) fn target(&self) -> &'t Target<'e> {
        self.target
    }

    /// The keys that it holds, and more.
    pub(crate) fn keys(&self) -> &'e Keys {
        self.target.keys()
    }

    /// A connection of its own, for what is more than a message and its answer.
    pub(crate) fn connect(&mut self) -> Option<Line> {
        self.target.connect()
    }

    /// What every connection begins with from now on. Each has to succeed.
    pub(crate) fn begin_with(&mut self, messages: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        self.line = None;
        self.preparation = messages.into_iter().map(|message| message.as_ref().to_vec()).collect();
    }

    /// Hangs up.
    pub(crate) fn hang_up(&mut self) {
        self.line = None;
    }

    /// Something that has to work, so that there is something to be refused.
    pub(crate) fn has_to_work(&mut self, what: &str, message: impl AsRef<[u8]>) {
        let answer = self.exchange(message.as_ref());
        if !matches!(&answer, Answer::Message(answer) if !is_refusal(answer)) {
            self.tally.unprepared.push(format!("{what}: {answer:?}"));
        }
    }

    /// Something that has to be refused.
    pub(crate) fn tries(&mut self, what: &str, message: impl AsRef<[u8]>) {
        // An agent that hangs need not be asked a thousand times.
        if !self.tally.unanswered.is_empty() {
            return;
        }
        let message = message.as_ref();
        let on_fresh_line = self.line.is_none() || self.answered == 0;
        let mut answer = self.exchange(message);
        // A connection that had too many refusals is closed behind the last of them; then this one was not read.
        if answer == Answer::Closed && !on_fresh_line {
            answer = self.exchange(message);
        }
        self.note(what, answer);
    }

    /// An answer to something that has to be refused.
    pub(crate) fn note(&mut self, what: &str, answer: Answer) {
        match answer {
            Answer::Closed => self.tally.refused += 1,
            Answer::Message(answer) if is_refusal(&answer) => self.tally.refused += 1,
            Answer::Message(answer) => {
                self.tally.served.push(format!("{what}, with {:?}…", &answer[..answer.len().min(8)]));
            }
            Answer::Silence => self.tally.unanswered.push(what.into()),
        }
    }

    fn exchange(&mut self, message: &[u8]) -> Answer {
        if self.line.is_none() {
            self.prepare();
        }
        let Some(line) = &mut self.line else { return Answer::Closed };
        let answer = line.ask(message);
        match answer {
            Answer::Message(_) => self.answered += 1,
            _ => self.line = None,
        }
        answer
    }

    fn prepare(&mut self) {
        self.answered = 0;
        let Some(mut line) = self.target.connect() else { return };
        for message in &self.preparation {
            let answer = line.ask(message);
            if answer != Answer::Message(vec![SUCCESS]) {
                self.tally.unprepared.push(format!("message {}: {answer:?}", message[0]));
            }
        }
        self.line = Some(line);
    }
}

fn is_refusal(answer: &[u8]) -> bool {
    answer == [FAILURE] || answer == [EXTENSION_FAILURE]
}
