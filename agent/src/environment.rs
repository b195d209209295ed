//! What the agent is told by the environment it is started in. The one place that reads it, beside the prompts.
#![allow(clippy::disallowed_methods, reason = "the one place that may read the environment: the architecture's rule 5")]

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use anyhow::{Context, bail};
use listenfd::ListenFd;

/// The variables by which a socket is handed over (sd_listen_fds(3)). They are the agent's alone, and for no program that it
/// starts.
pub const HANDED_OVER: [&str; 4] = ["LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The socket that whoever started us has made for us, with LISTEN_PID and LISTEN_FDS. Those meant for another process are
/// passed over, as sd_listen_fds(3) has it.
///
/// # Errors
/// When it is not one socket, listening, in the file system.
pub fn handed_over_socket() -> anyhow::Result<Option<UnixListener>> {
    let is_set = |name| std::env::var_os(name).is_some();
    let for_us = is_set("LISTEN_PID") && is_set("LISTEN_FDS");
    let mut sockets = ListenFd::from_env();
    match sockets.len() {
        _ if !for_us => return Ok(None),
        0 => {
            tracing::warn!("LISTEN_PID names another process, so no socket is taken from LISTEN_FDS");
            return Ok(None);
        }
        1 => {}
        more => bail!("LISTEN_FDS hands over {more} sockets, and an agent has one: give it one ListenStream="),
    }
    let socket = sockets.take_unix_listener(0).context("LISTEN_FDS")?;
    let listening = |socket: &UnixListener| rustix::net::sockopt::socket_acceptconn(socket);
    if let Some(socket) = &socket
        && !listening(socket).context("LISTEN_FDS")?
    {
        bail!("the socket in LISTEN_FDS is a connection, not one that connections come to: set Accept=no");
    }
    Ok(socket)
}

/// The socket in SSH_AUTH_SOCK.
#[must_use]
pub fn socket_in_environment() -> Option<PathBuf> {
    std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The agent's process id in SSH_AGENT_PID.
#[must_use]
pub fn agent_in_environment() -> Option<String> {
    std::env::var("SSH_AGENT_PID").ok().filter(|pid| !pid.is_empty())
}

/// Whether $SHELL is a C shell, for which commands are written otherwise.
#[must_use]
pub fn shell_is_csh() -> bool {
    std::env::var("SHELL").is_ok_and(|shell| shell.ends_with("csh"))
}
