//! What deserves a look before all else: the few things that somebody who answers for a log wants to have explained.

use std::collections::VecDeque;

use agent::audit::history::{Entry, What};
use agent::audit::record::{Act, Outcome};
use jiff::Timestamp;

use super::super::names::Names;
use super::super::reading;
use super::headline::Headline;

/// So many of each kind are named: the last ones.
const FEW: usize = 6;

/// The kinds of things, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concern {
    Deceit,
    Unknown,
    Gaps,
    WrongPins,
    Muted,
    Root,
    Settings,
    Tokens,
}

const ALL: [Concern; 8] = [
    Concern::Deceit,
    Concern::Unknown,
    Concern::Gaps,
    Concern::WrongPins,
    Concern::Muted,
    Concern::Root,
    Concern::Settings,
    Concern::Tokens,
];

impl Concern {
    /// What it is, why it matters, and whether it is grave.
    fn words(self) -> (&'static str, &'static str, bool) {
        match self {
            Self::Deceit => (
                "A host or token was not what it was said to be",
                "Somebody on the way may have tried to use a key for themselves. Nothing was signed.",
                true,
            ),
            Self::Unknown => (
                "Uses whose outcome nobody knows",
                "The agent was killed between the two records: a signature may have left it.",
                true,
            ),
            Self::Gaps => (
                "Records that are missing, by the log’s own word",
                "The disk was full or failing, a record was torn, or old segments were removed as configured.",
                true,
            ),
            Self::WrongPins => {
                ("Wrong PINs", "A slip of the finger, or somebody who has the token and not the PIN.", false)
            }
            Self::Muted => {
                ("Programs that were muted", "They were refused so often that they are not recorded one by one.", false)
            }
            Self::Root => ("Connections of root", "They were let in, as configured.", false),
            Self::Settings => ("Settings changed", "From here on the agent goes by other rules.", false),
            Self::Tokens => {
                ("Tokens and keys changed", "A key was made or deleted, or a PIN or fingerprint changed.", false)
            }
        }
    }

    fn of(entry: &Entry, wrong_pins: u64) -> Option<Self> {
        if reading::denial(entry).is_some_and(|denial| reading::is_deceit(denial.code)) {
            return Some(Self::Deceit);
        }
        match &entry.what {
            What::Request { outcome, .. } => match outcome.as_ref() {
                Outcome::Unknown { .. } => Some(Self::Unknown),
                _ => (wrong_pins > 0).then_some(Self::WrongPins),
            },
            What::Act { act } => match act {
                Act::Missed { .. } | Act::Torn { .. } | Act::SegmentsRemoved { .. } => Some(Self::Gaps),
                Act::Muted { .. } => Some(Self::Muted),
                Act::RootConnection { .. } => Some(Self::Root),
                Act::ConfigChanged { .. } => Some(Self::Settings),
                Act::Generate { .. } | Act::NameToken { .. } | Act::ForgetToken { .. } | Act::ChangedToken { .. } => {
                    Some(Self::Tokens)
                }
                _ => None,
            },
        }
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Attention {
    found: [Found; ALL.len()],
}

#[derive(Debug, Default)]
struct Found {
    count: u64,
    last: VecDeque<Item>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: u64,
    time: Timestamp,
    pub(super) words: String,
}

impl Item {
    pub(super) fn time(&self) -> String {
        self.time.strftime("%F %H:%M").to_string()
    }
}

/// All of a kind, for the page.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) title: &'static str,
    pub(super) why: &'static str,
    pub(super) is_grave: bool,
    pub(super) count: String,
    pub(super) last: Vec<&'a Item>,
    /// So many came before these.
    pub(super) before: u64,
}

impl Attention {
    pub(super) fn add(&mut self, entry: &Entry, wrong_pins: u64, names: &Names) {
        let Some(concern) = Concern::of(entry, wrong_pins) else { return };
        let Some(found) = ALL.iter().position(|other| *other == concern).and_then(|place| self.found.get_mut(place))
        else {
            return;
        };
        found.count += 1;
        let words = match reading::denial(entry) {
            Some(denial) => format!("{}: {}", Headline::of(entry, names).in_words(), denial.code),
            None => Headline::of(entry, names).in_words(),
        };
        if found.last.len() >= FEW {
            found.last.pop_front();
        }
        found.last.push_back(Item { id: entry.sequence, time: entry.time, words });
    }

    pub(super) fn groups(&self) -> Vec<Group<'_>> {
        let mut groups = Vec::new();
        for (concern, found) in ALL.iter().zip(&self.found).filter(|(_, found)| found.count > 0) {
            let (title, why, is_grave) = concern.words();
            let count = found.count;
            let last: Vec<_> = found.last.iter().collect();
            let before = count.saturating_sub(last.len() as u64);
            groups.push(Group { title, why, is_grave, count: reading::grouped(count), last, before });
        }
        groups
    }
}
