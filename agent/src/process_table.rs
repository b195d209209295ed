//! What the process table says of a client. It is a report, not a proof: a process can change all of it.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;

use crate::peer::{Peer, Process};

/// How many generations are looked at: ssh, its shell, a multiplexer, a terminal, a session.
const GENERATIONS: usize = 8;

/// How much of a command line is kept for each process of each connection, in bytes.
const MOST_ARGUMENTS: u64 = 4096;

/// The client with this process id, and its parents.
pub(crate) fn peer(uid: u32, pid: i32) -> Peer {
    let mut processes = Vec::new();
    let mut next = pid;
    while next > 1 && processes.len() < GENERATIONS {
        processes.push(process(next));
        next = parent(next).unwrap_or_default();
    }
    Peer { uid, pid, processes }
}

fn process(pid: i32) -> Process {
    let mut arguments = Vec::new();
    if let Ok(file) = fs::File::open(format!("/proc/{pid}/cmdline")) {
        let _ = file.take(MOST_ARGUMENTS).read_to_end(&mut arguments);
    }
    let split = arguments.split(|byte| *byte == 0).filter(|argument| !argument.is_empty());
    Process {
        pid,
        executable: fs::read_link(format!("/proc/{pid}/exe")).ok(),
        arguments: split.map(|argument| OsString::from_vec(argument.to_vec())).collect(),
        directory: fs::read_link(format!("/proc/{pid}/cwd")).ok(),
    }
}

/// The fourth field of /proc/PID/stat; the second is the name in parentheses, and may hold anything (proc(5)).
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_finds_itself_and_its_parent() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let peer = peer(0, pid);
        assert_eq!(peer.processes[0].executable, std::env::current_exe().ok());
        assert_eq!(peer.processes[0].directory, std::env::current_dir().ok());
        assert_eq!(parent(pid), rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()));
    }
}
