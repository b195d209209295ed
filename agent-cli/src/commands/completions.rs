//! `agent-cli completions`.

use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

use crate::output::print;
use crate::problem::Problem;

/// For which shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    shell: Shell,
}

/// Prints what it reads.
pub(crate) fn run(options: &Options, mut program: Command) -> Result<ExitCode, Problem> {
    let mut script = Vec::new();
    let name = program.get_name().to_owned();
    clap_complete::generate(options.shell, &mut program, name, &mut script);
    print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
