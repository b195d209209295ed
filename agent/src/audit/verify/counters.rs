//! Whether the tokens' counters go with the records: each assertion raises one, so that a step which is too big may tell of a
//! signature that is on no record.
//!
//! By how much a counter is raised, and whether each key has one of its own, is the token's affair (WebAuthn § 6.1.1). So a
//! token's steps are believed once most of them were what the agent had of it. One that always says 0, that counts for all its
//! keys at once, or by as much as it likes tells nothing by their size.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::super::reader::Line;
use super::super::record::{Assertion, RunId, Signer, Token};

/// So many steps have to be as expected, and so many in four, before another one is worth a word.
const EXPECTED_AT_LEAST: usize = 3;

/// How a key's counter was found to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counting {
    /// It says 0 each time: nothing can be said.
    Zero,
    /// The token counts for all its keys at once: where other keys of it are used elsewhere, nothing can be said.
    Shared,
    /// By as much as the agent has of it, but for what findings say.
    ByUse,
    /// Otherwise, or too few times to tell: of its steps nothing can be said.
    Untold,
}

/// The counter of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counter {
    /// How it goes.
    pub counting: Counting,
    /// What it was last.
    pub last: u32,
}

/// A step of a counter that the records do not explain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) segment: PathBuf,
    pub(super) line: u64,
    pub(super) what: String,
}

/// All uses of tokens.
#[derive(Debug, Default)]
pub(super) struct Counters {
    keys: BTreeMap<String, Key>,
    /// The last counter that a token said with any key, and whether something happened since that may have raised it.
    tokens: BTreeMap<(String, String), Last>,
    /// The run whose records are read.
    run: Option<RunId>,
    /// How many assertions the runs before it have had.
    before: u64,
    /// How many agents had by the last signature.
    had: u64,
    /// How many runs ended without saying how many they had.
    killed: u64,
}

#[derive(Debug, Default)]
struct Key {
    last: Option<Last>,
    /// How many assertions agents had for its signatures: each one's are those since the signature before it.
    had: u64,
    /// It was 0 each time.
    zero: bool,
    /// A step of it was explained by that of another key only.
    shared: bool,
    as_expected: usize,
    steps: usize,
    /// Steps that are bigger than expected.
    big: Vec<Gap>,
    /// Where it did not grow, which no token does.
    backwards: Vec<Gap>,
}

/// The last use.
#[derive(Debug, Clone, Copy)]
struct Last {
    counter: u32,
    /// How many assertions agents had by then: of all, or for this key.
    had: u64,
    /// How many were killed by then.
    killed: u64,
    /// A request came after it that had no signature: it may have raised the counter all the same.
    unsure: bool,
}

impl Last {
    /// Whether the step from here to there may be what the agent had of the token meanwhile. Of an agent that was killed
    /// between, nobody knows how much it had.
    fn explains(self, now: Self) -> bool {
        let step = now.counter.checked_sub(self.counter).filter(|step| *step > 0);
        let unknown = self.unsure || self.killed != now.killed;
        step.is_some_and(|step| unknown || u64::from(step) <= now.had.saturating_sub(self.had))
    }
}

impl Counters {
    /// A record of this run comes next.
    pub(super) fn of_run(&mut self, run: RunId) {
        let before = self.run.replace(run);
        if before.is_some_and(|before| before != run) {
            self.killed += 1;
        }
    }

    /// The run ended in order, after it has had so many assertions.
    pub(super) fn stopped(&mut self, assertions: u64) {
        self.before = self.before.saturating_add(assertions);
        self.run = None;
    }

    /// A request with a key ended without a signature.
    pub(super) fn no_signature(&mut self, key: &str, signer: Option<&Signer>) {
        if let Some(last) = self.keys.get_mut(key).and_then(|key| key.last.as_mut()) {
            last.unsure = true;
        }
        if let Some(last) = signer.and_then(token).and_then(|token| self.tokens.get_mut(&token)) {
            last.unsure = true;
        }
    }

