//! `agent-cli audit show`.

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;

use agent::audit::history::{Entry, History, What};
use agent::audit::reader::{Line, Lines};
use agent::audit::record::{Act, Binding, Meaning, Outcome};
use serde::Serialize;

use super::acts::{Told, told};
use super::filter::Filter;
use super::names::Names;
use super::reading::{Kind, Rehearsals};
use crate::output::{print, print_json_line};
use crate::places::find;
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

/// What is known of the record so far.
#[derive(Debug)]
pub(super) struct Reader {
    history: History,
    rehearsals: Rehearsals,
    names: Names,
    /// Whether anything was shown.
    shown: bool,
}

impl Reader {
    /// At its beginning.
    pub(super) fn new() -> Self {
        let names = Names::of(find(None).ok().map(|paths| paths.home).as_deref());
        Self { history: History::default(), rehearsals: Rehearsals::default(), names, shown: false }
    }
}

/// Prints what the log of `log` says.
pub(crate) fn run(options: &Options, log: &Path) -> Result<ExitCode, Problem> {
    let unreadable = |error: std::io::Error| super::unreadable(log, &error);
    // What is shown on a terminal is progress enough.
    let progress = (!stdout().is_terminal()).then(|| Progress::of("Reading the record"));
    let mut reader = Reader::new();
    for line in Lines::of(log).map_err(unreadable)? {
        options.read(&mut reader, &line.map_err(unreadable)?)?;
    }
    drop(progress);
    if !reader.shown {
        eprintln!("{}", if options.filter.words().is_empty() { "There is no record yet." } else { "No record fits." });
    }
    Ok(ExitCode::SUCCESS)
}

impl Options {
    /// Shows what a line ends, where that is wanted.
    pub(super) fn read(&self, reader: &mut Reader, line: &Line) -> Result<(), Problem> {
        let Some(entry) = reader.history.read(line) else { return Ok(()) };
        let kind = reader.rehearsals.kind(&entry);
        if !self.filter.wants(&entry, kind) {
            return Ok(());
        }
        reader.shown = true;
        self.show(&entry, kind, &mut reader.names)
    }

    fn show(&self, entry: &Entry, kind: Kind, names: &mut Names) -> Result<(), Problem> {
        let rehearsed = kind == Kind::Rehearsed;
        if self.json {
            return print_json_line(&Shown { entry, rehearsed });
        }
        names.learn(entry);
        print(&describe(entry, rehearsed, names))
    }
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    /// Whether it was signed in a rehearsal.
    rehearsed: bool,
}

/// One line: when, how it ended, what, where, by which key, the record's number.
fn describe(entry: &Entry, rehearsed: bool, names: &Names) -> String {
    let time = entry.time.strftime("%F %T");
    let (end, about) = match &entry.what {
        What::Request { outcome, intent, .. } => {
            let end = match outcome.as_ref() {
                Outcome::Signed { .. } if rehearsed => "rehearsed".to_owned(),
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
            let destination = intent.as_ref().map_or_else(String::new, |intent| {
                let destination = intent.destination.to_string();
                format!(", {}", named(destination, &intent.subject.bindings, names))
            });
            (end, format!("{what}{destination}"))
        }
        What::Act { act: Act::Refused { request, peer, denial, .. } } => {
            let asked_by = peer.programs.first().map_or("?", |program| &program.name);
            (format!("REFUSED {}", denial.code), format!("{request}, by {asked_by}"))
        }
        What::Act { act } => {
            let Told { name, about } = told(act);
            (name, about)
        }
    };
    safe(format!("#{:<6} {time}  {end:<10}  {about}", entry.sequence).trim_end())
}

/// The same with the names that known_hosts has for its hosts.
fn named(destination: String, bindings: &[Binding], names: &Names) -> String {
    bindings.iter().fold(destination, |text, Binding { host_key, .. }| match names.host(host_key).name {
        Some(name) => text
            .replace(&format!("the host with key {host_key}"), host_key)
            .replace(host_key, &format!("{name} ({host_key})")),
        None => text,
    })
}
