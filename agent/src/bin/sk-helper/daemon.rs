//! The conversation with the daemon: lines of JSON in and out.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use agent::token::TokenError;
use agent::token::protocol::{Command, MAX_LINE};
use rustix::io::{Errno, fcntl_dupfd_cloexec, read};
use rustix::stdio::{dup2_stdout, stderr, stdin, stdout};
use serde::Serialize;
use zeroize::Zeroize;

use crate::failure::{Stop, failure};

/// The daemon's ends of this process's standard input and output.
pub(crate) struct Daemon {
    /// Lines that were not taken yet. It never grows, so that no copy of a PIN is left where it was before, and what was
    /// taken is wiped.
    input: Vec<u8>,
    /// How much of `input` is filled.
    filled: usize,
    output: File,
}

impl Daemon {
    /// Takes standard output for messages. Descriptor 1 then leads to standard error: the library prints to it, and a
    /// line of its own between the messages would be taken for one.
    pub(crate) fn attach() -> io::Result<Self> {
        let output = fcntl_dupfd_cloexec(stdout(), 3)?;
        dup2_stdout(stderr())?;
        Ok(Self { input: vec![0; MAX_LINE], filled: 0, output: output.into() })
    }

    /// The next command, or why its line is none; None at the end of input.
    pub(crate) fn next_command(&mut self) -> io::Result<Option<Result<Command, Stop>>> {
        loop {
            if let Some(end) = self.input[..self.filled].iter().position(|&byte| byte == b'\n') {
                let command = parse(&self.input[..end]);
                self.wipe(end + 1);
                return Ok(Some(command));
            }
            if self.filled == self.input.len() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a command is longer than the protocol allows"));
            }
            match read(stdin(), &mut self.input[self.filled..]) {
                Ok(0) => return Ok(None),
                Ok(read) => self.filled += read,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes the first bytes of the input.
    fn wipe(&mut self, taken: usize) {
        self.input.copy_within(taken..self.filled, 0);
        self.input[self.filled - taken..self.filled].zeroize();
        self.filled -= taken;
    }

    /// Writes one line.
    pub(crate) fn say(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.output.write_all(&line)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.input[..self.filled].zeroize();
    }
}

/// Polled for a hang-up: at the end of its input nobody waits for this process.
impl AsFd for Daemon {
    fn as_fd(&self) -> BorrowedFd<'_> {
        stdin()
    }
}

/// The parser's own words may quote the line, and so a PIN: only the place is told.
fn parse(line: &[u8]) -> Result<Command, Stop> {
    serde_json::from_slice(line).map_err(|error| {
        let detail = format!("not a command of this version (at byte {} of its line)", error.column());
        Stop::Failed(failure(TokenError::Protocol, detail))
    })
}
