//! The person at the terminal: questions, and answers that nobody else gets to see.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use agent::control::QuestionKind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, isatty, tcflush, tcgetattr, tcsetattr,
};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::problem::Problem;
use crate::safe::safe;
use crate::signals::Signals;

/// The longest answer that is read, in bytes: what a terminal takes for one line.
const LONGEST_ANSWER: usize = 4096;

/// Where a person is asked: the terminal this program runs in, or standard input for a script.
#[derive(Debug)]
pub(crate) struct Terminal {
    input: OwnedFd,
    output: File,
    is_tty: bool,
    /// Whether somebody answers here: at a terminal, or with the answers they have put on standard input.
    is_attended: bool,
    /// What was read and not yet asked for. A script's lines may all come at once.
    unasked: Zeroizing<Vec<u8>>,
    signals: Signals,
}

/// What is said at a terminal by a thread of its own.
#[derive(Debug)]
pub(crate) struct Voice(File);

impl Voice {
    /// Shows a line.
    pub(crate) fn say(&mut self, line: &str) {
        let _ = self.0.write_all(format!("{}\n", safe(line)).as_bytes());
    }
}

/// What waiting ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The person typed something.
    Typed,
    /// The agent said something.
    Agent,
}

/// What the person gave for an answer.
#[derive(Debug)]
pub(crate) enum Typed {
    /// No whole line yet.
    Unfinished,
    /// A line.
    Line(SecretString),
    /// The end of the input (Ctrl-D): no answer.
    End,
}

impl Terminal {
    /// The terminal of this program, even where its standard input is something else: a list of hosts in a shell's loop
    /// must never be taken for PINs. Standard input is used where there is no terminal, or with `from_stdin`.
    pub(crate) fn open(from_stdin: bool) -> Result<Self, Problem> {
        let no_way = |error| Problem::failed(format!("there is no way to ask you anything: {error}"));
        let signals = Signals::catch().map_err(no_way)?;
        let tty = OpenOptions::new().read(true).write(true).open("/dev/tty");
        let (input, output) = match tty {
            Ok(tty) if !from_stdin => (tty.try_clone().map_err(no_way)?.into(), tty),
            _ => {
                let input = io::stdin().as_fd().try_clone_to_owned().map_err(no_way)?;
                (input, File::from(io::stderr().as_fd().try_clone_to_owned().map_err(no_way)?))
            }
        };
        let is_tty = isatty(&input);
        Ok(Self { input, output, is_tty, is_attended: is_tty || from_stdin, unasked: Zeroizing::default(), signals })
    }

    /// Whether there is somebody here who can be asked for a PIN.
    pub(crate) fn is_attended(&self) -> bool {
        self.is_attended
    }

    /// Shows a line.
    pub(crate) fn say(&mut self, line: &str) {
        self.write(&format!("{}\n", safe(line)));
    }

    /// For who has to say something while the terminal is busy with a conversation.
    pub(crate) fn voice(&self) -> Result<Voice, Problem> {
        self.output.try_clone().map(Voice).map_err(terminal_failed)
    }

    /// A terminal that takes no text has nobody before it who could be told.
    fn write(&mut self, text: &str) {
        let _ = self.output.write_all(text.as_bytes());
    }

    /// Asks for a secret that the agent has no part in. None when there is no answer.
    pub(crate) fn ask_secret(&mut self, text: &str) -> Result<Option<SecretString>, Problem> {
        self.ask_person(QuestionKind::Secret, text)
    }

    /// Asks for a line that the agent has no part in. None when there is none, or an empty one.
    pub(crate) fn ask_line(&mut self, text: &str) -> Result<Option<String>, Problem> {
        let line = self.ask_person(QuestionKind::Line, text)?;
        let line = line.map(|line| line.expose_secret().trim().to_owned());
        Ok(line.filter(|line| !line.is_empty()))
    }

    fn ask_person(&mut self, kind: QuestionKind, text: &str) -> Result<Option<SecretString>, Problem> {
        let mut question = self.ask(kind, text)?;
        loop {
            question.wait(None)?;
            match question.read()? {
                Typed::Unfinished => {}
                Typed::Line(secret) => return Ok(Some(secret)),
                Typed::End => return Ok(None),
            }
        }
    }

