//! The rule that holds for a connection: its last binding, looked up in known_hosts.

use std::sync::Arc;

use ssh_key::HashAlg;

use super::HostRule;
use crate::agent::wall_clock;
use crate::known_hosts::LookUp;
use crate::session_binding::SessionBindings;

/// All rules of the configuration, and the files that name hosts.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Arc<[HostRule]>,
    known_hosts: LookUp,
}

impl Rules {
    /// The rules in their order, and the files that name hosts.
    #[must_use]
    pub fn new(rules: Vec<HostRule>, known_hosts: LookUp) -> Self {
        Self { rules: rules.into(), known_hosts }
    }

    /// The first rule for the host these bindings end at. There is none for a connection that is not bound, nor for one that
    /// is bound to be forwarded: where it will lead is not known then. The ssh on the other host binds it once more before
    /// it asks, and that binding counts.
    pub async fn holding(&self, bindings: &SessionBindings) -> Option<&HostRule> {
        let last = bindings.last().filter(|last| !last.is_forwarding && !self.rules.is_empty())?;
        let (host_key, fingerprint) = (last.host_key.clone(), last.host_public_key.fingerprint(HashAlg::Sha256));
        let rules = Arc::clone(&self.rules);
        let first = self.known_hosts.ask(move |known| {
            let known = known.of(&host_key, wall_clock());
            rules.iter().position(|rule| rule.is_for(&fingerprint, &known))
        });
        // Where that can't be told, all keys are offered.
        self.rules.get(first.await??)
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
        let rules = Rules::new(vec![rule], LookUp::of(home.path()));

        assert!(rules.holding(&bindings).await.is_some());
        let somebody_reads = rules.known_hosts.hang().await;
        assert!(rules.holding(&bindings).await.is_none());
        drop(somebody_reads);
        assert!(rules.holding(&bindings).await.is_some());
    }
}
