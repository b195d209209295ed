//! strace: what a thread of the agent asks of the system, and what it is made to be answered.

use std::ffi::OsStr;
use std::path::Path;

use rustix::process::Signal;

use crate::{Agent, Running};

/// A thread of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thread {
    /// It speaks to clients, helpers and upstream agents.
    Main,
    /// It writes the audit log.
    Audit,
}

/// strace, on one thread. It takes root, since the agent lets nobody else look at what it does.
pub struct Strace(Running);

impl Strace {
    /// From now on, and with this done to some calls (strace's `-e inject=`).
    #[must_use]
    pub fn attach<'a>(agent: &Agent, thread: Thread, inject: impl IntoIterator<Item = &'a str>) -> Self {
        Self::start(agent, thread, inject, &[])
    }

    /// The same for calls about this file alone.
    #[must_use]
    pub fn attach_for<'a>(
        agent: &Agent,
        thread: Thread,
        file: &Path,
        inject: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::start(agent, thread, inject, &["-P".as_ref(), file.as_os_str()])
    }

    fn start<'a>(agent: &Agent, thread: Thread, inject: impl IntoIterator<Item = &'a str>, options: &[&OsStr]) -> Self {
        let mut strace = agent.env().program("strace").args(["-y", "-s", "0", "-p"]).arg(id(agent.pid(), thread));
        for what in inject {
            strace = strace.arg("-e").arg(format!("inject={what}"));
        }
        let strace = strace.args(options).start();
        strace.stderr().wait_for(" attached");
        Self(strace)
    }

    /// Leaves the thread alone from now on.
    pub fn detach(mut self) {
        self.0.signal(Signal::TERM);
        self.0.wait_until_gone();
    }

    /// All that the thread did, a line for each call. It has to be gone.
    #[must_use]
    pub fn end(self) -> String {
        self.0.wait().stderr
    }
}

fn id(agent: u32, thread: Thread) -> String {
    if thread == Thread::Main {
        return agent.to_string();
    }
    let threads = std::fs::read_dir(format!("/proc/{agent}/task")).expect("the agent runs");
    let mut threads = threads.map(|thread| thread.expect("a folder can be read").path());
    let named = |thread: &Path| std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == "audit");
    let audit = threads.find(|thread| named(thread)).expect("a thread writes the log");
    audit.file_name().expect("threads have numbers").to_string_lossy().into_owned()
}
