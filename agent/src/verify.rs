//! Whether a signature is that of a key: the hosts' over their sessions, authorities' over certificates, other agents'.
//!
//! ssh-key does it, but for two kinds: RSA, where the `rsa` crate below it takes no key under 2048 or over 4096 bits, and
//! sk-ecdsa, whose signatures it reads with flags and counter in the wrong place.

use aws_lc_rs::signature::{
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    RsaPublicKeyComponents,
};
use signature::Verifier;
use ssh_encoding::Decode;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, Signature};

/// The length of flags and counter behind a FIDO key's signature (OpenSSH PROTOCOL.u2f).
const SK_TRAILER: usize = 5;

/// Whether `blob`, a signature as SSH encodes it, is one of `key` over `message`. SHA-1 is none.
#[must_use]
pub fn verifies(key: &KeyData, message: &[u8], blob: &[u8]) -> bool {
    parse(blob).is_some_and(|(algorithm, signature, trailer)| match (key, algorithm.as_str()) {
        (KeyData::Rsa(key), "rsa-sha2-256" | "rsa-sha2-512") if trailer.is_empty() => {
            let (Some(n), Some(e)) = (key.n.as_positive_bytes(), key.e.as_positive_bytes()) else { return false };
            let parameters = match algorithm.as_str() {
                "rsa-sha2-256" => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
                _ => &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            };
            RsaPublicKeyComponents { n, e }.verify(parameters, message, &signature).is_ok()
        }
        (KeyData::Rsa(_), _) => false,
        _ => {
            let sk = matches!(key, KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_));
            if trailer.len() != if sk { SK_TRAILER } else { 0 } {
                return false;
            }
            let signature = Algorithm::new(&algorithm)
                .and_then(|algorithm| Signature::new(algorithm, [signature, trailer.to_vec()].concat()));
            signature.is_ok_and(|signature| key.verify(message, &signature).is_ok())
        }
    })
}

/// The algorithm's name, the signature's string, and what follows it.
fn parse(mut blob: &[u8]) -> Option<(String, Vec<u8>, &[u8])> {
    let algorithm = String::decode(&mut blob).ok()?;
    let signature = Vec::decode(&mut blob).ok()?;
    Some((algorithm, signature, blob))
}