    /// Asks for a yes that the agent has no part in.
    pub(crate) fn confirm(&mut self, text: &str) -> Result<bool, Problem> {
        let line = self.ask_person(QuestionKind::Confirm, &format!("{text} [y/N] "))?;
        Ok(line.is_some_and(|line| is_yes(line.expose_secret())))
    }

    /// Asks whether to go on, which Enter alone is a yes to. The end of the input is none.
    pub(crate) fn go_on(&mut self, text: &str) -> Result<bool, Problem> {
        let line = self.ask_person(QuestionKind::Confirm, text)?;
        Ok(line.is_some_and(|line| line.expose_secret().trim().is_empty() || is_yes(line.expose_secret())))
    }

    /// Puts up a question; it is taken down when it is dropped.
    pub(crate) fn ask(&mut self, kind: QuestionKind, text: &str) -> Result<Question<'_>, Problem> {
        let saved = self.begin(kind).map_err(terminal_failed)?;
        self.write(&safe(text));
        let echoed = self.is_tty && saved.is_none();
        Ok(Question { terminal: self, saved, echoed, at_line_start: false })
    }

    /// What was typed before a question was shown can't be its answer, so it is thrown away.
    fn begin(&mut self, kind: QuestionKind) -> io::Result<Option<Termios>> {
        if !self.is_tty {
            return Ok(None);
        }
        self.unasked.clear();
        if kind != QuestionKind::Secret {
            tcflush(&self.input, QueueSelector::IFlush)?;
            return Ok(None);
        }
        let saved = tcgetattr(&self.input)?;
        let mut silent = saved.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        // Ctrl-Z would hand the terminal to the shell without its echo. No character has the code 0.
        silent.special_codes[SpecialCodeIndex::VSUSP] = 0;
        tcsetattr(&self.input, OptionalActions::Flush, &silent)?;
        Ok(Some(saved))
    }

    /// Waits for the agent, and for the person when `typing`. A signal ends it, and the program with it.
    pub(crate) fn wait(&self, typing: bool, agent: Option<BorrowedFd<'_>>) -> Result<Wake, Problem> {
        loop {
            // Whoever is not waited for is stood in for by the signals.
            let agent_fd = agent.unwrap_or(self.signals.as_fd());
            let typing_fd = if typing { self.input.as_fd() } else { self.signals.as_fd() };
            let mut fds =
                [self.signals.as_fd(), agent_fd, typing_fd].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other.map_err(|error| terminal_failed(error.into()))?,
            };
            self.check()?;
            // The agent first: a question that it took back is not to be answered any more.
            match fds.each_ref().map(|fd| !fd.revents().is_empty()) {
                [_, true, _] => return Ok(Wake::Agent),
                [_, _, true] => return Ok(Wake::Typed),
                _ => {}
            }
        }
    }

    /// Waits until one of these can be read, but no longer than this, and says which can. A signal ends it, and the program
    /// with it.
    pub(crate) fn wait_for<const N: usize>(
        &self,
        others: [Option<BorrowedFd<'_>>; N],
        limit: Duration,
    ) -> Result<[bool; N], Problem> {
        let end = Instant::now() + limit;
        loop {
            // Whoever is not waited for is stood in for by the signals.
            let fds = [Some(self.signals.as_fd())].into_iter().chain(others);
            let mut fds: Vec<_> =
                fds.map(|fd| PollFd::from_borrowed_fd(fd.unwrap_or(self.signals.as_fd()), PollFlags::IN)).collect();
            let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).ok();
            match poll(&mut fds, left.as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other.map_err(|error| terminal_failed(error.into()))?,
            };
            self.check()?;
            let mut ready = fds.iter().skip(1).map(|fd| !fd.revents().is_empty());
            return Ok(others.map(|other| ready.next().unwrap_or_default() && other.is_some()));
        }
    }

    /// Does nothing for so long. A signal ends it, and the program with it.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), Problem> {
        self.wait_for([], time).map(|[]| ())
    }

    /// Whether the program is to go on, and not to end by a signal.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        self.signals.latest().map_or(Ok(()), |signal| Err(Problem::interrupted(signal)))
    }

    /// Whether the terminal was closed, and not only its input ended (Ctrl-D).
    fn is_gone(&self) -> bool {
        let mut input = [PollFd::from_borrowed_fd(self.input.as_fd(), PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.is_tty && poll(&mut input, Some(&now)).is_ok() && input[0].revents().contains(PollFlags::HUP)
    }

    /// The next line, if it is there, without its end.
    fn take_line(&mut self) -> Option<Typed> {
        let end = self.unasked.iter().position(|byte| *byte == b'\n')?;
        let rest = Zeroizing::new(self.unasked.get(end + 1..).unwrap_or_default().to_vec());
        let all = std::mem::replace(&mut self.unasked, rest);
        Some(typed(all.get(..end).unwrap_or_default()))
    }

    /// What is left at the end of the input: a script's last line counts without its end, a person's does not.
    fn take_rest(&mut self) -> Typed {
        let rest = std::mem::take(&mut self.unasked);
        if self.is_tty || rest.is_empty() { Typed::End } else { typed(&rest) }
    }
}

/// Only a plain yes is one.
pub(crate) fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// A line as an answer. No PIN or passphrase that could be passed on is anything but UTF-8.
fn typed(line: &[u8]) -> Typed {
    std::str::from_utf8(line).map_or(Typed::End, |line| Typed::Line(line.trim_end_matches('\r').into()))
}

fn terminal_failed(error: io::Error) -> Problem {
    Problem::failed(format!("the terminal can't be used: {error}"))
}

/// A question that is up. While a secret is typed the terminal does not show it; dropping the question puts the terminal
/// right, and throws away what was typed and not sent, which else the shell would read as a command.
#[derive(Debug)]
pub(crate) struct Question<'t> {
    terminal: &'t mut Terminal,
    saved: Option<Termios>,
    /// Whether the terminal shows what is typed, the end of the line included.
    echoed: bool,
    at_line_start: bool,
}

