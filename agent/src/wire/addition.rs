//! A key that is to be added, as `sshkey_private_deserialize` in sshkey.c reads it.
//!
//! ssh-key 0.6 reads no certificates of FIDO keys, none that is valid forever, and no P-521 key whose scalar is short;
//! ssh-agent-lib takes no comment that is not UTF-8, and passes unknown constraints over as if they were fine.

use std::time::Duration;

use ssh_encoding::{Decode, Encode};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, EcdsaCurve, Mpint};
use zeroize::Zeroizing;

use super::{WireError, text};
use crate::certificate::Certificate;
use crate::destination::DestinationConstraint;
use crate::identity::{Credential, KeyHandle, SkFlags, key_blob};
use crate::prompt::visible;
use crate::software_key::{RsaParts, SoftwareKey, SoftwareKeyError};

/// The longest comment that is kept, in characters: all of them have to fit into one list.
const LONGEST_COMMENT: usize = 512;

/// A key to be added.
pub(crate) struct Addition {
    /// As clients will name it: the encoding of the public key or of the certificate.
    pub(crate) blob: Vec<u8>,
    pub(crate) public_key: KeyData,
    pub(crate) key: AddedKey,
    pub(crate) comment: String,
    pub(crate) confirm: bool,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) destinations: Option<Vec<DestinationConstraint>>,
    /// The library that is to talk to the token.
    pub(crate) provider: Option<String>,
}

/// What is needed to sign with it.
pub(crate) enum AddedKey {
    Credential(Credential),
    Software(SoftwareKey),
}

impl Addition {
    /// Reads the key and its comment.
    pub(super) fn decode(rest: &mut &[u8]) -> Result<Self, WireError> {
        let name = String::decode(rest)?;
        let (algorithm, certificate) = match Algorithm::new_certificate(&name) {
            Ok(algorithm) => {
                let blob = Vec::<u8>::decode(rest)?;
                let parsed = Certificate::parse(&blob).ok_or(WireError::Certificate)?;
                (algorithm, Some((blob, parsed.public_key)))
            }
            Err(_) => (Algorithm::new(&name).map_err(|_| WireError::KeyType(visible(&name)))?, None),
        };
        let certified = certificate.as_ref().map(|(_, key)| key);
        if certified.is_some_and(|key| key.algorithm() != algorithm) {
            return Err(WireError::Certificate);
        }
        let (public_key, key) = private_key(&algorithm, certified, rest)?;
        // Where the private part repeats the public one, the two have to agree.
        if certified.is_some_and(|key| *key != public_key) {
            return Err(WireError::Certificate);
        }
        let blob = certificate.map_or_else(|| key_blob(&public_key), |(blob, _)| blob);
        let comment = text(rest)?.chars().take(LONGEST_COMMENT).collect();
        Ok(Self { blob, public_key, key, comment, confirm: false, lifetime: None, destinations: None, provider: None })
    }
}

