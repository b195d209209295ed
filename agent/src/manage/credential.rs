//! A token's credential as SSH names it.

use ssh_key::public::{Ed25519PublicKey, KeyData, SkEcdsaSha2NistP256, SkEd25519};

use crate::identity::SkFlags;
use crate::token::protocol::Algorithm;

/// The public key of a credential; None where the token's bytes are none.
pub(super) fn public_key(algorithm: Algorithm, bytes: &[u8], application: &str) -> Option<KeyData> {
    match algorithm {
        Algorithm::Ed25519 => {
            let key = Ed25519PublicKey(bytes.try_into().ok()?);
            Some(KeyData::SkEd25519(SkEd25519::new(key, application)))
        }
        Algorithm::EcdsaP256 => {
            let point = p256::EncodedPoint::from_bytes(bytes).ok()?;
            Some(KeyData::SkEcdsaSha2NistP256(SkEcdsaSha2NistP256::new(point, application)))
        }
    }
}

/// The flags of its key file.
pub(super) fn flags(resident: bool, verify_required: bool) -> SkFlags {
    let resident = if resident { SkFlags::RESIDENT_KEY } else { 0 };
    let verify = if verify_required { SkFlags::USER_VERIFICATION_REQUIRED } else { 0 };
    SkFlags(SkFlags::USER_PRESENCE_REQUIRED | resident | verify)
}
