//! The agent's socket: who may connect, how messages are framed, and what happens when a client hangs up.

use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::Agent;
use crate::peer::Peer;
use crate::process_table;
use crate::session::Session;

/// The longest message, in bytes (ssh-agent.c AGENT_MAX_LEN).
const LONGEST_FRAME: usize = 256 * 1024;

/// How many messages a client may send ahead of their answers. OpenSSH's programs wait for each; whoever sends more is
/// hung up on, since behind messages that are not read its own hang-up can't be seen.
const MOST_AHEAD: usize = 16;

/// How long no connection is accepted after accepting failed, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that is being listened on, and removed at the end.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

/// Why a socket can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody listens there already.
    #[error("{0}: an agent is serving this socket already. Stop it first, or choose another with -a.")]
    InUse(PathBuf),
    /// Something else is in its place.
    #[error("{0}: there is a file in the socket's place, and it is no socket. Remove it, or choose another with -a.")]
    NotASocket(PathBuf),
    /// The system says no.
    #[error("{0}: {1}")]
    System(PathBuf, #[source] std::io::Error),
}

impl Socket {
    /// Listens on `path`, for this user only. A socket that an agent left behind is replaced; one that is served is not.
    ///
    /// # Errors
    /// See [`SocketError`].
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let system = |error| SocketError::System(path.to_owned(), error);
        remove_stale(path)?;
        // Under its own name from the start, and connectable by nobody else: the folder may not be ours alone.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = listener.map_err(system)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(system)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// The next client, of this user; others are turned away. Never fails: at the limit of open files it pauses.
    pub async fn accept(&self) -> (UnixStream, Peer) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => match authorized_peer(&stream) {
                    Some(peer) => return (stream, peer),
                    None => tracing::warn!("a connection of another user was closed"),
                },
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted for a moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    use std::os::unix::fs::FileTypeExt;
    let system = |error| SocketError::System(path.to_owned(), error);
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(error)),
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(system)
        }
        // It answers, or its queue is full: somebody is there.
        _ => Err(SocketError::InUse(path.to_owned())),
    }
}

fn authorized_peer(stream: &UnixStream) -> Option<Peer> {
    let credentials = stream.peer_cred().ok()?;
    let ours = rustix::process::geteuid().as_raw();
    let peer = || process_table::peer(credentials.uid(), credentials.pid().unwrap_or_default());
    (credentials.uid() == ours).then(peer)
}

/// Serves clients until `stop`. Requests that are under way then are ended, with their outcome on record.
pub async fn serve(socket: &Socket, agent: &Arc<Agent>, stop: &CancellationToken, clients: &TaskTracker) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            (stream, peer) = socket.accept() => {
                let client = stop.child_token();
                let session = Session::new(Arc::clone(agent), peer, client.clone());
                clients.spawn(converse(stream, session, client));
            }
        }
    }
}

/// One connection: a message, its answer, the next message. While a request is under way the connection is watched, so
/// that a client that hangs up ends it.
async fn converse(stream: UnixStream, mut session: Session, client: CancellationToken) {
    let codec = || LengthDelimitedCodec::builder().max_frame_length(LONGEST_FRAME).new_codec();
    let (read, write) = stream.into_split();
    let mut frames = FramedRead::new(read, codec());
    let mut answers = FramedWrite::new(write, codec());
    let mut ahead = VecDeque::new();
    while !client.is_cancelled() {
        let frame = match ahead.pop_front() {
            Some(frame) => frame,
            None => tokio::select! {
                () = client.cancelled() => return,
                frame = frames.next() => frame,
            },
        };
        // A frame that is too long or empty ends the connection, as with ssh-agent.
        let Some(Ok(frame)) = frame else { return };
        if frame.is_empty() {
            return;
        }
        let answer = {
            let mut work = std::pin::pin!(session.answer(&frame));
            loop {
                tokio::select! {
                    biased;
                    answer = &mut work => break answer,
                    frame = frames.next(), if !client.is_cancelled() => {
                        if !matches!(frame, Some(Ok(_))) || ahead.len() == MOST_AHEAD {
                            client.cancel();
                        }
                        ahead.push_back(frame);
                    }
                }
            }
        };
        if answers.send(Bytes::from(answer)).await.is_err() {
            return;
        }
    }
}
