//! One connection to another agent: bound as the client's is, used for one request, and closed. Dropping it while it
//! waits closes it as well, which is how that agent learns that nobody waits for its signature any more.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::session_binding::SessionBindings;

use super::message::{self, LONGEST_ANSWER, OfferedKey};
use super::{OWN_KEYS_ONLY, UpstreamError};

pub(super) struct Connection {
    stream: UnixStream,
    bound: bool,
}

impl Connection {
    /// Connects, and tells the other agent what the client's connection is bound to, so that it holds its keys to their
    /// destinations. An agent that knows no bindings is used all the same, as ssh uses it; see [`Self::is_bound`].
    ///
    /// Nothing follows a binding that failed, here or there: OpenSSH takes what is bound later as if it came first, and
    /// would find the path a host too short.
    pub(super) async fn open(socket: &Path, bindings: &SessionBindings) -> Result<Self, UpstreamError> {
        let stream = UnixStream::connect(socket).await.map_err(UpstreamError::Connect)?;
        let server = stream.peer_cred().map_err(UpstreamError::Connect)?.uid();
        // In a folder that others may write, another user can put a socket in the place of one that went away.
        if server != rustix::process::geteuid().as_raw() && server != 0 {
            return Err(UpstreamError::OtherUser(server));
        }
        let mut connection = Self { stream, bound: true };
        // Whether it knows what this means or not: what counts is that one of ours does.
        connection.ask(&message::extension(OWN_KEYS_ONLY)).await?;
        if bindings.attempt_failed() {
            connection.ask(&message::failing_session_bind()).await?;
            return Ok(connection);
        }
        for binding in bindings.iter() {
            connection.bound = message::is_success(&connection.ask(&message::session_bind(binding)).await?);
            if !connection.bound {
                break;
            }
        }
        Ok(connection)
    }

    /// Whether the other agent took all bindings.
    pub(super) fn is_bound(&self) -> bool {
        self.bound
    }

    pub(super) async fn identities(mut self) -> Result<Vec<OfferedKey>, UpstreamError> {
        message::identities(&self.ask(&message::request_identities()).await?)
    }

    pub(super) async fn sign(mut self, blob: &[u8], data: &[u8], flags: u32) -> Result<Vec<u8>, UpstreamError> {
        message::signature(&self.ask(&message::sign_request(blob, data, flags)).await?)
    }

    /// Sends one message and reads its answer: a frame each, without its length.
    async fn ask(&mut self, message: &[u8]) -> Result<Vec<u8>, UpstreamError> {
        let length = u32::try_from(message.len()).map_err(|_| UpstreamError::Malformed("the request is too long"))?;
        self.stream.write_all(&[&length.to_be_bytes(), message].concat()).await.map_err(UpstreamError::Broken)?;
        let length = self.stream.read_u32().await.map_err(UpstreamError::Broken)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > LONGEST_ANSWER {
            return Err(UpstreamError::TooLong(length));
        }
        // Memory is taken as bytes come, not as they are announced.
        let mut answer = Vec::new();
        (&mut self.stream).take(length as u64).read_to_end(&mut answer).await.map_err(UpstreamError::Broken)?;
        if answer.len() == length { Ok(answer) } else { Err(UpstreamError::Malformed("it is cut short")) }
    }
}
