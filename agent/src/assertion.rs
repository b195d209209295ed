//! A token's answer, believed only after it was verified (OpenSSH PROTOCOL.u2f, CTAP 2.1 § 6.2.2).

use signature::Verifier;
use ssh_encoding::Encode;
use ssh_key::public::KeyData;
use ssh_key::sha2::{Digest, Sha256};
use ssh_key::{Algorithm, Signature};

use crate::identity::Credential;
use crate::policy::{Requirements, UserVerification};

/// The length of authenticator data without extensions: rpIdHash, flags, counter. SSH has no room for more.
const AUTH_DATA_LEN: usize = 37;

/// Flag UP of the authenticator data: the token was touched.
pub const USER_PRESENT: u8 = 0x01;
/// Flag UV of the authenticator data: the token verified its user.
pub const USER_VERIFIED: u8 = 0x04;

/// A signature with what the token says of its making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// [`USER_PRESENT`], [`USER_VERIFIED`].
    pub flags: u8,
    /// The token's signature counter; some tokens count for all keys at once, some always say 0.
    pub counter: u32,
    /// In SSH's encoding, with flags and counter at its end.
    signature: Signature,
}

/// What is wrong with a token's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// The authenticator data is not 37 bytes.
    #[error("the token's answer has extra data or is cut short")]
    Length,
    /// rpIdHash is not that of the key's application.
    #[error("the token's answer is for another application")]
    Application,
    /// The credential id is not the key handle.
    #[error("the token's answer is for another key")]
    KeyHandle,
    /// The signature is no signature of the key's type.
    #[error("the token's signature can't be read")]
    Encoding,
    /// The signature does not verify.
    #[error("the token's signature does not verify")]
    Signature,
    /// Flag UP is missing.
    #[error("the token's signature does not say that it was touched")]
    UserPresence,
    /// Flag UV is missing.
    #[error("the token's signature does not say that the user was verified")]
    UserVerification,
}

impl Assertion {
    /// Reads an answer: `auth_data`, `signature` (Ed25519: 64 bytes, ES256: DER) and `credential_id`, which a token may
    /// leave out when it was asked for one credential.
    ///
    /// # Errors
    /// See [`AssertionError`]. Nothing is verified yet: see [`Self::verify`].
    pub fn read(
        key: &KeyData,
        credential: &Credential,
        auth_data: &[u8],
        signature: &[u8],
        credential_id: &[u8],
    ) -> Result<Self, AssertionError> {
        let auth_data: &[u8; AUTH_DATA_LEN] = auth_data.try_into().map_err(|_| AssertionError::Length)?;
        let (application_hash, trailer) = auth_data.split_at(32);
        let [flags, counter @ ..] = trailer else {
            return Err(AssertionError::Length);
        };
        let counter = counter.try_into().map_err(|_| AssertionError::Length)?;
        if application_hash != Sha256::digest(&credential.application).as_slice() {
            return Err(AssertionError::Application);
        }
        if !credential_id.is_empty() && credential_id != credential.key_handle.as_bytes() {
            return Err(AssertionError::KeyHandle);
        }
        let signature = ssh_signature(key, signature, trailer).ok_or(AssertionError::Encoding)?;
        Ok(Self { flags: *flags, counter: u32::from_be_bytes(counter), signature })
    }

    /// Holds the answer against the key, the data that was to be signed, and what the policy asked for.
    ///
    /// # Errors
    /// See [`AssertionError`].
    pub fn verify(&self, key: &KeyData, data: &[u8], requirements: &Requirements) -> Result<(), AssertionError> {
        key.verify(data, &self.signature).map_err(|_| AssertionError::Signature)?;
        if requirements.user_presence && self.flags & USER_PRESENT == 0 {
            return Err(AssertionError::UserPresence);
        }
        if requirements.user_verification != UserVerification::NotRequired && self.flags & USER_VERIFIED == 0 {
            return Err(AssertionError::UserVerification);
        }
        Ok(())
    }

    /// The signature as SSH encodes it, with flags and counter behind its string (OpenSSH PROTOCOL.u2f). ssh-key 0.6 puts
    /// those of sk-ecdsa keys into the string.
    #[must_use]
    pub fn signature(&self) -> Vec<u8> {
        const TRAILER: usize = 5;
        let bytes = self.signature.as_bytes();
        let (signature, trailer) = bytes.split_at(bytes.len().saturating_sub(TRAILER));
        let mut blob = Vec::new();
        // Writing to a vector fails only when a length is over 4 GiB.
        let _ = self.signature.algorithm().as_str().encode(&mut blob).and_then(|()| signature.encode(&mut blob));
        blob.extend_from_slice(trailer);
        blob
    }
}

