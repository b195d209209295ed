//! The agent's own messages. They are not the audit log, and hold no request, PIN or password at any level.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// Messages go to standard error, from this level up, or as FIDO_SSH_AGENT_LOG says (`debug`, `agent=trace`, …).
pub fn start(level: &str) {
    let filter = EnvFilter::try_from_env("FIDO_SSH_AGENT_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let messages = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A message that can't be written is dropped: the fallback would panic where standard error is gone.
    let messages = messages.log_internal_errors(false);
    let _ = messages.with_ansi(false).with_timer(SystemTime).try_init();
}

/// How often a message is written that strangers can cause as often as they like.
const PAUSE: Duration = Duration::from_secs(1);

/// Lets a message through once a second.
#[derive(Debug)]
pub(crate) struct Throttle(Mutex<Option<(Instant, u64)>>);

impl Throttle {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether the message is to be written, and then how many were not since the last one.
    pub(crate) fn pass(&self) -> Option<u64> {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *last {
            Some((written, unsaid)) if now.duration_since(*written) < PAUSE => {
                *unsaid += 1;
                None
            }
            last => Some(last.replace((now, 0)).map_or(0, |(_, unsaid)| unsaid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written_once_a_second_with_the_number_of_those_that_were_not() {
        let throttle = Throttle::new();
        assert_eq!(throttle.pass(), Some(0));
        assert_eq!((throttle.pass(), throttle.pass()), (None, None));
        let earlier = Instant::now().checked_sub(PAUSE).unwrap();
        if let Some((written, _)) = &mut *throttle.0.lock().unwrap() {
            *written = earlier;
        }
        assert_eq!((throttle.pass(), throttle.pass()), (Some(2), None));
    }
}
