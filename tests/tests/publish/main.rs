//! Public keys are published: in an account, as `az nexusidentity gen-keys` stores them there, and in files. Whatever goes
//! wrong on the way, nothing else is there afterwards than before, and no key is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on ends")]

mod access_token;
mod account;
mod comparing;
mod fabric;
mod file;
mod generating;
mod network;
