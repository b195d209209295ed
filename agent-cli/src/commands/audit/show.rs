//! `agent-cli audit show`.

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;

use agent::audit::history::{Entry, History, What};
use agent::audit::reader::{Line, Lines};
use agent::audit::record::{Act, Meaning, Outcome};
use serde_json::Value;

use super::filter::Filter;
use crate::output::{print, print_json_line};
use crate::problem::Problem;
use crate::progress::Progress;
use crate::safe::safe;

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    filter: Filter,
    /// Print JSON, a line for each
    #[arg(long)]
    json: bool,
}

/// Prints what the log of `log` says.
pub(crate) fn run(options: &Options, log: &Path) -> Result<ExitCode, Problem> {
    let unreadable = |error: std::io::Error| super::unreadable(log, &error);
    // What is shown on a terminal is progress enough.
    let _progress = (!stdout().is_terminal()).then(|| Progress::of("Reading the record"));
    let mut history = History::default();
    for line in Lines::of(log).map_err(unreadable)? {
        options.read(&mut history, &line.map_err(unreadable)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Options {
    /// Shows what a line ends, where that is wanted.
    pub(super) fn read(&self, history: &mut History, line: &Line) -> Result<(), Problem> {
        match history.read(line).filter(|entry| self.filter.wants(entry)) {
            Some(entry) => self.show(&entry),
            None => Ok(()),
        }
    }

    fn show(&self, entry: &Entry) -> Result<(), Problem> {
        if self.json { print_json_line(entry) } else { print(&describe(entry)) }
    }
}

/// One line: when, how it ended, what, where, by which key, the record's number.
fn describe(entry: &Entry) -> String {
    let time = entry.time.strftime("%F %T");
    let (end, about) = match &entry.what {
        What::Request { outcome, intent, .. } => {
            let end = match outcome.as_ref() {
                Outcome::Signed { .. } => "signed".to_owned(),
                Outcome::Refused { denial, .. } => format!("REFUSED {}", denial.code),
                Outcome::Unknown { .. } => "UNKNOWN".to_owned(),
            };
            let what = entry.subject().map_or_else(String::new, |subject| {
                let what = match &subject.meaning {
                    Meaning::Login { user, .. } => format!("log in as {user}"),
                    Meaning::Signature { namespace } => format!("sign for {namespace}"),
                    Meaning::Certificate { certificate, .. } => format!("issue {certificate}"),
                    Meaning::Opaque => "sign unknown data".into(),
                };
                let asked_by = subject.peer.programs.first().map_or("?", |program| &program.name);
                format!("{what}, key {}, by {asked_by}", subject.key)
            });
            let destination = intent.as_ref().map_or_else(String::new, |intent| format!(", {}", intent.destination));
            (end, format!("{what}{destination}"))
        }
        What::Act { act } => describe_act(act),
    };
    safe(&format!("#{:<6} {time}  {end:<10}  {about}", entry.sequence))
}

/// An act by its own words in the record, so that each new one is shown as it is.
fn describe_act(act: &Act) -> (String, String) {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(act) else { return ("act".into(), String::new()) };
    let name = fields.remove("act").and_then(|name| name.as_str().map(|name| name.replace('_', " ")));
    let about = fields.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {other}"),
    });
    (name.unwrap_or_default(), about.collect::<Vec<_>>().join(", "))
}
