//! Who gets in, and how much of the agent a process may take for itself.
//!
//! An `ssh` that forwards the agent is one process, however many connections a hostile host opens through it. So what is
//! bounded for each process is what such a host can take away from others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::task::JoinError;

use crate::logging::Throttle;
use crate::peer::Peer;

/// The most connections to the agent's socket. A big `git` or `ansible` run holds some hundred; each idle one costs a few
/// KiB, so that all of them stay below 16 MiB.
const MOST_CLIENTS: usize = 2048;

/// The most of them a process may have: more than any program opens, and an eighth of all.
const MOST_CLIENTS_OF_A_PROCESS: usize = 256;

/// The most connections to the control socket: terminals that are attached, and commands under way. None of them is ever
/// taken by a client of the agent's socket.
const MOST_MANAGERS: usize = 64;

/// The most of them a process may have.
const MOST_MANAGERS_OF_A_PROCESS: usize = 16;

/// The descriptors a client may need: its own, and one to another agent that its request is passed on to.
const DESCRIPTORS_OF_A_CLIENT: usize = 2;

/// The descriptors that are no client's: the control socket's connections, both sockets, the runtime's, the audit log and
/// key files, and six for each of the helpers and prompts that run at a time.
const OTHER_DESCRIPTORS: usize = MOST_MANAGERS + 128;

/// The room for long frames, and for those sent ahead, in KiB: 32 of the longest. A request copies parts of its frame some
/// times, which still leaves all of it far below 64 MiB.
const ROOM: usize = 8 * 1024;

/// The room one process may take of it, in KiB.
const ROOM_OF_A_PROCESS: usize = 2 * 1024;

/// Decides who gets in to a socket.
#[derive(Debug)]
pub(crate) struct Admission {
    user: u32,
    allow_root: bool,
    most: usize,
    most_of_a_process: usize,
    room: Arc<Semaphore>,
    present: Mutex<Present>,
    messages: Throttle,
}

#[derive(Debug, Default)]
struct Present {
    connections: usize,
    processes: HashMap<i32, Process>,
}

/// What the connections of a process share.
#[derive(Debug)]
struct Process {
    connections: usize,
    room: Arc<Semaphore>,
    turn: Turn,
}

/// Why a connection is closed at once.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("a connection of another user was closed: user id {0}")]
    OtherUser(u32),
    #[error("a connection of root was closed: allow_root is not set")]
    Root,
    #[error("a connection was closed: there are {0} already")]
    Full(usize),
    #[error("a connection was closed: process {pid} has {most} already")]
    ProcessFull { pid: i32, most: usize },
}

impl Admission {
    /// To the agent's socket, of `user` (and of root, if so configured), with as many descriptors in all.
    pub(crate) fn of_clients(user: u32, allow_root: bool, descriptors: usize) -> Self {
        let left = descriptors.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS_OF_A_CLIENT;
        // Where descriptors are scarce, accepting pauses when they are used up.
        let most = left.max(descriptors / 4).min(MOST_CLIENTS);
        Self::new(user, allow_root, most, MOST_CLIENTS_OF_A_PROCESS)
    }

    /// To the control socket, of `user` alone.
    pub(crate) fn of_managers(user: u32) -> Self {
        Self::new(user, false, MOST_MANAGERS, MOST_MANAGERS_OF_A_PROCESS)
    }

    fn new(user: u32, allow_root: bool, most: usize, most_of_a_process: usize) -> Self {
        let (room, present) = (Arc::new(Semaphore::new(ROOM)), Mutex::default());
        Self { user, allow_root, most, most_of_a_process, room, present, messages: Throttle::new() }
    }

