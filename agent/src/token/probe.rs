//! Asking a device silently whether it holds a credential, at the cost of no touch and no PIN try. Believed is only a
//! signature that verifies.

use ssh_key::public::KeyData;
use ssh_key::rand_core::{OsRng, RngCore};

use super::known::KnownToken;
use super::protocol::{Bytes, Command, Device, Failure, RawAssertion, Reply};
use super::{Exchange, TokenError};
use crate::assertion::Assertion;
use crate::identity::Credential;
use crate::policy::{Requirements, UserVerification};

/// A silent signature has neither flag.
const SILENT: Requirements =
    Requirements { confirm: false, user_presence: false, user_verification: UserVerification::NotRequired };

/// What a device says to a silent question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It holds the credential: its signature verifies.
    Proven,
    /// It does not hold it, or hides it until its user is verified, as it does resident verify-required keys.
    No,
    /// It says nothing before its user is verified: alwaysUv (CTAP 2.1 § 7.2).
    NotSaid,
}

/// Asks a device whether it holds a credential.
///
/// # Errors
/// [`TokenError::Unproven`] where it says so and lies; what it said otherwise.
pub(crate) async fn probe(
    exchange: &mut dyn Exchange,
    device: &Device,
    credential: &Credential,
    key: &KeyData,
) -> Result<Answer, Failure> {
    let mut nonce = [0u8; 32];
    OsRng.fill_bytes(&mut nonce);
    let command = Command::Probe {
        path: device.path.clone(),
        application: credential.application.clone(),
        key_handle: Bytes(credential.key_handle.as_bytes().to_vec()),
        data: Bytes(nonce.to_vec()),
    };
    match exchange.call(command, &mut || ()).await {
        Ok(Reply::Assertion(raw)) if proves(&raw, credential, key, &nonce) => Ok(Answer::Proven),
        Ok(Reply::Assertion(_)) => Err(Failure::new(TokenError::Unproven, "its silent signature does not verify")),
        Ok(_) => Err(Failure::new(TokenError::Protocol, "the helper answered something else")),
        Err(failure) => match failure.error {
            TokenError::NoCredentials => Ok(Answer::No),
            TokenError::PinRequired => Ok(Answer::NotSaid),
            _ => Err(failure),
        },
    }
}

/// Asks a device whether it is the known token.
///
/// # Errors
/// As [`probe`].
pub(crate) async fn probe_marker(
    exchange: &mut dyn Exchange,
    device: &Device,
    token: &KnownToken,
) -> Result<Answer, Failure> {
    match token.marker.key() {
        Some(key) => probe(exchange, device, &token.marker.credential(), &key).await,
        None => Ok(Answer::No),
    }
}

/// Which of the known tokens a device is. One that does not answer as it should is none of them.
pub(crate) async fn recognise<'k>(
    exchange: &mut dyn Exchange,
    device: &Device,
    known: &'k [KnownToken],
) -> Option<&'k KnownToken> {
    for token in known {
        if matches!(probe_marker(exchange, device, token).await, Ok(Answer::Proven)) {
            return Some(token);
        }
    }
    None
}

fn proves(raw: &RawAssertion, credential: &Credential, key: &KeyData, nonce: &[u8]) -> bool {
    Assertion::read(key, credential, &raw.auth_data.0, &raw.signature.0, &raw.credential_id.0)
        .is_ok_and(|assertion| assertion.verify(key, nonce, &SILENT).is_ok())
}
