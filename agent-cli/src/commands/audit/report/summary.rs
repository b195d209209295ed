//! What is at the top of a report: how much there is, of whom, and what deserves a look before all else.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agent::audit::history::{Entry, What};
use agent::audit::record::{Meaning, Outcome, Verification};
use agent::audit::verify::Checked;
use agent::denial::Code;
use jiff::Timestamp;

use super::super::names::Names;
use super::super::reading::{self, Kind};
use super::attention::Attention;
use super::facts::holder;
use super::timeline::Timeline;

/// So many hosts and keys are counted each by itself. A stranger can have any number of them on record.
const MOST: usize = 10_000;

/// So many of them are shown.
const MOST_SHOWN: usize = 200;

/// So many users are named of a host.
const MOST_USERS: usize = 8;

/// All that is counted.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    pub(super) entries: u64,
    pub(super) logins: u64,
    /// Those of them of which the host is proven.
    pub(super) logins_proven: u64,
    /// Logins in rehearsals.
    pub(super) rehearsed: u64,
    pub(super) others: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
    pub(super) wrong_pins: u64,
    pub(super) acts: u64,
    pub(super) instances: BTreeSet<String>,
    pub(super) hosts: Tally<OfHost>,
    pub(super) keys: Tally<OfKey>,
    pub(super) codes: BTreeMap<Code, u64>,
    pub(super) attention: Attention,
    pub(super) timeline: Timeline,
}

/// What is counted of each of many.
#[derive(Debug, Default)]
pub(super) struct Tally<T> {
    each: HashMap<String, T>,
    /// So many could not be counted by themselves.
    pub(super) beyond: u64,
}

/// A host as the log knows it.
#[derive(Debug, Default)]
pub(super) struct OfHost {
    pub(super) logins: u64,
    /// The same in rehearsals.
    pub(super) rehearsed: u64,
    pub(super) proven: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
    /// How often a connection was forwarded through it.
    pub(super) through: u64,
    pub(super) users: BTreeSet<String>,
    pub(super) span: Span,
}

/// A key as the log knows it.
#[derive(Debug, Default)]
pub(super) struct OfKey {
    pub(super) holder: String,
    pub(super) signed: u64,
    /// The same in rehearsals.
    pub(super) rehearsed: u64,
    pub(super) by_pin: u64,
    pub(super) by_finger: u64,
    pub(super) unverified: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
    pub(super) wrong_pins: u64,
    pub(super) counter: Option<u32>,
    pub(super) span: Span,
}

/// From the first to the last.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Span(Option<(Timestamp, Timestamp)>);

impl Span {
    fn add(&mut self, time: Timestamp) {
        let (first, last) = self.0.unwrap_or((time, time));
        self.0 = Some((first.min(time), last.max(time)));
    }

    pub(super) fn first(&self) -> String {
        self.0.map_or_else(String::new, |(first, _)| day(first))
    }

    pub(super) fn last(&self) -> String {
        self.0.map_or_else(String::new, |(_, last)| day(last))
    }
}

fn day(time: Timestamp) -> String {
    time.strftime("%F").to_string()
}

impl<T: Default> Tally<T> {
    fn of(&mut self, name: &str) -> Option<&mut T> {
        if !self.each.contains_key(name) && self.each.len() >= MOST {
            self.beyond += 1;
            return None;
        }
        Some(self.each.entry(name.to_owned()).or_default())
    }

    pub(super) fn len(&self) -> usize {
        self.each.len()
    }

    /// Those with the highest number first.
    pub(super) fn by(&self, number: impl Fn(&T) -> u64) -> Vec<(&str, &T)> {
        let mut each: Vec<_> = self.each.iter().map(|(name, of)| (name.as_str(), of)).collect();
        each.sort_by(|(a, of_a), (b, of_b)| number(of_b).cmp(&number(of_a)).then(a.cmp(b)));
        each.truncate(MOST_SHOWN);
        each
    }
}

impl OfHost {
    pub(super) fn total(&self) -> u64 {
        self.logins + self.rehearsed + self.refused + self.unknown + self.through
    }
}

impl OfKey {
    pub(super) fn total(&self) -> u64 {
        self.signed + self.rehearsed + self.refused + self.unknown
    }
}

impl Summary {
    pub(super) fn add(&mut self, entry: &Entry, kind: Kind, checked: Option<Checked>, names: &Names) {
        let wrong_pins = reading::wrong_pins(entry);
        self.entries += 1;
        self.first = Some(self.first.map_or(entry.time, |first| first.min(entry.time)));
        self.last = Some(self.last.map_or(entry.time, |last| last.max(entry.time)));
        if self.instances.len() < MOST_USERS {
            self.instances.insert(entry.agent.instance.clone());
        }
        self.wrong_pins += wrong_pins;
        self.timeline.add(entry.time, kind, wrong_pins);
        self.attention.add(entry, wrong_pins, names);
        let is_login = entry.subject().is_some_and(|subject| matches!(subject.meaning, Meaning::Login { .. }));
        match kind {
            Kind::Signed if is_login => {
                self.logins += 1;
                self.logins_proven += u64::from(checked == Some(Checked::Good { host: true }));
            }
            Kind::Signed => self.others += 1,
            Kind::Rehearsed => self.rehearsed += 1,
            Kind::Refused => self.refused += 1,
            Kind::Unknown => self.unknown += 1,
            Kind::Act => self.acts += 1,
        }
        if let Some(denial) = reading::denial(entry) {
            *self.codes.entry(denial.code).or_default() += 1;
        }
        self.host(entry, kind, checked);
        self.key(entry, kind, wrong_pins);
    }

    fn host(&mut self, entry: &Entry, kind: Kind, checked: Option<Checked>) {
        let Some(subject) = entry.subject() else { return };
        if let Some(of) = reading::destination(subject).and_then(|host| self.hosts.of(host)) {
            match kind {
                Kind::Signed => of.logins += 1,
                Kind::Rehearsed => of.rehearsed += 1,
                Kind::Refused => of.refused += 1,
                Kind::Unknown => of.unknown += 1,
                Kind::Act => {}
            }
            of.proven += u64::from(checked == Some(Checked::Good { host: true }));
            of.span.add(entry.time);
            if let Meaning::Login { user, .. } = &subject.meaning
                && of.users.len() < MOST_USERS
            {
                of.users.insert(user.clone());
            }
        }
        for host in reading::through(subject) {
            if let Some(of) = self.hosts.of(host) {
                of.through += 1;
                of.span.add(entry.time);
            }
        }
    }

    fn key(&mut self, entry: &Entry, kind: Kind, wrong_pins: u64) {
        let Some(of) = entry.subject().and_then(|subject| self.keys.of(&subject.key)) else { return };
        of.wrong_pins += wrong_pins;
        of.span.add(entry.time);
        if let What::Request { intent: Some(intent), .. } = &entry.what {
            of.holder = holder(&intent.signer);
        }
        match kind {
            Kind::Signed => of.signed += 1,
            Kind::Rehearsed => of.rehearsed += 1,
            Kind::Refused => of.refused += 1,
            Kind::Unknown => of.unknown += 1,
            Kind::Act => {}
        }
        let What::Request { outcome, .. } = &entry.what else { return };
        if let Outcome::Signed { assertion: Some(assertion), .. } = outcome.as_ref() {
            of.counter = Some(assertion.counter);
            match assertion.user_verification {
                Verification::Pin => of.by_pin += 1,
                Verification::BuiltIn | Verification::PinAndBuiltIn => of.by_finger += 1,
                Verification::None => of.unverified += 1,
            }
        }
    }
}
