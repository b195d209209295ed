//! What the system tells the agent: signals, and the end of the program it was started for.

use std::os::fd::OwnedFd;

use anyhow::{Context, bail};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What ends the agent in order: SIGTERM, SIGINT, SIGHUP, and the end of its parent.
#[derive(Debug)]
pub(crate) struct End {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
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
            hangup: catch(SignalKind::hangup())?,
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
            _ = self.hangup.recv() => {}
            () = parent => {}
        }
    }
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
