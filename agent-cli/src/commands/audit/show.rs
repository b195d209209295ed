//! `agent-cli audit show`.

use std::path::Path;
use std::process::ExitCode;

use agent::audit::history::{Entry, History, What};
use agent::audit::reader::{Line, Lines};
use agent::audit::record::{Act, Meaning, Outcome};
use clap::ValueEnum;
use serde_json::Value;

use crate::output::{print, print_json_line};
use crate::problem::Problem;
use crate::safe::safe;

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// From this time on: 2026-11-22T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<jiff::Timestamp>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    until: Option<jiff::Timestamp>,
    /// Of the key with this fingerprint, or one that begins so
    #[arg(long, value_name = "SHA256:…")]
    key: Option<String>,
    /// At a host, by its key's fingerprint or its name, or through it
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Of logins as this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only what ended so
    #[arg(long, value_enum)]
    decision: Option<Decision>,
    /// Print JSON, a line for each
    #[arg(long)]
    json: bool,
}

/// How requests end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Decision {
    Signed,
    Refused,
    Unknown,
}

/// Prints what the log of `log` says.
pub(crate) fn run(options: &Options, log: &Path) -> Result<ExitCode, Problem> {
    let unreadable = |error: std::io::Error| super::unreadable(log, &error);
    let mut history = History::default();
    for line in Lines::of(log).map_err(unreadable)? {
        options.read(&mut history, &line.map_err(unreadable)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Options {
    /// Shows what a line ends, where that is wanted.
    pub(super) fn read(&self, history: &mut History, line: &Line) -> Result<(), Problem> {
        match history.read(line).filter(|entry| self.wants(entry)) {
            Some(entry) => self.show(&entry),
            None => Ok(()),
        }
    }

    fn wants(&self, entry: &Entry) -> bool {
        let in_time =
            self.since.is_none_or(|since| entry.time >= since) && self.until.is_none_or(|until| entry.time <= until);
        let decision = self.decision.is_none_or(|wanted| decision(entry) == Some(wanted));
        let subject = entry.subject();
        let key = self.key.as_ref().is_none_or(|key| subject.is_some_and(|subject| subject.key.starts_with(key)));
        let user = self.user.as_ref().is_none_or(|wanted| {
            subject.is_some_and(|subject| matches!(&subject.meaning, Meaning::Login { user, .. } if user == wanted))
        });
        let host = self.host.as_ref().is_none_or(|host| at_host(entry, host));
        in_time && decision && key && user && host
    }

    fn show(&self, entry: &Entry) -> Result<(), Problem> {
        if self.json { print_json_line(entry) } else { print(&describe(entry)) }
    }
}

fn decision(entry: &Entry) -> Option<Decision> {
    let What::Request { outcome, .. } = &entry.what else { return None };
    Some(match outcome.as_ref() {
        Outcome::Signed { .. } => Decision::Signed,
        Outcome::Refused { .. } => Decision::Refused,
        Outcome::Unknown { .. } => Decision::Unknown,
    })
}

fn at_host(entry: &Entry, host: &str) -> bool {
    let named = entry.subject().is_some_and(|subject| {
        let bound = subject.bindings.iter().any(|binding| binding.host_key == host);
        bound || matches!(&subject.meaning, Meaning::Login { host_key: Some(key), .. } if key == host)
    });
    let What::Request { intent: Some(intent), .. } = &entry.what else { return named };
    named || intent.destination.split_whitespace().any(|word| word.trim_matches(',') == host)
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
