//! authenticatorGetAssertion (CTAP 2.1 § 6.2).

use agent::token::protocol::{Bytes, RawAssertion, Verification};
use ctap_hid_fido2::FidoKeyHid;
use ctap_hid_fido2::fidokey::get_assertion::get_assertion_params::{Assertion, GetAssertionArgs};
use secrecy::ExposeSecret;
use ssh_key::sha2::{Digest, Sha256};

use super::info::Info;
use super::{fits, job};
use crate::attempt::Job;
use crate::failure::Trouble;

/// Authenticator data of an assertion: rpIdHash, flags, counter (WebAuthn § 6.1).
const AUTH_DATA_LENGTH: usize = 37;

/// The flag "user present".
const USER_PRESENT: u8 = 0x01;

/// Does the token hold this credential? Silent, and costs nothing.
pub(crate) fn probe(path: &str, application: String, key_handle: Vec<u8>, data: Vec<u8>) -> Job<RawAssertion> {
    job(path, move |key| ask(key, &application, &key_handle, &data, false, &Verification::None))
}

/// A signature, with the person's touch.
pub(crate) fn get_assertion(
    path: &str,
    application: String,
    key_handle: Vec<u8>,
    data: Vec<u8>,
    verification: Verification,
) -> Job<RawAssertion> {
    let sends_pin = matches!(verification, Verification::Pin(_));
    let job = job(path, move |key| ask(key, &application, &key_handle, &data, true, &verification));
    Job { sends_pin, ..job }
}

fn ask(
    key: &mut FidoKeyHid,
    application: &str,
    key_handle: &[u8],
    data: &[u8],
    up: bool,
    verification: &Verification,
) -> Result<RawAssertion, Trouble> {
    fits(&[application.as_bytes(), key_handle])?;
    let pin = match verification {
        Verification::Pin(pin) => {
            Info::get(key)?.choose_pin_protocol(key)?;
            Some(pin.0.expose_secret())
        }
        Verification::None | Verification::BuiltIn => None,
    };
    // Not by the library's builder, which asks for built-in user verification unless told otherwise.
    let assertions = key.get_assertion_with_args(&GetAssertionArgs {
        rpid: application.to_owned(),
        challenge: data.to_vec(),
        pin,
        credential_ids: vec![key_handle.to_vec()],
        up,
        uv: matches!(verification, Verification::BuiltIn).then_some(true),
        extensions: None,
    })?;
    let assertion = assertions.into_iter().next().ok_or(Trouble::Nonsense("no assertion"))?;
    check(&assertion, application, key_handle, up)?;
    Ok(RawAssertion {
        auth_data: Bytes(assertion.auth_data),
        signature: Bytes(assertion.signature),
        credential_id: Bytes(assertion.credential_id),
    })
}

/// Whether this answers the question at all: it may be another program's, or empty. The daemon verifies it.
fn check(assertion: &Assertion, application: &str, key_handle: &[u8], up: bool) -> Result<(), Trouble> {
    let auth_data = &assertion.auth_data;
    if auth_data.len() < AUTH_DATA_LENGTH || assertion.signature.is_empty() {
        return Err(Trouble::Nonsense("the assertion is incomplete"));
    }
    if auth_data[..32] != *Sha256::digest(application) {
        return Err(Trouble::Nonsense("the assertion is for another application"));
    }
    if !assertion.credential_id.is_empty() && assertion.credential_id != key_handle {
        return Err(Trouble::Nonsense("the assertion is by another credential"));
    }
    if up && auth_data[32] & USER_PRESENT == 0 {
        return Err(Trouble::Nonsense("the assertion was made without a touch"));
    }
    Ok(())
}
