//! Certificates made field by field (OpenSSH PROTOCOL.certkeys), since those that are refused are not the ones that a
//! library makes.

use signature::Signer;
use ssh_key::{PrivateKey, Signature};

use crate::keys::{blob, private};
use crate::message::Message;

/// SSH2_CERT_TYPE_USER.
pub(crate) const USER: u32 = 1;
/// SSH2_CERT_TYPE_HOST.
pub(crate) const HOST: u32 = 2;

/// What a certificate says.
pub(crate) struct Certificate<'a> {
    /// The key it is for.
    pub(crate) subject: &'a PrivateKey,
    /// Who has signed it.
    pub(crate) authority: &'a PrivateKey,
    /// For users or for hosts.
    pub(crate) kind: u32,
    /// The only name it is good for.
    pub(crate) principal: &'a str,
    /// The authority's public key, where it is not what it should be.
    pub(crate) authority_blob: Option<Vec<u8>>,
    /// Turns the signature into another.
    pub(crate) signature: fn(Vec<u8>) -> Vec<u8>,
}

impl<'a> Certificate<'a> {
    /// One for a user, good for ever.
    pub(crate) fn for_user(subject: &'a PrivateKey, authority: &'a PrivateKey) -> Self {
        let signature = std::convert::identity;
        Self { subject, authority, kind: USER, principal: "me", authority_blob: None, signature }
    }

    /// Its type.
    pub(crate) fn name(&self) -> String {
        let algorithm = self.subject.algorithm();
        format!("{}-cert-v01@openssh.com", algorithm.as_str())
    }

    /// Its fields.
    pub(crate) fn message(&self) -> Message {
        let public = blob(self.subject);
        let fields_at = 4 + self.subject.algorithm().as_str().len();
        let authority = self.authority_blob.clone().unwrap_or_else(|| blob(self.authority));
        let unsigned = Message::default()
            .string(self.name())
            .string([7; 32])
            .raw(&public[fields_at..])
            .raw(&0u64.to_be_bytes())
            .uint32(self.kind)
            .string("hostile")
            .nested(&Message::default().string(self.principal))
            .raw(&0u64.to_be_bytes())
            .raw(&u64::MAX.to_be_bytes())
            .string(b"")
            .nested(&Message::default().string("permit-pty").string(b""))
            .string(b"")
            .string(authority);
        let signature: Signature = self.authority.try_sign(unsigned.bytes()).unwrap();
        unsigned.string((self.signature)(Vec::try_from(signature).unwrap()))
    }

    /// The message that adds it together with the private key of its subject.
    pub(crate) fn add(&self, number: u8) -> Message {
        self.add_as(number, self.subject)
    }

    /// The message that adds it together with another private key.
    pub(crate) fn add_as(&self, number: u8, key: &PrivateKey) -> Message {
        let name = key.algorithm();
        let certificate = Message::new(number).string(self.name()).nested(&self.message());
        // An Ed25519 key is there whole, and only what is secret of the others.
        let private = private(key);
        let fields = &private.bytes()[4 + name.as_str().len()..];
        let public_fields = match name {
            ssh_key::Algorithm::Ed25519 => 0,
            ssh_key::Algorithm::Ecdsa { .. } => 2,
            ssh_key::Algorithm::Rsa { .. } => 2,
            other => unreachable!("no attack certifies {other:?}"),
        };
        certificate.raw(after(fields, public_fields)).string("hostile")
    }
}

/// What follows so many strings.
fn after(fields: &[u8], strings: usize) -> &[u8] {
    (0..strings).fold(fields, |rest, _| {
        let (length, rest) = rest.split_first_chunk::<4>().unwrap();
        &rest[u32::from_be_bytes(*length) as usize..]
    })
}
