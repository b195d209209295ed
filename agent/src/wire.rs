//! What ssh-agent-lib's codec gets wrong, decoded and encoded here. It keeps the rest.
//!
//! * 17 and 25, add identity with and without constraints: the library takes no comment that is not UTF-8, and passes
//!   unknown constraints over as if they were fine.
//! * 27, extensions: the library's session-bind takes no host certificate.
//! * sk-ecdsa signatures: ssh-key 0.6 puts flags and counter inside the signature's string.
//! * the answer to `query`: the library wants a name and a blob, where OpenSSH sends a list of strings.

use std::time::Duration;

use ssh_agent_lib::proto::{Request, Response};
use ssh_encoding::{Decode, Encode, Reader};
use ssh_key::private::KeypairData;
use ssh_key::{Algorithm, Signature};

/// SSH_AGENTC_ADD_IDENTITY.
const ADD_IDENTITY: u8 = 17;
/// SSH_AGENTC_ADD_ID_CONSTRAINED.
const ADD_ID_CONSTRAINED: u8 = 25;
/// SSH_AGENTC_EXTENSION.
const EXTENSION: u8 = 27;
/// SSH_AGENT_SIGN_RESPONSE.
const SIGN_RESPONSE: u8 = 14;
/// SSH_AGENT_EXTENSION_RESPONSE.
const EXTENSION_RESPONSE: u8 = 29;

/// SSH_AGENT_CONSTRAIN_LIFETIME.
const CONSTRAIN_LIFETIME: u8 = 1;
/// SSH_AGENT_CONSTRAIN_CONFIRM.
const CONSTRAIN_CONFIRM: u8 = 2;
/// SSH_AGENT_CONSTRAIN_EXTENSION.
const CONSTRAIN_EXTENSION: u8 = 255;

/// The longest comment that is kept, in characters: all of them have to fit into one list.
const LONGEST_COMMENT: usize = 512;

/// A request as this agent understands it.
pub(crate) enum Incoming {
    /// Add a key.
    Add(Addition),
    /// An extension, by its name, and what follows it.
    Extension { name: String, body: Vec<u8> },
    /// Everything that the library decodes well.
    Other(Request),
}

/// A key to be added.
pub(crate) struct Addition {
    pub(crate) key: KeypairData,
    pub(crate) comment: String,
    pub(crate) confirm: bool,
    pub(crate) lifetime: Option<Duration>,
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
    #[error("constraint {0} is not supported")]
    Constraint(String),
}

/// Decodes exactly one message: a frame without its length.
pub(crate) fn decode(frame: &[u8]) -> Result<Incoming, WireError> {
    let mut rest = frame;
    let incoming = match u8::decode(&mut rest)? {
        ADD_IDENTITY => Incoming::Add(addition(&mut rest)?),
        ADD_ID_CONSTRAINED => {
            let mut addition = addition(&mut rest)?;
            while !rest.is_empty() {
                constraint(&mut rest, &mut addition)?;
            }
            Incoming::Add(addition)
        }
        EXTENSION => Incoming::Extension { name: text(&mut rest)?, body: std::mem::take(&mut rest).to_vec() },
        _ => {
            rest = frame;
            Incoming::Other(Request::decode(&mut rest)?)
        }
    };
    if rest.is_empty() { Ok(incoming) } else { Err(WireError::LeftOver(rest.len())) }
}

fn addition(rest: &mut &[u8]) -> Result<Addition, WireError> {
    let algorithm = Algorithm::new(&text(rest)?)?;
    let key = KeypairData::decode_as(rest, algorithm)?;
    let comment = text(rest)?.chars().take(LONGEST_COMMENT).collect();
    Ok(Addition { key, comment, confirm: false, lifetime: None })
}

