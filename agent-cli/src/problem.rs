//! What a person is told when a command fails: the problem, then what to do next.

use std::fmt;
use std::process::ExitCode;

use agent::audit::record::RecordId;
use agent::denial::{Code, Denial};

use crate::safe::safe;

/// The exit code for wrong usage (EX_USAGE of sysexits.h).
pub(crate) const USAGE: u8 = 64;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Problem {
    what: String,
    next: Vec<String>,
    /// The agent's reason, where it was the agent that refused.
    pub(crate) code: Option<Code>,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Failed,
    Unreachable,
    Usage,
    Signal(i32),
}

impl Problem {
    fn new(end: End, what: impl Into<String>) -> Self {
        Self { what: what.into(), next: Vec::new(), code: None, end }
    }

    /// It did not work.
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::new(End::Failed, what)
    }

    /// The command line asks for what can't be.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(End::Usage, what)
    }

    /// There is no agent to talk to.
    pub(crate) fn unreachable(what: impl Into<String>) -> Self {
        Self::new(End::Unreachable, what)
    }

    /// The person, or the system, ended this program.
    pub(crate) fn interrupted(signal: i32) -> Self {
        Self::new(End::Signal(signal), "interrupted")
    }

    /// The agent refused it.
    pub(crate) fn refused(denial: Denial, id: Option<RecordId>) -> Self {
        let mut problem = Self::failed(format!("{} ({})", denial.reason, denial.code)).next(denial.code.next());
        problem.code = Some(denial.code);
        match id {
            Some(RecordId(id)) => problem.next(format!("`agent-cli why {id}` tells it again.")),
            None => problem,
        }
    }

    /// What did not work, without what to do next.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// What to do next.
    pub(crate) fn next_steps(&self) -> &[String] {
        &self.next
    }

    /// Adds a line on what to do next.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next.push(next.into());
        self
    }

    /// Whether the agent is gone, so that there is no use in asking it for more.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self.end, End::Failed)
    }

    /// Whether a signal ends the program.
    pub(crate) fn is_interruption(&self) -> bool {
        matches!(self.end, End::Signal(_))
    }

    /// Shows it on standard error. Whoever pressed Ctrl-C knows that, and is told only what else there is to know.
    pub(crate) fn show(&self) {
        if !matches!(self.end, End::Signal(_)) || !self.next.is_empty() {
            eprintln!("agent-cli: {self}");
        }
    }

    /// Ends the program with it. After a signal the program dies of that signal, so that a shell's loop stops too.
    pub(crate) fn end(&self) -> ExitCode {
        match self.end {
            End::Failed => ExitCode::FAILURE,
            End::Unreachable => ExitCode::from(2),
            End::Usage => ExitCode::from(USAGE),
            End::Signal(signal) => {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
                ExitCode::FAILURE
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&safe(&self.what))?;
        self.next.iter().try_for_each(|next| write!(f, "\n  {}", safe(next)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_problem_comes_first_then_what_to_do() {
        let denial = Denial::new(Code::TokenAbsent, "no token\u{1b}[2J");
        let next = Code::TokenAbsent.next();
        assert_eq!(
            Problem::refused(denial, Some(RecordId(7))).to_string(),
            format!("no token\\u{{1b}}[2J (token-absent)\n  {next}\n  `agent-cli why 7` tells it again.")
        );
    }
}