    /// A token signed.
    pub(super) fn signed(&mut self, key: &str, signer: &Signer, assertion: Assertion, line: &Line) {
        let Assertion { counter, assertions, .. } = assertion;
        let had = self.before.saturating_add(assertions);
        let of_all = Last { counter, had, killed: self.killed, unsure: false };
        let on_token = token(signer).and_then(|token| self.tokens.insert(token, of_all));
        let name = key;
        let key = self.keys.entry(name.to_owned()).or_insert_with(|| Key { zero: true, ..Key::default() });
        key.zero &= counter == 0;
        key.had = key.had.saturating_add(had.saturating_sub(self.had));
        self.had = had;
        let now = Last { had: key.had, ..of_all };
        let Some(last) = key.last.replace(now) else { return };
        let gap = |what| Gap { segment: line.segment.clone(), line: line.number, what };
        let from_to = format!("the counter of key {name} goes from {} to {counter}", last.counter);
        if counter <= last.counter && (counter, last.counter) != (0, 0) {
            let what = "records of another time may stand here, a copy of the token may exist, or it was reset";
            key.backwards.push(gap(format!("{from_to}, and no token's does: {what}")));
        } else if !last.unsure && counter > 0 {
            key.steps += 1;
            if last.explains(now) {
                key.as_expected += 1;
            } else if on_token.is_some_and(|last| last.explains(of_all)) {
                key.shared = true;
            } else {
                let what = "it may have been used elsewhere, or records may be gone";
                let had = now.had.saturating_sub(last.had);
                key.big.push(gap(format!("{from_to}, and the agent had {had} assertions for that: {what}")));
            }
        }
    }

    /// What the steps tell in the end, and how each key's counter goes.
    pub(super) fn end(self) -> (BTreeMap<String, Counter>, Vec<Gap>) {
        let (mut counters, mut gaps) = (BTreeMap::new(), Vec::new());
        for (name, key) in self.keys {
            let counting = key.counting();
            gaps.extend(key.backwards);
            if counting == Counting::ByUse {
                gaps.extend(key.big);
            }
            let last = key.last.map_or(0, |last| last.counter);
            counters.insert(name, Counter { counting, last });
        }
        (counters, gaps)
    }
}

impl Key {
    fn counting(&self) -> Counting {
        match self {
            Self { zero: true, .. } => Counting::Zero,
            Self { shared: true, .. } => Counting::Shared,
            Self { as_expected, steps, .. } if *as_expected >= EXPECTED_AT_LEAST && as_expected * 4 >= steps * 3 => {
                Counting::ByUse
            }
            _ => Counting::Untold,
        }
    }
}

