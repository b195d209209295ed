//! The agent's socket: who may connect, how messages are framed, and what happens when a client hangs up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::UnixStream;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::Agent;
use crate::peer::Peer;
use crate::process_table;
use crate::session::Session;
use crate::socket::Socket;

/// The longest message, in bytes (ssh-agent.c AGENT_MAX_LEN).
const LONGEST_FRAME: usize = 256 * 1024;

/// How many messages a client may send ahead of their answers. OpenSSH's programs wait for each; whoever sends more is
/// hung up on, since behind messages that are not read its own hang-up can't be seen.
const MOST_AHEAD: usize = 16;

/// How long no connection is accepted after accepting failed, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Socket {
    /// The next client, of this user; others are turned away. Never fails: at the limit of open files it pauses.
    pub async fn accept(&self) -> (UnixStream, Peer) {
        loop {
            match self.connection().await {
                Ok(stream) => match authorized_peer(&stream) {
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
        if answers.send(answer).await.is_err() {
            return;
        }
    }
}
