//! An SSH agent for FIDO2 tokens.
//!
//! A request travels `listener` → `session` → `sign`, which asks `policy`, a person (`prompt`), a token (`token`) and the
//! `audit` log, in that order, and is readable top to bottom. docs/architecture.md is the map; each module
//! here is one room of it.

mod admission;
pub mod agent;
#[cfg(test)]
mod any_bytes;
pub mod arguments;
pub mod assertion;
pub mod audit;
pub mod certificate;
pub mod claim;
pub mod config;
pub mod constraint;
pub mod control;
mod counters;
mod course;
pub mod denial;
pub mod destination;
pub mod environment;
mod extension;
mod framing;
pub mod hardening;
pub mod identity;
pub mod in_force;
pub mod instance;
pub mod keystore;
pub mod known_hosts;
mod leaving;
pub mod limits;
pub mod listener;
mod lock;
pub mod logging;
mod lookout;
#[cfg(test)]
mod made_by_openssh;
mod manage;
pub mod mute;
pub mod occasion;
pub mod offer;
pub mod paths;
pub mod pattern;
pub mod payload;
pub mod peer;
pub mod pin_guard;
pub mod policy;
mod process_table;
mod programs;
pub mod prompt;
pub mod refusal;
mod reloading;
mod session;
pub mod session_binding;
pub mod sign;
mod signals;
pub mod socket;
pub mod software_key;
pub mod ssh_command;
pub mod state_file;
pub mod token;
pub mod upstream;
pub mod verify;
mod wire;
