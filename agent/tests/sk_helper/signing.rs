//! Making credentials and signing with them.

use agent::token::TokenError;
use agent::token::protocol::{Algorithm, Command, NewCredential, Progress, Reply, Verification};
use soft_token::{Attestation, Bus, Command as Asked, Fault, Finger, TokenOptions, Touch, What};
use std::time::Duration;

use crate::helper::{BOTH, Helper, PIN, get_assertion, new_credential, path, verify, with_pin};

const UP: u8 = 0x01;
const UP_UV: u8 = 0x05;

#[test]
fn both_algorithms_sign_with_every_verification() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::fingerprint().pin(PIN));
    let mut helper = Helper::start(&bus);
    for algorithm in BOTH {
        let key = helper.make(&device, new_credential(algorithm), with_pin(PIN));
        verify(&helper.sign(&get_assertion(&device, &key, Verification::None)), &key, UP);
        verify(&helper.sign(&get_assertion(&device, &key, with_pin(PIN))), &key, UP_UV);
        verify(&helper.sign(&get_assertion(&device, &key, Verification::BuiltIn)), &key, UP_UV);
    }
    assert_eq!(helper.finish(), "");
}

#[test]
fn a_credential_comes_with_its_attestation() {
    let bus = Bus::from_env();
    let mut helper = Helper::start(&bus);
    for (attestation, certificates) in [(Attestation::SelfSigned, 0), (Attestation::Batch, 1)] {
        let device = bus.plug(TokenOptions::pin_only().attestation(attestation));
        for algorithm in BOTH {
            let credential = helper.make(&device, new_credential(algorithm), Verification::None);
            assert_eq!(credential.certificates.len(), certificates);
            assert!(!credential.attestation_signature.0.is_empty());
            let length = if algorithm == Algorithm::Ed25519 { 32 } else { 65 };
            assert_eq!(credential.public_key.0.len(), length);
        }
    }
}

#[test]
fn the_person_is_told_when_the_token_waits() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only());
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), Verification::None);
    device.set_touch(Touch::Manual);
    helper.send(&get_assertion(&device, &key, Verification::None));
    helper.wait_for_presence();
    device.touch();
    let (progress, reply) = helper.end();
    assert_eq!(progress, []);
    let Ok(Reply::Assertion(assertion)) = reply else { panic!("{reply:?}") };
    verify(&assertion, &key, UP);
}

#[test]
fn one_signature_without_verification_is_one_transaction() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only());
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), Verification::None);
    let before = device.events().len();
    helper.sign(&get_assertion(&device, &key, Verification::None));
    let commands: Vec<_> = device
        .events()
        .into_iter()
        .skip(before)
        .filter(|event| matches!(event.what, What::Command(_)))
        .map(|event| event.what)
        .collect();
    assert_eq!(commands, [What::Command(Asked::Init), What::Command(Asked::GetAssertion)]);
}

#[test]
fn a_wrong_pin_costs_one_try_and_tells_how_many_are_left() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only().pin(PIN));
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), with_pin(PIN));
    for left in [7, 6] {
        let failure = helper.ask(&get_assertion(&device, &key, with_pin("4321"))).unwrap_err();
        assert_eq!(failure.error, TokenError::PinInvalid { retries: Some(left) });
        assert_eq!(failure.ctap_status, Some(0x31));
        assert_eq!(u32::from(device.pin_retries()), left);
    }
    // The third in a row blocks PINs until the token was pulled out.
    assert_eq!(helper.error(&get_assertion(&device, &key, with_pin("4321"))), TokenError::PinAuthBlocked);
    assert_eq!(helper.error(&get_assertion(&device, &key, with_pin(PIN))), TokenError::PinAuthBlocked);
    device.block_pin();
    assert_eq!(helper.error(&get_assertion(&device, &key, with_pin(PIN))), TokenError::PinBlocked);
}

