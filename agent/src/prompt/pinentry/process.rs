//! A pinentry's process, and the terminal it may have taken over.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::net::unix::pipe;
use tokio::sync::OwnedMutexGuard;

use crate::prompt::assuan::Assuan;
use crate::prompt::environment::Environment;
use crate::prompt::tty::Tty;

/// How long a pinentry that was told to end may take to put the terminal right.
const GRACE: Duration = Duration::from_millis(500);

/// The process. Dropping it ends it and gives the terminal back, in a thread of its own, since that may take a moment.
pub(super) struct Process {
    pub(super) assuan: Assuan<pipe::Receiver, pipe::Sender>,
    child: Option<Child>,
    pub(super) tty: Option<Tty>,
    turn: Option<OwnedMutexGuard<()>>,
    /// Whether it shows its dialog on a terminal's other screen.
    pub(super) full_screen: bool,
    /// Whether it has said its last word, and ends with its input.
    pub(super) ends_by_itself: bool,
}

impl Process {
    pub(super) fn start(
        program: &Path,
        environment: &Environment,
        tty: Option<Tty>,
        turn: OwnedMutexGuard<()>,
    ) -> std::io::Result<Self> {
        let mut command = Command::new(program);
        command.env_clear().envs(environment.whole()).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let pipes = child.stdin.take().map(OwnedFd::from).zip(child.stdout.take().map(OwnedFd::from));
        let connect = |(to, from)| Ok((pipe::Receiver::from_owned_fd(from)?, pipe::Sender::from_owned_fd(to)?));
        let connected = pipes.ok_or_else(|| std::io::Error::other("its pipes are missing")).and_then(connect);
        match connected {
            Ok((from, to)) => Ok(Self {
                assuan: Assuan::new(from, to),
                child: Some(child),
                tty,
                turn: Some(turn),
                full_screen: false,
                ends_by_itself: false,
            }),
            Err(error) => {
                let _ = child.kill().and_then(|()| child.wait());
                Err(error)
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else { return };
        let (tty, turn) = (self.tty.take(), self.turn.take());
        let (full_screen, ends_by_itself) = (self.full_screen, self.ends_by_itself);
        let end = move || {
            end(child, tty.as_ref(), full_screen, ends_by_itself);
            drop(turn);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(end)),
            Err(_) => end(),
        }
    }
}

/// Ends a pinentry. One with curses puts the terminal right when it is told to end; the others, and one that is killed, do
/// not, so that is done for them.
fn end(mut child: Child, tty: Option<&Tty>, full_screen: bool, ends_by_itself: bool) {
    let pid = Pid::from_child(&child);
    let ended = ends_by_itself && ended_within(&mut child, GRACE);
    if !ended {
        // One that was stopped gets the signal once it goes on.
        let _ = kill_process(pid, Signal::TERM).and_then(|()| kill_process(pid, Signal::CONT));
        if !ended_within(&mut child, GRACE) {
            let _ = child.kill();
        }
    }
    let killed = child.wait().is_ok_and(|status| status.signal().is_some());
    if let Some(tty) = tty.filter(|_| killed || !ended) {
        if full_screen && killed {
            tty.leave_full_screen();
        }
        tty.restore();
    }
}

/// Whether a child ends within this time.
fn ended_within(child: &mut Child, limit: Duration) -> bool {
    let Ok(handle) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) else { return false };
    let limit = Timespec::try_from(limit).ok();
    // Readable when it has ended (pidfd_open(2)).
    let _ = poll(&mut [PollFd::new(&handle, PollFlags::IN)], limit.as_ref());
    matches!(child.try_wait(), Ok(Some(_)))
}
