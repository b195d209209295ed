//! Messages of the agent protocol, decoded and encoded (RFC 9987; OpenSSH PROTOCOL.agent). ssh-agent-lib does what it does
//! well: the messages without keys in them, and the plain answers. What it gets wrong is done here:
//!
//! * 13 and 18, sign and remove: the library takes no certificate that is valid forever.
//! * 17 and 25, add identity with and without constraints: see [`addition`].
//! * 20, 21 and 26, keys of PKCS#11 modules: refused whatever is in them. The library takes none that bring certificates.
//! * 22 and 23, lock and unlock: the library takes no password that is not UTF-8, and wipes none.
//! * 27, extensions: the library's session-bind takes no host certificate.
//! * the answer to `query`: the library wants a name and a blob, where OpenSSH sends a list of strings.
//! * the list of keys, which is made once and sent many times: see `keystore`.

pub(crate) mod addition;
mod constraints;

use secrecy::SecretSlice;
use ssh_agent_lib::proto::{Request, Response};
use ssh_encoding::{Decode, Encode, Reader};

pub(crate) use addition::{AddedKey, Addition};

/// SSH_AGENTC_REMOVE_ALL_RSA_IDENTITIES, of protocol 1: it clears all keys, as with ssh-agent.
const REMOVE_ALL_RSA: u8 = 9;
/// SSH_AGENT_IDENTITIES_ANSWER.
const IDENTITIES_ANSWER: u8 = 12;
/// SSH_AGENTC_SIGN_REQUEST.
const SIGN_REQUEST: u8 = 13;
/// SSH_AGENTC_ADD_IDENTITY.
const ADD_IDENTITY: u8 = 17;
/// SSH_AGENTC_REMOVE_IDENTITY.
const REMOVE_IDENTITY: u8 = 18;
/// SSH_AGENTC_ADD_SMARTCARD_KEY.
const ADD_SMARTCARD_KEY: u8 = 20;
/// SSH_AGENTC_REMOVE_SMARTCARD_KEY.
const REMOVE_SMARTCARD_KEY: u8 = 21;
/// SSH_AGENTC_LOCK.
const LOCK: u8 = 22;
/// SSH_AGENTC_UNLOCK.
const UNLOCK: u8 = 23;
/// SSH_AGENTC_ADD_ID_CONSTRAINED.
const ADD_ID_CONSTRAINED: u8 = 25;
/// SSH_AGENTC_ADD_SMARTCARD_KEY_CONSTRAINED.
const ADD_SMARTCARD_KEY_CONSTRAINED: u8 = 26;
/// SSH_AGENTC_EXTENSION.
const EXTENSION: u8 = 27;
/// SSH_AGENT_SIGN_RESPONSE.
const SIGN_RESPONSE: u8 = 14;
/// SSH_AGENT_EXTENSION_RESPONSE.
const EXTENSION_RESPONSE: u8 = 29;

/// A request as this agent understands it.
pub(crate) enum Incoming {
    /// List the keys.
    List,
    /// Sign.
    Sign(Sign),
    /// Add a key. It is decoded once it is known that it may be added: private keys take their time to be checked.
    Add,
    /// Remove the key, or certificate, with this encoding.
    Remove(Vec<u8>),
    /// Remove all keys.
    RemoveAll,
    /// Lock under a password.
    Lock(SecretSlice<u8>),
    /// Unlock.
    Unlock(SecretSlice<u8>),
    /// An extension, by its name, and what follows it.
    Extension { name: String, body: Vec<u8> },
    /// Keys of a PKCS#11 module are to be added or removed, which this agent never does.
    Pkcs11,
}

/// A request for a signature.
pub(crate) struct Sign {
    /// The key or certificate.
    pub(crate) key_blob: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) flags: u32,
}

