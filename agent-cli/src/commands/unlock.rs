//! `agent-cli unlock`.

use std::process::ExitCode;

use agent::control::{Event, Request};

use crate::control::{Control, unexpected};
use crate::problem::Problem;

/// Says that the person is back.
pub(crate) fn run() -> Result<ExitCode, Problem> {
    match Control::connect()?.ask(&Request::Unlock)? {
        Event::Unlocked => {
            eprintln!("Agent unlocked.");
            Ok(ExitCode::SUCCESS)
        }
        other => Err(unexpected(&other)),
    }
}
