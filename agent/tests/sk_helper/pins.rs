//! PINs by themselves, and what a token says of them before one is sent.

use agent::token::TokenError;
use agent::token::protocol::{Algorithm, Command, Pin, Reply};
use soft_token::{Bus, TokenOptions, Touch, What};

use crate::helper::{Helper, PIN, get_assertion, new_credential, path, with_pin};

#[test]
fn a_pin_is_proven_by_itself_without_a_touch() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only().pin(PIN).touch(Touch::Never));
    let mut helper = Helper::start(&bus);
    let verify_pin = |pin: &str| Command::VerifyPin { path: path(&device), pin: Pin(pin.into()) };
    assert_eq!(helper.error(&verify_pin("4321")), TokenError::PinInvalid { retries: Some(7) });
    assert_eq!(helper.error(&verify_pin("123")), TokenError::PinInvalid { retries: None });
    assert_eq!(helper.ask(&verify_pin(PIN)), Ok(Reply::PinVerified));
    assert_eq!(device.pin_retries(), 8);
    assert!(device.events().iter().all(|event| event.what != What::Waiting));
}

#[test]
fn a_token_that_takes_no_more_pins_says_so_before_one_is_asked_for() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only().pin(PIN));
    let mut helper = Helper::start(&bus);
    for wrong in 0..3 {
        let state = helper.state(&device);
        assert_eq!((state.power_cycle_needed, state.pin_retries), (false, Some(8 - wrong)));
        let wrong_pin = Command::VerifyPin { path: path(&device), pin: Pin("4321".into()) };
        assert!(matches!(helper.error(&wrong_pin), TokenError::PinInvalid { .. } | TokenError::PinAuthBlocked));
    }
    let state = helper.state(&device);
    assert_eq!((state.power_cycle_needed, state.pin_retries), (true, Some(5)));
    let device = bus.plug_again(device.unplug());
    assert!(!helper.state(&device).power_cycle_needed);
}

#[test]
fn a_pin_that_has_to_be_changed_is_not_sent() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only().pin(PIN));
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), with_pin(PIN));
    assert!(!helper.state(&device).force_pin_change);
    device.demand_pin_change();
    assert!(helper.state(&device).force_pin_change);
    assert_eq!(helper.error(&get_assertion(&device, &key, with_pin(PIN))), TokenError::PinChangeRequired);
    assert_eq!(device.pin_retries(), 8);
}
