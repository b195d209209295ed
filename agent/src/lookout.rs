//! What the agent is locked by when its person leaves, and whether that is seen.

use std::sync::{Mutex, PoisonError};

use crate::audit::record::LeaveReason;

/// What locks the agent, and whether it is seen.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    reasons: Vec<LeaveReason>,
    /// Why nothing is seen at the moment.
    trouble: Mutex<Option<String>>,
}

impl Lookout {
    pub(crate) fn new(reasons: &[LeaveReason]) -> Self {
        Self { reasons: reasons.to_vec(), trouble: Mutex::new(Some("logind was not reached yet".into())) }
    }

    /// Whether nothing locks it.
    pub(crate) fn is_idle(&self) -> bool {
        self.reasons.is_empty()
    }

    /// What locks the agent, or why nothing does; None where it is not set up to.
    pub(crate) fn standing(&self) -> Option<Result<String, String>> {
        let names = self.reasons.iter().map(|reason| match reason {
            LeaveReason::Suspend => "suspend",
            LeaveReason::ScreenLock => "screen lock",
        });
        let names = names.collect::<Vec<_>>().join(", ");
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (!self.reasons.is_empty()).then(|| trouble.map_or(Ok(names), Err))
    }

    /// Whether this locks the agent.
    pub(crate) fn sees(&self, reason: LeaveReason) -> bool {
        self.reasons.contains(&reason)
    }

    /// Why nothing is seen now, if so. True where that is another trouble than before.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) -> bool {
        let mut now = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let other = *now != trouble;
        *now = trouble;
        other
    }
}