fn constraint(rest: &mut &[u8], addition: &mut Addition) -> Result<(), WireError> {
    match u8::decode(rest)? {
        CONSTRAIN_LIFETIME if addition.lifetime.is_none() => {
            addition.lifetime = Some(Duration::from_secs(u32::decode(rest)?.into()));
            Ok(())
        }
        CONSTRAIN_CONFIRM if !addition.confirm => {
            addition.confirm = true;
            Ok(())
        }
        CONSTRAIN_EXTENSION => {
            let name = text(rest)?;
            // ssh-add names its sk middleware; "internal" is the one built into OpenSSH, and what we do ourselves.
            if name == "sk-provider@openssh.com" && text(rest)? == "internal" {
                return Ok(());
            }
            Err(WireError::Constraint(name))
        }
        other => Err(WireError::Constraint(format!("{other} (unknown, or twice)"))),
    }
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

/// Encodes an answer: a frame without its length.
pub(crate) fn encode(response: &Response) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::new();
    match response {
        Response::SignResponse(signature) => {
            out.push(SIGN_RESPONSE);
            signature_blob(signature)?.encode(&mut out)?;
        }
        other => other.encode(&mut out)?,
    }
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

/// A signature blob. Those of tokens carry flags and counter behind the signature's string (OpenSSH PROTOCOL.u2f).
fn signature_blob(signature: &Signature) -> Result<Vec<u8>, WireError> {
    const TRAILER: usize = 5;
    let mut out = Vec::new();
    signature.algorithm().as_str().encode(&mut out)?;
    let bytes = signature.as_bytes();
    let trailer = match signature.algorithm() {
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => TRAILER,
        _ => 0,
    };
    let (signature, trailer) = bytes.split_at(bytes.len().saturating_sub(trailer));
    signature.encode(&mut out)?;
    out.extend_from_slice(trailer);
    Ok(out)
}

/// A string that need not be UTF-8: names are ASCII, comments are for display.
fn text(reader: &mut impl Reader) -> Result<String, WireError> {
    let bytes = Vec::<u8>::decode(reader)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssh_key::private::SkEd25519;
    use ssh_key::public::{Ed25519PublicKey, SkEd25519 as SkPublic};

    fn string(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        bytes.encode(&mut out).unwrap();
        out
    }

    fn add(message: u8, comment: &[u8], constraints: &[u8]) -> Vec<u8> {
        let public = SkPublic::new(Ed25519PublicKey([7; 32]), "ssh:");
        let key = KeypairData::SkEd25519(SkEd25519::new(public, 0x25, [9; 40]).unwrap());
        let mut frame = vec![message];
        key.encode(&mut frame).unwrap();
        frame.extend(string(comment));
        frame.extend(constraints);
        frame
    }

    fn added(frame: &[u8]) -> Result<Addition, String> {
        match decode(frame) {
            Ok(Incoming::Add(addition)) => Ok(addition),
            Ok(_) => Err("something else".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_key_is_added_whatever_its_comment() {
        let addition = added(&add(ADD_IDENTITY, b"caf\xe9", b"")).unwrap();
        assert_eq!(addition.comment, "caf\u{fffd}");
        assert!(matches!(addition.key, KeypairData::SkEd25519(_)));
    }

    #[test]
    fn constraints_are_read_and_unknown_ones_refused() {
        let lifetime = [&[CONSTRAIN_LIFETIME][..], &60u32.to_be_bytes()].concat();
        let provider =
            |name: &[u8]| [&[CONSTRAIN_EXTENSION][..], &string(b"sk-provider@openssh.com"), &string(name)].concat();
        let all = [&lifetime[..], &[CONSTRAIN_CONFIRM], &provider(b"internal")].concat();
        let addition = added(&add(ADD_ID_CONSTRAINED, b"", &all)).unwrap();
        assert_eq!((addition.lifetime, addition.confirm), (Some(Duration::from_secs(60)), true));
        for (what, constraints) in [
            ("a library", provider(b"/usr/lib/evil.so")),
            ("twice", [&lifetime[..], &lifetime].concat()),
            ("confirm twice", vec![CONSTRAIN_CONFIRM, CONSTRAIN_CONFIRM]),
            ("unknown", vec![77]),
            ("cut short", vec![CONSTRAIN_LIFETIME, 0]),
        ] {
            assert!(added(&add(ADD_ID_CONSTRAINED, b"", &constraints)).is_err(), "{what}");
        }
    }

    #[test]
    fn a_message_ends_where_its_frame_ends() {
        assert!(added(&add(ADD_IDENTITY, b"", b"x")).is_err());
        assert!(matches!(decode(&[11]), Ok(Incoming::Other(Request::RequestIdentities))));
        for frame in [&[11, 0][..], &[], &[99], &[13, 0, 0]] {
            assert!(decode(frame).is_err(), "{frame:?}");
        }
    }

    #[test]
    fn the_query_answer_has_no_length_of_its_own() {
        let expected = [&[EXTENSION_RESPONSE][..], &string(b"query"), &string(b"session-bind@openssh.com")].concat();
        assert_eq!(encode_query_answer(&["session-bind@openssh.com"]).unwrap(), expected);
    }

    /// The day ssh-key encodes sk-ecdsa signatures rightly, this fails, and `signature_blob` may go.
    #[test]
    fn ssh_key_still_misplaces_flags_and_counter() {
        let integers = [string(&[1; 32]), string(&[2; 32])].concat();
        let trailer = [5, 0, 0, 0, 7];
        let signature = Signature::new(Algorithm::SkEcdsaSha2NistP256, [&integers[..], &trailer].concat()).unwrap();
        let expected = [string(b"sk-ecdsa-sha2-nistp256@openssh.com"), string(&integers), trailer.to_vec()].concat();
        assert_eq!(signature_blob(&signature).unwrap(), expected);
        let mut theirs = Vec::new();
        signature.encode(&mut theirs).unwrap();
        assert_ne!(theirs, expected);
    }
}
