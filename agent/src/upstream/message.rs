//! The few messages of the agent protocol that an agent sends to another one, and the answers, of which nothing is
//! believed: each length is held against what was received (RFC 9987 § 3).

use crate::session_binding::SessionBinding;

use super::UpstreamError;

/// The longest answer, in bytes: what OpenSSH's programs take from an agent (authfd.c MAX_AGENT_REPLY_LEN).
pub(super) const LONGEST_ANSWER: usize = 256 * 1024;
/// The most keys of one upstream. OpenSSH's programs take 2048 from their agent (authfd.c MAX_AGENT_IDENTITIES), and
/// ours are among them.
const MOST_KEYS: usize = 1024;
/// The longest key or certificate, in bytes. An RSA key of 16384 bits has 2 KiB, its certificate by a like key 8 KiB.
const LONGEST_KEY: usize = 16 * 1024;
/// The longest comment that is shown, in characters, as for keys that are added here.
const LONGEST_COMMENT: usize = 512;

const FAILURE: u8 = 5;
const SUCCESS: u8 = 6;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const EXTENSION: u8 = 27;
const EXTENSION_FAILURE: u8 = 28;

const SESSION_BIND: &[u8] = b"session-bind@openssh.com";

/// A key that another agent offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedKey {
    /// The public key or certificate, as it is named in requests.
    pub blob: Vec<u8>,
    /// Its comment, made valid UTF-8.
    pub comment: String,
}

pub(super) fn request_identities() -> Vec<u8> {
    vec![REQUEST_IDENTITIES]
}

pub(super) fn sign_request(blob: &[u8], data: &[u8], flags: u32) -> Vec<u8> {
    let mut message = vec![SIGN_REQUEST];
    put_string(&mut message, blob);
    put_string(&mut message, data);
    message.extend_from_slice(&flags.to_be_bytes());
    message
}

/// An extension request without a body.
pub(super) fn extension(name: &str) -> Vec<u8> {
    let mut message = vec![EXTENSION];
    put_string(&mut message, name.as_bytes());
    message
}

pub(super) fn session_bind(binding: &SessionBinding) -> Vec<u8> {
    let mut message = vec![EXTENSION];
    for string in [SESSION_BIND, &binding.host_key, &binding.session_id, &binding.signature] {
        put_string(&mut message, string);
    }
    message.push(u8::from(binding.is_forwarding));
    message
}

/// A binding that can't succeed. An attempt counts before it is understood (ssh-agent.c, process_ext_session_bind).
pub(super) fn failing_session_bind() -> Vec<u8> {
    let mut message = vec![EXTENSION];
    put_string(&mut message, SESSION_BIND);
    message
}

/// Whether a binding was accepted. Everything else is a refusal.
pub(super) fn is_success(answer: &[u8]) -> bool {
    answer == [SUCCESS]
}

pub(super) fn identities(answer: &[u8]) -> Result<Vec<OfferedKey>, UpstreamError> {
    let mut rest = body(answer, IDENTITIES_ANSWER)?;
    let number = take_u32(&mut rest)?;
    if number > MOST_KEYS {
        return Err(UpstreamError::TooManyKeys(number));
    }
    let mut keys = Vec::new();
    for _ in 0..number {
        let blob = take_string(&mut rest)?;
        if blob.is_empty() || blob.len() > LONGEST_KEY {
            return Err(UpstreamError::Malformed("a key's length is out of bounds"));
        }
        let comment = String::from_utf8_lossy(take_string(&mut rest)?);
        keys.push(OfferedKey { blob: blob.to_vec(), comment: comment.chars().take(LONGEST_COMMENT).collect() });
    }
    if rest.is_empty() { Ok(keys) } else { Err(LEFT_OVER) }
}

/// The signature's blob.
pub(super) fn signature(answer: &[u8]) -> Result<Vec<u8>, UpstreamError> {
    let mut rest = body(answer, SIGN_RESPONSE)?;
    let signature = take_string(&mut rest)?;
    if rest.is_empty() { Ok(signature.to_vec()) } else { Err(LEFT_OVER) }
}

