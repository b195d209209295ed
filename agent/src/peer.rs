//! Who is at the other end of a connection. All of it is *reported*: by the kernel and the process table.

use std::ffi::OsString;
use std::path::PathBuf;

/// The client of one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// The user id the kernel vouches for (SO_PEERCRED).
    pub uid: u32,
    /// The process id at the time of connecting; a process can pass its connection on to another.
    pub pid: i32,
    /// When the process started, as the process table counts; None where it says nothing.
    pub started: Option<u64>,
    /// Whether the kernel still held the process itself (SO_PEERPIDFD) when that was read, so that it is not another one with
    /// the same number.
    pub pinned: bool,
    /// The process, then its parents, as the process table showed them when they were first asked for; empty until then.
    pub processes: Vec<Process>,
}

/// A process, and none that has its number after it. Those that the system does not name are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// When it started.
    pub started: Option<u64>,
}

/// One process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its program file.
    pub executable: Option<PathBuf>,
    /// Its arguments, the program's name first.
    pub arguments: Vec<OsString>,
    /// Its working directory.
    pub directory: Option<PathBuf>,
}

impl Process {
    /// The program's name without its folders.
    #[must_use]
    pub fn name(&self) -> String {
        let from_executable = self.executable.as_deref().and_then(|path| path.file_name());
        let name = from_executable.map(ToOwned::to_owned).or_else(|| self.arguments.first().cloned());
        name.map_or_else(|| "unknown".into(), |name| name.to_string_lossy().into_owned())
    }
}

impl Peer {
    /// The process, to know it again.
    #[must_use]
    pub fn process_id(&self) -> ProcessId {
        ProcessId { pid: self.pid, started: self.started }
    }

    /// The client as a person reads it: `ssh (1234)`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.processes.first() {
            Some(process) => format!("{} ({})", process.name(), self.pid),
            None => format!("process {}", self.pid),
        }
    }
}
