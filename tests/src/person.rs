//! The person at the machine, as far as SSH_ASKPASS shows them: what they are asked, and what they answer.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use serde::Deserialize;
use soft_token::Device;

use crate::{PATIENCE, built};

/// What a prompt wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Kind {
    /// A PIN or passphrase.
    #[serde(rename = "")]
    Secret,
    /// Yes or no.
    #[serde(rename = "confirm")]
    Confirm,
    /// Nothing: it says something, such as that a token waits.
    #[serde(rename = "none")]
    Notice,
}

/// One prompt.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Asked {
    /// What it wants.
    pub kind: Kind,
    /// Its text.
    pub text: String,
    /// Whether it is on the screen now.
    #[serde(skip)]
    pub shown: bool,
}

impl Asked {
    fn question(&self) -> &str {
        self.text.lines().last().unwrap_or_default()
    }

    fn is_to_plug_in(&self) -> bool {
        self.kind == Kind::Confirm && self.question().starts_with(PLUG_IN)
    }

    /// Whether it asks about a token that the agent has not seen before.
    #[must_use]
    pub fn is_of_a_first_seen_token(&self) -> bool {
        self.kind == Kind::Confirm && self.question().starts_with(FIRST_SEEN)
    }
}

/// What the person answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Types this.
    Type(String),
    /// Says no.
    Refuse,
}

/// The person. What they answer is scripted; what is not stays on the screen, until the test lets them answer or the
/// program takes it down.
pub struct Person {
    socket: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asked: Vec<Prompt>,
    script: VecDeque<Answer>,
    otherwise: Option<Answer>,
    /// Whether it is scripted, like other questions, what they say of a token that was not seen before.
    looks_at_tokens: bool,
}

/// The question whether a token that the agent has not seen before is theirs.
const FIRST_SEEN: &str = "This token was not seen here since it was plugged in.";

/// The question whether to wait for a token that is not plugged in.
const PLUG_IN: &str = "Plug in ";

struct Prompt {
    asked: Asked,
    askpass: UnixStream,
}

impl Person {
    /// A person who is reached at this socket.
    pub(crate) fn at(socket: PathBuf) -> Self {
        let listener = UnixListener::bind(&socket).expect("a socket can be made in a new folder");
        let shared = Arc::<Shared>::default();
        let person = Self { socket, shared: shared.clone() };
        thread::spawn(move || {
            while let Ok((askpass, _)) = listener.accept() {
                let shared = shared.clone();
                thread::spawn(move || shared.show(askpass));
            }
        });
        person
    }

    /// Has a program ask this person.
    pub(crate) fn answer_for(&self, command: &mut Command) {
        command
            .env("SSH_ASKPASS", built("scripted-askpass"))
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("TESTS_PERSON", &self.socket);
    }

