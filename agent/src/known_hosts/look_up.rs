//! Questions about known hosts, whose files may be on a disk that hangs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::KnownHosts;
use super::files::Files;

/// How long known_hosts may take to be read. A home on a network that hangs must not keep anybody waiting.
const PATIENCE: Duration = Duration::from_secs(1);

/// The known_hosts files, for all who ask about them. Clones are the same files.
#[derive(Debug, Default, Clone)]
pub struct LookUp(Arc<Mutex<Files>>);

impl LookUp {
    /// The user's files, whose home directory this is, and the system's.
    #[must_use]
    pub fn of(home: &Path) -> Self {
        Self(Arc::new(Mutex::new(Files::of(home))))
    }

    /// Asks what the files say now. None where they can't be read in time, which is among the agent's messages.
    pub async fn ask<T: Send + 'static>(&self, question: impl FnOnce(&KnownHosts) -> T + Send + 'static) -> Option<T> {
        let asked = tokio::time::timeout(PATIENCE, async {
            // Taken before there is a thread, so that a flood of questions is no flood of threads.
            let mut files = Arc::clone(&self.0).lock_owned().await;
            spawn_blocking(move || question(files.current())).await
        });
        match asked.await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::error!(%error, "known_hosts can't be read");
                None
            }
            Err(_) => {
                tracing::warn!("known_hosts takes too long to be read");
                None
            }
        }
    }

    /// Keeps everybody else waiting, as a disk that hangs does.
    #[cfg(test)]
    pub(crate) async fn hang(&self) -> impl Drop + use<> {
        Arc::clone(&self.0).lock_owned().await
    }
}
