//! One attack on one agent, and what it did to it.

use std::time::Duration;

use crate::attack::{Attack, Tally};
use crate::bystander::{Bystander, Seen};
use crate::target::Target;

/// A client's list may take so long, whatever another client does.
pub(crate) const LONGEST_LIST: Duration = Duration::from_millis(50);
/// The agent's memory, at its peak.
pub(crate) const MOST_MEMORY_KIB: u64 = 64 * 1024;
/// The processor time that one attack may cost the agent.
pub(crate) const MOST_PROCESSOR_TIME: Duration = Duration::from_secs(10);

/// An attack.
pub(crate) struct Case {
    /// What it is.
    pub(crate) name: String,
    /// Whether it asks for nothing that may be granted.
    all_refused: bool,
    attack: Box<dyn Fn(&mut Attack<'_, '_>)>,
}

impl Case {
    /// An attack of which everything has to be refused.
    pub(crate) fn refused(name: impl Into<String>, attack: impl Fn(&mut Attack<'_, '_>) + 'static) -> Self {
        Self { name: name.into(), all_refused: true, attack: Box::new(attack) }
    }

    /// An attack that may be served, or not: nobody shall notice.
    pub(crate) fn unnoticed(name: impl Into<String>, attack: impl Fn(&mut Attack<'_, '_>) + 'static) -> Self {
        Self { name: name.into(), all_refused: false, attack: Box::new(attack) }
    }

    /// Attacks.
    pub(crate) fn run(&self, target: &mut Target<'_>) -> Verdict {
        let processor_time = target.processor_time();
        let bystander = Bystander::watch(target);
        let mut attack = Attack::on(target);
        (self.attack)(&mut attack);
        attack.hang_up();
        let tally = attack.tally;
        let seen = bystander.report();
        let holds_its_keys = target.holds_its_keys();
        Verdict {
            all_refused: self.all_refused,
            tally,
            seen,
            runs: target.is_running(),
            holds_its_keys,
            memory_kib: target.peak_memory(),
            processor_time: target.processor_time().saturating_sub(processor_time),
        }
    }
}

/// What an attack did.
#[derive(Default)]
pub(crate) struct Verdict {
    all_refused: bool,
    tally: Tally,
    /// What somebody else has seen of it.
    pub(crate) seen: Seen,
    runs: bool,
    holds_its_keys: Option<bool>,
    memory_kib: u64,
    processor_time: Duration,
}

impl Verdict {
    /// What is wrong, apart from how long a list took: nothing, when all is well.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let Tally { refused, served, unanswered, shut_out, unprepared } = &self.tally;
        let mut complaints = Vec::new();
        let mut complain = |wrong: bool, what: String| wrong.then(|| complaints.push(what));
        complain(!self.runs, "the agent has ended".into());
        complain(self.seen.left_waiting, "a list did not come".into());
        complain(self.seen.hung_up_on, "the agent hung up on a bystander".into());
        complain(self.holds_its_keys == Some(false), "the agent's keys are not what they were".into());
        complain(self.holds_its_keys.is_none(), "the agent answers nobody any more".into());
        complain(!unprepared.is_empty(), format!("what should work did not: {unprepared:#?}"));
        complain(self.all_refused && !served.is_empty(), format!("served: {:#?}", first_few(served)));
        complain(!unanswered.is_empty(), format!("not answered: {:#?}", first_few(unanswered)));
        complain(!shut_out.is_empty(), format!("others were shut out: {shut_out:#?}"));
        complain(self.all_refused && *refused == 0, "nothing was tried".into());
        complain(self.memory_kib == 0 || self.memory_kib > MOST_MEMORY_KIB, format!("{} KiB", self.memory_kib));
        complain(self.processor_time > MOST_PROCESSOR_TIME, format!("{:?} of processor time", self.processor_time));
        complaints
    }

    /// Whether another agent has to take this one's place.
    pub(crate) fn is_spoilt(&self) -> bool {
        !self.runs || self.holds_its_keys != Some(true) || self.seen.left_waiting || self.seen.hung_up_on
    }

    /// In a few words.
    pub(crate) fn summary(&self) -> String {
        let Tally { refused, served, unprepared, .. } = &self.tally;
        let mut words = vec![if !self.runs {
            "died".into()
        } else if self.seen.left_waiting || self.holds_its_keys.is_none() {
            "hung".into()
        } else if !self.all_refused {
            "unnoticed".into()
        } else if !served.is_empty() {
            format!("served {} of {}", served.len(), served.len() + refused)
        } else if !unprepared.is_empty() {
            "cannot be set up".into()
        } else {
            "refused".into()
        }];
        let noticed = !self.tally.shut_out.is_empty()
            || self.seen.longest_itself > LONGEST_LIST
            || self.memory_kib > MOST_MEMORY_KIB
            || self.is_spoilt();
        if noticed && words[0] == "unnoticed" {
            words.clear();
        }
        if self.seen.hung_up_on && self.runs {
            words.push("hung up on others".into());
        }
        if !self.tally.shut_out.is_empty() {
            words.push("others shut out".into());
        }
        if self.holds_its_keys == Some(false) {
            words.push("keys gone".into());
        }
        if self.seen.longest_itself > LONGEST_LIST {
            words.push(format!("list {} ms", self.seen.longest_itself.as_millis()));
        }
        if self.memory_kib > MOST_MEMORY_KIB {
            words.push(format!("{} MiB", self.memory_kib / 1024));
        }
        words.join(", ")
    }

    /// The figures behind it.
    pub(crate) fn figures(&self) -> String {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        let (longest, itself) = (milliseconds(self.seen.longest), milliseconds(self.seen.longest_itself));
        let (memory, processor) = (self.memory_kib.div_ceil(1024), self.processor_time.as_secs_f64());
        format!("{longest:>6.1} ms {itself:>6.1} ms {memory:>4} MiB {processor:>5.2} s")
    }
}

fn first_few(all: &[String]) -> &[String] {
    &all[..all.len().min(8)]
}