/// A message that is none, or one this agent has no use for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the message can't be parsed: {0}")]
    Encoding(#[from] ssh_encoding::Error),
    #[error("the message can't be parsed: {0}")]
    Key(#[from] ssh_key::Error),
    #[error("the message can't be parsed: {0}")]
    Protocol(#[from] ssh_agent_lib::proto::ProtoError),
    #[error("{0} bytes are left over")]
    LeftOver(usize),
    #[error("a name has a NUL inside")]
    Nul,
    #[error("constraint {0} is not supported")]
    Constraint(String),
    #[error("keys of type {0} are not supported")]
    KeyType(String),
    #[error("{0}")]
    SoftwareKey(#[from] crate::software_key::SoftwareKeyError),
    #[error("the certificate is damaged, or is one of another key")]
    Certificate,
    #[error("message {0} is not one an agent is asked")]
    Message(u8),
}

/// Decodes exactly one message: a frame without its length.
pub(crate) fn decode(frame: &[u8]) -> Result<Incoming, WireError> {
    let mut rest = frame;
    let incoming = match u8::decode(&mut rest)? {
        REMOVE_ALL_RSA => Incoming::RemoveAll,
        SIGN_REQUEST => Incoming::Sign(Sign {
            key_blob: Vec::decode(&mut rest)?,
            data: Vec::decode(&mut rest)?,
            flags: u32::decode(&mut rest)?,
        }),
        ADD_IDENTITY | ADD_ID_CONSTRAINED => return Ok(Incoming::Add),
        ADD_SMARTCARD_KEY | REMOVE_SMARTCARD_KEY | ADD_SMARTCARD_KEY_CONSTRAINED => return Ok(Incoming::Pkcs11),
        REMOVE_IDENTITY => Incoming::Remove(Vec::decode(&mut rest)?),
        LOCK => Incoming::Lock(Vec::decode(&mut rest)?.into()),
        UNLOCK => Incoming::Unlock(Vec::decode(&mut rest)?.into()),
        EXTENSION => Incoming::Extension { name: text(&mut rest)?, body: std::mem::take(&mut rest).to_vec() },
        message => {
            rest = frame;
            match Request::decode(&mut rest)? {
                Request::RequestIdentities => Incoming::List,
                Request::RemoveAllIdentities => Incoming::RemoveAll,
                _ => return Err(WireError::Message(message)),
            }
        }
    };
    if rest.is_empty() { Ok(incoming) } else { Err(WireError::LeftOver(rest.len())) }
}

/// Decodes a message that is [`Incoming::Add`].
pub(crate) fn decode_addition(frame: &[u8]) -> Result<Addition, WireError> {
    let mut rest = frame;
    let message = u8::decode(&mut rest)?;
    let mut addition = Addition::decode(&mut rest)?;
    if message == ADD_ID_CONSTRAINED {
        constraints::decode(&mut rest, &mut addition)?;
    }
    if rest.is_empty() { Ok(addition) } else { Err(WireError::LeftOver(rest.len())) }
}

/// The body of session-bind@openssh.com (OpenSSH PROTOCOL.agent § 1).
pub(crate) struct Bind {
    pub(crate) host_key: Vec<u8>,
    pub(crate) session_id: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) is_forwarding: bool,
}

pub(crate) fn decode_bind(mut body: &[u8]) -> Result<Bind, WireError> {
    let body = &mut body;
    let bind = Bind {
        host_key: Vec::decode(body)?,
        session_id: Vec::decode(body)?,
        signature: Vec::decode(body)?,
        is_forwarding: u8::decode(body)? != 0,
    };
    if body.is_empty() { Ok(bind) } else { Err(WireError::LeftOver(body.len())) }
}

/// SSH_AGENT_SUCCESS or SSH_AGENT_FAILURE, without a length.
pub(crate) fn encode_status(success: bool) -> Vec<u8> {
    let response = if success { Response::Success } else { Response::Failure };
    let mut out = Vec::new();
    // Writing one byte to a vector does not fail.
    let _ = response.encode(&mut out);
    out
}

/// The answer to a list: each identity's encoding and comment.
pub(crate) fn encode_list<'a>(identities: impl Iterator<Item = (&'a [u8], &'a str)>) -> Result<Vec<u8>, WireError> {
    let mut out = vec![IDENTITIES_ANSWER, 0, 0, 0, 0];
    let mut number: u32 = 0;
    for (blob, comment) in identities {
        blob.encode(&mut out)?;
        comment.encode(&mut out)?;
        number += 1;
    }
    if let Some(place) = out.get_mut(1..5) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    Ok(out)
}

/// The answer to a sign request.
pub(crate) fn encode_signature(signature: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity(signature.len() + 5);
    out.push(SIGN_RESPONSE);
    signature.encode(&mut out)?;
    Ok(out)
}

/// The answer to `query`: the names of the extensions this agent knows, each a string.
pub(crate) fn encode_query_answer(names: &[&str]) -> Result<Vec<u8>, WireError> {
    let mut out = vec![EXTENSION_RESPONSE];
    "query".encode(&mut out)?;
    for name in names {
        name.encode(&mut out)?;
    }
    Ok(out)
}

/// A string that need not be UTF-8: names are ASCII, comments are for display.
fn text(reader: &mut impl Reader) -> Result<String, WireError> {
    let bytes = c_string(reader)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A string as `sshbuf_get_cstring` in OpenSSH reads it: a NUL may end it, and is nowhere else. What is a known name there
/// is one here too, or a session binding, say, could go by unseen.
fn c_string(reader: &mut impl Reader) -> Result<Vec<u8>, WireError> {
    let mut bytes = Vec::<u8>::decode(reader)?;
    bytes.pop_if(|last| *last == 0);
    if bytes.contains(&0) { Err(WireError::Nul) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        bytes.encode(&mut out).unwrap();
        out
    }

    #[test]
    fn a_message_ends_where_its_frame_ends() {
        let sign = [&[SIGN_REQUEST][..], &string(b"key"), &string(b"data"), &[0, 0, 0, 4]].concat();
        for frame in [&[11][..], &[9], &[19], &[22, 0, 0, 0, 1, b'x'], &sign] {
            assert!(decode(frame).is_ok(), "{frame:?}");
            assert!(decode(&[frame, &[0]].concat()).is_err(), "{frame:?} and more");
            assert!(frame.len() == 1 || decode(&frame[..frame.len() - 1]).is_err(), "{frame:?} cut");
        }
        for frame in [&[][..], &[99], &[13, 0, 0], &[22, 0, 0, 0, 9], &[22], &[12, 0, 0, 0, 0]] {
            assert!(decode(frame).is_err(), "{frame:?}");
        }
    }

    #[test]
    fn a_password_need_not_be_utf8() {
        use secrecy::ExposeSecret;
        let frame = [&[LOCK][..], &string(b"caf\xe9")].concat();
        let Ok(Incoming::Lock(password)) = decode(&frame) else { panic!("not a lock") };
        assert_eq!(password.expose_secret(), b"caf\xe9");
    }

    /// As with ssh-agent, to which `session-bind@openssh.com\0` is a session binding.
    #[test]
    fn a_nul_may_end_a_name_and_is_nowhere_in_it() {
        let named = |name: &[u8]| match decode(&[&[EXTENSION], &string(name)[..]].concat()) {
            Ok(Incoming::Extension { name, .. }) => Some(name),
            _ => None,
        };
        assert_eq!(named(b"query\0").as_deref(), Some("query"));
        assert_eq!((named(b"que\0ry"), named(b"query\0\0")), (None, None));
    }

    #[test]
    fn the_query_answer_has_no_length_of_its_own() {
        let expected = [&[EXTENSION_RESPONSE][..], &string(b"query"), &string(b"session-bind@openssh.com")].concat();
        assert_eq!(encode_query_answer(&["session-bind@openssh.com"]).unwrap(), expected);
    }
}
