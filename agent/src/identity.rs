//! What an agent holds: identities, and the credentials on tokens that stand behind them.

use std::fmt;
use std::path::PathBuf;

use ssh_key::public::KeyData;
use ssh_key::{Fingerprint, HashAlg};

use crate::constraint::Constraints;
use crate::destination::DestinationConstraint;
use crate::software_key::SoftwareKey;

/// A key this agent offers and signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The public key, FIDO application included.
    pub public_key: KeyData,
    /// As clients name it: the public key's encoding, or that of a certificate of it, which is an identity of its own.
    pub blob: Vec<u8>,
    /// The comment clients are shown.
    pub comment: String,
    /// Where the key handle, or the key itself, is.
    pub holder: Holder,
    /// What the key was restricted to when it was added.
    pub constraints: Constraints,
}

impl Identity {
    /// How many bytes it takes in the list of keys: two strings.
    #[must_use]
    pub fn listed_size(&self) -> usize {
        self.blob.len() + self.comment.len() + 8
    }

    /// About how many bytes of memory it takes, as far as whoever added it could choose that.
    #[must_use]
    pub fn size(&self) -> usize {
        let holder = match &self.holder {
            Holder::Credential(credential) => credential.key_handle.as_bytes().len() + credential.application.len(),
            Holder::ProtectedFile(path) => path.as_os_str().len(),
            Holder::Software(_) | Holder::Upstream(_) => 0,
        };
        let destinations = self.constraints.destinations.iter().map(DestinationConstraint::size).sum::<usize>();
        // The public key is there once as it is and once encoded.
        2 * self.blob.len() + self.comment.len() + holder + destinations
    }
}

/// Where an identity's key handle, or the key itself, is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// The key is on a token, its handle is here.
    Credential(Credential),
    /// The key is on a token, its handle in a key file under a passphrase, which is asked for when it is first used.
    ProtectedFile(PathBuf),
    /// The key itself is here.
    Software(SoftwareKey),
    /// The agent at this socket has the key.
    Upstream(PathBuf),
}

/// A credential on a token, named as CTAP names it (OpenSSH PROTOCOL.u2f).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The relying party id: `ssh:` or `ssh:NAME`.
    pub application: String,
    /// The credential id.
    pub key_handle: KeyHandle,
    /// What the key asks of each signature.
    pub flags: SkFlags,
}

/// A credential id. Whoever holds it and the token can ask for signatures, so Debug shows its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyHandle(Vec<u8>);

impl KeyHandle {
    /// Wraps the credential id as a key file or a token gave it.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The credential id itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHandle({} bytes)", self.0.len())
    }
}

/// The flags of an sk key file, named as OpenSSH's sk-api.h names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkFlags(pub u8);

impl SkFlags {
    /// SSH_SK_USER_PRESENCE_REQD.
    pub const USER_PRESENCE_REQUIRED: u8 = 0x01;
    /// SSH_SK_USER_VERIFICATION_REQD.
    pub const USER_VERIFICATION_REQUIRED: u8 = 0x04;
    /// SSH_SK_RESIDENT_KEY.
    pub const RESIDENT_KEY: u8 = 0x20;

    /// Whether a signature needs a touch.
    #[must_use]
    pub fn user_presence_required(self) -> bool {
        self.0 & Self::USER_PRESENCE_REQUIRED != 0
    }

    /// Whether a signature needs a PIN or fingerprint.
    #[must_use]
    pub fn user_verification_required(self) -> bool {
        self.0 & Self::USER_VERIFICATION_REQUIRED != 0
    }

    /// Whether its token lists it among the keys that it keeps.
    #[must_use]
    pub fn is_resident(self) -> bool {
        self.0 & Self::RESIDENT_KEY != 0
    }

    /// Whether its token may not tell before its user is verified that it holds the key: it hides verify-required resident keys.
    /// Of a token with a sensor, `ssh-add -K` and `ssh-keygen -K` do not tell which keys these are (sk-usbhid.c, `read_rks`).
    #[must_use]
    pub fn may_hide(self) -> bool {
        self.user_verification_required() || self.is_resident()
    }
}

/// The FIDO application of a public key, if it is one of a token.
#[must_use]
pub fn application(key: &KeyData) -> Option<&str> {
    match key {
        KeyData::SkEd25519(key) => Some(key.application()),
        KeyData::SkEcdsaSha2NistP256(key) => Some(key.application()),
        _ => None,
    }
}

/// The encoding of a plain public key: what clients name it by.
#[must_use]
pub fn key_blob(key: &KeyData) -> Vec<u8> {
    let mut blob = Vec::new();
    // Writing to a vector fails only when a length is over 4 GiB.
    let _ = ssh_encoding::Encode::encode(key, &mut blob);
    blob
}

/// A SHA-256 fingerprint, as OpenSSH prints it: others are of keys too, and would never be found equal to one.
#[must_use]
pub fn parse_fingerprint(text: &str) -> Option<Fingerprint> {
    text.parse().ok().filter(|fingerprint: &Fingerprint| fingerprint.algorithm() == HashAlg::Sha256)
}

/// The SHA-256 fingerprint, as OpenSSH prints it.
#[must_use]
pub fn fingerprint(key: &KeyData) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_handle_is_not_printed() {
        let handle = KeyHandle::new([0xAB; 64]);
        assert_eq!(format!("{handle:?}"), "KeyHandle(64 bytes)");
    }

    #[test]
    fn flags_are_those_of_sk_api_h() {
        let touch_only = SkFlags(0x01);
        assert!(touch_only.user_presence_required() && !touch_only.user_verification_required());
        let resident_verified = SkFlags(0x25);
        assert!(resident_verified.user_presence_required() && resident_verified.user_verification_required());
        assert!(!SkFlags(0x20).user_presence_required());
    }
}