/// A token by what it says of itself.
fn token(signer: &Signer) -> Option<(String, String)> {
    match signer {
        Signer::Token { token: Token { product, serial, .. }, .. } => Some((product.clone(), serial.clone())),
        Signer::Software | Signer::Upstream { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::Outcome;
    use crate::audit::samples;

    /// What is found where these keys of one token gave these counters, each after so many assertions; none is a request
    /// without a signature.
    fn found(uses: &[(&str, Option<u32>, u64)]) -> (Vec<(String, Counting)>, usize) {
        let mut counters = Counters::default();
        counters.of_run(RunId(1));
        let (signer, mut had) = (samples::token(), 0);
        for (number, (key, counter, assertions)) in (1..).zip(uses) {
            let line = Line { segment: "audit.jsonl".into(), number, text: vec![], ended: true };
            match counter {
                Some(counter) => {
                    let Outcome::Signed { assertion: Some(said), .. } = samples::signed(true) else { unreachable!() };
                    had += assertions;
                    let said = Assertion { counter: *counter, assertions: had, ..said };
                    counters.signed(key, &signer, said, &line);
                }
                None => counters.no_signature(key, Some(&signer)),
            }
        }
        let (countings, gaps) = counters.end();
        (countings.into_iter().map(|(key, counter)| (key, counter.counting)).collect(), gaps.len())
    }

    fn of_one(counters: &[u32]) -> (Counting, usize) {
        let uses: Vec<_> = counters.iter().map(|counter| ("a", Some(*counter), 2)).collect();
        let (countings, gaps) = found(&uses);
        (countings[0].1, gaps)
    }

    #[test]
    fn a_step_that_is_too_big_is_found_where_all_others_are_as_expected() {
        assert_eq!(of_one(&[10, 12, 14, 16, 18]), (Counting::ByUse, 0));
        assert_eq!(of_one(&[10, 12, 14, 17, 19]), (Counting::ByUse, 1));
        // Silent questions about other credentials do not raise this one's.
        assert_eq!(of_one(&[10, 11, 13, 14, 18]), (Counting::ByUse, 1));
    }

    #[test]
    fn nothing_is_said_of_a_token_that_counts_otherwise() {
        assert_eq!(of_one(&[0, 0, 0, 0, 0]), (Counting::Zero, 0));
        assert_eq!(of_one(&[3, 14, 19, 21, 30, 32, 47]), (Counting::Untold, 0), "by as much as it likes");
        assert_eq!(of_one(&[10, 12, 90]), (Counting::Untold, 0), "too few");
        assert_eq!(of_one(&[7]), (Counting::Untold, 0));
        let keys = ["a", "a", "a", "b", "b", "a", "b"];
        let uses: Vec<_> = keys.into_iter().zip([10, 12, 14, 16, 18, 20, 22].map(Some)).collect();
        let uses: Vec<_> =
            uses.into_iter().map(|(key, counter)| (key, counter, 2)).chain([("a", Some(60), 2)]).collect();
        let shared = vec![("a".to_owned(), Counting::Shared), ("b".to_owned(), Counting::Shared)];
        assert_eq!(found(&uses), (shared, 0), "for all keys at once");
    }

    #[test]
    fn a_counter_that_does_not_grow_is_found_whatever_it_counts() {
        assert_eq!(of_one(&[10, 9]), (Counting::Untold, 1));
        assert_eq!(of_one(&[10, 10]), (Counting::Untold, 1));
        assert_eq!(of_one(&[10, 0, 0]), (Counting::Untold, 1));
    }

    /// A step of five over the end of a run, in the last records of which and the first of the next so many assertions were had.
    fn over_a_restart(stopped_after: Option<u64>, then: u64) -> usize {
        let (mut counters, signer) = (Counters::default(), samples::token());
        let line = Line { segment: "audit.jsonl".into(), number: 1, text: vec![], ended: true };
        let Outcome::Signed { assertion: Some(said), .. } = samples::signed(true) else { unreachable!() };
        counters.of_run(RunId(1));
        for (counter, assertions) in [(1, 1), (2, 2), (3, 3), (4, 4)] {
            counters.signed("a", &signer, Assertion { counter, assertions, ..said }, &line);
        }
        if let Some(assertions) = stopped_after {
            counters.stopped(assertions);
        }
        counters.of_run(RunId(2));
        counters.signed("a", &signer, Assertion { counter: 9, assertions: then, ..said }, &line);
        counters.end().1.len()
    }

    #[test]
    fn what_an_agent_had_before_it_ended_counts() {
        assert_eq!(over_a_restart(Some(8), 1), 0);
        assert_eq!(over_a_restart(Some(4), 5), 0);
        assert_eq!(over_a_restart(Some(4), 1), 1);
        assert_eq!(over_a_restart(None, 1), 0, "nobody knows what one had that was killed");
    }

    #[test]
    fn a_request_without_a_signature_may_have_raised_it() {
        let mut uses = [10, 12, 14, 16].map(|counter| ("a", Some(counter), 2)).to_vec();
        uses.extend([("a", None, 0), ("a", Some(19), 2), ("a", Some(21), 2)]);
        assert_eq!(found(&uses).1, 0);
        uses.push(("a", Some(24), 2));
        assert_eq!(found(&uses).1, 1);
    }
}