/// The private part, with the public one: in front of it, or in the certificate.
fn private_key(
    algorithm: &Algorithm,
    certified: Option<&KeyData>,
    rest: &mut &[u8],
) -> Result<(KeyData, AddedKey), WireError> {
    match algorithm {
        Algorithm::Ed25519 => {
            let public = Vec::<u8>::decode(rest)?;
            let secret = Zeroizing::new(Vec::<u8>::decode(rest)?);
            // The seed, then the public key once more.
            let (seed, again) = secret.split_at_checked(32).ok_or(WireError::Certificate)?;
            if again != public {
                return Err(SoftwareKeyError::Rejected.into());
            }
            let key = SoftwareKey::ed25519(seed, &public)?;
            Ok((public_key(algorithm, &[&public])?, AddedKey::Software(key)))
        }
        Algorithm::Ecdsa { curve } => {
            let public = match certified {
                Some(key) => key.clone(),
                None => curve_and_point(algorithm, *curve, rest)?,
            };
            let scalar = Secret(Mpint::decode(rest)?);
            let point = public.ecdsa().map(|key| key.as_sec1_bytes()).ok_or(WireError::Certificate)?;
            uncompressed(point)?;
            let key = SoftwareKey::ecdsa(*curve, &scalar.0, point)?;
            Ok((public, AddedKey::Software(key)))
        }
        Algorithm::Rsa { .. } => {
            let (n, e) = match certified {
                Some(KeyData::Rsa(key)) => (key.n.clone(), key.e.clone()),
                _ => (Mpint::decode(rest)?, Mpint::decode(rest)?),
            };
            let parts = RsaParts {
                d: Mpint::decode(rest)?,
                iqmp: Mpint::decode(rest)?,
                p: Mpint::decode(rest)?,
                q: Mpint::decode(rest)?,
                n,
                e,
            };
            let key = SoftwareKey::rsa(&parts)?;
            let public = KeyData::Rsa(ssh_key::public::RsaPublicKey { e: parts.e.clone(), n: parts.n.clone() });
            Ok((public, AddedKey::Software(key)))
        }
        Algorithm::SkEd25519 => {
            // As with Ed25519, and unlike ECDSA, the public key is there beside a certificate too.
            let public = Vec::<u8>::decode(rest)?;
            let credential = credential(rest)?;
            let public = public_key(algorithm, &[&public, credential.application.as_bytes()])?;
            Ok((public, AddedKey::Credential(credential)))
        }
        Algorithm::SkEcdsaSha2NistP256 => {
            let (curve, point) = match certified {
                Some(KeyData::SkEcdsaSha2NistP256(key)) => (b"nistp256".to_vec(), key.ec_point().as_bytes().to_vec()),
                _ => (Vec::<u8>::decode(rest)?, Vec::<u8>::decode(rest)?),
            };
            uncompressed(&point)?;
            // Nothing else computes with it before the token signs.
            p256::PublicKey::from_sec1_bytes(&point).map_err(|_| SoftwareKeyError::Rejected)?;
            let credential = credential(rest)?;
            let public = public_key(algorithm, &[&curve, &point, credential.application.as_bytes()])?;
            Ok((public, AddedKey::Credential(credential)))
        }
        other => Err(WireError::KeyType(visible(other.as_str()))),
    }
}

fn curve_and_point(algorithm: &Algorithm, curve: EcdsaCurve, rest: &mut &[u8]) -> Result<KeyData, WireError> {
    let named = Vec::<u8>::decode(rest)?;
    let point = Vec::<u8>::decode(rest)?;
    if named != curve.as_str().as_bytes() {
        return Err(WireError::KeyType(visible(&String::from_utf8_lossy(&named))));
    }
    public_key(algorithm, &[&named, &point])
}

/// OpenSSH takes points of no other form, and its programs show none of the keys of a list that has one in it.
fn uncompressed(point: &[u8]) -> Result<(), SoftwareKeyError> {
    const UNCOMPRESSED: u8 = 4;
    if point.first() == Some(&UNCOMPRESSED) { Ok(()) } else { Err(SoftwareKeyError::Rejected) }
}

/// The part of a FIDO key that tells the token which key it is.
fn credential(rest: &mut &[u8]) -> Result<Credential, WireError> {
    let application = String::decode(rest)?;
    let flags = SkFlags(u8::decode(rest)?);
    let key_handle = KeyHandle::new(Vec::<u8>::decode(rest)?);
    let _reserved = Vec::<u8>::decode(rest)?;
    Ok(Credential { application, key_handle, flags })
}

/// A public key from the strings it is encoded by.
fn public_key(algorithm: &Algorithm, strings: &[&[u8]]) -> Result<KeyData, WireError> {
    let mut blob = Vec::new();
    algorithm.as_str().encode(&mut blob)?;
    for string in strings {
        string.encode(&mut blob)?;
    }
    Ok(KeyData::decode(&mut blob.as_slice())?)
}

/// A secret number, wiped in the end.
struct Secret(Mpint);

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

#[cfg(test)]
mod tests;
