//! What an entry of the log means for those who read it: one place that says which are uses, refusals and wrong PINs.

use std::collections::BTreeMap;

use agent::audit::history::{Entry, What};
use agent::audit::record::{Act, Attempt, Course, Meaning, Outcome, PromptKind, RunId, Subject, Verification};
use agent::denial::{Code, Denial};

/// CTAP2_ERR_PIN_INVALID (CTAP 2.1 § 8.2).
const PIN_INVALID: u8 = 0x31;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Signed,
    /// The same in a rehearsal, which is no use in earnest. A refusal in one is a refusal.
    Rehearsed,
    Refused,
    Unknown,
    Act,
}

/// The rehearsals that are under way where the log is read: each by the number of its beginning, with the agent's run and the
/// process that has said so.
#[derive(Debug, Default)]
pub(crate) struct Rehearsals(BTreeMap<u64, (RunId, i32)>);

/// As many at a time as a log is believed to have.
const MOST_REHEARSALS: usize = 1000;

impl Rehearsals {
    /// What an entry is. Each one has to be read, in its order.
    pub(crate) fn kind(&mut self, entry: &Entry) -> Kind {
        let run = entry.agent.run;
        match &entry.what {
            What::Act { act: Act::RehearsalBegun { peer, .. } } if self.0.len() < MOST_REHEARSALS => {
                self.0.insert(entry.sequence, (run, peer.pid));
            }
            What::Act { act: Act::RehearsalEnded { rehearsal } } => drop(self.0.remove(rehearsal)),
            // An agent that was killed has not said that they ended.
            What::Act { act: Act::Start } => self.0.clear(),
            _ => {}
        }
        match Kind::of(entry) {
            Kind::Signed if self.has(entry) => Kind::Rehearsed,
            kind => kind,
        }
    }

    /// Whether it was asked for by the program that rehearses, or by one that it has started.
    fn has(&self, entry: &Entry) -> bool {
        let programs = entry.subject().map_or(&[][..], |subject| &subject.peer.programs);
        let is_of =
            |(run, pid): &(RunId, i32)| *run == entry.agent.run && programs.iter().any(|program| program.pid == *pid);
        self.0.values().any(is_of)
    }
}

impl Kind {
    fn of(entry: &Entry) -> Self {
        match &entry.what {
            What::Request { outcome, .. } => match outcome.as_ref() {
                Outcome::Signed { .. } => Self::Signed,
                Outcome::Refused { .. } => Self::Refused,
                Outcome::Unknown { .. } => Self::Unknown,
            },
            What::Act { act: Act::Refused { .. } } => Self::Refused,
            What::Act { .. } => Self::Act,
        }
    }

    /// As the style sheet calls it.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Rehearsed => "rehearsed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Act => "act",
        }
    }
}

/// Whether a host or a token was not what it was said to be.
pub(crate) fn is_deceit(code: Code) -> bool {
    let codes = [
        Code::SessionMismatch,
        Code::HostKeyMismatch,
        Code::SessionReplayed,
        Code::BindingRefused,
        Code::TokenUnproven,
        Code::UpstreamUnproven,
    ];
    codes.contains(&code)
}

/// Why it was refused, where it was.
pub(crate) fn denial(entry: &Entry) -> Option<&Denial> {
    match &entry.what {
        What::Request { outcome, .. } => match outcome.as_ref() {
            Outcome::Refused { denial, .. } => Some(denial),
            Outcome::Signed { .. } | Outcome::Unknown { .. } => None,
        },
        What::Act { act: Act::Refused { denial, .. } } => Some(denial),
        What::Act { .. } => None,
    }
}

/// How many wrong PINs were typed. The last one of a request that it ended has no attempt of its own: there is one more prompt
/// for it, and the refusal says so.
pub(crate) fn wrong_pins(entry: &Entry) -> u64 {
    let What::Request { attempts, course, .. } = &entry.what else { return 0 };
    let wrong = attempts.iter().filter(|attempt| is_wrong_pin(attempt)).count();
    let asked = course.as_ref().map_or(0, secrets);
    let by_pin = [Code::PinWrong, Code::PinGuard, Code::PinReplug, Code::PinBlocked];
    let at_the_end = asked > wrong && denial(entry).is_some_and(|denial| by_pin.contains(&denial.code));
    wrong as u64 + u64::from(at_the_end)
}

pub(crate) fn is_wrong_pin(attempt: &Attempt) -> bool {
    attempt.ctap_status == Some(PIN_INVALID)
}

fn secrets(course: &Course) -> usize {
    course.prompts.iter().filter(|prompt| prompt.kind == PromptKind::Secret).count()
}

/// The host where a signature is of use: the login's own word, which is signed, else the one that the connection is bound to.
pub(crate) fn destination(subject: &Subject) -> Option<&str> {
    if let Meaning::Login { host_key: Some(key), .. } = &subject.meaning {
        return Some(key);
    }
    subject.bindings.iter().rev().find(|binding| !binding.forwarding).map(|binding| binding.host_key.as_str())
}

/// The hosts that the connection was forwarded through, the nearest first.
pub(crate) fn through(subject: &Subject) -> impl Iterator<Item = &str> {
    subject.bindings.iter().filter(|binding| binding.forwarding).map(|binding| binding.host_key.as_str())
}

/// How a token has verified its user, in a word or two.
pub(crate) fn verified_by(verification: Verification) -> &'static str {
    match verification {
        Verification::None => "touch",
        Verification::BuiltIn => "fingerprint",
        Verification::Pin => "PIN",
        Verification::PinAndBuiltIn => "PIN and fingerprint",
    }
}

/// `10 000`: with narrow spaces that don't break.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// With the word for one or for many.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_can_be_read() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(grouped(number).replace('\u{202f}', " "), text);
        }
        assert_eq!((counted(1, "use", "uses").as_str(), counted(2, "use", "uses").as_str()), ("1 use", "2 uses"));
    }
}
