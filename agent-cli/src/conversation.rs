//! A request to the agent that a person has a part in: the agent's questions and notices are shown here until the
//! request is over.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::AsFd;

use agent::control::{Event, QuestionKind, Request};
use agent::token::protocol::Pin;
use secrecy::{ExposeSecret, SecretString};

use crate::control::Control;
use crate::problem::Problem;
use crate::terminal::{Terminal, Typed, Wake, is_yes};

/// A conversation with the agent, in a terminal.
#[derive(Debug)]
pub(crate) struct Conversation<'t> {
    control: Control,
    terminal: &'t mut Terminal,
    /// What the agent said while a question was open.
    later: VecDeque<Event>,
    /// The notices that are up.
    notices: BTreeSet<u64>,
    /// What the latest prompt was about. A notice about the same thing does not repeat it.
    shown: Vec<String>,
    /// The answer to the next secret the agent asks for, where it is known already.
    known: Option<SecretString>,
}

impl<'t> Conversation<'t> {
    /// Sends the request.
    pub(crate) fn begin(mut control: Control, terminal: &'t mut Terminal, request: &Request) -> Result<Self, Problem> {
        control.send(request)?;
        Ok(Self { control, terminal, later: VecDeque::new(), notices: BTreeSet::new(), shown: Vec::new(), known: None })
    }

    /// Answers the first secret the agent asks for with this one, and not with another question to the person.
    pub(crate) fn knowing(mut self, secret: Option<SecretString>) -> Self {
        self.known = secret;
        self
    }

    /// Shows a line in between.
    pub(crate) fn say(&mut self, line: &str) {
        self.terminal.say(line);
    }

    /// Shows prompts until the agent says what the request came to.
    pub(crate) fn result(&mut self) -> Result<Event, Problem> {
        match self.next()? {
            Event::Refused { denial, id } => Err(Problem::refused(denial, id)),
            event => Ok(event),
        }
    }

    /// Shows prompts until the agent says something that is none.
    pub(crate) fn next(&mut self) -> Result<Event, Problem> {
        loop {
            match self.take_event()? {
                Some(Event::Question { id, kind, lines, question }) => self.answer(id, kind, lines, &question)?,
                Some(Event::Notice { id, lines, notice }) => {
                    if lines != self.shown {
                        self.show(lines);
                    }
                    self.terminal.say(&notice);
                    self.notices.insert(id);
                }
                Some(Event::Withdraw { id }) => {
                    if self.notices.remove(&id) {
                        self.terminal.say("(done waiting)");
                    }
                }
                Some(Event::Progress { line }) => self.terminal.say(&line),
                Some(event) => return Ok(event),
                None => {
                    self.terminal.wait(false, Some(self.control.as_fd()))?;
                    self.control.receive()?;
                }
            }
        }
    }

    fn show(&mut self, lines: Vec<String>) {
        lines.iter().for_each(|line| self.terminal.say(line));
        self.shown = lines;
    }

    fn take_event(&mut self) -> Result<Option<Event>, Problem> {
        match self.later.pop_front() {
            Some(event) => Ok(Some(event)),
            None => self.control.take_event(),
        }
    }

    fn answer(&mut self, id: u64, kind: QuestionKind, lines: Vec<String>, question: &str) -> Result<(), Problem> {
        let known = if kind == QuestionKind::Secret { self.known.take() } else { None };
        let answer = match known {
            Some(secret) => Some(secret),
            None => {
                self.show(lines);
                match self.ask(id, kind, question)? {
                    Asked::Answer(answer) => answer,
                    Asked::Withdrawn => {
                        self.terminal.say("(withdrawn)");
                        return Ok(());
                    }
                }
            }
        };
        if answer.is_none() {
            self.terminal.say("(refused)");
        }
        self.control.send(&Request::Answer { id, answer: answer.map(Pin) })
    }

    /// Waits for the person and the agent at once: the agent takes a question back when its time is up, or when whoever
    /// caused it went away.
    fn ask(&mut self, id: u64, kind: QuestionKind, question: &str) -> Result<Asked, Problem> {
        let text = match kind {
            QuestionKind::Confirm => format!("{} [y/N] ", question.trim_end()),
            QuestionKind::Secret | QuestionKind::Line => question.to_owned(),
        };
        let mut open = self.terminal.ask(kind, &text)?;
        loop {
            if self.later.iter().any(|event| ends(event, id)) {
                return Ok(Asked::Withdrawn);
            }
            if let Some(event) = self.control.take_event()? {
                self.later.push_back(event);
                continue;
            }
            if open.wait(Some(self.control.as_fd()))? == Wake::Agent {
                self.control.receive()?;
                continue;
            }
            match open.read()? {
                Typed::Unfinished => {}
                Typed::End => return Ok(Asked::Answer(None)),
                Typed::Line(line) => return Ok(Asked::Answer(accepted(kind, line))),
            }
        }
    }
}

enum Asked {
    /// None is a refusal.
    Answer(Option<SecretString>),
    Withdrawn,
}

/// Whether a question is over with this: it was taken back, or its request has a result.
fn ends(event: &Event, question: u64) -> bool {
    match event {
        Event::Withdraw { id } => *id == question,
        Event::Question { .. } | Event::Notice { .. } | Event::Replaced | Event::Progress { .. } => false,
        // Of another request, or the question would have been taken back first.
        Event::Signed { .. } | Event::RequestRefused { .. } => false,
        _ => true,
    }
}

/// What a line means as an answer. An empty secret is no answer; only a plain yes is one.
fn accepted(kind: QuestionKind, line: SecretString) -> Option<SecretString> {
    let text = line.expose_secret();
    let good = match kind {
        QuestionKind::Confirm => is_yes(text),
        QuestionKind::Secret => !text.is_empty(),
        QuestionKind::Line => !text.trim().is_empty(),
    };
    good.then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for (line, yes) in [("y", true), (" YES\t", true), ("", false), ("n", false), ("yesterday", false)] {
            assert_eq!(accepted(QuestionKind::Confirm, line.into()).is_some(), yes, "{line:?}");
        }
    }

    #[test]
    fn a_question_ends_when_it_is_taken_back_or_its_request_is_over() {
        assert!(ends(&Event::Withdraw { id: 7 }, 7) && !ends(&Event::Withdraw { id: 6 }, 7));
        assert!(ends(&Event::Added { keys: vec![] }, 7) && !ends(&Event::Replaced, 7));
        assert!(!ends(&Event::Signed { asked: "log in".into() }, 7), "another request's end is no answer");
    }

    #[test]
    fn a_secret_is_passed_on_as_typed() {
        let passed = accepted(QuestionKind::Secret, " 12 34 ".into()).unwrap();
        assert_eq!(passed.expose_secret(), " 12 34 ");
        assert!(accepted(QuestionKind::Secret, "".into()).is_none());
        assert!(accepted(QuestionKind::Line, " ".into()).is_none());
    }
}
