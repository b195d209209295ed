//! What was compared, so that a test that compares nothing is seen as such.

use std::collections::BTreeMap;
use std::fmt;

use crate::oracle::{Answer, Reason, Theirs, Verdict};
use crate::request::{LIST, SIGN};

/// The requests so far.
#[derive(Debug, Default)]
pub(crate) struct Score {
    pub(crate) conversations: u64,
    requests: u64,
    /// Answered by both in the same way.
    agreed: u64,
    /// Of these, signatures by keys that are restricted to destinations, and refusals to make one.
    pub(crate) constrained_signatures: u64,
    pub(crate) constrained_refusals: u64,
    lists: u64,
    stricter: BTreeMap<Reason, u64>,
    /// Connections that ended after too many refusals.
    pub(crate) closed: u64,
}

impl Score {
    pub(crate) fn count(&mut self, frame: &[u8], constrained: bool, verdict: &Verdict) {
        self.requests += 1;
        match &verdict.theirs {
            Theirs::Same => {
                self.agreed += 1;
                let signing = constrained && frame.first() == Some(&SIGN);
                self.constrained_signatures += u64::from(signing && matches!(verdict.ours, Answer::Signature { .. }));
                self.constrained_refusals += u64::from(signing && verdict.ours == Answer::Failure);
                self.lists += u64::from(frame.first() == Some(&LIST));
            }
            Theirs::Otherwise(reason, _)
            | Theirs::NotAsked(reason)
            | Theirs::Locally(reason)
            | Theirs::FailingBinding(reason) => {
                *self.stricter.entry(*reason).or_default() += 1;
            }
        }
    }

    /// A run in which nothing was signed, say, has shown nothing.
    pub(crate) fn assert_meaning(&self) {
        assert!(self.constrained_signatures > 50, "few keys restricted to destinations have signed");
        assert!(self.constrained_refusals > 50, "few keys restricted to destinations were refused");
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} conversations, {} requests", self.conversations, self.requests)?;
        writeln!(f, "{:8} answered as ssh-agent answers; of these", self.agreed)?;
        writeln!(f, "{:8}   signatures by keys restricted to destinations", self.constrained_signatures)?;
        writeln!(f, "{:8}   refusals of such keys", self.constrained_refusals)?;
        writeln!(f, "{:8}   lists", self.lists)?;
        for (reason, times) in &self.stricter {
            writeln!(f, "{times:8} answered otherwise: {reason:?}")?;
        }
        write!(f, "{:8} connections closed after too many refusals", self.closed)
    }
}
