//! The two agents side by side, and pairs of connections to them.

use tests::{Agent, Client, Env, Rival};

use crate::part::{byte, bytes, text};
use crate::request::{EXTENSION, LOCK, REMOVE_ALL, SESSION_BIND, UNLOCK};

/// Ours and Debian's, without keys at first.
pub(crate) struct Agents {
    ours: Agent,
    theirs: Rival,
}

/// A connection to each.
pub(crate) struct Line {
    pub(crate) ours: Client,
    pub(crate) theirs: Client,
}

impl Agents {
    /// Starts them, in a new place.
    pub(crate) fn start() -> Self {
        let env = Env::new();
        let ours = env.agent().quiet().mutes_nobody().without_prompter().start();
        Self { ours, theirs: Rival::alone(&env) }
    }

    /// Connects to both.
    pub(crate) fn connect(&self) -> Line {
        Line { ours: self.ours.connect(), theirs: self.theirs.connect() }
    }

    /// Takes the lock, and all keys, away from both.
    pub(crate) fn reset(&self, password: Option<&[u8]>) -> Result<(), String> {
        let mut line = self.connect();
        for message in password.map(unlock).into_iter().chain([vec![REMOVE_ALL]]) {
            line.ours.send_message(&message);
            line.theirs.send_message(&for_rival(&message));
            if [line.ours.answer(), line.theirs.answer()] != [Some(vec![tests::SUCCESS]), Some(vec![tests::SUCCESS])] {
                return Err("one of the agents can not be reset".into());
            }
        }
        Ok(())
    }

    /// Whether both run, and ours has not panicked.
    pub(crate) fn are_well(&mut self) -> Result<(), String> {
        let messages = self.ours.messages().text();
        if let Some(panic) = messages.find("panicked at") {
            return Err(format!("the agent has panicked: {}", &messages[panic..]));
        }
        match (self.ours.is_running(), self.theirs.is_running()) {
            (true, true) => Ok(()),
            (ours, theirs) => Err(format!("ours runs: {ours}, ssh-agent runs: {theirs}")),
        }
    }
}

fn unlock(password: &[u8]) -> Vec<u8> {
    bytes(&[byte(UNLOCK), text(password)])
}

/// The frame as ssh-agent is sent it: a password with a NUL inside would end it (`sshbuf_get_cstring`).
pub(crate) fn for_rival(frame: &[u8]) -> Vec<u8> {
    const IN_FRONT_OF_PASSWORD: usize = 5;
    let mut frame = frame.to_vec();
    if matches!(frame.first(), Some(&(LOCK | UNLOCK))) {
        for byte in frame.iter_mut().skip(IN_FRONT_OF_PASSWORD).filter(|byte| **byte == 0) {
            *byte = 1;
        }
    }
    frame
}

/// A session-bind without anything.
pub(crate) fn failing_binding() -> Vec<u8> {
    bytes(&[byte(EXTENSION), text(SESSION_BIND)])
}
