//! Finding tokens and asking what they are and hold.

use agent::token::TokenError;
use agent::token::protocol::{
    Algorithm, Bytes, Command, Device, Message, NewCredential, Pin, Progress, Reply, ResidentCredentials, Verification,
};
use soft_token::{AAGUID, Bus, Command as Asked, Device as Plugged, TokenOptions, Touch, What};
use std::time::Duration;

use crate::helper::{Helper, PIN, new_credential, path, probe, verify, with_pin};

#[test]
fn plugged_devices_are_listed() {
    let bus = Bus::from_env();
    let mut helper = Helper::start(&bus);
    assert_eq!(helper.ask(&Command::List), Ok(Reply::Devices(Vec::new())));
    let plain = bus.plug(TokenOptions::pin_only().serial("A 1"));
    let odd = bus.plug(TokenOptions::pin_only().name("x serial_number=9 path=").serial("B2"));
    let listed = |device: &Plugged, product: &str, serial: &str| Device {
        path: path(device),
        product: product.into(),
        serial: serial.into(),
        vendor_id: 0x1209,
        product_id: 0x000f,
    };
    let expected = vec![listed(&plain, "Soft FIDO token", "A 1"), listed(&odd, "x serial_number=9 path=", "B2")];
    assert_eq!(helper.ask(&Command::List), Ok(Reply::Devices(expected)));
}

#[test]
fn a_token_tells_its_state() {
    let bus = Bus::from_env();
    let mut helper = Helper::start(&bus);

    let plain = helper.state(&bus.plug(TokenOptions::pin_only()));
    assert_eq!((plain.pin_set, plain.pin_retries), (Some(false), None));
    assert_eq!((plain.built_in_uv, plain.uv_retries), (None, None));
    assert_eq!(plain.aaguid.0, AAGUID);
    assert!(plain.credential_management && !plain.always_uv);
    assert!(plain.versions.contains(&"FIDO_2_1".into()));

    let full = helper.state(&bus.plug(TokenOptions::fingerprint().pin(PIN)));
    assert_eq!((full.pin_set, full.pin_retries), (Some(true), Some(8)));
    assert_eq!(full.built_in_uv, Some(true));
    assert!(full.uv_retries > Some(0));

    let new = helper.state(&bus.plug(TokenOptions::fingerprint_not_enrolled()));
    assert_eq!((new.built_in_uv, new.uv_retries), (Some(false), None));
}

#[test]
fn a_device_that_is_not_there_is_not_found() {
    let mut helper = Helper::start(&Bus::from_env());
    assert_eq!(helper.error(&Command::GetState { path: "/dev/hidraw999".into() }), TokenError::NotFound);
    assert_eq!(helper.error(&Command::GetState { path: "/dev/null".into() }), TokenError::NotFound);
}

/// On a kernel's bus, root may open all.
#[test]
fn a_device_that_may_not_be_opened_is_told_with_its_remedy() {
    let bus = Bus::preload();
    let device = bus.plug(TokenOptions::pin_only());
    device.forbid();
    let failure = Helper::start(&bus).ask(&Command::GetState { path: path(&device) }).unwrap_err();
    assert_eq!(failure.error, TokenError::PermissionDenied);
    assert!(failure.detail.contains("udev"), "{}", failure.detail);
}

#[test]
fn a_probe_is_silent() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::fingerprint().pin(PIN));
    let other = bus.plug(TokenOptions::pin_only());
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::EcdsaP256), with_pin(PIN));
    let options = NewCredential { resident: true, verify_required: true, ..new_credential(Algorithm::Ed25519) };
    let hidden = helper.make(&device, options, with_pin(PIN));

    device.set_touch(Touch::Never);
    helper.send(&probe(&device, &key.key_handle));
    let (progress, reply) = helper.end();
    assert!(!progress.contains(&Progress::PresenceNeeded));
    let Ok(Reply::Assertion(assertion)) = reply else { panic!("{reply:?}") };
    verify(&assertion, &key, 0);

    assert_eq!(helper.error(&probe(&other, &key.key_handle)), TokenError::NoCredentials);
    assert_eq!(helper.error(&probe(&device, &hidden.key_handle)), TokenError::NoCredentials);
    assert_eq!(helper.error(&probe(&device, &Bytes(vec![1; 1000]))), TokenError::NoCredentials);
    assert_eq!(helper.error(&probe(&device, &Bytes(vec![1; 6000]))), TokenError::Unsupported);
}

#[test]
fn a_person_selects_by_touch() {
    let bus = Bus::from_env();
    let devices: Vec<_> = (0..3).map(|_| bus.plug(TokenOptions::pin_only().touch(Touch::Manual))).collect();
    let mut helper = Helper::start(&bus);
    helper.send(&Command::Select { paths: devices.iter().map(path).collect() });
    devices.iter().for_each(Plugged::wait_until_waiting);
    // Three channels, and one call for the person.
    let said: Vec<_> = (0..4).map(|_| helper.next()).collect();
    let waits = Message::Progress(Progress::PresenceNeeded);
    assert_eq!(said.iter().filter(|message| **message == waits).count(), 1, "{said:?}");
    devices[1].touch();
    assert_eq!(helper.end(), (Vec::new(), Ok(Reply::Selected { path: path(&devices[1]) })));
    for other in [&devices[0], &devices[2]] {
        other.wait_for(|what| what == What::Cancelled, Duration::from_secs(1));
        // It is free again at once.
        helper.state(other);
    }

    helper.send(&Command::Select { paths: vec![path(&devices[0])] });
    devices[0].touch();
    assert_eq!(helper.end().1, Ok(Reply::Selected { path: path(&devices[0]) }));
}

