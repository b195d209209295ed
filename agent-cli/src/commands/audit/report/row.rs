//! One thing that happened: a line to be read among thousands, and all its evidence behind it.

use agent::audit::history::{Entry, What};
use agent::audit::record::Outcome;
use agent::audit::verify::Checked;
use askama::Template;

use super::super::names::Names;
use super::super::reading::{self, Kind, counted};
use super::facts::{Section, peer, sections};
use super::headline::Headline;

/// A row, closed and open.
#[derive(Debug, Template)]
#[template(path = "row.html")]
pub(super) struct Row {
    pub(super) id: u64,
    class: &'static str,
    /// Other words by which the style sheet's filters find it.
    marks: String,
    datetime: String,
    time: String,
    state: String,
    what: Headline,
    key: Option<String>,
    by: String,
    badges: Vec<Badge>,
    verdicts: Vec<Verdict>,
    sections: Vec<Section>,
}

#[derive(Debug)]
struct Badge {
    class: &'static str,
    text: String,
}

/// A sentence of what verification says.
#[derive(Debug)]
struct Verdict {
    class: &'static str,
    text: String,
}

impl Row {
    /// `findings` are what verification found to be wrong with its records; where there are `more` than are told, nothing is
    /// said of others.
    pub(super) fn of(
        entry: &Entry,
        kind: Kind,
        checked: Option<Checked>,
        findings: &[String],
        more: bool,
        names: &Names,
    ) -> Self {
        let wrong_pins = reading::wrong_pins(entry);
        let has_problem = !findings.is_empty() || checked == Some(Checked::Bad);
        let marks = [(wrong_pins > 0, " pin"), (has_problem, " bad")];
        let subject = entry.subject();
        Self {
            id: entry.sequence,
            class: kind.class(),
            marks: marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect(),
            datetime: entry.time.to_string(),
            time: entry.time.strftime("%H:%M:%S").to_string(),
            state: state(entry, kind),
            what: Headline::of(entry, names),
            key: subject.map(|subject| subject.key.clone()),
            by: by(entry),
            badges: badges(entry, checked, wrong_pins, has_problem),
            verdicts: verdicts(kind, checked, findings, more),
            sections: sections(entry, names),
        }
    }
}

fn state(entry: &Entry, kind: Kind) -> String {
    match reading::denial(entry) {
        Some(denial) => denial.code.to_string(),
        None => match kind {
            Kind::Act => "act",
            kind => kind.class(),
        }
        .into(),
    }
}

fn by(entry: &Entry) -> String {
    let peer = match &entry.what {
        What::Act { act } => peer(act),
        What::Request { .. } => entry.subject().map(|subject| &subject.peer),
    };
    peer.and_then(|peer| peer.programs.first()).map(|program| program.name.clone()).unwrap_or_default()
}

fn badges(entry: &Entry, checked: Option<Checked>, wrong_pins: u64, has_problem: bool) -> Vec<Badge> {
    let mut badges = Vec::new();
    let mut add = |class, text: &str| badges.push(Badge { class, text: text.into() });
    if has_problem {
        add("bad", "✗ not as recorded");
    }
    if wrong_pins > 0 {
        add("pin", &counted(wrong_pins, "wrong PIN", "wrong PINs"));
    }
    if let What::Request { outcome, .. } = &entry.what
        && let Outcome::Signed { assertion: Some(assertion), .. } = outcome.as_ref()
    {
        add("plain", reading::verified_by(assertion.user_verification));
    }
    if checked == Some(Checked::Good { host: true }) {
        add("good", "host proven");
    }
    badges
}

fn verdicts(kind: Kind, checked: Option<Checked>, findings: &[String], more: bool) -> Vec<Verdict> {
    let verdict = |class, text: &str| Verdict { class, text: text.into() };
    let mut verdicts = match checked {
        Some(Checked::Good { host: true }) => vec![
            verdict("good", "The signature is what the record says: by this key, over this data."),
            verdict("good", "The host is proven."),
        ],
        Some(Checked::Good { host: false }) => vec![
            verdict("good", "The signature is what the record says: by this key, over this data."),
            verdict("plain", "No host is proven by it."),
        ],
        Some(Checked::NotKept) => {
            vec![verdict("warn", "The signature can’t be checked: what was signed is too long to be kept.")]
        }
        Some(Checked::NoIntent) => {
            vec![verdict("warn", "The signature can’t be checked: what was signed was removed with older segments.")]
        }
        Some(Checked::Bad) => vec![],
        None if kind == Kind::Act => vec![],
        None => vec![verdict("plain", "There is no signature to check. That is the agent’s word alone.")],
    };
    verdicts.extend(findings.iter().map(|finding| verdict("bad", finding)));
    if findings.is_empty() && checked == Some(Checked::Bad) {
        verdicts.push(verdict("bad", "The signature is not what the record says."));
    } else if findings.is_empty() && more {
        verdicts
            .push(verdict("warn", "So much is wrong with the log that not all of it is listed: trust nothing here."));
    } else if findings.is_empty() {
        verdicts.push(verdict("good", "The records stand in the chain where they say."));
    }
    verdicts
}
