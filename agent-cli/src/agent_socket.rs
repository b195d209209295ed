//! The standard agent protocol (RFC 9987), as far as listing and removing keys needs it: with the agent here, another
//! one, or one that was forwarded.
//!
//! ssh-agent-lib's client is not used for it. It parses every key it is shown, and fails for the whole list over one it
//! does not know; and it believes whatever length an agent far away announces.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use agent::environment::socket_in_environment;
use ssh_encoding::{Decode, Encode};

use crate::places::find;
use crate::problem::Problem;
use crate::public_key::PublicKey;

const SUCCESS: u8 = 6;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const REMOVE_IDENTITY: u8 = 18;
const REMOVE_ALL_IDENTITIES: u8 = 19;

/// RSA keys sign with SHA-512 (RFC 8332); others don't care.
const RSA_SHA2_512: u32 = 4;

/// The longest message, in bytes (ssh-agent.c AGENT_MAX_LEN).
const LONGEST_MESSAGE: u32 = 256 * 1024;

/// What to do where no agent answers.
pub(crate) const START: &str = "Start the agent: `systemctl --user start fido-ssh-agent.socket`, or `eval \"$(fido-ssh-agent -s)\"`. Or let \
    SSH_AUTH_SOCK name the socket of one that runs.";

/// A key that an agent holds.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) key: PublicKey,
    pub(crate) comment: String,
}

/// A connection to an agent.
#[derive(Debug)]
pub(crate) struct AgentSocket(UnixStream);

impl AgentSocket {
    /// Connects to the agent in SSH_AUTH_SOCK, or else to the default one.
    pub(crate) fn connect() -> Result<Self, Problem> {
        let named = socket_in_environment();
        let path = match &named {
            Some(path) => path.clone(),
            None => find(None)?.socket,
        };
        UnixStream::connect(&path).map(Self).map_err(|error| {
            let next = match named {
                Some(_) => "Start the agent that SSH_AUTH_SOCK names, or let it name the socket of one that runs.",
                None => START,
            };
            Problem::unreachable("Could not open a connection to your authentication agent.")
                .next(format!("{}: {error}", path.display()))
                .next(next)
        })
    }

    /// Connects to the agent at this socket.
    pub(crate) fn at(socket: &Path) -> std::io::Result<Self> {
        UnixStream::connect(socket).map(Self)
    }

    /// The connection, for who wants to hang up while it is asked something.
    pub(crate) fn handle(&self) -> std::io::Result<UnixStream> {
        self.0.try_clone()
    }

    /// The keys it holds. Kinds that are unknown here are passed over, as `ssh-add -l` does.
    pub(crate) fn list(&mut self) -> Result<Vec<Held>, Problem> {
        let answer = self.ask(&[REQUEST_IDENTITIES])?;
        let (Some(&IDENTITIES_ANSWER), body) = (answer.first(), answer.get(1..).unwrap_or_default()) else {
            return Err(Problem::failed("the agent refused to list its keys"));
        };
        read_list(body).map_err(|error| Problem::failed(format!("the agent's list can't be read: {error}")))
    }

    /// Has data signed; None when the agent refuses.
    pub(crate) fn sign(&mut self, key: &PublicKey, data: &[u8]) -> Result<Option<Vec<u8>>, Problem> {
        let failed = |error: ssh_encoding::Error| Problem::failed(error.to_string());
        let mut message = vec![SIGN_REQUEST];
        key.blob.encode(&mut message).map_err(failed)?;
        data.encode(&mut message).map_err(failed)?;
        RSA_SHA2_512.encode(&mut message).map_err(failed)?;
        let answer = self.ask(&message)?;
        match answer.split_first() {
            Some((&SIGN_RESPONSE, mut body)) => Vec::decode(&mut body).map(Some).map_err(failed),
            _ => Ok(None),
        }
    }

    /// Removes a key; false when the agent refuses.
    pub(crate) fn remove(&mut self, key: &PublicKey) -> Result<bool, Problem> {
        let mut message = vec![REMOVE_IDENTITY];
        key.blob.encode(&mut message).map_err(|error| Problem::failed(error.to_string()))?;
        Ok(self.ask(&message)?.first() == Some(&SUCCESS))
    }

    /// Removes all keys; false when the agent refuses.
    pub(crate) fn remove_all(&mut self) -> Result<bool, Problem> {
        Ok(self.ask(&[REMOVE_ALL_IDENTITIES])?.first() == Some(&SUCCESS))
    }

    fn ask(&mut self, message: &[u8]) -> Result<Vec<u8>, Problem> {
        self.exchange(message).map_err(|error| Problem::failed(format!("communication with the agent failed: {error}")))
    }

    fn exchange(&mut self, message: &[u8]) -> std::io::Result<Vec<u8>> {
        let length = u32::try_from(message.len()).map_err(std::io::Error::other)?;
        self.0.write_all(&[&length.to_be_bytes(), message].concat())?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > LONGEST_MESSAGE {
            return Err(std::io::Error::other(format!("it announced a message of {length} bytes")));
        }
        let mut answer = vec![0; length as usize];
        self.0.read_exact(&mut answer)?;
        Ok(answer)
    }
}

/// The keys of an identities answer. Comments need not be UTF-8.
fn read_list(mut body: &[u8]) -> Result<Vec<Held>, ssh_encoding::Error> {
    let mut held = Vec::new();
    for _ in 0..u32::decode(&mut body)? {
        let blob = Vec::<u8>::decode(&mut body)?;
        let comment = String::from_utf8_lossy(&Vec::<u8>::decode(&mut body)?).into_owned();
        if let Some(key) = PublicKey::read(&blob) {
            held.push(Held { key, comment });
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the keys of an agent are that gives this answer, and is gone then.
    fn list(answer: &[u8]) -> Result<Vec<Held>, Problem> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let answer = answer.to_vec();
        let agent = std::thread::spawn(move || {
            theirs.read_exact(&mut [0; 5]).unwrap();
            theirs.write_all(&answer).unwrap();
        });
        let held = AgentSocket(ours).list();
        agent.join().unwrap();
        held
    }

    #[test]
    fn keys_of_unknown_kinds_are_passed_over() {
        let mut answer = vec![IDENTITIES_ANSWER, 0, 0, 0, 1];
        b"unknown kind".as_slice().encode(&mut answer).unwrap();
        b"comment".as_slice().encode(&mut answer).unwrap();
        let mut frame = u32::try_from(answer.len()).unwrap().to_be_bytes().to_vec();
        frame.extend(answer);
        assert!(list(&frame).unwrap().is_empty());
    }

    #[test]
    fn a_hostile_agent_gets_neither_memory_nor_trust() {
        assert!(list(&[0xFF; 4]).is_err());
        assert!(list(&[0, 0, 0, 1, 5]).is_err());
        assert!(list(&[0, 0, 0, 5, IDENTITIES_ANSWER, 0xFF, 0xFF, 0xFF, 0xFF]).is_err());
        assert!(list(&[0, 0, 0, 0]).is_err());
    }
}
