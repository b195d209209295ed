//! A login by the `ssh` that the person uses, whose words are read on the way.
//!
//! They are the words of strangers, too: what a host sends stands between those of `ssh`, and may look like them.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::attended::while_asked_here;
use crate::problem::Problem;
use crate::terminal::Terminal;

/// What is run there: it changes nothing.
pub(crate) const HARMLESS: &str = "true";

/// The most of what `ssh` says that is kept, in bytes.
const MOST_WORDS: u64 = 1024 * 1024;

/// How long a host may be silent, in seconds. What a person takes to log in on the hosts before it counts, and that is twice
/// what the agent gives them for one.
pub(crate) const CONNECT_TIMEOUT: u32 = 240;

/// What holds whatever the configuration says: nobody is asked for a password or about a host, no connection is used that is
/// there already, no port is forwarded and no other command run.
pub(crate) const OPTIONS: [&str; 7] = [
    "BatchMode=yes",
    "ClearAllForwardings=yes",
    "ControlMaster=no",
    "ControlPath=none",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
];

/// How it went.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What `ssh` ended with; None where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<Line>,
    pub(crate) took: Duration,
}

/// A line that came from `ssh`, or from whoever it talks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// When it came, since the beginning.
    pub(crate) at: Duration,
    pub(crate) text: String,
}

impl Ended {
    pub(crate) fn words(&self) -> String {
        self.lines.iter().map(|line| format!("{}\n", line.text)).collect()
    }
}

/// Runs `ssh -v` with these arguments and this agent, or the one that its environment names. What the agent asks meanwhile, it
/// asks at this terminal if somebody sits here.
pub(crate) fn run(arguments: &[OsString], agent: Option<&Path>, terminal: &mut Terminal) -> Result<Ended, Problem> {
    let mut ssh = Command::new("ssh");
    ssh.arg("-v").args(arguments).env("LC_ALL", "C");
    ssh.envs(agent.map(|socket| ("SSH_AUTH_SOCK", socket)));
    let began = Instant::now();
    let mut ssh = start(ssh.stderr(Stdio::piped()))?;
    let hang_up = hang_up(&ssh);
    while_asked_here(terminal, || wait(&mut ssh, began), hang_up)
}

/// Runs `ssh -v` with these arguments, which is not to ask anybody anything. What is heard is its own log: not that of the `ssh`
/// that goes to a jump host, nor a host's banner; but messages of the host's, and of whoever is on the way there, stand between
/// its words and may look like them (SSH_MSG_DEBUG). It is ended once `heard` has heard enough.
///
/// The folder is one in which nobody else makes files.
pub(crate) fn listen(
    arguments: &[OsString],
    folder: &Path,
    terminal: &mut Terminal,
    mut heard: impl FnMut(&str) -> ControlFlow<()> + Send,
) -> Result<(), Problem> {
    let failed = |error: std::io::Error| Problem::failed(format!("ssh can't be listened to: {error}"));
    let pipe = folder.join("words");
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
    // Who opens both its ends waits for nobody, and it has no end as long as this is open.
    let open = OpenOptions::new().read(true).write(true).open(&pipe).map_err(failed)?;
    let open = Mutex::new(Some(open));
    let close = || drop(open.lock().unwrap_or_else(PoisonError::into_inner).take());
    let words = File::open(&pipe).map_err(failed)?;
    let mut ssh = Command::new("ssh");
    ssh.arg("-v").arg("-E").arg(&pipe).args(arguments).env("LC_ALL", "C");
    // Otherwise it asks for a PIN at the terminal where a token wants one (identity_sign of OpenSSH's sshconnect2.c).
    ssh.env("SSH_ASKPASS", "false").env("SSH_ASKPASS_REQUIRE", "force");
    let mut ssh = start(ssh.stderr(Stdio::null()))?;
    let (enough, interrupted) = (hang_up(&ssh), hang_up(&ssh));
    let hear = || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ = ssh.wait();
                close();
            });
            let ended = each_line(words, |line| heard(&String::from_utf8_lossy(line)));
            enough();
            // Nobody listens any more: `ssh` is not to wait for that, however much a host has it write.
            close();
            ended.map_err(failed)
        })
    };
    while_asked_here(terminal, hear, interrupted)
}

fn start(ssh: &mut Command) -> Result<Child, Problem> {
    ssh.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(|error| {
        Problem::failed(format!("ssh can't be started: {error}")).next("Install OpenSSH's client, and repeat.")
    })
}

/// What ends it.
fn hang_up(ssh: &Child) -> impl FnOnce() + Send + use<> {
    let handle = Pid::from_raw(ssh.id().cast_signed()).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
    move || {
        if let Some(Ok(handle)) = handle {
            let _ = pidfd_send_signal(handle, Signal::TERM);
        }
    }
}

fn wait(ssh: &mut Child, began: Instant) -> Result<Ended, Problem> {
    let failed = |error: std::io::Error| Problem::failed(format!("ssh can't be waited for: {error}"));
    let mut lines = Vec::new();
    if let Some(stderr) = ssh.stderr.take() {
        let keep = |line: &[u8]| {
            lines.push(Line { at: began.elapsed(), text: String::from_utf8_lossy(line).into_owned() });
            ControlFlow::Continue(())
        };
        each_line(stderr, keep).map_err(failed)?;
        // One that has more to say is not to wait for a reader.
    }
    let status = ssh.wait().map_err(failed)?;
    Ok(Ended { code: status.code(), lines, took: began.elapsed() })
}

/// Reads lines until it ends, there is too much of it, or enough was heard.
fn each_line(from: impl Read, mut heard: impl FnMut(&[u8]) -> ControlFlow<()>) -> std::io::Result<()> {
    let mut from = BufReader::new(from.take(MOST_WORDS));
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        let text = line.trim_ascii_end();
        if heard(text).is_break() {
            break;
        }
        line.clear();
    }
    Ok(())
}
