//! The way to the background: this program starts itself again, and waits until the agent serves. Forking would be unsound
//! with threads about.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use agent::arguments::Arguments;
use agent::environment::HANDED_OVER;
use agent::paths::Paths;
use anyhow::{Context, bail};

/// An agent in the background.
pub(crate) struct Started {
    pub(crate) socket: PathBuf,
    pub(crate) pid: u32,
}

/// Starts the agent. Where that fails, None: the agent itself has said why, on the standard error it shares with us.
pub(crate) fn start(arguments: &Arguments) -> anyhow::Result<Option<Started>> {
    let own = std::env::current_exe().context("the agent can't find its own program")?;
    let mut command = Command::new(own);
    command.args(arguments.for_the_background()?).stdin(Stdio::null()).stdout(Stdio::piped());
    for variable in HANDED_OVER {
        command.env_remove(variable);
    }
    let mut child = command.spawn().context("the agent can't be started")?;
    let mut socket = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_end(&mut socket)?;
    }
    if !socket.is_empty() {
        return Ok(Some(Started { socket: OsString::from_vec(socket).into(), pid: child.id() }));
    }
    let status = child.wait()?;
    if status.code().is_none() {
        bail!("the agent ended before it served ({status})");
    }
    Ok(None)
}

/// Goes on as COMMAND, whose child the agent is then. Returns only where it can't be started, which the agent takes for its
/// end.
pub(crate) fn become_command(command: &[OsString], agent: &Started) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("there is no COMMAND")?;
    let mut command = Command::new(program);
    command.args(arguments).env("SSH_AUTH_SOCK", &agent.socket).env("SSH_AGENT_PID", agent.pid.to_string());
    for variable in HANDED_OVER {
        command.env_remove(variable);
    }
    let error = command.exec();
    Err(error).with_context(|| program.display().to_string())
}

/// Leaves the session of whoever started us, so that neither a Ctrl-C nor a closed terminal ends the agent.
pub(crate) fn detach() -> std::io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Says where the agent serves, and leaves the terminal: from now on messages go to a file, and no folder is held on to.
pub(crate) fn announce(paths: &Paths) -> std::io::Result<()> {
    let messages = OpenOptions::new().append(true).create(true).mode(0o600).open(paths.messages())?;
    std::env::set_current_dir(Path::new("/"))?;
    let mut stdout = std::io::stdout();
    stdout.write_all(paths.socket.as_os_str().as_bytes())?;
    stdout.flush()?;
    rustix::stdio::dup2_stderr(&messages)?;
    rustix::stdio::dup2_stdout(&messages).map_err(Into::into)
}
