//! The agent's connections: who gets in, what is read ahead, and what happens when a client hangs up.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerPidfd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, Admitted};
use crate::agent::Agent;
use crate::audit::record::Act;
use crate::framing::{Allowance, Frame, Frames};
use crate::logging::Throttle;
use crate::peer::Peer;
use crate::session::Session;
use crate::socket::Socket;
use crate::{occasion, process_table};

/// How many messages a client may send ahead of their answers: so many signatures of a connection wait at most. OpenSSH's
/// programs wait for each answer; whoever sends more is hung up on, since behind messages that are not read its own hang-up
/// can't be seen.
const MOST_AHEAD: usize = 16;

/// How long they may be together, in bytes: sixteen requests of ssh. They wait for as long as a person takes.
const MOST_BYTES_AHEAD: usize = 16 * 1024;

/// How long no connection is accepted after accepting failed, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The next client that gets in. Others are hung up on at once. Never fails: at the limit of open files it pauses.
pub(crate) async fn next_client(socket: &Socket, admission: &Arc<Admission>) -> (UnixStream, Peer, Admitted) {
    static FAILURES: Throttle = Throttle::new();
    loop {
        // However many knock: those who are in come first, each time.
        tokio::task::yield_now().await;
        let accepted = socket.connection().await.and_then(|stream| Ok((stream.peer_cred()?, stream)));
        let (credentials, stream) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(unsaid) = FAILURES.pass() {
                    tracing::warn!(%error, unsaid, "no connection can be accepted for a moment");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (uid, pid) = (credentials.uid(), credentials.pid().unwrap_or_default());
        let mut peer = Peer { uid, pid, ..Peer::default() };
        match admission.admit(&peer) {
            Ok(admitted) => {
                (peer.started, peer.pinned) = identity(&stream, pid);
                return (stream, peer, admitted);
            }
            Err(refused) => admission.report(&refused),
        }
    }
}

/// When the client's process started, and whether that is certain: a process that ended meanwhile may have given its number to
/// another one, but not while the kernel shows that it is there. Kernels before 6.5 don't.
fn identity(stream: &UnixStream, pid: i32) -> (Option<u64>, bool) {
    let process = getsockopt(stream, PeerPidfd).ok();
    let started = process_table::started(pid);
    // The descriptor of a process that ended can be read (pidfd_open(2)).
    let has_ended = |process: &OwnedFd| poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&Timespec::default()));
    (started, process.is_some_and(|process| has_ended(&process) == Ok(0)))
}

/// Serves clients until `stop`. Requests that are under way then are ended, with their outcome on record.
pub(crate) async fn serve(
    socket: &Socket,
    admission: &Arc<Admission>,
    agent: &Arc<Agent>,
    stop: &CancellationToken,
    clients: &TaskTracker,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            (stream, peer, admitted) = next_client(socket, admission) => {
                clients.spawn(attend(Arc::clone(agent), stream, peer, admitted, stop.child_token()));
            }
        }
    }
}

async fn attend(agent: Arc<Agent>, stream: UnixStream, mut peer: Peer, admitted: Admitted, client: CancellationToken) {
    if admitted.is_root_let_in() {
        process_table::look_up(&mut peer).await;
        let act = Act::RootConnection { peer: occasion::audit_peer(&peer) };
        if let Err(error) = agent.audit.act(act).await {
            tracing::error!(%error, "a connection of root is closed, since it can't be put on record");
            return;
        }
    }
    let session = Session::new(agent, peer, admitted.turn(), client.clone());
    converse(stream, session, &admitted, &client).await;
}

/// One connection: a message, its answer, the next message. While a request is under way the connection is watched, so
/// that a client that hangs up ends it.
async fn converse(mut stream: UnixStream, mut session: Session, admitted: &Admitted, client: &CancellationToken) {
    let (read, mut write) = stream.split();
    let mut frames = Frames::new(read, admitted.room());
    let mut ahead = Ahead::default();
    while !client.is_cancelled() {
        let frame = match ahead.pop() {
            Some(frame) => Ok(frame),
            None => tokio::select! {
                () = client.cancelled() => return,
                frame = frames.next(Allowance::NEXT) => frame,
            },
        };
        let frame = match frame {
            Ok(frame) => frame,
            // A frame that is too long or empty ends the connection, as with ssh-agent.
            Err(error) => return tracing::debug!(%error, "a connection ends"),
        };
        if !frames.waited() {
            // It sends faster than it is answered: a message of each other client comes first.
            tokio::task::yield_now().await;
        }
        let answer = {
            // Apart, so that a connection that waits does not hold what a request needs: ten times as much.
            let mut work = Box::pin(session.answer(&frame));
            loop {
                tokio::select! {
                    biased;
                    answer = &mut work => break answer,
                    next = frames.next(ahead.allowance()), if !client.is_cancelled() => {
                        if !next.is_ok_and(|frame| ahead.push(frame)) {
                            client.cancel();
                        }
                    }
                }
            }
        };
        // Its room is free again, however long the client takes to read the answer.
        drop(frame);
        tokio::select! {
            biased;
            sent = send(&mut write, answer) => match sent {
                Ok(()) => session.delivered(),
                Err(_) => return,
            },
            () = client.cancelled() => return,
        }
    }
}

async fn send(write: &mut (impl AsyncWriteExt + Unpin), answer: Bytes) -> std::io::Result<()> {
    let length = u32::try_from(answer.len()).map_err(std::io::Error::other)?.to_be_bytes();
    write.write_all_buf(&mut (&length[..]).chain(answer)).await
}

/// What a client has sent ahead of its answers.
#[derive(Default)]
struct Ahead {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Ahead {
    fn allowance(&self) -> Allowance {
        Allowance::ahead(MOST_BYTES_AHEAD.saturating_sub(self.bytes))
    }

    /// Takes in a frame; false where that is one too many.
    fn push(&mut self, frame: Frame) -> bool {
        self.bytes += frame.len();
        self.frames.push_back(frame);
        self.frames.len() <= MOST_AHEAD
    }

    fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}
