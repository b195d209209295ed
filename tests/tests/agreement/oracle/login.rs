//! What is asked to be signed (statements 9 and 10).

use super::key::canonical;
use super::reader::Reader;
use super::reason::{Notes, Reason};
use crate::request::HOSTBOUND;

/// A login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) session: Vec<u8>,
    pub(super) user: Vec<u8>,
    pub(super) host: Option<Vec<u8>>,
}

/// Reads a login that shows one of these keys, as ssh-agent does, with notes of what is none all the same.
pub(super) fn login(data: &[u8], keys: &[&[u8]], notes: &mut Notes) -> Option<Login> {
    const USERAUTH_REQUEST: u8 = 50;
    let mut data = Reader(data);
    let session = data.string().filter(|session| !session.is_empty())?;
    let number = data.byte()?;
    let user = data.strict_name(notes)?;
    let service = data.strict_name(notes)?;
    let method = data.strict_name(notes)?;
    let signature_follows = data.byte()?;
    let algorithm = data.strict_name(notes)?;
    let key = canonical(data.string()?, notes);
    if !keys.contains(&key.as_slice()) {
        return None;
    }
    let host = if method == HOSTBOUND.as_bytes() { Some(canonical(data.string()?, notes)) } else { None };
    let kind = Reader(&key).string()?;
    let fits = number == USERAUTH_REQUEST
        && service == b"ssh-connection"
        && (host.is_some() || method == b"publickey")
        && signature_follows == 1
        && type_of(algorithm).is_some_and(|algorithm| Some(algorithm) == type_of(kind))
        && data.is_empty();
    notes.note_if(algorithm.starts_with(b"ecdsa-") && algorithm != kind, Reason::Algorithm);
    fits.then(|| Login { session: session.to_vec(), user: user.to_vec(), host })
}

/// Key types as ssh-agent tells them apart, whatever the curve or the hash.
fn type_of(name: &[u8]) -> Option<(&'static str, bool)> {
    let name = std::str::from_utf8(name).ok()?;
    let plain = name.strip_suffix("-cert-v01@openssh.com");
    let kind = match plain.unwrap_or(name) {
        "ssh-ed25519" => "ed25519",
        "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => "ecdsa",
        "ssh-rsa" | "rsa-sha2-256" | "rsa-sha2-512" => "rsa",
        _ => return None,
    };
    Some((kind, plain.is_some()))
}

/// Whether it is a message of `ssh-keygen -Y sign` (OpenSSH PROTOCOL.sshsig).
pub(super) fn is_sshsig(data: &[u8]) -> bool {
    let shape = || {
        let mut data = Reader(data.strip_prefix(b"SSHSIG")?);
        let namespace = data.string()?;
        let _reserved = data.string()?;
        let length = match data.string()? {
            b"sha256" => 32,
            b"sha512" => 64,
            _ => return None,
        };
        let hash = data.string()?;
        Some(!namespace.is_empty() && !namespace.contains(&0) && hash.len() == length && data.is_empty())
    };
    shape().unwrap_or_default()
}
