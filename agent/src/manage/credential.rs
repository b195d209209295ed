//! A token's credential as SSH names it.

use ssh_key::public::{Ed25519PublicKey, KeyData, SkEcdsaSha2NistP256, SkEd25519};

use crate::constraint::Constraints;
use crate::denial::{Code, Denial};
use crate::identity::{self, Credential, Holder, Identity, KeyHandle, SkFlags};
use crate::token::protocol::{Algorithm, ResidentCredential};

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

/// A resident key, as the agent holds it.
pub(super) fn identity(found: &ResidentCredential) -> Result<Identity, Denial> {
    let unusable = || Denial::new(Code::TokenUnproven, "the token listed a key that can't be read");
    let public_key = public_key(found.algorithm, &found.public_key.0, &found.application).ok_or_else(unusable)?;
    // A fingerprint token reports no flags; credProtect 3 is what makes a key verify-required (CTAP 2.1 § 12.1).
    let credential = Credential {
        application: found.application.clone(),
        key_handle: KeyHandle::new(found.key_handle.0.clone()),
        flags: flags(true, is_verify_required(found)),
    };
    Ok(Identity {
        blob: identity::key_blob(&public_key),
        public_key,
        comment: comment(found),
        holder: Holder::Credential(credential),
        constraints: Constraints::default(),
    })
}

/// Whether the token wants its user verified for each signature (credProtect 3: CTAP 2.1 § 12.1).
pub(super) fn is_verify_required(found: &ResidentCredential) -> bool {
    found.protection == 3
}

/// The user's name. ssh-keygen calls every user "openssh" unless told otherwise, which tells nothing; then it is the
/// application that tells the key from others.
fn comment(found: &ResidentCredential) -> String {
    let told = !matches!(found.user_name.as_str(), "" | "openssh");
    if told { found.user_name.clone() } else { found.application.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::protocol::Bytes;

    fn found(user_name: &str, protection: u8) -> ResidentCredential {
        ResidentCredential {
            application: "ssh:there".into(),
            key_handle: Bytes(vec![1]),
            algorithm: Algorithm::Ed25519,
            public_key: Bytes(vec![0; 32]),
            user_id: Bytes::default(),
            user_name: user_name.into(),
            protection,
        }
    }

    #[test]
    fn a_resident_key_is_named_after_its_user() {
        for (user, comment) in [("me@here", "me@here"), ("openssh", "ssh:there"), ("", "ssh:there")] {
            assert_eq!(identity(&found(user, 1)).unwrap().comment, comment);
        }
    }

    #[test]
    fn protection_makes_a_key_verify_required() {
        for (protection, verify_required) in [(1, false), (2, false), (3, true)] {
            let Holder::Credential(credential) = identity(&found("me", protection)).unwrap().holder else { panic!() };
            assert_eq!(credential.flags.user_verification_required(), verify_required, "{protection}");
        }
    }
}
