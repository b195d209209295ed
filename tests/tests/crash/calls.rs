//! The recorder: strace on one thread of the agent.

use std::fmt;
use std::path::Path;

use tests::{Env, Running};

/// A thread of the agent that is on the way of each signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thread {
    /// It speaks to clients, helpers and upstream agents.
    Main,
    /// It writes the log.
    Audit,
}

/// A system call, as strace finds it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) thread: Thread,
    pub(crate) name: String,
    /// The first of that name is 1.
    pub(crate) nth: usize,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} number {} of thread {:?}", self.name, self.nth, self.thread)
    }
}

/// strace, on one thread.
pub(crate) struct Recorder {
    thread: Thread,
    strace: Running,
}

impl Recorder {
    /// Records from now on, and has the agent killed before it makes the call `last` of this thread. `without_sync`: the first
    /// sync says that it succeeded, and is not made.
    pub(crate) fn attach(env: &Env, agent: u32, thread: Thread, last: Option<&Call>, without_sync: bool) -> Self {
        let mut strace = env.program("strace").args(["-y", "-s", "0", "-p"]).arg(id(agent, thread));
        if let Some(Call { name, nth, .. }) = last.filter(|call| call.thread == thread) {
            strace = strace.args(["-e", &format!("inject={name}:signal=KILL:when={nth}")]);
        }
        if without_sync && thread == Thread::Audit {
            strace = strace.args(["-e", "inject=fdatasync:retval=0:when=1"]);
        }
        let strace = strace.start();
        strace.stderr().wait_for(" attached");
        Self { thread, strace }
    }

    /// What was recorded. The thread has to be gone.
    pub(crate) fn end(self) -> Recording {
        Recording { thread: self.thread, text: self.strace.wait().stderr }
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

/// What one thread did.
pub(crate) struct Recording {
    thread: Thread,
    text: String,
}

impl Recording {
    /// Its system calls. Lines about signals and about strace itself are none.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let mut calls: Vec<Call> = Vec::new();
        for line in self.text.lines() {
            let Some(name) = name(line) else { continue };
            let before = calls.iter().filter(|call| call.name == name).count();
            calls.push(Call { thread: self.thread, name: name.into(), nth: before + 1 });
        }
        calls
    }

    /// How many bytes of a file were written, and then synced in earnest.
    pub(crate) fn synced(&self, file: &Path) -> usize {
        let file = format!("<{}>", file.display());
        let (mut written, mut synced) = (0, 0);
        for line in self.text.lines().filter(|line| line.contains(&file)) {
            let Some((_, result)) = line.rsplit_once(" = ") else { continue };
            match name(line) {
                Some("write") => written += result.parse().unwrap_or(0),
                // strace says so of one that was not made.
                Some("fdatasync") if result == "0" => synced = written,
                _ => {}
            }
        }
        synced
    }
}

fn name(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('(')?;
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}
