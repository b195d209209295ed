//! `agent-cli audit export`: the log for those who collect events of many programs.

mod ocsf;

use std::path::Path;
use std::process::ExitCode;

use agent::audit::history::History;
use agent::audit::reader::Lines;
use clap::ValueEnum;

use self::ocsf::Authentication;
use super::filter::Filter;
use crate::output::print_foreign_json_line;
use crate::problem::Problem;

/// What to export.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// In which format
    #[arg(long, value_enum)]
    format: Format,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Authentication events of the Open Cybersecurity Schema Framework, a line of JSON for each login
    Ocsf,
}

/// Prints the events of the log of `log`.
pub(crate) fn run(options: &Options, log: &Path) -> Result<ExitCode, Problem> {
    let unreadable = |error: std::io::Error| super::unreadable(log, &error);
    let Format::Ocsf = options.format;
    let mut history = History::default();
    for line in Lines::of(log).map_err(unreadable)? {
        let entry = history.read(&line.map_err(unreadable)?).filter(|entry| options.filter.wants(entry));
        if let Some(event) = entry.as_ref().and_then(Authentication::of) {
            print_foreign_json_line(&event)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
