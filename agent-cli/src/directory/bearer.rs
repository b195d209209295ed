//! The access token: from the command in the settings, or from standard input. It is nowhere but in memory.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use secrecy::SecretString;
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use crate::problem::Problem;
use crate::terminal::Terminal;

/// The longest access token, and the longest answer of a command that has one in it, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;
const LONGEST_ANSWER: usize = 64 * 1024;

/// How much is read at a time.
const CHUNK: usize = 4096;

/// How much is shown of what a command has to say.
const MOST_SHOWN: usize = 2048;

/// What the Azure CLI prints.
#[derive(Deserialize)]
struct Printed<'a> {
    #[serde(rename = "accessToken", borrow)]
    access_token: Cow<'a, str>,
}

/// An access token by this command.
pub(super) fn from_command(words: &[String], limit: Duration, terminal: &Terminal) -> Result<SecretString, Problem> {
    let said = run(words, limit, terminal)?;
    let named = &words.join(" ");
    let unreadable = || {
        Problem::failed(format!("`{named}` does not print an access token, as JSON with accessToken"))
            .next("Run it yourself, and look at publish.token_command in the settings.")
    };
    // What is wrong with it is not said: the parser would show the token.
    let Printed { access_token } = serde_json::from_slice(&said).map_err(|_| unreadable())?;
    let token = checked(&access_token);
    if let Cow::Owned(mut copy) = access_token {
        copy.zeroize();
    }
    token.ok_or_else(unreadable)
}

/// An access token from a line of standard input. What comes behind that line is left there, for the questions.
pub(super) fn from_stdin() -> Result<SecretString, Problem> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST_TOKEN + 1));
    let mut byte = Zeroizing::new([0]);
    while line.len() <= LONGEST_TOKEN {
        match rustix::io::read(io::stdin(), &mut *byte) {
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) => line.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return Err(Problem::failed(format!("standard input can't be read: {}", io::Error::from(error))));
            }
        }
    }
    let token = std::str::from_utf8(&line).ok().and_then(|line| checked(line.trim()));
    token.ok_or_else(|| Problem::failed("the first line of standard input is no access token").next(
        "With --token-stdin it is the token alone: `az account get-access-token --query accessToken --output tsv` prints that.",
    ))
}

/// What can be an access token (RFC 6750 § 2.1): it stands in a header, and nothing else may come with it.
fn checked(token: &str) -> Option<SecretString> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    (!token.is_empty() && token.len() <= LONGEST_TOKEN && token.bytes().all(good)).then(|| SecretString::from(token))
}

/// Runs a command, and returns what it prints. What it has to say besides is shown where it fails.
fn run(words: &[String], limit: Duration, terminal: &Terminal) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let named = &words.join(" ");
    let (program, arguments) = words.split_first().ok_or_else(|| Problem::failed("publish.token_command is empty"))?;
    let mut command = Command::new(program);
    // A group of its own, so that what it starts ends with it.
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let running = command.spawn().and_then(Running::new).map_err(|error| {
        let next = "Install the Azure CLI, or name another command in the settings (publish.token_command), or hand the access \
                    token over with --token-stdin. Where keys are registered in a file, and not in an account, name it in the \
                    settings (publish.place).";
        Problem::failed(format!("the access token's command `{named}` can't be run: {error}")).next(next)
    })?;
    let Outcome { end, printed, said } = running.wait(limit, terminal)?;
    let with_its_words = |problem: Problem| {
        let said = String::from_utf8_lossy(&said);
        let lines = said.lines().filter(|line| !line.trim().is_empty());
        lines.fold(problem, |problem, line| problem.next(format!("> {line}")))
    };
    match end {
        End::Status(status) if status.success() => Ok(printed),
        End::Status(status) => Err(with_its_words(Problem::failed(format!("`{named}` failed: {status}")))
            .next("Sign in (`az login`), and repeat it.")),
        End::TooMuch => Err(Problem::failed(format!("`{named}` prints more than any access token"))
            .next("Run it yourself, and look at publish.token_command in the settings.")),
        End::Late => {
            Err(with_its_words(Problem::failed(format!("`{named}` did not end within {} seconds", limit.as_secs())))
                .next("Run it yourself: it may want something of you."))
        }
    }
}

enum End {
    Status(ExitStatus),
    TooMuch,
    Late,
}

/// What a command came to.
struct Outcome {
    end: End,
    printed: Zeroizing<Vec<u8>>,
    said: Vec<u8>,
}

/// The command while it runs. Whatever happens, it is gone afterwards, with all that it has started.
struct Running {
    child: Child,
    handle: OwnedFd,
}

impl Running {
    fn new(mut child: Child) -> io::Result<Self> {
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(handle) => Ok(Self { child, handle }),
            Err(error) => {
                let _ = child.kill().and_then(|()| child.wait());
                Err(error.into())
            }
        }
    }

    /// Waits until it has ended, and reads what it prints until then. What it started may hold its output open for longer.
    fn wait(mut self, limit: Duration, terminal: &Terminal) -> Result<Outcome, Problem> {
        let (mut stdout, mut stderr) = (self.child.stdout.take(), self.child.stderr.take());
        // With room for all of it from the start: a vector that grows leaves copies behind.
        let mut printed = Zeroizing::new(Vec::with_capacity(LONGEST_ANSWER + CHUNK));
        let mut said = Vec::new();
        let deadline = Instant::now() + limit;
        let end = loop {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break End::Late };
            let pipes = [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
            let [out, err, ended] = terminal.wait_for([pipes[0], pipes[1], Some(self.handle.as_fd())], left)?;
            if out && read(&mut stdout, &mut printed)? == 0 {
                stdout = None;
            }
            if err && read(&mut stderr, &mut said)? == 0 {
                stderr = None;
            }
            said.truncate(MOST_SHOWN);
            if printed.len() > LONGEST_ANSWER {
                break End::TooMuch;
            }
            if ended && !out && !err {
                break End::Status(self.end().map_err(unreadable)?);
            }
        };
        Ok(Outcome { end, printed, said })
    }

    /// Ends what is left of it. Its group is its own for as long as nobody has waited for it.
    fn end(&mut self) -> io::Result<ExitStatus> {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        self.child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.end();
        }
    }
}

/// Reads what is there, a piece of it.
fn read(pipe: &mut Option<impl AsFd>, into: &mut Vec<u8>) -> Result<usize, Problem> {
    let Some(pipe) = pipe else { return Ok(0) };
    let mut chunk = Zeroizing::new([0; CHUNK]);
    let count = rustix::io::read(pipe, &mut *chunk).map_err(|error| unreadable(error.into()))?;
    into.extend_from_slice(chunk.get(..count).unwrap_or_default());
    Ok(count)
}

fn unreadable(error: io::Error) -> Problem {
    Problem::failed(format!("what the access token's command prints can't be read: {error}"))
}