/// SSH writes ECDSA signatures as two integers (RFC 5656 § 3.1.2), where CTAP writes DER; flags and counter follow.
fn ssh_signature(key: &KeyData, signature: &[u8], flags_and_counter: &[u8]) -> Option<Signature> {
    let (algorithm, mut bytes) = match key {
        KeyData::SkEd25519(_) => (Algorithm::SkEd25519, signature.to_vec()),
        KeyData::SkEcdsaSha2NistP256(_) => {
            let signature = p256::ecdsa::Signature::from_der(signature).ok()?;
            (Algorithm::SkEcdsaSha2NistP256, Signature::try_from(signature).ok()?.as_bytes().to_vec())
        }
        _ => return None,
    };
    bytes.extend_from_slice(flags_and_counter);
    Signature::new(algorithm, bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{KeyHandle, SkFlags};
    use p256::ecdsa::signature::Signer as _;
    use ssh_key::private::Ed25519Keypair;
    use ssh_key::public::{SkEcdsaSha2NistP256, SkEd25519};
    use ssh_key::rand_core::OsRng;

    const TOUCH: Requirements =
        Requirements { confirm: false, user_presence: true, user_verification: UserVerification::NotRequired };
    const VERIFY: Requirements = Requirements { user_verification: UserVerification::BuiltInThenPin, ..TOUCH };

    fn credential() -> Credential {
        Credential { application: "ssh:".into(), key_handle: KeyHandle::new(*b"handle"), flags: SkFlags(1) }
    }

    fn auth_data(flags: u8) -> Vec<u8> {
        [Sha256::digest("ssh:").as_slice(), &[flags], &7u32.to_be_bytes()].concat()
    }

    fn ed25519(flags: u8, data: &[u8]) -> (KeyData, Vec<u8>) {
        let pair = Ed25519Keypair::random(&mut OsRng);
        let message = [auth_data(flags), Sha256::digest(data).to_vec()].concat();
        let signature = pair.sign(&message).as_bytes().to_vec();
        (KeyData::SkEd25519(SkEd25519::new(pair.public, "ssh:")), signature)
    }

    #[test]
    fn an_honest_ed25519_answer_verifies() {
        let (key, signature) = ed25519(0x05, b"data");
        let answer = Assertion::read(&key, &credential(), &auth_data(0x05), &signature, b"handle").unwrap();
        assert_eq!((answer.flags, answer.counter), (5, 7));
        assert_eq!(answer.verify(&key, b"data", &VERIFY), Ok(()));
        assert_eq!(answer.verify(&key, b"other data", &VERIFY), Err(AssertionError::Signature));
    }

    #[test]
    fn an_honest_ecdsa_answer_verifies() {
        let secret = p256::ecdsa::SigningKey::random(&mut OsRng);
        let point = secret.verifying_key().to_encoded_point(false);
        let key = KeyData::SkEcdsaSha2NistP256(SkEcdsaSha2NistP256::new(point, "ssh:"));
        let message = [auth_data(0x01), Sha256::digest(b"data").to_vec()].concat();
        let signature: p256::ecdsa::Signature = secret.sign(&message);
        let der = signature.to_der();
        let answer = Assertion::read(&key, &credential(), &auth_data(0x01), der.as_bytes(), b"").unwrap();
        assert_eq!(answer.verify(&key, b"data", &TOUCH), Ok(()));
    }

    #[test]
    fn flags_are_held_against_what_was_asked() {
        for (flags, requirements, expected) in [
            (0x01, TOUCH, Ok(())),
            (0x00, TOUCH, Err(AssertionError::UserPresence)),
            (0x01, VERIFY, Err(AssertionError::UserVerification)),
            (0x04, VERIFY, Err(AssertionError::UserPresence)),
        ] {
            let (key, signature) = ed25519(flags, b"data");
            let answer = Assertion::read(&key, &credential(), &auth_data(flags), &signature, b"handle").unwrap();
            assert_eq!(answer.verify(&key, b"data", &requirements), expected, "{flags:#x}");
        }
    }

    #[test]
    fn a_lying_answer_is_not_even_read() {
        let (key, signature) = ed25519(0x05, b"data");
        let good = auth_data(0x05);
        let mut other_application = good.clone();
        other_application[0] ^= 1;
        let with_extensions = [good.as_slice(), &[0xA0]].concat();
        let read = |auth_data: &[u8], signature: &[u8], id: &[u8]| {
            Assertion::read(&key, &credential(), auth_data, signature, id).unwrap_err()
        };
        assert_eq!(read(&good[..36], &signature, b"handle"), AssertionError::Length);
        assert_eq!(read(&with_extensions, &signature, b"handle"), AssertionError::Length);
        assert_eq!(read(&other_application, &signature, b"handle"), AssertionError::Application);
        assert_eq!(read(&good, &signature, b"other"), AssertionError::KeyHandle);
        assert_eq!(read(&good, &signature[..63], b"handle"), AssertionError::Encoding);
    }

    #[test]
    fn a_flag_added_on_the_way_breaks_the_signature() {
        let (key, signature) = ed25519(0x01, b"data");
        let answer = Assertion::read(&key, &credential(), &auth_data(0x05), &signature, b"handle").unwrap();
        assert_eq!(answer.verify(&key, b"data", &VERIFY), Err(AssertionError::Signature));
    }
}
