//! The conversation itself: lines, their limits, their secrets.

use agent::token::TokenError;
use agent::token::protocol::{Command, MAX_LINE, Message, Reply};
use soft_token::{Bus, TokenOptions};

use crate::helper::{Helper, PIN, get_assertion, new_credential, path, with_pin};
use agent::token::protocol::{Algorithm, Verification};

#[test]
fn several_commands_are_answered_in_order() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only());
    let mut helper = Helper::start(&bus);
    helper.send(&Command::GetState { path: path(&device) });
    helper.send(&Command::List);
    assert!(matches!(helper.end().1, Ok(Reply::State(_))));
    assert!(matches!(helper.end().1, Ok(Reply::Devices(_))));
    assert_eq!(helper.finish(), "");
}

#[test]
fn a_line_that_is_no_command_fails_and_is_not_quoted() {
    let mut helper = Helper::start(&Bus::from_env());
    helper.send_line(r#"{"command":"get_state","path":["secret"]}"#);
    let Message::Failed(failure) = helper.next() else { panic!("no failure") };
    assert_eq!(failure.error, TokenError::Protocol);
    assert!(!failure.detail.contains("secret"), "{}", failure.detail);
    assert!(matches!(helper.ask(&Command::List), Ok(Reply::Devices(_))));
}

#[test]
fn a_line_without_end_ends_the_helper() {
    let mut helper = Helper::start(&Bus::from_env());
    helper.send_line(&"x".repeat(MAX_LINE));
    assert!(!helper.child.wait().unwrap().success());
}

#[test]
fn no_pin_is_told() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only().pin(PIN));
    let mut helper = Helper::start(&bus);
    let key = helper.make(&device, new_credential(Algorithm::Ed25519), with_pin(PIN));
    let failure = helper.ask(&get_assertion(&device, &key, with_pin("wrong-pin"))).unwrap_err();
    let told = format!("{failure:?}{}", helper.finish());
    assert!(!told.contains("wrong-pin") && !told.contains(PIN), "{told}");
}

/// The end of input ends a helper that is doing nothing, and one whose command is over.
#[test]
fn the_end_of_input_ends_the_helper() {
    let bus = Bus::from_env();
    let device = bus.plug(TokenOptions::pin_only());
    assert_eq!(Helper::start(&bus).finish(), "");
    let mut helper = Helper::start(&bus);
    helper.make(&device, new_credential(Algorithm::Ed25519), Verification::None);
    helper.finish();
}
