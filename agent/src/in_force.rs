//! The settings that hold now.

use crate::limits::Limits;
use crate::offer;
use crate::policy;

/// What requests are decided by, from their arrival on.
#[derive(Debug)]
pub struct InForce {
    /// What the policy decides by.
    pub policy: policy::Settings,
    /// How long things may take.
    pub limits: Limits,
    /// What is offered on which host.
    pub offers: offer::Rules,
}
