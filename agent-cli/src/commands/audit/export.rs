//! `agent-cli audit export`: the log for those who collect events of many programs.

mod ocsf;

use std::path::Path;
use std::process::ExitCode;

use agent::audit::history::History;
use agent::audit::reader::Lines;
use clap::ValueEnum;

use self::ocsf::Authentication;
use super::filter::Filter;
use super::reading::{Kind, Rehearsals};
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
    let (mut history, mut rehearsals) = (History::default(), Rehearsals::default());
    for line in Lines::of(log).map_err(unreadable)? {
        let Some(entry) = history.read(&line.map_err(unreadable)?) else { continue };
        let kind = rehearsals.kind(&entry);
        let event = Authentication::of(&entry, kind == Kind::Rehearsed);
        if let Some(event) = event.filter(|_| options.filter.wants(&entry, kind)) {
            print_foreign_json_line(&event)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
