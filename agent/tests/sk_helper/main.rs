//! The real `sk-helper` with the real ctap-hid-fido2, against tokens made of software.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod cancelling;
mod disturbed;
mod faults;
mod helper;
mod pins;
mod signing;
mod talking;
mod tokens;
