//! Ending a command before its time.

use agent::token::TokenError;
use agent::token::protocol::{Algorithm, Command, RawCredential, Reply, Verification};
use soft_token::{Bus, Command as Asked, Device, Fault, TokenOptions, Touch, What};
use std::time::{Duration, Instant};

use crate::helper::{Helper, PIN, cancel_from_outside, get_assertion, new_credential, path, verify};

const SOON: Duration = Duration::from_secs(1);

/// A helper in the middle of a signature, its token waiting for its person.
fn waiting(bus: &Bus, options: TokenOptions, verification: Verification) -> (Helper, Device, RawCredential, [u8; 4]) {
    let device = bus.plug(options);
    let mut helper = Helper::start(bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), Verification::None);
    device.set_touch(Touch::Never);
    helper.send(&get_assertion(&device, &key, verification));
    let channel = helper.wait_for_presence();
    device.wait_until_waiting();
    (helper, device, key, channel)
}

/// The token serves the next one at once.
fn is_free(bus: &Bus, device: &Device, key: &RawCredential) {
    device.set_touch(Touch::Always);
    let since = Instant::now();
    verify(&Helper::start(bus).sign(&get_assertion(device, key, Verification::None)), key, 0x01);
    assert!(since.elapsed() < SOON);
}

#[test]
fn the_daemon_cancels_beside_the_helper() {
    let bus = Bus::from_env();
    let (mut helper, device, key, channel) = waiting(&bus, TokenOptions::pin_only(), Verification::None);
    cancel_from_outside(&bus, &device, channel);
    assert_eq!(helper.end().1.unwrap_err().error, TokenError::Cancelled);
    is_free(&bus, &device, &key);
}

#[test]
fn the_daemon_cancels_after_it_has_killed_the_helper() {
    let bus = Bus::from_env();
    let (mut helper, device, key, channel) = waiting(&bus, TokenOptions::pin_only(), Verification::None);
    helper.child.kill().unwrap();
    helper.wait();
    assert!(device.is_waiting());
    cancel_from_outside(&bus, &device, channel);
    device.wait_for(|what| what == What::Cancelled, SOON);
    is_free(&bus, &device, &key);
}

#[test]
fn the_end_of_input_cancels() {
    for verification in [Verification::None, Verification::BuiltIn] {
        let bus = Bus::from_env();
        let (mut helper, device, key, _) = waiting(&bus, TokenOptions::fingerprint().pin(PIN), verification);
        helper.hang_up();
        assert!(helper.wait() < SOON);
        device.wait_for(|what| what == What::Cancelled, SOON);
        is_free(&bus, &device, &key);
    }
}

#[test]
fn the_end_of_input_cancels_a_selection() {
    let bus = Bus::from_env();
    let devices: Vec<_> = (0..2).map(|_| bus.plug(TokenOptions::pin_only().touch(Touch::Never))).collect();
    let mut helper = Helper::start(&bus);
    helper.send(&Command::Select { paths: devices.iter().map(path).collect() });
    devices.iter().for_each(Device::wait_until_waiting);
    helper.hang_up();
    assert!(helper.wait() < SOON);
    for device in &devices {
        device.wait_for(|what| what == What::Cancelled, SOON);
    }
}

#[test]
fn a_token_that_is_pulled_out_is_noticed() {
    let bus = Bus::from_env();
    let (mut helper, device, key, _) = waiting(&bus, TokenOptions::pin_only(), Verification::None);
    let since = Instant::now();
    let unplugged = device.unplug();
    assert_eq!(helper.end().1.unwrap_err().error, TokenError::NotFound);
    assert!(since.elapsed() < SOON);

    let again = bus.plug_again(unplugged);
    again.set_touch(Touch::Always);
    verify(&helper.sign(&get_assertion(&again, &key, Verification::None)), &key, 0x01);
}

#[test]
fn a_token_may_be_pulled_out_at_any_report() {
    let bus = Bus::from_env();
    let mut helper = Helper::start(&bus);
    for reports in 0..12 {
        let device = bus.plug(TokenOptions::pin_only().pin(PIN));
        device.inject(Fault::UnplugAfter(reports));
        let command = Command::GetState { path: path(&device) };
        match helper.ask(&command) {
            Err(failure) => assert_eq!(failure.error, TokenError::NotFound, "after {reports}: {failure:?}"),
            Ok(Reply::State(_)) => assert!(reports > 8, "after {reports}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_silent_token_holds_up_nobody_who_gives_up() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only());
    for command in [Asked::Init, Asked::GetInfo] {
        device.inject(Fault::Stall.on(command));
        let mut helper = Helper::start(&bus);
        helper.send(&Command::GetState { path: path(&device) });
        device.wait_for(|what| what == What::Command(command), SOON);
        helper.hang_up();
        assert!(helper.wait() < SOON);
    }
}