#[test]
fn a_selection_goes_on_without_the_tokens_that_fail() {
    let bus = Bus::from_env();
    let devices: Vec<_> = (0..3).map(|_| bus.plug(TokenOptions::pin_only().touch(Touch::Manual))).collect();
    let mut helper = Helper::start(&bus);
    devices[0].inject(soft_token::Fault::Status(0x01).on(Asked::Selection));
    helper.send(&Command::Select { paths: devices.iter().map(path).collect() });
    devices[1].wait_until_waiting();
    devices[2].wait_until_waiting();
    let mut devices = devices.into_iter();
    let (_unable, unplugged, last) = (devices.next(), devices.next().unwrap(), devices.next().unwrap());
    unplugged.unplug();
    last.touch();
    assert_eq!(helper.end().1, Ok(Reply::Selected { path: path(&last) }));

    last.set_touch(Touch::Deny);
    assert_eq!(helper.error(&Command::Select { paths: vec![path(&last)] }), TokenError::OperationDenied);
    assert_eq!(helper.error(&Command::Select { paths: Vec::new() }), TokenError::NotFound);
}

/// Tokens of CTAP 2.0.
#[test]
fn tokens_that_know_no_selection_are_said_to_be_too_old() {
    let bus = Bus::from_env();
    let devices: Vec<_> = (0..2).map(|_| bus.plug(TokenOptions::pin_only().touch(Touch::Manual))).collect();
    devices.iter().for_each(|device| device.inject(soft_token::Fault::Status(0x01).on(Asked::Selection)));
    let error = Helper::start(&bus).error(&Command::Select { paths: devices.iter().map(path).collect() });
    assert_eq!(error, TokenError::SelectionUnsupported);
}

#[test]
fn resident_keys_are_enumerated() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only().pin(PIN));
    let mut helper = Helper::start(&bus);
    let enumerate = |pin: &str| Command::EnumerateCredentials { path: path(&device), pin: Pin(pin.into()) };
    assert_eq!(helper.ask(&enumerate(PIN)), Ok(Reply::Credentials(ResidentCredentials::default())));

    let made: Vec<_> = [
        ("ssh:", Algorithm::Ed25519, true, 1),
        ("ssh:", Algorithm::EcdsaP256, false, 2),
        ("ssh:b", Algorithm::Ed25519, false, 3),
    ]
    .into_iter()
    .map(|(application, algorithm, verify_required, id)| {
        let options = NewCredential {
            application: application.into(),
            resident: true,
            verify_required,
            user_id: Bytes(vec![id; 32]),
            user_name: format!("user {id}"),
            ..new_credential(algorithm)
        };
        (helper.make(&device, options.clone(), with_pin(PIN)), options)
    })
    .collect();
    helper.make(
        &device,
        NewCredential { application: "example.org".into(), resident: true, ..new_credential(Algorithm::Ed25519) },
        with_pin(PIN),
    );

    let Ok(Reply::Credentials(found)) = helper.ask(&enumerate(PIN)) else { panic!("no credentials") };
    let ResidentCredentials { ssh: mut found, other_parties } = found;
    assert_eq!(other_parties, 1);
    found.sort_by(|a, b| a.user_id.0.cmp(&b.user_id.0));
    assert_eq!(found.len(), 3);
    for (found, (made, options)) in found.iter().zip(&made) {
        assert_eq!(found.application, options.application);
        assert_eq!(found.algorithm, options.algorithm);
        assert_eq!(found.public_key, made.public_key);
        assert_eq!(found.key_handle, made.key_handle);
        assert_eq!((&found.user_id, &found.user_name), (&options.user_id, &options.user_name));
        assert_eq!(found.protection, if options.verify_required { 3 } else { 2 });
    }

    assert_eq!(helper.error(&enumerate("9999")), TokenError::PinInvalid { retries: Some(7) });
    let without_pin = bus.plug(TokenOptions::pin_only());
    let command = Command::EnumerateCredentials { path: path(&without_pin), pin: Pin(PIN.into()) };
    assert_eq!(helper.error(&command), TokenError::PinNotSet);
}

#[test]
fn a_new_key_is_protected_where_it_should_be() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::fingerprint().pin(PIN));
    let mut helper = Helper::start(&bus);
    // A resident key is not found without its id or its person; it does answer a probe by its id.
    let resident = NewCredential { resident: true, ..new_credential(Algorithm::Ed25519) };
    let key = helper.make(&device, resident, Verification::BuiltIn);
    verify(&helper.sign(&probe(&device, &key.key_handle)), &key, 0);
    let verified = NewCredential { verify_required: true, ..new_credential(Algorithm::Ed25519) };
    let key = helper.make(&device, verified, Verification::BuiltIn);
    assert_eq!(helper.error(&probe(&device, &key.key_handle)), TokenError::NoCredentials);
}
