//! Whether a signature is that of a key: the hosts' over their sessions, authorities' over certificates, other agents'.
//!
//! aws-lc does it for plain keys. ssh-key could, but takes no RSA key under 2048 or over 4096 bits, and milliseconds for
//! one signature of P-521, which any host that the agent is forwarded to may ask to be verified as often as it likes.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, EcdsaVerificationAlgorithm,
    ParsedPublicKey, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use signature::Verifier;
use ssh_encoding::Decode;
use ssh_key::public::{EcdsaPublicKey, KeyData, RsaPublicKey};
use ssh_key::{Algorithm, EcdsaCurve, Mpint, Signature};

/// The length of flags and counter behind a FIDO key's signature (OpenSSH PROTOCOL.u2f).
const SK_TRAILER: usize = 5;

/// The shortest RSA modulus that OpenSSH reads, in bytes (SSH_RSA_MINIMUM_MODULUS_SIZE).
const SHORTEST_MODULUS: usize = 128;

/// A signature as SSH encodes it.
struct Encoded<'a> {
    algorithm: String,
    signature: Vec<u8>,
    /// Flags and counter of a FIDO key; empty for others.
    trailer: &'a [u8],
}

/// Whether `blob`, a signature as SSH encodes it, is one of `key` over `message`. One with SHA-1 is none.
#[must_use]
pub fn verifies(key: &KeyData, message: &[u8], blob: &[u8]) -> bool {
    let Some(encoded) = Encoded::parse(blob) else {
        return false;
    };
    match key {
        KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => of_token(key, message, &encoded),
        _ if !encoded.trailer.is_empty() => false,
        KeyData::Rsa(key) => rsa(key, message, &encoded).is_some(),
        KeyData::Ecdsa(key) => ecdsa(key, message, &encoded).is_some(),
        KeyData::Ed25519(key) if encoded.algorithm == "ssh-ed25519" => {
            UnparsedPublicKey::new(&ED25519, key.0).verify(message, &encoded.signature).is_ok()
        }
        _ => false,
    }
}

/// Whether signatures can be verified with a key at all, as OpenSSH asks of each key it reads: a point that is on its curve, a
/// modulus of 1024 bits (sshkey.c, `sshkey_ec_validate_public`; ssh-rsa.c, `check_rsa_length`).
#[must_use]
pub fn can_verify(key: &KeyData) -> bool {
    let is_on = |curve, point: &[u8]| ParsedPublicKey::new(parameters(curve).0, point).is_ok();
    match key {
        KeyData::Ecdsa(key) => is_on(key.curve(), key.as_sec1_bytes()),
        KeyData::SkEcdsaSha2NistP256(key) => is_on(EcdsaCurve::NistP256, key.ec_point().as_bytes()),
        KeyData::Rsa(key) => {
            let modulus = key.n.as_positive_bytes();
            modulus.is_some_and(|n| n.len() >= SHORTEST_MODULUS) && key.e.as_positive_bytes().is_some()
        }
        KeyData::Ed25519(_) | KeyData::SkEd25519(_) => true,
        _ => false,
    }
}

impl<'a> Encoded<'a> {
    fn parse(mut blob: &'a [u8]) -> Option<Self> {
        let algorithm = String::decode(&mut blob).ok()?;
        let signature = Vec::decode(&mut blob).ok()?;
        Some(Self { algorithm, signature, trailer: blob })
    }
}

fn rsa(key: &RsaPublicKey, message: &[u8], encoded: &Encoded<'_>) -> Option<()> {
    let (n, e) = (key.n.as_positive_bytes()?, key.e.as_positive_bytes()?);
    let parameters = match encoded.algorithm.as_str() {
        "rsa-sha2-256" => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        "rsa-sha2-512" => &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        _ => return None,
    };
    RsaPublicKeyComponents { n, e }.verify(parameters, message, &encoded.signature).ok()
}

fn ecdsa(key: &EcdsaPublicKey, message: &[u8], encoded: &Encoded<'_>) -> Option<()> {
    let (algorithm, length) = parameters(key.curve());
    if encoded.algorithm != (Algorithm::Ecdsa { curve: key.curve() }).as_str() {
        return None;
    }
    // Two integers (RFC 5656 § 3.1.2), each of which aws-lc wants at the curve's length.
    let mut halves = Vec::with_capacity(2 * length);
    let mut rest = encoded.signature.as_slice();
    for _ in 0..2 {
        let integer = Mpint::decode(&mut rest).ok()?;
        let bytes = integer.as_positive_bytes()?;
        halves.resize(halves.len() + length.checked_sub(bytes.len())?, 0);
        halves.extend_from_slice(bytes);
    }
    UnparsedPublicKey::new(algorithm, key.as_sec1_bytes()).verify(message, &halves).ok().filter(|()| rest.is_empty())
}

/// The algorithm of a curve, and the length of its integers.
fn parameters(curve: EcdsaCurve) -> (&'static EcdsaVerificationAlgorithm, usize) {
    match curve {
        EcdsaCurve::NistP256 => (&ECDSA_P256_SHA256_FIXED, 32),
        EcdsaCurve::NistP384 => (&ECDSA_P384_SHA384_FIXED, 48),
        EcdsaCurve::NistP521 => (&ECDSA_P521_SHA512_FIXED, 66),
    }
}

fn of_token(key: &KeyData, message: &[u8], encoded: &Encoded<'_>) -> bool {
    let algorithm = key.algorithm();
    // ssh-key takes a signature under any name.
    if encoded.algorithm != algorithm.as_str() || encoded.trailer.len() != SK_TRAILER {
        return false;
    }
    // ssh-key wants flags and counter inside the signature's string.
    let signature = Signature::new(algorithm, [encoded.signature.as_slice(), encoded.trailer].concat());
    signature.is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

#[cfg(test)]
mod tests;
