//! A login by the `ssh` that the person uses, whose words are read on the way.
//!
//! They are the words of strangers, too: what a host sends stands between those of `ssh`, and may look like them.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::attended::while_asked_here;
use crate::problem::Problem;
use crate::terminal::Terminal;

/// What is run there: it changes nothing.
pub(crate) const HARMLESS: &str = "true";

/// The most of what `ssh` says that is kept, in bytes.
const MOST_WORDS: u64 = 1024 * 1024;

/// What holds whatever the configuration says: nobody is asked for a password or about a host, no connection is used that is
/// there already, no port is forwarded and no other command run.
pub(crate) const OPTIONS: [&str; 8] = [
    "BatchMode=yes",
    "ClearAllForwardings=yes",
    "ConnectTimeout=30",
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
    let mut ssh = ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|error| {
        Problem::failed(format!("ssh can't be started: {error}")).next("Install OpenSSH's client, and repeat.")
    })?;
    let handle = Pid::from_raw(ssh.id().cast_signed()).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
    let hang_up = || {
        if let Some(Ok(handle)) = handle {
            let _ = pidfd_send_signal(handle, Signal::TERM);
        }
    };
    while_asked_here(terminal, || wait(&mut ssh, began), hang_up)
}

fn wait(ssh: &mut Child, began: Instant) -> Result<Ended, Problem> {
    let failed = |error: std::io::Error| Problem::failed(format!("ssh can't be waited for: {error}"));
    let mut lines = Vec::new();
    if let Some(stderr) = ssh.stderr.take() {
        let mut stderr = BufReader::new(stderr.take(MOST_WORDS));
        let mut line = Vec::new();
        while stderr.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            lines.push(Line { at: began.elapsed(), text });
            line.clear();
        }
        // One that has more to say is not to wait for a reader.
    }
    let status = ssh.wait().map_err(failed)?;
    Ok(Ended { code: status.code(), lines, took: began.elapsed() })
}