#[test]
fn a_pin_that_can_not_be_right_costs_no_try() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only().pin(PIN));
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), with_pin(PIN));
    for pin in ["", "123", &"1".repeat(64)] {
        let command = get_assertion(&device, &key, with_pin(pin));
        assert_eq!(helper.error(&command), TokenError::PinInvalid { retries: None });
    }
    assert_eq!(device.pin_retries(), 8);
}

#[test]
fn a_token_says_what_it_lacks() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only());
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), Verification::None);
    assert_eq!(helper.error(&get_assertion(&device, &key, with_pin(PIN))), TokenError::PinNotSet);
    assert_eq!(helper.error(&get_assertion(&device, &key, Verification::BuiltIn)), TokenError::Unsupported);

    let locked = bus.plug(TokenOptions::pin_only().pin(PIN));
    let options = NewCredential { resident: true, ..new_credential(Algorithm::Ed25519) };
    let command = Command::MakeCredential { path: path(&locked), options, verification: Verification::None };
    assert_eq!(helper.error(&command), TokenError::PinRequired);
    assert_eq!(helper.error(&get_assertion(&locked, &key, Verification::None)), TokenError::NoCredentials);
}

#[test]
fn wrong_fingers_are_counted_and_block_the_sensor() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::fingerprint().pin(PIN));
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), Verification::BuiltIn);
    device.set_finger(Finger::Mismatch);
    let failure = helper.ask(&get_assertion(&device, &key, Verification::BuiltIn)).unwrap_err();
    assert_eq!(failure.error, TokenError::UvInvalid { retries: Some(u32::from(device.uv_retries())) });
    device.block_uv();
    device.set_finger(Finger::Match);
    assert_eq!(helper.error(&get_assertion(&device, &key, Verification::BuiltIn)), TokenError::UvBlocked);
    // The PIN still works.
    verify(&helper.sign(&get_assertion(&device, &key, with_pin(PIN))), &key, UP_UV);
}

#[test]
fn a_person_may_refuse_or_be_late() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only().touch_timeout(Duration::from_millis(300)));
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), Verification::None);
    device.set_touch(Touch::Deny);
    assert_eq!(helper.error(&get_assertion(&device, &key, Verification::None)), TokenError::OperationDenied);
    device.set_touch(Touch::Never);
    assert_eq!(helper.error(&get_assertion(&device, &key, Verification::None)), TokenError::UserTimeout);
}

#[test]
fn the_token_s_status_is_passed_on() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only());
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), Verification::None);
    for (status, error) in [
        (0x28, TokenError::KeyStoreFull),
        (0x26, TokenError::Unsupported),
        (0x36, TokenError::PinRequired),
        (0x3c, TokenError::UvBlocked),
        (0x7f, TokenError::Protocol),
        (0x6a, TokenError::Protocol),
        (0xf3, TokenError::Protocol),
    ] {
        device.inject(Fault::Status(status).on(Asked::GetAssertion));
        let failure = helper.ask(&get_assertion(&device, &key, Verification::None)).unwrap_err();
        assert_eq!((failure.error, failure.ctap_status), (error, Some(status)));
    }
    // The token of another program, or one that expired: it says nothing about the PIN.
    device.inject(Fault::Status(0x33).on(Asked::GetAssertion));
    assert_eq!(helper.error(&get_assertion(&device, &key, Verification::None)), TokenError::Protocol);
}

#[test]
fn the_channel_is_told_before_anything_else() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only());
    let mut helper = Helper::start(&bus);
    let command = Command::MakeCredential {
        path: path(&device),
        options: new_credential(Algorithm::Ed25519),
        verification: Verification::None,
    };
    helper.send(&command);
    let (progress, reply) = helper.end();
    assert!(reply.is_ok());
    let [Progress::Channel { path: told, channel }] = &progress[..] else { panic!("{progress:?}") };
    assert_eq!((told.as_str(), channel.0.len()), (path(&device).as_str(), 4));
}