    /// Types these, one for each question to come.
    pub fn types<'a>(&self, texts: impl IntoIterator<Item = &'a str>) {
        self.lock().script.extend(texts.into_iter().map(|text| Answer::Type(text.to_owned())));
    }

    /// Types this wherever nothing else was scripted.
    pub fn always_types(&self, text: &str) {
        self.lock().otherwise = Some(Answer::Type(text.to_owned()));
    }

    /// Says no wherever nothing else was scripted.
    pub fn always_refuses(&self) {
        self.lock().otherwise = Some(Answer::Refuse);
    }

    /// Answers the question whether a token is theirs as any other. Unless told so, they say that it is, and the scenario
    /// sees nothing of it.
    pub fn looks_at_tokens(&self) {
        self.lock().looks_at_tokens = true;
    }

    /// All prompts so far, in their order.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.lock().asked.iter().map(|prompt| prompt.asked.clone()).collect()
    }

    /// The texts of all prompts of a kind, in their order.
    #[must_use]
    pub fn texts(&self, kind: Kind) -> Vec<String> {
        self.asked().into_iter().filter(|asked| asked.kind == kind).map(|asked| asked.text).collect()
    }

    /// Waits until a prompt of this kind is on the screen, and returns it. Panics when none comes.
    pub fn wait_until_asked(&self, kind: Kind) -> Asked {
        self.wait_for_prompt(|asked| asked.kind == kind, &format!("a {kind:?}"))
    }

    /// The same for the question to plug in a token.
    pub fn wait_until_a_token_is_wanted(&self) -> Asked {
        self.wait_for_prompt(Asked::is_to_plug_in, "the question to plug in a token")
    }

    fn wait_for_prompt(&self, wanted: impl Fn(&Asked) -> bool, what: &str) -> Asked {
        let state = self.wait_until(|state| state.shown().any(&wanted), what);
        let asked = state.shown().find(|asked| wanted(asked));
        asked.expect("it was there a moment ago").clone()
    }

    /// Waits until the prompt with this number of its kind, the first being 1, is on the screen.
    pub fn wait_until_asked_for_the(&self, number: usize, kind: Kind) {
        let is_shown = |state: &State| {
            let mut of_kind = state.asked.iter().filter(|prompt| prompt.asked.kind == kind);
            of_kind.nth(number - 1).is_some_and(|prompt| prompt.asked.shown)
        };
        drop(self.wait_until(is_shown, &format!("{kind:?} number {number}")));
    }

    /// Waits until nothing is on the screen any more.
    pub fn wait_until_nothing_is_shown(&self) {
        drop(self.wait_until(|state| state.shown().next().is_none(), "an empty screen"));
    }

    /// Touches the token when a notice says that it waits for that, and returns the notice once it is gone.
    ///
    /// Panics where the notice does not come, or comes while the token does not wait.
    pub fn approve(&self, token: &Device) -> String {
        let notice = self.wait_until_asked(Kind::Notice);
        assert!(token.is_waiting(), "the notice says that the token waits, and it does not: {}", notice.text);
        token.touch();
        self.wait_until_nothing_is_shown();
        notice.text
    }

    /// Answers the question that is on the screen.
    pub fn answer(&self, answer: &Answer) {
        let mut state = self.lock();
        let open = state.asked.iter_mut().find(|prompt| prompt.asked.shown && prompt.asked.kind != Kind::Notice);
        open.expect("there is a question on the screen").answer(answer);
    }

    fn wait_until(&self, there: impl Fn(&State) -> bool, what: &str) -> MutexGuard<'_, State> {
        let (state, _) =
            self.shared.changed.wait_timeout_while(self.lock(), PATIENCE, |state| !there(state)).expect(PANICKED);
        let prompts = || state.asked.iter().map(|prompt| &prompt.asked).collect::<Vec<_>>();
        assert!(there(&state), "the person did not see {what}; what they saw is {:#?}", prompts());
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

const PANICKED: &str = "a prompt's thread has panicked";

impl Shared {
    /// Shows what an askpass program asks, until it ends.
    fn show(&self, askpass: UnixStream) {
        let mut lines = BufReader::new(askpass.try_clone().expect("a descriptor is free")).lines();
        // A program may be killed before it asked anything, or while it does.
        let Some(Ok(line)) = lines.next() else { return };
        let Ok(mut asked) = serde_json::from_str::<Asked>(&line) else { return };
        asked.shown = true;
        let place = {
            let mut state = self.lock();
            let mut prompt = Prompt { asked, askpass };
            if prompt.asked.is_of_a_first_seen_token() && !state.looks_at_tokens {
                // A matter of course, and no part of the scenario.
                prompt.answer(&Answer::Type("yes".into()));
                return;
            }
            let answer = state.next_answer(&prompt.asked);
            if let Some(answer) = answer {
                prompt.answer(&answer);
            }
            state.asked.push(prompt);
            state.asked.len() - 1
        };
        self.changed.notify_all();
        drop(lines.next());
        self.lock().asked[place].asked.shown = false;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(PANICKED)
    }
}

impl State {
    fn next_answer(&mut self, asked: &Asked) -> Option<Answer> {
        match asked.kind {
            Kind::Notice => None,
            // It waits as a notice does, until the token is there.
            _ if asked.is_to_plug_in() => None,
            Kind::Secret | Kind::Confirm => self.script.pop_front().or_else(|| self.otherwise.clone()),
        }
    }

    fn shown(&self) -> impl Iterator<Item = &Asked> {
        self.asked.iter().map(|prompt| &prompt.asked).filter(|asked| asked.shown)
    }
}

impl Prompt {
    fn answer(&mut self, answer: &Answer) {
        let line = match answer {
            Answer::Type(text) => format!("type {text}\n"),
            Answer::Refuse => "no\n".into(),
        };
        // It may have been taken down at this moment.
        let _ = self.askpass.write_all(line.as_bytes());
    }
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.asked()).finish()
    }
}
