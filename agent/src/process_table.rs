//! What the process table says of a client. It is a report, not a proof: a process can change all of it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::str::FromStr;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::peer::{Peer, Process};

/// How many generations are looked at: ssh, its shell, a multiplexer, a terminal, a session.
const GENERATIONS: usize = 8;

/// How much of a command line is kept for each process of each connection, in bytes.
const MOST_ARGUMENTS: u64 = 4096;

/// How many clients are looked up at a time. A process can have its command line read from a file system of its own, which
/// never answers; such ones must not use up the threads that others need.
const MOST_LOOK_UPS: usize = 4;

/// How long a client is looked up. The answer takes a fraction of a millisecond, or does not come.
const PATIENCE: Duration = Duration::from_secs(1);

static LOOK_UPS: Semaphore = Semaphore::const_new(MOST_LOOK_UPS);

/// Completes a client by its process and that one's parents, unless it is complete. This costs more than most requests, so
/// it is done when it is needed first. What can't be found out in time stays unknown.
pub(crate) async fn look_up(peer: &mut Peer) {
    if !peer.processes.is_empty() {
        return;
    }
    let pid = peer.pid;
    peer.processes = read(pid, move || processes(pid)).await;
}

/// The processes that connect an ssh with the host it goes to: the child to which it gives its jump host's connection, that
/// one's child, and so on (ssh.c, `main`, makes a ProxyCommand of a ProxyJump). What can't be found out in time stays unknown.
pub(crate) async fn proxies(pid: i32) -> Vec<Process> {
    read(pid, move || generations(pid, &children())).await
}

async fn read(pid: i32, what: impl FnOnce() -> Vec<Process> + Send + 'static) -> Vec<Process> {
    let found = async {
        let permit = LOOK_UPS.acquire().await.ok()?;
        let read = move || {
            let _until_it_is_done = permit;
            what()
        };
        tokio::task::spawn_blocking(read).await.ok()
    };
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(found) => found.unwrap_or_default(),
        Err(_) => {
            tracing::warn!(pid, "the process table does not say in time who a client is");
            Vec::new()
        }
    }
}

fn processes(pid: i32) -> Vec<Process> {
    let mut processes = Vec::new();
    let mut next = pid;
    while next > 1 && processes.len() < GENERATIONS {
        processes.push(process(next));
        next = parent(next).unwrap_or_default();
    }
    processes
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

/// All processes, by their parents.
fn children() -> HashMap<i32, Vec<i32>> {
    let mut children: HashMap<_, Vec<_>> = HashMap::new();
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    for pid in names.filter_map(|name| name.to_str()?.parse().ok()) {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

/// The only child of each, as far as it is an ssh. A shell may stand between, that of the ProxyCommand.
fn generations(pid: i32, children: &HashMap<i32, Vec<i32>>) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![pid];
    for _ in 0..GENERATIONS {
        let born: Vec<_> = parents.iter().filter_map(|parent| children.get(parent)).flatten().copied().collect();
        let mut born: Vec<_> = born.into_iter().take(GENERATIONS).map(process).collect();
        // An ssh has one ProxyCommand. What else it has started (a LocalCommand, askpass) is no ssh.
        match born.iter().position(|process| process.name() == "ssh") {
            Some(ssh) => {
                let ssh = born.swap_remove(ssh);
                parents = vec![ssh.pid];
                found.push(ssh);
            }
            None => parents = born.iter().map(|process| process.pid).collect(),
        }
    }
    found
}

fn parent(pid: i32) -> Option<i32> {
    field(pid, 4)
}

/// When a process started, in ticks since boot. With its number, this is a process's own for good. The kernel answers by
/// itself, without a look at the memory of the process, so this never takes long.
pub(crate) fn started(pid: i32) -> Option<u64> {
    field(pid, 22)
}

/// A field of /proc/PID/stat, behind the second: that is the name in parentheses, and may hold anything (proc(5)).
fn field<T: FromStr>(pid: i32, number: usize) -> Option<T> {
    const BEHIND_NAME: usize = 3;
    // A name need not be UTF-8.
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(number.checked_sub(BEHIND_NAME)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_test_finds_itself_and_its_parent() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let mut peer = Peer { pid, ..Peer::default() };
        look_up(&mut peer).await;
        assert_eq!(peer.processes[0].executable, std::env::current_exe().ok());
        assert_eq!(peer.processes[0].directory, std::env::current_dir().ok());
        assert_eq!(parent(pid), rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()));
    }

    #[test]
    fn a_process_has_its_own_start() {
        let start = |pid| started(pid);
        let (own, first) = (start(i32::try_from(std::process::id()).unwrap()), start(1));
        assert!(own > first && first.is_some(), "{own:?} {first:?}");
        assert_eq!(start(-1), None);
    }

    #[test]
    fn a_proxy_is_found_behind_its_shell() {
        // The program that a process runs makes an ssh of it.
        let folder = tempfile::tempdir().unwrap();
        let ssh = folder.path().join("ssh");
        fs::copy("/bin/sh", &ssh).unwrap();
        let script = format!("{} -c 'echo; read line' -W x jump; true", ssh.display());
        let mut shell = std::process::Command::new("/bin/sh")
            .args(["-c", &script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // It runs as soon as it says something.
        shell.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let mut children = children();
        // Other tests have children too.
        children.insert(-1, vec![i32::try_from(shell.id()).unwrap()]);
        let found = generations(-1, &children);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].executable.as_deref(), Some(ssh.as_path()));
        assert_eq!(found[0].arguments.last().unwrap(), "jump");
    }
}
