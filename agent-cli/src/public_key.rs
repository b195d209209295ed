//! Public keys as `ssh-add -l` describes them, read from the bytes that agents exchange (RFC 4253 § 6.6, OpenSSH's
//! PROTOCOL.u2f and PROTOCOL.certkeys).
//!
//! They are read here and not by ssh-key: that library refuses certificates which never expire, and one of those in an
//! agent must not hide all the other keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_encoding::{Decode, Encode};
use ssh_key::sha2::{Digest, Sha256};

const CERTIFICATE: &str = "-cert-v01@openssh.com";
const OPENSSH: &str = "@openssh.com";

/// A kind of key: the fields of its public key, and how long it is said to be.
struct Kind {
    algorithm: &'static str,
    name: &'static str,
    fields: usize,
    bits: Bits,
}

enum Bits {
    Always(u32),
    /// As many as this field, a number, has.
    OfField(usize),
}

const KINDS: &[Kind] = &[
    Kind { algorithm: "ssh-rsa", name: "RSA", fields: 2, bits: Bits::OfField(1) },
    Kind { algorithm: "ssh-dss", name: "DSA", fields: 4, bits: Bits::OfField(0) },
    Kind { algorithm: "ssh-ed25519", name: "ED25519", fields: 1, bits: Bits::Always(256) },
    Kind { algorithm: "ecdsa-sha2-nistp256", name: "ECDSA", fields: 2, bits: Bits::Always(256) },
    Kind { algorithm: "ecdsa-sha2-nistp384", name: "ECDSA", fields: 2, bits: Bits::Always(384) },
    Kind { algorithm: "ecdsa-sha2-nistp521", name: "ECDSA", fields: 2, bits: Bits::Always(521) },
    Kind { algorithm: "sk-ssh-ed25519@openssh.com", name: "ED25519-SK", fields: 2, bits: Bits::Always(256) },
    Kind { algorithm: "sk-ecdsa-sha2-nistp256@openssh.com", name: "ECDSA-SK", fields: 3, bits: Bits::Always(256) },
];

/// A public key, or a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    /// The bytes that name it to an agent.
    pub(crate) blob: Vec<u8>,
    /// Its type as `ssh-add -l` prints it, e.g. `ED25519-SK`.
    pub(crate) type_name: String,
    /// Its length.
    pub(crate) bits: u32,
    /// Its SHA-256 fingerprint; a certificate has that of its key.
    pub(crate) fingerprint: String,
    /// Its FIDO application, if it is on a token.
    pub(crate) application: Option<String>,
    algorithm: String,
}

impl PublicKey {
    /// Reads a key. None for what is no key, or of a kind unknown here.
    pub(crate) fn read(blob: &[u8]) -> Option<Self> {
        let reader = &mut &*blob;
        let algorithm = String::decode(reader).ok()?;
        let certified = algorithm.strip_suffix(CERTIFICATE);
        let is_kind = |kind: &&Kind| match certified {
            Some(base) => kind.algorithm.trim_end_matches(OPENSSH) == base,
            None => kind.algorithm == algorithm,
        };
        let kind = KINDS.iter().find(is_kind)?;
        if certified.is_some() {
            let _nonce = Vec::<u8>::decode(reader).ok()?;
        }
        let fields = (0..kind.fields).map(|_| Vec::decode(reader)).collect::<Result<Vec<Vec<u8>>, _>>().ok()?;
        if certified.is_none() && !reader.is_empty() {
            return None;
        }
        let mut plain = Vec::new();
        kind.algorithm.encode(&mut plain).ok()?;
        fields.iter().try_for_each(|field| field.as_slice().encode(&mut plain)).ok()?;
        let application = fields.last().filter(|_| kind.name.ends_with("-SK"));
        let certificate = if certified.is_some() { "-CERT" } else { "" };
        Some(Self {
            blob: blob.to_vec(),
            type_name: format!("{}{certificate}", kind.name),
            bits: match kind.bits {
                Bits::Always(bits) => bits,
                Bits::OfField(index) => bit_length(fields.get(index)?)?,
            },
            fingerprint: ssh_key::Fingerprint::Sha256(Sha256::digest(&plain).into()).to_string(),
            application: application.map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            algorithm,
        })
    }

    /// Reads a line of a `.pub` file, and the comment on it.
    pub(crate) fn read_line(line: &str) -> Option<(Self, String)> {
        let mut words = line.trim().splitn(3, ' ');
        let (algorithm, base64) = (words.next()?, words.next()?);
        let key = Self::read(&STANDARD.decode(base64).ok()?)?;
        (key.algorithm == algorithm).then(|| (key, words.next().unwrap_or_default().to_owned()))
    }

    /// The line of a `.pub` file, without a comment.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.algorithm, STANDARD.encode(&self.blob))
    }

    /// The line of `ssh-add -l`.
    pub(crate) fn describe(&self, comment: &str) -> String {
        format!("{} {} {comment} ({})", self.bits, self.fingerprint, self.type_name)
    }
}

/// The length of a number in the form of RFC 4251 § 5 (mpint), in bits.
fn bit_length(number: &[u8]) -> Option<u32> {
    let significant = number.iter().skip_while(|byte| **byte == 0).count();
    let first = number.iter().find(|byte| **byte != 0).copied().unwrap_or_default();
    u32::try_from(significant * 8).ok().map(|bits| bits - if significant == 0 { 0 } else { first.leading_zeros() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys and what OpenSSH 9.2's `ssh-add -l` prints for them. The certificates never expire.
    const KEYS: &str = include_str!("../testdata/keys.txt");

    #[test]
    fn keys_are_described_as_by_ssh_add() {
        let mut lines = KEYS.lines();
        let mut count = 0;
        while let (Some(line), Some(described)) = (lines.next(), lines.next()) {
            let (key, comment) = PublicKey::read_line(line).unwrap();
            assert_eq!(key.describe(&comment), described);
            assert!(line.starts_with(&key.line()));
            count += 1;
        }
        assert_eq!(count, 12);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let line = KEYS.lines().next().unwrap();
        let (key, _) = PublicKey::read_line(line).unwrap();
        let mut longer = key.blob.clone();
        longer.push(0);
        assert_eq!(PublicKey::read(&longer), None);
        assert_eq!(PublicKey::read(&key.blob[..key.blob.len() - 1]), None);
        assert_eq!(PublicKey::read(b""), None);
        assert_eq!(PublicKey::read_line(&line.replacen("ssh-ed25519", "ssh-rsa", 1)), None);
    }
}