impl Question<'_> {
    /// Waits until the person typed something, or `agent` has something to say.
    pub(crate) fn wait(&self, agent: Option<BorrowedFd<'_>>) -> Result<Wake, Problem> {
        if self.terminal.unasked.contains(&b'\n') {
            return Ok(Wake::Typed);
        }
        self.terminal.wait(true, agent)
    }

    /// Reads what was typed.
    pub(crate) fn read(&mut self) -> Result<Typed, Problem> {
        if let Some(line) = self.terminal.take_line() {
            return Ok(line);
        }
        let mut typed = Zeroizing::new([0; LONGEST_ANSWER]);
        let read = match rustix::io::read(&self.terminal.input, &mut *typed) {
            // A window that was closed has not said no.
            Ok(0) | Err(rustix::io::Errno::IO) if self.terminal.is_gone() => {
                return Err(terminal_failed(rustix::io::Errno::IO.into()));
            }
            Ok(0) | Err(rustix::io::Errno::IO) => return Ok(self.terminal.take_rest()),
            Ok(read) => read,
            Err(error) => return Err(terminal_failed(error.into())),
        };
        // A vector that grows leaves copies behind, so the room is made at once.
        let mut all = Zeroizing::new(Vec::with_capacity(self.terminal.unasked.len() + read));
        all.extend_from_slice(&self.terminal.unasked);
        all.extend_from_slice(typed.get(..read).unwrap_or_default());
        if all.len() > LONGEST_ANSWER {
            return Err(Problem::failed("the answer is longer than any PIN or passphrase"));
        }
        self.terminal.unasked = all;
        let line = self.terminal.take_line();
        self.at_line_start = self.echoed && line.is_some();
        Ok(line.unwrap_or(Typed::Unfinished))
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let input = &self.terminal.input;
        let _ = match &self.saved {
            Some(saved) => tcsetattr(input, OptionalActions::Flush, saved),
            None if self.terminal.is_tty => tcflush(input, QueueSelector::IFlush),
            None => Ok(()),
        };
        if !self.at_line_start {
            self.terminal.write("\n");
        }
    }
}
