//! The quiet gap: after a wait for a touch that ended without one, a device is not asked for another at once. A finger that is
//! on its way already would else serve a request that its person has not seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How long a device is left alone: a hand that is moving towards a token takes some half a second to get there, and as long
/// again to be stopped by a prompt that went away.
const GAP: Duration = Duration::from_secs(1);

/// The devices that are left alone, and until when.
#[derive(Debug, Clone, Default)]
pub(super) struct QuietGaps(Arc<Mutex<BTreeMap<String, Instant>>>);

impl QuietGaps {
    /// Waits until the gaps of all these devices are over.
    pub(super) async fn pass(&self, paths: &[String]) {
        let end = {
            let gaps = self.lock();
            paths.iter().filter_map(|path| gaps.get(path)).max().copied()
        };
        if let Some(end) = end {
            sleep_until(end).await;
        }
    }

    /// These devices are asked for a touch from now on. Unless the wait is said to have been answered, they have a gap after
    /// it, in whatever way it ends.
    pub(super) fn begin(&self, paths: Vec<String>) -> Wait {
        Wait { gaps: self.clone(), paths }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for a touch.
#[must_use]
pub(super) struct Wait {
    gaps: QuietGaps,
    paths: Vec<String>,
}

impl Wait {
    /// The person has touched the token, or it was never going to wait: no finger is on its way.
    pub(super) fn answered(mut self) {
        self.paths.clear();
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut gaps = self.gaps.lock();
        gaps.retain(|_, end| *end > now);
        gaps.extend(std::mem::take(&mut self.paths).into_iter().map(|path| (path, now + GAP)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
    }

    async fn time(gaps: &QuietGaps, path: &str) -> Duration {
        let began = Instant::now();
        gaps.pass(&[path.to_owned()]).await;
        began.elapsed()
    }

    #[test]
    fn after_a_wait_that_nobody_answered_there_is_a_gap_on_its_devices() {
        run(async {
            let gaps = QuietGaps::default();
            drop(gaps.begin(vec!["a".into(), "b".into()]));
            assert_eq!(time(&gaps, "c").await, Duration::ZERO);
            assert!(time(&gaps, "b").await >= GAP);
            assert_eq!(time(&gaps, "a").await, Duration::ZERO, "it is over for both");
        });
    }

    #[test]
    fn after_a_touch_there_is_none() {
        run(async {
            let gaps = QuietGaps::default();
            gaps.begin(vec!["a".into()]).answered();
            assert_eq!(time(&gaps, "a").await, Duration::ZERO);
        });
    }
}
