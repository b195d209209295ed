//! How often a login is to be rehearsed. The daemon has no part in it: `agent-cli` reads this.

use jiff::SignedDuration;
use serde::Deserialize;

/// After so many days a rehearsal is old, where nothing else is set.
const EVERY_DAYS: u32 = 90;

/// The table `[rehearse]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RehearseConfig {
    /// After so many days a rehearsal is old; 90 when absent.
    pub every_days: Option<u32>,
}

impl RehearseConfig {
    /// After how long a rehearsal is old.
    #[must_use]
    pub fn every(self) -> SignedDuration {
        SignedDuration::from_hours(24 * i64::from(self.every_days.unwrap_or(EVERY_DAYS)))
    }
}
