//! A client that speaks the agent protocol byte by byte, for what OpenSSH's programs never send.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use signature::Signer;
use ssh_encoding::Decode;
use ssh_key::{PrivateKey, Signature};

use crate::{KeyFile, PATIENCE};

/// SSH_AGENT_FAILURE.
pub const FAILURE: u8 = 5;
/// SSH_AGENT_SUCCESS.
pub const SUCCESS: u8 = 6;
/// SSH_AGENT_SIGN_RESPONSE.
pub const SIGN_RESPONSE: u8 = 14;

/// SSH_AGENTC_REQUEST_IDENTITIES.
pub const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;
const EXTENSION: u8 = 27;

/// Connects to a socket, and waits no longer than this where its queue is full. What is sent and received waits no longer
/// either.
///
/// # Errors
/// When nobody listens, or nobody accepts in time.
pub fn connect_within(socket: &Path, patience: Duration) -> std::io::Result<UnixStream> {
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The time limit of sending is that of connecting too (unix(7)).
    set_socket_timeout(&stream, Timeout::Send, Some(patience))?;
    set_socket_timeout(&stream, Timeout::Recv, Some(patience))?;
    connect(&stream, &SocketAddrUnix::new(socket)?)?;
    Ok(UnixStream::from(stream))
}

/// One connection.
pub struct Client(UnixStream);

impl Client {
    /// Connects to an agent.
    #[must_use]
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("the agent listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time limit");
        Self(stream)
    }

    /// Connects to an agent that may be gone.
    #[must_use]
    pub fn connect_if_there(socket: &Path) -> Option<Self> {
        connect_within(socket, PATIENCE).ok().map(Self)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        // The agent may have closed the connection already, which the test reads next.
        let _ = self.0.write_all(bytes);
    }

    /// Sends a message.
    pub fn send_message(&mut self, message: &[u8]) {
        self.send(&string(message));
    }

    /// The next answer, or None where the agent closed the connection.
    pub fn answer(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        match self.0.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the agent does not answer"),
            Err(_) => return None,
        }
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut answer).expect("an answer is whole");
        Some(answer)
    }

    /// Sends a message and returns its answer.
    pub fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        self.send_message(message);
        self.answer().expect("the connection lives on")
    }

    /// How many keys the agent lists.
    pub fn number_of_keys(&mut self) -> u32 {
        let answer = self.ask(&[REQUEST_IDENTITIES]);
        let number: [u8; 4] = answer[1..5].try_into().expect("four bytes are four bytes");
        u32::from_be_bytes(number)
    }

    /// The keys the agent lists, in its order.
    pub fn keys(&mut self) -> Vec<Vec<u8>> {
        let answer = self.ask(&[REQUEST_IDENTITIES]);
        let mut rest = &answer[1..];
        let number = u32::decode(&mut rest).expect("an answer begins with a number");
        let mut next = || Vec::<u8>::decode(&mut rest).expect("an answer is whole");
        let keys = (0..number).map(|_| (next(), next()).0).collect();
        assert!(rest.is_empty(), "an answer ends with its last key");
        keys
    }

    /// Asks for a signature; the answer's first byte says whether there is one.
    pub fn sign(&mut self, key: &[u8], data: &[u8]) -> Vec<u8> {
        self.ask(&sign_request(key, data))
    }

    /// Asks for a signature, and does not wait for the answer.
    pub fn begin_to_sign(&mut self, key: &[u8], data: &[u8]) {
        self.send_message(&sign_request(key, data));
    }

    /// Uses an extension.
    pub fn extension(&mut self, name: &str, body: &[u8]) -> Vec<u8> {
        self.ask(&[&[EXTENSION], &string(name.as_bytes())[..], body].concat())
    }
}

fn sign_request(key: &[u8], data: &[u8]) -> Vec<u8> {
    [&[SIGN_REQUEST], &string(key)[..], &string(data), &[0; 4]].concat()
}

/// Bytes with their length, as SSH writes strings.
#[must_use]
pub fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a short string");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// The body of a session-bind@openssh.com request, signed by the host.
#[must_use]
pub fn session_bind(host: &PrivateKey, session_id: &[u8], is_forwarding: bool) -> Vec<u8> {
    let signature: Signature = host.try_sign(session_id).expect("a host can sign");
    let signature = Vec::try_from(signature).expect("a signature has bytes");
    let key = host.public_key().to_bytes().expect("a public key has bytes");
    [&string(&key)[..], &string(session_id), &string(&signature), &[u8::from(is_forwarding)]].concat()
}

/// What a login with this key signs (RFC 4252 § 7); hostbound where a host key is given (OpenSSH PROTOCOL).
#[must_use]
pub fn login(session_id: &[u8], key: &KeyFile, host_key: Option<&[u8]>) -> Vec<u8> {
    login_as(b"me", session_id, key, host_key)
}

/// The same as another user, who may be called anything.
#[must_use]
pub fn login_as(user: &[u8], session_id: &[u8], key: &KeyFile, host_key: Option<&[u8]>) -> Vec<u8> {
    const USERAUTH_REQUEST: u8 = 50;
    let method: &[u8] = if host_key.is_some() { b"publickey-hostbound-v00@openssh.com" } else { b"publickey" };
    let public = key.public();
    [
        &string(session_id)[..],
        &[USERAUTH_REQUEST],
        &string(user),
        &string(b"ssh-connection"),
        &string(method),
        &[1],
        &string(public.algorithm().as_str().as_bytes()),
        &string(&key.blob()),
        &host_key.map(string).unwrap_or_default(),
    ]
    .concat()
}

/// What `ssh-keygen -Y sign` would have signed for this namespace.
#[must_use]
pub fn sshsig(namespace: &str) -> Vec<u8> {
    let hash = [7; 64];
    [&b"SSHSIG"[..], &string(namespace.as_bytes()), &string(b""), &string(b"sha512"), &string(&hash)].concat()
}
