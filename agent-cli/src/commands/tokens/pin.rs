//! `agent-cli tokens set-pin` and `change-pin`. The PINs are typed into the agent's own questions.

use std::process::ExitCode;

use agent::control::token::{Answer, Request};

use super::{ask, unexpected_answer};
use crate::problem::Problem;
use crate::terminal::Terminal;

/// Sets the first PIN.
pub(crate) fn set(terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    done(Request::SetPin, "The PIN is set.", terminal)
}

/// Changes the PIN.
pub(crate) fn change(terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    done(Request::ChangePin, "The PIN is changed.", terminal)
}

fn done(request: Request, words: &str, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    match ask(request, terminal)? {
        Answer::Done { .. } => {
            terminal.say(words);
            Ok(ExitCode::SUCCESS)
        }
        other => Err(unexpected_answer(other)),
    }
}
