//! The rule that holds for a connection: its last binding, looked up in known_hosts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ssh_key::HashAlg;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::HostRule;
use crate::agent::wall_clock;
use crate::known_hosts::files::Files;
use crate::session_binding::SessionBindings;

/// How long known_hosts may take to be read. A home on a network that hangs must not keep the list from anybody, and without
/// a rule it is whole.
const PATIENCE: Duration = Duration::from_secs(1);

/// All rules of the configuration, and the files that name hosts.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Arc<[HostRule]>,
    known_hosts: Arc<Mutex<Files>>,
}

impl Rules {
    /// The rules in their order, and the user's home directory.
    #[must_use]
    pub fn new(rules: Vec<HostRule>, home: &Path) -> Self {
        Self { rules: rules.into(), known_hosts: Arc::new(Mutex::new(Files::of(home))) }
    }

    /// The first rule for the host these bindings end at. There is none for a connection that is not bound, nor for one that
    /// is bound to be forwarded: where it will lead is not known then. The ssh on the other host binds it once more before
    /// it asks, and that binding counts.
    pub async fn holding(&self, bindings: &SessionBindings) -> Option<&HostRule> {
        let last = bindings.last().filter(|last| !last.is_forwarding && !self.rules.is_empty())?;
        let (host_key, fingerprint) = (last.host_key.clone(), last.host_public_key.fingerprint(HashAlg::Sha256));
        let rules = Arc::clone(&self.rules);
        let looked_up = tokio::time::timeout(PATIENCE, async {
            // Taken before there is a thread, so that a flood of lists is no flood of threads.
            let mut files = Arc::clone(&self.known_hosts).lock_owned().await;
            let first = move || {
                let known = files.current().of(&host_key, wall_clock());
                rules.iter().position(|rule| rule.is_for(&fingerprint, &known))
            };
            spawn_blocking(first).await
        });
        match looked_up.await {
            Ok(Ok(first)) => self.rules.get(first?),
            Ok(Err(error)) => {
                tracing::error!(%error, "known_hosts can't be read: all keys are offered");
                None
            }
            Err(_) => {
                tracing::warn!("known_hosts takes too long to be read: all keys are offered");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signature::Signer;
    use ssh_key::rand_core::OsRng;
    use ssh_key::{Algorithm, PrivateKey, Signature};

    #[tokio::test]
    async fn a_home_that_hangs_keeps_the_list_for_a_moment_only() {
        let host = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
        let signature: Signature = host.try_sign(b"session").unwrap();
        let mut bindings = SessionBindings::default();
        let blob = host.public_key().to_bytes().unwrap();
        bindings.bind(&blob, b"session", &Vec::try_from(signature).unwrap(), false).unwrap();
        let key = host.public_key().fingerprint(HashAlg::Sha256);
        let rule: HostRule = toml::from_str(&format!("key = \"{key}\"\noffer = []")).unwrap();
        let home = tempfile::tempdir().unwrap();
        let rules = Rules::new(vec![rule], home.path());

        assert!(rules.holding(&bindings).await.is_some());
        let somebody_reads = rules.known_hosts.lock().await;
        assert!(rules.holding(&bindings).await.is_none());
        drop(somebody_reads);
        assert!(rules.holding(&bindings).await.is_some());
    }
}
