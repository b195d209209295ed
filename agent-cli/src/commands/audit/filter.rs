//! Which part of a log is wanted.

use agent::audit::history::{Entry, What};
use agent::audit::record::{Meaning, Outcome};
use clap::ValueEnum;

use super::reading::Kind;

/// What an entry has to be to be wanted.
#[derive(Debug, clap::Args)]
pub(super) struct Filter {
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
}

/// How requests end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Decision {
    /// With a signature, in a rehearsal too
    Signed,
    /// With a signature in a rehearsal
    Rehearsed,
    Refused,
    Unknown,
}

impl Filter {
    pub(super) fn wants(&self, entry: &Entry, kind: Kind) -> bool {
        let in_time =
            self.since.is_none_or(|since| entry.time >= since) && self.until.is_none_or(|until| entry.time <= until);
        let decision = self.decision.is_none_or(|wanted| wanted.is_of(entry, kind));
        let subject = entry.subject();
        let key = self.key.as_ref().is_none_or(|key| subject.is_some_and(|subject| subject.key.starts_with(key)));
        let user = self.user.as_ref().is_none_or(|wanted| {
            subject.is_some_and(|subject| matches!(&subject.meaning, Meaning::Login { user, .. } if user == wanted))
        });
        let host = self.host.as_ref().is_none_or(|host| at_host(entry, host));
        in_time && decision && key && user && host
    }

    /// What was asked for, as on the command line.
    pub(super) fn words(&self) -> Vec<String> {
        let decision = self.decision.and_then(|decision| decision.to_possible_value());
        let options = [
            ("since", self.since.map(|time| time.to_string())),
            ("until", self.until.map(|time| time.to_string())),
            ("key", self.key.clone()),
            ("host", self.host.clone()),
            ("user", self.user.clone()),
            ("decision", decision.map(|value| value.get_name().to_owned())),
        ];
        options.into_iter().filter_map(|(name, value)| Some(format!("--{name} {}", value?))).collect()
    }
}

impl Decision {
    /// Whether this request ended so. That it was a rehearsal is the word of a program that may mean ill: who looks for
    /// signatures is shown those too.
    fn is_of(self, entry: &Entry, kind: Kind) -> bool {
        let What::Request { outcome, .. } = &entry.what else { return false };
        match self {
            Self::Signed => matches!(outcome.as_ref(), Outcome::Signed { .. }),
            Self::Rehearsed => kind == Kind::Rehearsed,
            Self::Refused => matches!(outcome.as_ref(), Outcome::Refused { .. }),
            Self::Unknown => matches!(outcome.as_ref(), Outcome::Unknown { .. }),
        }
    }
}

fn at_host(entry: &Entry, host: &str) -> bool {
    let named = entry.subject().is_some_and(|subject| {
        let bound = subject.bindings.iter().any(|binding| binding.host_key == host);
        bound || matches!(&subject.meaning, Meaning::Login { host_key: Some(key), .. } if key == host)
    });
    let What::Request { intent: Some(intent), .. } = &entry.what else { return named };
    named || intent.destination.split_whitespace().any(|word| word.trim_matches(',') == host)
}
