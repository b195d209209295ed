//! The recorder: strace on the threads that are on the way of each signature.

use std::fmt;
use std::path::Path;

use tests::{Agent, Strace, Thread};

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
    strace: Strace,
}

impl Recorder {
    /// Records from now on, and has the agent killed before it makes the call `last` of this thread. `without_sync`: the first
    /// sync says that it succeeded, and is not made.
    pub(crate) fn attach(agent: &Agent, thread: Thread, last: Option<&Call>, without_sync: bool) -> Self {
        let last = last.filter(|call| call.thread == thread);
        let kill = last.map(|Call { name, nth, .. }| format!("{name}:signal=KILL:when={nth}"));
        let skip = (without_sync && thread == Thread::Audit).then_some("fdatasync:retval=0:when=1");
        Self { thread, strace: Strace::attach(agent, thread, kill.as_deref().into_iter().chain(skip)) }
    }

    /// What was recorded. The thread has to be gone.
    pub(crate) fn end(self) -> Recording {
        Recording { thread: self.thread, text: self.strace.end() }
    }
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

    /// How many bytes of a log were written, and then synced in earnest.
    pub(crate) fn synced(&self, log: &Path) -> usize {
        // A new segment has its own name until it is on disk as a whole.
        let names = [log.to_owned(), log.with_extension("new.jsonl")].map(|file| format!("<{}>", file.display()));
        let (mut written, mut synced) = (0, 0);
        for line in self.text.lines().filter(|line| names.iter().any(|name| line.contains(name))) {
            let Some((_, result)) = line.rsplit_once(" = ") else { continue };
            match name(line) {
                Some("write") => written += result.parse().unwrap_or(0),
                // strace says so of one that was not made.
                Some("fdatasync" | "fsync") if result == "0" => synced = written,
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
