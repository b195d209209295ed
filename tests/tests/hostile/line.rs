//! A connection to an agent whose other end may do anything: hang up, stay silent, or be gone.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::message::framed;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A message.
    Message(Vec<u8>),
    /// The agent hung up.
    Closed,
    /// Nothing, for as long as was waited.
    Silence,
}

/// A connection.
pub(crate) struct Line(UnixStream);

impl Line {
    /// Connects. None where nobody listens, or nobody accepts within `patience` while the queue is full.
    pub(crate) fn connect(path: &Path, patience: Duration) -> Option<Self> {
        tests::connect_within(path, patience).ok().map(Self)
    }

    /// Sends bytes as they are. False where the agent does not take them all.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Sends a message.
    pub(crate) fn say(&mut self, message: impl AsRef<[u8]>) -> bool {
        self.send(&framed(message))
    }

    /// The next answer.
    pub(crate) fn hear(&mut self) -> Answer {
        let mut length = [0; 4];
        if let Err(error) = self.0.read_exact(&mut length) {
            return nothing(error.kind());
        }
        let length = u32::from_be_bytes(length) as usize;
        let mut answer = vec![0; length];
        match self.0.read_exact(&mut answer) {
            Ok(()) => Answer::Message(answer),
            Err(error) => nothing(error.kind()),
        }
    }

    /// Sends a message, and returns the answer to it.
    pub(crate) fn ask(&mut self, message: impl AsRef<[u8]>) -> Answer {
        // What the agent said before it hung up can be read still.
        self.say(message);
        self.hear()
    }

    /// The same line for another thread.
    pub(crate) fn try_clone(&self) -> Option<Self> {
        self.0.try_clone().ok().map(Self)
    }

    /// Hangs up, for the other thread too.
    pub(crate) fn hang_up(self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }

    /// What is sent and received never waits from now on.
    pub(crate) fn never_wait(&self) {
        self.0.set_nonblocking(true).expect("a socket of ours");
    }

    /// Sends what the other end takes at once of these bytes, and how much that was. None once it has hung up.
    pub(crate) fn send_some(&mut self, bytes: &[u8]) -> Option<usize> {
        match self.0.write(bytes) {
            Ok(sent) => Some(sent),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
            Err(_) => None,
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn nothing(error: ErrorKind) -> Answer {
    match error {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Answer::Silence,
        _ => Answer::Closed,
    }
}
