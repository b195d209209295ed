//! What a key was restricted to when it was added (RFC 9987 § 3.2.7).

use std::sync::Arc;
use std::time::Duration;

use crate::destination::DestinationConstraint;

/// The constraints of one identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraints {
    /// A person has to agree to each use.
    pub confirm: bool,
    /// When the key is forgotten, in time since boot (suspended time counts).
    pub expires_at: Option<Duration>,
    /// For which destinations the key may be used; any, when empty.
    pub destinations: Arc<[DestinationConstraint]>,
}

impl Constraints {
    /// Whether anything is constrained. Such keys are never kept over a restart.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the lifetime is over at `now`, a time since boot.
    #[must_use]
    pub fn expired(&self, now: Duration) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}
