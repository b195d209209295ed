//! authenticatorClientPIN (CTAP 2.1 § 6.5): a PIN by itself.

use agent::token::protocol::Pin;
use secrecy::ExposeSecret;

use super::info::Info;
use super::{ANSWERS_WITH_PIN, job};
use crate::attempt::Job;

/// Proves a PIN, and does nothing with the pinUvAuthToken that the token gives for it.
pub(crate) fn verify_pin(path: &str, pin: Pin) -> Job<()> {
    let job = job(path, move |key| {
        Info::get(key)?.prepare_for_pin(key)?;
        // Not with permissions: those for a signature need a relying party, which the library can't name (§ 6.5.5.7.2).
        key.get_pin_token(pin.0.expose_secret())?;
        Ok(())
    });
    // That the token answered says all.
    Job { sends_pin: true, preceding: ANSWERS_WITH_PIN - 1, read: Some(Box::new(|_| Ok(()))), ..job }
}
