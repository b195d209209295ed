//! Programs that a test runs.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::{Output, PATIENCE, Person};

/// A program to be run.
#[derive(Debug)]
pub struct Program {
    command: Command,
    input: Vec<u8>,
    interactive: bool,
}

impl Program {
    pub(crate) fn new(command: Command) -> Self {
        Self { command, input: Vec::new(), interactive: false }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable of its environment.
    #[must_use]
    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Has it ask this person what it wants to know.
    #[must_use]
    pub fn asking(mut self, person: &Person) -> Self {
        person.answer_for(&mut self.command);
        self
    }

    /// Runs it in this folder.
    #[must_use]
    pub fn current_dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Gives it this on standard input, where there is nothing otherwise.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Lets the test write to its standard input while it runs.
    #[must_use]
    pub fn interactive(mut self) -> Self {
        self.interactive = true;
        self
    }

    /// Starts it. Dropping it kills it.
    pub fn start(mut self) -> Running {
        let has_input = self.interactive || !self.input.is_empty();
        let stdin = if has_input { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let what = format!("{:?}", self.command.get_program());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut stdin = child.stdin.take();
        if let Some(stdin) = &mut stdin {
            // It may end without reading all.
            let _ = stdin.write_all(&self.input);
        }
        let stdout = Output::of(child.stdout.take().unwrap());
        let stderr = Output::of(child.stderr.take().unwrap());
        let stdin = stdin.filter(|_| self.interactive);
        Running { what: format!("{:?}", self.command), child, stdin, stdout, stderr }
    }

    /// Runs it to its end.
    pub fn run(self) -> Ended {
        self.start().wait()
    }

    /// The command, for what runs it otherwise.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }
}

/// A program that runs.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Output,
    stderr: Output,
}

impl Running {
    /// Writes a line to its standard input. It has to be [`Program::interactive`].
    pub fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("it is interactive");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("it reads what is typed");
    }

    /// What it has written to standard output.
    #[must_use]
    pub fn stdout(&self) -> &Output {
        &self.stdout
    }

    /// What it has written to standard error.
    #[must_use]
    pub fn stderr(&self) -> &Output {
        &self.stderr
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs still.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).expect("a process of ours takes a signal");
    }

    /// Kills it as a power failure would, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("a process of ours can be killed");
    }

    /// Waits until it has ended by itself. Panics when it does not.
    pub fn wait_until_gone(&mut self) -> ExitStatus {
        wait_within(&mut self.child, PATIENCE).unwrap_or_else(|| {
            panic!("{} did not end; it said:\n{}\n{}", self.what, self.stdout, self.stderr);
        })
    }

    /// Waits for its end. Panics when it does not come.
    #[must_use = "see whether it succeeded"]
    pub fn wait(mut self) -> Ended {
        self.stdin = None;
        let status = self.wait_until_gone();
        Ended {
            what: self.what.clone(),
            status,
            stdout: self.stdout.wait_for_end(),
            stderr: self.stderr.wait_for_end(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    what: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ended {
    /// Panics with all it wrote unless it succeeded.
    pub fn success(self) -> Self {
        self.code(0)
    }

    /// Panics with all it wrote unless it ended with this code.
    pub fn code(self, expected: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(expected),
            "the status of {}, which wrote:\n{}\n{}",
            self.what,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// The most memory a process ever had in use, in KiB (VmHWM: proc(5)). None where it has ended.
#[must_use]
pub fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().trim_end_matches(" kB").parse().ok()
}

/// The child of a process whose name begins so, if there is one (proc(5); a name has 15 characters there).
#[must_use]
pub fn child_of(pid: u32, name: &str) -> Option<Pid> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let named = |child: &&str| {
        std::fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|found| found.starts_with(name))
    };
    children.split_whitespace().find(named)?.parse().ok().and_then(Pid::from_raw)
}

/// A child's status, or None when it goes on after `limit`.
pub(crate) fn wait_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let handle = pidfd_open(pid(child), PidfdFlags::empty()).expect("a child has a handle");
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        let left = end.checked_duration_since(Instant::now())?;
        let left = Timespec::try_from(left).expect("a short time");
        // Readable when it has ended (pidfd_open(2)).
        let _ = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&left));
    }
}

pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}
