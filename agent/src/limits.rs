//! How long things may take.

use std::time::Duration;

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A prompt.
    pub prompt: Duration,
    /// A touch. The token and its library give up by themselves at about 45 s, in confusing ways, so this is less.
    pub touch: Duration,
    /// A request in all, the wait for others included. sshd gives a login 120 s (LoginGraceTime).
    pub request: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { prompt: Duration::from_secs(60), touch: Duration::from_secs(40), request: Duration::from_secs(110) }
    }
}
