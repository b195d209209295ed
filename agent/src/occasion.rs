//! What a person is told about a request, and what the audit log says of it: one description, in one place.

mod lines;
mod surroundings;

use ssh_key::public::KeyData;

use crate::audit::chain::Hash;
use crate::audit::record;
use crate::certificate::{Claims, plain_public_key};
use crate::identity::{self, Identity};
use crate::payload::{Payload, Userauth};
use crate::peer::{Peer, Process};
use crate::policy::{Path, Route};
use crate::prompt::visible;
use crate::session_binding::{SessionBinding, SessionBindings};
use crate::token::protocol::{Bytes, Device};
use crate::token::select::Selected;
pub use surroundings::Surroundings;

/// A request as a person has to judge it.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// With which key.
    pub identity: &'a Identity,
    /// What is to be signed.
    pub payload: &'a Payload,
    /// Where it goes.
    pub route: &'a Route,
    /// Who asked.
    pub peer: &'a Peer,
    /// Which token is going to be asked, once that is known.
    pub token: Option<&'a Device>,
    /// What the person calls that token, where it proved to be the one they named.
    pub token_name: Option<&'a str>,
    /// Whether that token proved to hold the key.
    pub token_proven: bool,
    /// What else is known, once it was looked up.
    pub surroundings: Option<&'a Surroundings>,
}

impl Occasion<'_> {
    /// The key of the host where the signature is of use, if that is proven: by the connection's last binding, or by the
    /// login itself, where it names a host key. sshd takes no such login that names another key than its own
    /// (auth2-pubkey.c, publickey-hostbound-v00@openssh.com).
    fn host(&self) -> Option<&[u8]> {
        match (self.route, self.payload) {
            (Route::Proven { host_key, .. }, _) => Some(host_key),
            (_, Payload::Userauth(login)) => login.host_key.as_deref().filter(|key| plain_public_key(key).is_some()),
            _ => None,
        }
    }

    /// Where the signature goes, as far as that is proven: for the record, by the fingerprints of host keys. Names are in files
    /// that change.
    #[must_use]
    pub fn destination(&self) -> String {
        let host = self.host().map(|key| format!("on the host with key {} [verified]", host_fingerprint(key)));
        match (host, self.route) {
            (Some(host), Route::Proven { through, .. } | Route::NotProven { through }) if !through.is_empty() => {
                format!("{host}, forwarded {}", describe_path(through))
            }
            (Some(host), _) => host,
            (None, Route::Proven { through, .. } | Route::NotProven { through }) => {
                format!("{}, destination not proven", describe_path(through))
            }
            (None, Route::Unbound) => match self.payload {
                Payload::Userauth(_) => "asked on this machine [reported], destination not proven".into(),
                _ => "asked on this machine [reported]".into(),
            },
        }
    }
}

fn describe_path(path: &Path) -> String {
    let hosts = path.hosts.iter().map(|key| format!("{} [verified]", host_fingerprint(key)));
    let unverified = path.unverified.then(|| "a host whose key could not be verified".to_owned());
    format!("through {}", hosts.chain(unverified).collect::<Vec<_>>().join(", then "))
}

/// A token as a person recognises it.
#[must_use]
pub fn describe_device(device: &Device) -> String {
    let product = if device.product.is_empty() { "FIDO token" } else { &device.product };
    match device.serial.as_str() {
        "" => format!("{} at {}", visible(product), visible(&device.path)),
        serial => format!("{} serial {} at {}", visible(product), visible(serial), visible(&device.path)),
    }
}

/// The fingerprint of a host's key, as ssh-keygen prints it: of a certificate, that of the key in it. Of what can't be read,
/// the hash of its bytes.
fn host_fingerprint(blob: &[u8]) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use ssh_key::sha2::{Digest, Sha256};
    plain_public_key(blob).map_or_else(
        || format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob))),
        |key| identity::fingerprint(&key),
    )
}

/// Who asks for what, for the audit log.
#[must_use]
pub fn subject(
    key: &KeyData,
    key_blob: &[u8],
    payload: &Payload,
    bindings: &SessionBindings,
    peer: &Peer,
) -> record::Subject {
    record::Subject {
        peer: audit_peer(peer),
        key: identity::fingerprint(key),
        application: application(key),
        certificate: certificate(key_blob),
        meaning: meaning(payload),
        bindings: audit_bindings(bindings),
    }
}

/// What a connection is bound to, for the audit log.
#[must_use]
pub fn audit_bindings(bindings: &SessionBindings) -> Vec<record::Binding> {
    let binding = |binding: &SessionBinding| record::Binding {
        host_key: host_fingerprint(&binding.host_key),
        forwarding: binding.is_forwarding,
    };
    bindings.iter().map(binding).collect()
}

/// What is to be signed, for the audit log.
#[must_use]
pub fn meaning(payload: &Payload) -> record::Meaning {
    match payload {
        Payload::Userauth(login) => record::Meaning::Login {
            user: bounded(&login.user_name()),
            service: Userauth::SERVICE.into(),
            method: login.method().into(),
            host_key: login.host_key.as_deref().map(host_fingerprint),
        },
        Payload::SshSig { namespace } => record::Meaning::Signature { namespace: bounded(namespace) },
        Payload::Certificate { kind, claims } => {
            record::Meaning::Certificate { certificate: bounded(kind), certified: claims.as_ref().map(certified) }
        }
        Payload::Opaque => record::Meaning::Opaque,
    }
}