    /// Lets a client in, for as long as the result lives. Clients whose process the system does not name (of a container,
    /// say) count as one process.
    pub(crate) fn admit(self: &Arc<Self>, peer: &Peer) -> Result<Admitted, Refused> {
        let root_let_in = match peer.uid {
            uid if uid == self.user => false,
            0 if self.allow_root => true,
            0 => return Err(Refused::Root),
            uid => return Err(Refused::OtherUser(uid)),
        };
        let mut present = self.present();
        if present.connections >= self.most {
            return Err(Refused::Full(self.most));
        }
        let process = present.processes.entry(peer.pid).or_insert_with(|| Process {
            connections: 0,
            room: Arc::new(Semaphore::new(ROOM_OF_A_PROCESS)),
            turn: Turn::new(),
        });
        if process.connections >= self.most_of_a_process {
            return Err(Refused::ProcessFull { pid: peer.pid, most: self.most_of_a_process });
        }
        process.connections += 1;
        let room = Room { all: Arc::clone(&self.room), process: Arc::clone(&process.room) };
        let turn = process.turn.clone();
        present.connections += 1;
        Ok(Admitted { admission: Arc::clone(self), pid: peer.pid, root_let_in, room, turn })
    }

    /// Says that a connection was closed. A flood of them must not fill the disk with messages.
    pub(crate) fn report(&self, refused: &Refused) {
        if let Some(unsaid) = self.messages.pass() {
            tracing::warn!(unsaid, "{refused}");
        }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client that got in. It counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    pid: i32,
    root_let_in: bool,
    room: Room,
    turn: Turn,
}

impl Admitted {
    /// Whether it is root's, at an agent of somebody else.
    pub(crate) fn is_root_let_in(&self) -> bool {
        self.root_let_in
    }

    /// The room for its long frames.
    pub(crate) fn room(&self) -> Room {
        self.room.clone()
    }

    /// Its turns among the connections of its process.
    pub(crate) fn turn(&self) -> Turn {
        self.turn.clone()
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut present = self.admission.present();
        present.connections -= 1;
        if let Some(process) = present.processes.get_mut(&self.pid) {
            process.connections -= 1;
            if process.connections == 0 {
                present.processes.remove(&self.pid);
            }
        }
    }
}

/// The room for frames that a client shares with its process, and its process with all.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    process: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// Room that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Occupied {
    _process: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Room {
    /// Waits for room for as many bytes. Its process's first, so that what waits for that takes nothing from others.
    pub(crate) async fn take(&self, bytes: usize) -> Option<Occupied> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        let process = Arc::clone(&self.process).acquire_many_owned(kib).await.ok()?;
        let all = Arc::clone(&self.all).acquire_many_owned(kib).await.ok()?;
        Some(Occupied { _process: process, _all: all })
    }
}

/// What the connections of a process take in turns, or the clients of others would wait for all of them: the processor,
/// for work that takes long (a signature of P-521 to be verified, an RSA key to be checked), and the person.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    work: Arc<Semaphore>,
    person: Arc<Semaphore>,
}

impl Turn {
    fn new() -> Self {
        Self { work: Arc::new(Semaphore::new(1)), person: Arc::new(Semaphore::new(1)) }
    }

    /// Waits for this connection's turn, which lasts until the result is dropped. Not to be held while a person is waited
    /// for.
    pub(crate) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.work).acquire_owned().await.ok()
    }

    /// Waits until no other connection of the process waits for the person. Whoever holds the result stands in the queue
    /// of all processes: a host with two hundred requests keeps that one no longer than a host with one.
    pub(crate) async fn person(&self) -> Option<SemaphorePermit<'_>> {
        self.person.acquire().await.ok()
    }

    /// Waits for this connection's turn, and works on another thread than the daemon's own. Threads beyond the processors
    /// would only keep others waiting.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let turn = self.take().await;
        let work = move || {
            // Until it is done, even if nobody waits for it any more.
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await
    }
}

