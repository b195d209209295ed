//! What the system tells the agent: signals, and the end of the program it was started for.

use std::os::fd::OwnedFd;

use anyhow::{Context, bail};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What ends the agent in order: SIGTERM, SIGINT, and the end of its parent.
#[derive(Debug)]
pub(crate) struct End {
    terminate: Signal,
    interrupt: Signal,
    /// Readable once the process has ended (pidfd_open(2)). None where the agent outlives its parent.
    parent: Option<AsyncFd<OwnedFd>>,
}

impl End {
    /// Waits for these from now on. With `parent`, the process that started this one, for its end as well.
    pub(crate) fn catch(parent: Option<Pid>) -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("signals can't be caught");
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            parent: parent.map(watch).transpose()?,
        })
    }

    /// Waits for the first of them.
    pub(crate) async fn come(&mut self) {
        let parent = async {
            match &self.parent {
                Some(parent) => drop(parent.readable().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = parent => {}
        }
    }
}

/// SIGHUP: from the system, when the terminal that the agent runs in is gone; else from somebody who wants it to read its
/// configuration again.
#[derive(Debug)]
pub(crate) struct Hangup {
    signal: Signal,
    had_terminal: bool,
}

/// What a SIGHUP says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HungUp {
    /// The terminal is gone.
    ByTerminal,
    /// It was sent by a program.
    BySomebody,
}

impl Hangup {
    /// Waits for it from now on.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let signal = signal(SignalKind::hangup()).context("signals can't be caught")?;
        Ok(Self { signal, had_terminal: has_terminal() })
    }

    /// Waits for the next one.
    pub(crate) async fn come(&mut self) -> HungUp {
        self.signal.recv().await;
        if self.had_terminal && !has_terminal() { HungUp::ByTerminal } else { HungUp::BySomebody }
    }
}

/// Whether this process has a controlling terminal: it has none any more before it gets the signal that says so.
fn has_terminal() -> bool {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open("/dev/tty", flags, Mode::empty()).is_ok()
}

/// A handle on the parent. Its number may be another's by now, so it has to be the parent still after the handle was made.
#[allow(deprecated, reason = "what takes its place is unsafe, since a descriptor might change; an OwnedFd never does")]
fn watch(parent: Pid) -> anyhow::Result<AsyncFd<OwnedFd>> {
    let handle = pidfd_open(parent, PidfdFlags::empty());
    if getppid() != Some(parent) {
        bail!("the program that the agent was started for has ended");
    }
    let handle = handle.context("the program that the agent was started for can't be watched")?;
    AsyncFd::with_interest(handle, Interest::READABLE).context("the system can't watch programs")
}

/// SIGUSR1: all keys are to be dropped (ssh-agent.c, keydrop_handler).
#[derive(Debug)]
pub(crate) struct KeyDrop(Signal);

impl KeyDrop {
    /// Waits for it from now on.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        Ok(Self(signal(SignalKind::user_defined1()).context("signals can't be caught")?))
    }

    /// Waits for the next one.
    pub(crate) async fn come(&mut self) {
        self.0.recv().await;
    }
}
