//! authenticatorClientPIN (CTAP 2.1 § 6.5): a PIN by itself; setting it (§ 6.5.5.5) and changing it (§ 6.5.5.6).

use agent::token::TokenError;
use agent::token::protocol::Pin;
use ctap_hid_fido2::FidoKeyHid;
use secrecy::ExposeSecret;

use super::info::Info;
use super::{ANSWERS_WITH_PIN, job};
use crate::attempt::Job;
use crate::failure::Trouble;

/// Proves a PIN, and does nothing with the pinUvAuthToken that the token gives for it.
pub(crate) fn verify_pin(path: &str, pin: Pin) -> Job<()> {
    with_pin(path, move |key| {
        Info::get(key)?.prepare_for_pin(key)?;
        // Not with permissions: those for a signature need a relying party, which the library can't name (§ 6.5.5.7.2).
        key.get_pin_token(pin.0.expose_secret())?;
        Ok(())
    })
}

/// Sets the first PIN. A token that has one is not asked: it would say no more than that something was wrong.
pub(crate) fn set_pin(path: &str, new: Pin) -> Job<()> {
    with_pin(path, move |key| {
        let info = Info::get(key)?;
        match info.option("clientPin") {
            Some(false) => info.choose_pin_protocol(key)?,
            Some(true) => return Err(Trouble::Known(TokenError::PinAlreadySet, "the token has a PIN already")),
            None => return Err(Trouble::Known(TokenError::Unsupported, "the token takes no PIN")),
        }
        long_enough(&info, &new)?;
        Ok(key.set_new_pin(new.0.expose_secret())?)
    })
}

/// Changes the PIN. The token counts a wrong old one as a try.
pub(crate) fn change_pin(path: &str, old: Pin, new: Pin) -> Job<()> {
    with_pin(path, move |key| {
        let info = Info::get(key)?;
        match info.option("clientPin") {
            Some(true) => info.choose_pin_protocol(key)?,
            Some(false) => return Err(Trouble::Known(TokenError::PinNotSet, "the token has no PIN yet")),
            None => return Err(Trouble::Known(TokenError::Unsupported, "the token takes no PIN")),
        }
        long_enough(&info, &new)?;
        Ok(key.change_pin(old.0.expose_secret(), new.0.expose_secret())?)
    })
}

/// A job whose last answer is the one to the PIN. That the token answered says all.
fn with_pin(path: &str, run: impl Fn(&mut FidoKeyHid) -> Result<(), Trouble> + Send + Sync + 'static) -> Job<()> {
    Job { sends_pin: true, preceding: ANSWERS_WITH_PIN - 1, read: Some(Box::new(|_| Ok(()))), ..job(path, run) }
}

/// The token looks at the old PIN before it looks at the new one, and a new one that is too short must not cost a try.
fn long_enough(info: &Info, new: &Pin) -> Result<(), Trouble> {
    if new.0.expose_secret().chars().count() < info.shortest_pin() as usize {
        return Err(Trouble::Known(TokenError::PinPolicy, "the new PIN is too short for the token: it was not sent"));
    }
    Ok(())
}
