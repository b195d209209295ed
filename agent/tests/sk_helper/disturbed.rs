//! Another program at work on the same token, all the time.

use agent::token::TokenError;
use agent::token::protocol::{Algorithm, Command, Reply, Verification};
use soft_token::{Bus, Device, TokenOptions, Touch};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::Duration;

use crate::helper::{BOTH, Helper, PIN, get_assertion, new_credential, path, verify, with_pin};

/// Runs `work` while other helpers, one after the other, ask the token for its state.
fn beside_a_poller(bus: &Bus, device: &Device, work: impl FnOnce()) {
    let (running, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                let _ = Helper::start(bus).ask(&Command::GetState { path: path(device) });
            }
        });
        // Dropped at the end of the work, and when it panics.
        let _running = running;
        work();
    });
}

/// libfido2, which reads its own channel only, makes 20 of 20 here.
#[test]
fn twenty_enrolments_beside_another_program() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only().pin(PIN).touch(Touch::After(Duration::from_millis(150))));
    beside_a_poller(&bus, &device, || {
        let mut helper = Helper::start(&bus);
        for number in 0..10 {
            for algorithm in BOTH {
                let key = helper.make(&device, new_credential(algorithm), with_pin(PIN));
                assert!(!key.key_handle.0.is_empty(), "{number}");
            }
        }
    });
    assert_eq!(device.pin_retries(), 8);
}

#[test]
fn signatures_beside_another_program() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only());
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), Verification::None);
    beside_a_poller(&bus, &device, || {
        for _ in 0..50 {
            verify(&helper.sign(&get_assertion(&device, &key, Verification::None)), &key, 0x01);
        }
    });
}

/// One who waits for a touch elsewhere keeps the token: we say so, and leave them alone.
#[test]
fn a_token_that_waits_for_somebody_else_is_busy() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only().touch(Touch::Manual));
    let mut other = Helper::start(&bus);
    other.send(&Command::Select { paths: vec![path(&device)] });
    other.wait_for_presence();
    let mut helper = Helper::start(&bus);
    assert_eq!(helper.error(&Command::Select { paths: vec![path(&device)] }), TokenError::Busy);
    device.touch();
    assert_eq!(other.end().1, Ok(Reply::Selected { path: path(&device) }));
}
