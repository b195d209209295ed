//! authenticatorGetAssertion (CTAP 2.1 § 6.2).

use std::sync::Arc;

use agent::token::protocol::{Bytes, RawAssertion, Verification};
use ctap_hid_fido2::FidoKeyHid;
use ctap_hid_fido2::fidokey::get_assertion::get_assertion_params::{Assertion, GetAssertionArgs};
use ctap_hid_fido2::fidokey::get_assertion::get_assertion_response;
use secrecy::ExposeSecret;
use ssh_key::sha2::{Digest, Sha256};

use super::info::Info;
use super::{ANSWERS_WITH_PIN, fits, job};
use crate::attempt::Job;
use crate::failure::Trouble;

/// Authenticator data of an assertion: rpIdHash, flags, counter (WebAuthn § 6.1).
const AUTH_DATA_LENGTH: usize = 37;

/// The flag "user present".
const USER_PRESENT: u8 = 0x01;

/// The parameters of an assertion.
struct Request {
    application: String,
    key_handle: Vec<u8>,
    data: Vec<u8>,
    /// Option `up`: with a touch.
    up: bool,
    verification: Verification,
}

/// Does the token hold this credential? Silent, and costs nothing.
pub(crate) fn probe(path: &str, application: String, key_handle: Vec<u8>, data: Vec<u8>) -> Job<RawAssertion> {
    request(path, Request { application, key_handle, data, up: false, verification: Verification::None })
}

/// A signature, with the person's touch.
pub(crate) fn get_assertion(
    path: &str,
    application: String,
    key_handle: Vec<u8>,
    data: Vec<u8>,
    verification: Verification,
) -> Job<RawAssertion> {
    request(path, Request { application, key_handle, data, up: true, verification })
}

fn request(path: &str, request: Request) -> Job<RawAssertion> {
    let request = Arc::new(request);
    let sends_pin = matches!(request.verification, Verification::Pin(_));
    let reader = Arc::clone(&request);
    Job {
        sends_pin,
        preceding: if sends_pin { ANSWERS_WITH_PIN } else { 0 },
        read: Some(Box::new(move |answer| reader.read(get_assertion_response::parse_cbor(answer, None)?))),
        ..job(path, move |key| request.ask(key))
    }
}

impl Request {
    fn ask(&self, key: &mut FidoKeyHid) -> Result<RawAssertion, Trouble> {
        fits(&[self.application.as_bytes(), &self.key_handle])?;
        let pin = match &self.verification {
            Verification::Pin(pin) => {
                Info::get(key)?.prepare_for_pin(key)?;
                Some(pin.0.expose_secret())
            }
            Verification::None | Verification::BuiltIn => None,
        };
        // Not by the library's builder, which asks for built-in user verification unless told otherwise.
        let assertions = key.get_assertion_with_args(&GetAssertionArgs {
            rpid: self.application.clone(),
            challenge: self.data.clone(),
            pin,
            credential_ids: vec![self.key_handle.clone()],
            up: self.up,
            uv: matches!(self.verification, Verification::BuiltIn).then_some(true),
            extensions: None,
        })?;
        self.read(assertions.into_iter().next().ok_or(Trouble::Nonsense("no assertion"))?)
    }

    /// Whether this answers the question at all: it may be another program's, or empty. The daemon verifies it.
    fn read(&self, assertion: Assertion) -> Result<RawAssertion, Trouble> {
        let auth_data = &assertion.auth_data;
        if auth_data.len() < AUTH_DATA_LENGTH || assertion.signature.is_empty() {
            return Err(Trouble::Nonsense("the assertion is incomplete"));
        }
        if auth_data[..32] != *Sha256::digest(&self.application) {
            return Err(Trouble::Nonsense("the assertion is for another application"));
        }
        if !assertion.credential_id.is_empty() && assertion.credential_id != self.key_handle {
            return Err(Trouble::Nonsense("the assertion is by another credential"));
        }
        if self.up && auth_data[32] & USER_PRESENT == 0 {
            return Err(Trouble::Nonsense("the assertion was made without a touch"));
        }
        Ok(RawAssertion {
            auth_data: Bytes(assertion.auth_data),
            signature: Bytes(assertion.signature),
            credential_id: Bytes(assertion.credential_id),
        })
    }
}
