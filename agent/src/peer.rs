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
    /// The process, then its parents, as the process table showed them when they were first asked for; empty until then.
    pub processes: Vec<Process>,
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
    /// The client as a person reads it: `ssh (1234)`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.processes.first() {
            Some(process) => format!("{} ({})", process.name(), self.pid),
            None => format!("process {}", self.pid),
        }
    }
}