const CUT_SHORT: UpstreamError = UpstreamError::Malformed("it is cut short");
const LEFT_OVER: UpstreamError = UpstreamError::Malformed("bytes are left over");

/// What follows the message number, where it is the expected one.
fn body(answer: &[u8], expected: u8) -> Result<&[u8], UpstreamError> {
    match answer.split_first() {
        Some((number, rest)) if *number == expected => Ok(rest),
        Some((&(FAILURE | EXTENSION_FAILURE), _)) => Err(UpstreamError::Refused),
        Some(_) => Err(UpstreamError::Malformed("it answers another question")),
        None => Err(CUT_SHORT),
    }
}

fn take_u32(rest: &mut &[u8]) -> Result<usize, UpstreamError> {
    let (number, behind) = rest.split_first_chunk().ok_or(CUT_SHORT)?;
    *rest = behind;
    usize::try_from(u32::from_be_bytes(*number)).map_err(|_| CUT_SHORT)
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], UpstreamError> {
    let length = take_u32(rest)?;
    let (string, behind) = rest.split_at_checked(length).ok_or(CUT_SHORT)?;
    *rest = behind;
    Ok(string)
}

/// What is sent came in a frame of 256 KiB or is a constant, so no length is cut.
fn put_string(message: &mut Vec<u8>, bytes: &[u8]) {
    message.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    message.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_string(&mut out, bytes);
        out
    }

    fn answer(number: u32, keys: &[(&[u8], &[u8])]) -> Vec<u8> {
        let keys = keys.iter().flat_map(|(blob, comment)| [string(blob), string(comment)].concat());
        [IDENTITIES_ANSWER].into_iter().chain(number.to_be_bytes()).chain(keys).collect()
    }

    #[test]
    fn keys_are_read_whatever_their_comments() {
        let keys = identities(&answer(2, &[(b"one", b"caf\xe9"), (b"two", &[b'x'; 2000])])).unwrap();
        assert_eq!(keys[0], OfferedKey { blob: b"one".to_vec(), comment: "caf\u{fffd}".into() });
        assert_eq!(keys[1].comment.len(), LONGEST_COMMENT);
    }

    /// No answer that is cut anywhere is taken for a whole one, and none is a panic.
    #[test]
    fn every_answer_that_is_cut_is_an_error() {
        let list = answer(2, &[(b"one", b"1"), (b"two", b"2")]);
        let signed = [&[SIGN_RESPONSE][..], &string(b"signature")].concat();
        for end in 0..list.len() {
            assert!(identities(&list[..end]).is_err(), "{end}");
        }
        for end in 0..signed.len() {
            assert!(signature(&signed[..end]).is_err(), "{end}");
        }
        assert_eq!(signature(&signed).unwrap(), b"signature");
    }

    #[test]
    fn numbers_and_lengths_are_bounded() {
        let many = u32::try_from(MOST_KEYS).unwrap() + 1;
        assert!(matches!(identities(&answer(many, &[])), Err(UpstreamError::TooManyKeys(_))));
        assert!(identities(&answer(1, &[(&vec![7; LONGEST_KEY], b"")])).is_ok());
        for (what, wrong) in [
            ("a key that is too long", answer(1, &[(&vec![7; LONGEST_KEY + 1], b"")])),
            ("a key that is none", answer(1, &[(b"", b"")])),
            ("more keys than announced", answer(1, &[(b"one", b""), (b"two", b"")])),
            ("a length beyond the end", [&answer(1, &[])[..], &[0xff; 4]].concat()),
            ("another answer", vec![SUCCESS]),
            ("nothing", vec![]),
        ] {
            assert!(matches!(identities(&wrong), Err(UpstreamError::Malformed(_))), "{what}");
        }
        assert!(matches!(identities(&[FAILURE]), Err(UpstreamError::Refused)));
        assert!(matches!(signature(&[EXTENSION_FAILURE]), Err(UpstreamError::Refused)));
    }

    #[test]
    fn requests_are_those_of_the_protocol() {
        let expected = [&[SIGN_REQUEST][..], &string(b"key"), &string(b"data"), &[0, 0, 0, 4]].concat();
        assert_eq!(sign_request(b"key", b"data", 4), expected);
    }
}