/// The FIDO application of a key, for the audit log; None where it is no key on a token.
#[must_use]
pub fn application(key: &KeyData) -> Option<String> {
    identity::application(key).map(bounded)
}

/// Whether this is how a record names the host with this key.
#[must_use]
pub fn is_host(name: &str, blob: &[u8]) -> bool {
    host_fingerprint(blob) == name
}

/// What the certificate says that was asked for, for the audit log; None where it is a plain key.
#[must_use]
pub fn certificate(key_blob: &[u8]) -> Option<record::Certified> {
    Claims::read(key_blob).as_ref().map(certified)
}

fn certified(claims: &Claims) -> record::Certified {
    record::Certified {
        id: bounded(&String::from_utf8_lossy(&claims.id)),
        serial: claims.serial.to_string(),
        authority: identity::fingerprint(&claims.authority),
    }
}

/// What proves it, for the audit log: the key and the data first, then the bindings, the last host's before those of the
/// hosts on the way.
#[must_use]
pub fn evidence(key_blob: &[u8], data: &[u8], bindings: &SessionBindings) -> record::Evidence {
    /// The most of it that one record holds, in bytes: a login by certificate over three hops takes a fifth. What a host
    /// sends that the agent is forwarded to (a message of 256 KiB, certificates as long) is not to fill the disk.
    const ROOM: usize = 32 * 1024;
    let mut room = ROOM;
    let mut keep = |bytes: &[u8]| match room.checked_sub(bytes.len()) {
        Some(left) => {
            room = left;
            record::Kept::Whole(Bytes(bytes.to_vec()))
        }
        None => record::Kept::Hashed { length: bytes.len() as u64, hash: Hash::of(bytes) },
    };
    let (key, data) = (keep(key_blob), keep(data));
    let bindings: Vec<_> = bindings.iter().collect();
    let binding = |binding: &&SessionBinding| record::BindingEvidence {
        host_key: keep(&binding.host_key),
        session_id: Bytes(binding.session_id.clone()),
        signature: Bytes(binding.signature.clone()),
        forwarding: binding.is_forwarding,
    };
    let mut bindings: Vec<_> = bindings.iter().rev().map(binding).collect();
    bindings.reverse();
    record::Evidence { key, data, bindings }
}

/// A name that a client chose, for the audit log: whole where it is of a sensible length, else cut, with its length and
/// hash. A stranger must not be able to fill the disk with it.
fn bounded(text: &str) -> String {
    use ssh_key::sha2::{Digest, Sha256};
    const LONGEST: usize = 256;
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let head: String = text.chars().take(LONGEST / 4).collect();
    format!("{head}… ({} bytes, SHA-256 {:x})", text.len(), Sha256::digest(text))
}

/// A client, for the audit log.
#[must_use]
pub fn audit_peer(peer: &Peer) -> record::Peer {
    let program = |process: &Process| record::Program {
        pid: process.pid,
        name: bounded(&process.name()),
        executable: process.executable.as_ref().map(|path| bounded(&path.to_string_lossy())),
    };
    let programs = peer.processes.iter().map(program).collect();
    record::Peer { pid: peer.pid, uid: peer.uid, pinned: peer.pinned, programs }
}

/// A token, for the audit log.
#[must_use]
pub fn audit_token(device: &Device) -> record::Token {
    let Device { product, serial, path, .. } = device.clone();
    record::Token { product, serial, path, name: None, aaguid: None }
}

/// The token that is going to be asked, for the audit log.
#[must_use]
pub fn audit_selected(token: &Selected) -> record::Token {
    let hex = |bytes: &Bytes| bytes.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let (name, aaguid) = (token.name.clone(), token.aaguid.as_ref().map(hex));
    record::Token { name, aaguid, ..audit_token(&token.device) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_has_no_room_for_is_hashed() {
        let (key, long) = ([1; 51], vec![2; 300 * 1024]);
        let whole = evidence(&key, b"data", &SessionBindings::default());
        assert_eq!(whole.key.bytes(), Some(&key[..]));
        assert_eq!(whole.data.bytes(), Some(&b"data"[..]));
        let hashed = evidence(&key, &long, &SessionBindings::default());
        assert_eq!(hashed.key.bytes(), Some(&key[..]), "the data leaves the key its room");
        assert_eq!(hashed.data, record::Kept::Hashed { length: 300 * 1024, hash: Hash::of(&long) });
        // A client that gives a long certificate leaves none to what it signs.
        assert_eq!(evidence(&long, b"data", &SessionBindings::default()).key.bytes(), None);
    }

    #[test]
    fn a_host_has_the_fingerprint_of_its_key_with_a_certificate_too() {
        let certificate = crate::made_by_openssh::certificate("host");
        let plain = identity::key_blob(&plain_public_key(&certificate).unwrap());
        assert_ne!(certificate, plain);
        assert_eq!(host_fingerprint(&certificate), host_fingerprint(&plain));
        let cut = &plain[..plain.len() - 1];
        assert!(host_fingerprint(cut).starts_with("SHA256:") && host_fingerprint(cut) != host_fingerprint(&plain));
    }
}
