//! The signature counters that tokens gave with their last assertions, by key.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What was seen in this run of the agent.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<HashMap<String, u32>>);

impl Counters {
    /// Takes note of a counter. Says by how much it is more than the last one of the key with this fingerprint; None where it is
    /// the first.
    pub(crate) fn step(&self, key: &str, counter: u32) -> Option<i64> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.insert(key.to_owned(), counter);
        before.map(|before| i64::from(counter) - i64::from(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_counter_of_its_own() {
        let counters = Counters::default();
        let steps =
            [("a", 5), ("b", 9), ("a", 7), ("a", 3), ("b", 9)].map(|(key, counter)| counters.step(key, counter));
        assert_eq!(steps, [None, None, Some(2), Some(-4), Some(0)]);
    }
}
