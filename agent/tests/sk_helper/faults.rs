//! Tokens that misbehave, and other programs that get between: no answer is made of what is none.

use agent::token::TokenError;
use agent::token::protocol::{Algorithm, Command, Reply, Verification};
use soft_token::{Bus, Command as Asked, Fault, TokenOptions};

use crate::helper::{Helper, PIN, get_assertion, new_credential, path, verify, with_pin};

/// Each of these spoils every assertion; the helper tells, and lives.
fn none_of_these_is_an_answer(bus: &Bus, faults: &[Fault]) {
    let device = bus.plug(TokenOptions::pin_only().pin(PIN));
    let mut helper = Helper::start(bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), with_pin(PIN));
    for fault in faults {
        device.inject(fault.on(Asked::GetAssertion).times(usize::MAX));
        let failure = helper.ask(&get_assertion(&device, &key, Verification::None)).unwrap_err();
        assert_eq!(failure.error, TokenError::Protocol, "{fault:?}: {failure:?}");
        device.clear_faults();
    }
    verify(&helper.sign(&get_assertion(&device, &key, Verification::None)), &key, 0x01);
}

#[test]
fn a_broken_answer_is_no_answer() {
    let broken = [
        Fault::EmptyReply,
        Fault::TruncatedCbor,
        Fault::ShortAuthData(0),
        Fault::ShortAuthData(33),
        Fault::NoUpFlag,
        Fault::WrongCredential,
        Fault::HidError(0x00),
        Fault::GarbledReport,
        Fault::WrongSequence,
    ];
    none_of_these_is_an_answer(&Bus::from_env(), &broken);
}

/// Kernels of today drop short reports, so that a token that sends them is as one that is silent; older ones pass them on.
#[test]
fn a_short_report_is_no_answer() {
    none_of_these_is_an_answer(&Bus::preload(), &[Fault::ShortReport(6), Fault::ShortReport(20)]);
}

#[test]
fn a_busy_token_is_asked_again_and_then_called_busy() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only().pin(PIN));
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), with_pin(PIN));
    device.inject(Fault::HidError(0x06).on(Asked::GetAssertion).times(3));
    verify(&helper.sign(&get_assertion(&device, &key, Verification::None)), &key, 0x01);
    device.inject(Fault::HidError(0x06).on(Asked::GetAssertion).times(usize::MAX));
    assert_eq!(helper.error(&get_assertion(&device, &key, Verification::None)), TokenError::Busy);
}

#[test]
fn an_answer_on_another_channel_is_not_ours() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only());
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), Verification::None);
    device.inject(Fault::WrongChannel.on(Asked::GetAssertion).times(2));
    verify(&helper.sign(&get_assertion(&device, &key, Verification::None)), &key, 0x01);
    device.inject(Fault::WrongChannel.on(Asked::GetAssertion).times(usize::MAX));
    assert_eq!(helper.error(&get_assertion(&device, &key, Verification::None)), TokenError::Busy);
}

/// The report that the library takes for the answer to each of its questions, and panics on or misreads.
#[test]
fn another_program_s_init_is_survived() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only().pin(PIN));
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), with_pin(PIN));
    for command in [Asked::Init, Asked::GetInfo, Asked::KeyAgreement, Asked::PinToken, Asked::GetAssertion] {
        device.inject(Fault::ForeignInit.on(command));
        verify(&helper.sign(&get_assertion(&device, &key, with_pin(PIN))), &key, 0x05);
    }
    // A wrong one is sent once, even if the library has missed what the token said of it.
    device.inject(Fault::ForeignInit.on(Asked::PinToken));
    let wrong = get_assertion(&device, &key, with_pin("4321"));
    assert_eq!(helper.error(&wrong), TokenError::PinInvalid { retries: Some(7) });
    assert_eq!(device.pin_retries(), 7);
}

#[test]
fn an_empty_answer_is_no_state() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only());
    let mut helper = Helper::start(&bus);
    for fault in [Fault::EmptyReply, Fault::TruncatedCbor, Fault::HidError(0x7f)] {
        device.inject(fault.on(Asked::GetInfo).times(usize::MAX));
        assert_eq!(helper.error(&Command::GetState { path: path(&device) }), TokenError::Protocol, "{fault:?}");
        device.clear_faults();
    }
    assert!(matches!(helper.ask(&Command::GetState { path: path(&device) }), Ok(Reply::State(_))));
}

#[test]
fn a_token_that_knows_u2f_only_is_told_apart() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only());
    device.inject(Fault::HidError(0x01).on(Asked::GetInfo));
    assert_eq!(Helper::start(&bus).error(&Command::GetState { path: path(&device) }), TokenError::Unsupported);
}

/// Panics in the library leave one line, which says where, not what.
#[test]
fn a_panic_is_one_line() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only());
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), Verification::None);
    device.inject(Fault::ShortAuthData(10).on(Asked::GetAssertion));
    assert_eq!(helper.error(&get_assertion(&device, &key, Verification::None)), TokenError::Protocol);
    let stderr = helper.finish();
    assert!(stderr.lines().count() == 1 && stderr.contains("get_assertion_response.rs"), "{stderr}");
}