/// Raises the limit of open files to what the most clients need, as far as the system lets it, and gives the new one. What
/// counts is the soft limit, which is 1024 nearly everywhere.
pub(crate) fn raise_descriptor_limit() -> usize {
    let wanted = MOST_CLIENTS * DESCRIPTORS_OF_A_CLIENT + OTHER_DESCRIPTORS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let number = |limit: Option<u64>| limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let (before, raised) = (number(current), number(maximum).min(wanted));
    if before >= raised {
        return before;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: u64::try_from(raised).ok(), maximum }) {
        Ok(()) => raised,
        Err(_) => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: u32 = 1000;

    fn peer(uid: u32, pid: i32) -> Peer {
        Peer { uid, pid, ..Peer::default() }
    }

    fn clients(descriptors: usize) -> Arc<Admission> {
        Arc::new(Admission::of_clients(ME, false, descriptors))
    }

    /// As many as there may be of a process, or the reason why there are no more.
    fn fill(admission: &Arc<Admission>, pid: i32) -> (Vec<Admitted>, Refused) {
        let mut admitted = Vec::new();
        loop {
            match admission.admit(&peer(ME, pid)) {
                Ok(one) => admitted.push(one),
                Err(refused) => return (admitted, refused),
            }
        }
    }

    #[test]
    fn only_its_user_gets_in_and_root_where_so_configured() {
        for (uid, allow_root, refused) in [
            (ME, false, None),
            (ME, true, None),
            (ME + 1, true, Some(Refused::OtherUser(ME + 1))),
            (0, true, None),
            (0, false, Some(Refused::Root)),
        ] {
            let admission = Arc::new(Admission::of_clients(ME, allow_root, 10_000));
            let admitted = admission.admit(&peer(uid, 1));
            assert_eq!(admitted.as_ref().err(), refused.as_ref(), "{uid} {allow_root}");
            assert!(admitted.is_err() || admitted.unwrap().is_root_let_in() == (uid == 0));
        }
        let managers = Arc::new(Admission::of_managers(ME));
        assert_eq!(managers.admit(&peer(0, 1)).err(), Some(Refused::Root), "root manages its own agent only");
        let roots = Arc::new(Admission::of_clients(0, false, 10_000));
        assert!(!roots.admit(&peer(0, 1)).unwrap().is_root_let_in(), "an agent of root's own");
    }

    #[test]
    fn a_process_has_256_and_all_have_2048() {
        let admission = clients(10_000);
        let (first, refused) = fill(&admission, 1);
        assert_eq!((first.len(), refused), (256, Refused::ProcessFull { pid: 1, most: 256 }));
        let others: Vec<_> = (2..=8).map(|pid| fill(&admission, pid).0).collect();
        assert!(others.iter().all(|others| others.len() == 256));
        assert_eq!(admission.admit(&peer(ME, 9)).err(), Some(Refused::Full(2048)));
        drop(first);
        assert_eq!(fill(&admission, 9).0.len(), 256, "whoever left makes place");
        drop(others);
        let present = admission.present();
        assert_eq!((present.connections, present.processes.len()), (0, 0), "nothing is kept of those who left");
    }

    #[test]
    fn managers_have_their_own_places() {
        let admission = Arc::new(Admission::of_managers(ME));
        let mut admitted = Vec::new();
        let mut refused = None;
        for pid in 1..=5 {
            let (some, reason) = fill(&admission, pid);
            admitted.extend(some);
            refused = Some(reason);
        }
        assert_eq!((admitted.len(), refused), (64, Some(Refused::Full(64))));
    }

    /// What takes long is done one after the other within a process, and beside that of another.
    #[tokio::test]
    async fn turns_are_a_process_s() {
        let admission = clients(10_000);
        let of = |pid| admission.admit(&peer(ME, pid)).unwrap();
        let (one, same, other) = (of(1), of(1), of(2));
        let (one, same, other) = (one.turn(), same.turn(), other.turn());
        let held = one.take().await;
        assert!(held.is_some() && other.take().await.is_some());
        let mut waiting = std::pin::pin!(same.take());
        let early = tokio::select! { biased; _ = &mut waiting => true, () = tokio::task::yield_now() => false };
        assert!(!early);
        drop(held);
        assert!(waiting.await.is_some());
    }

    #[test]
    fn fewer_get_in_where_descriptors_are_scarce() {
        for (descriptors, most) in [(1_000_000, 2048), (4288, 2048), (1024, 416), (256, 64), (0, 0)] {
            assert_eq!(clients(descriptors).most, most, "with {descriptors}");
            assert!(clients(descriptors).most <= descriptors);
        }
    }

    #[test]
    fn the_descriptor_limit_is_not_lowered() {
        let before = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let raised = raise_descriptor_limit();
        let after = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!(after >= before);
        assert_eq!(raised as u64, after);
    }
}
