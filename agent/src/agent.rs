//! What all connections share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::audit::AuditLog;
use crate::audit::record::RequestId;
use crate::keystore::{Keystore, KeystoreError};
use crate::known_hosts::LookUp;
use crate::limits::Limits;
use crate::lock::Lock;
use crate::offer::{self, HostRule};
use crate::pin_guard::PinGuard;
use crate::policy;
use crate::prompt::Chain;
use crate::token::Authenticator;
use crate::upstream::Upstreams;

/// The agent behind both sockets.
pub struct Agent {
    /// The identities.
    pub keystore: Arc<Keystore>,
    /// Whether they are locked away under a password.
    pub lock: Arc<Lock>,
    /// The tokens.
    pub authenticator: Arc<dyn Authenticator>,
    /// The agents whose keys are offered after ours.
    pub upstreams: Upstreams,
    /// The ways to a person.
    pub prompts: Chain,
    /// The audit log.
    pub audit: Arc<dyn AuditLog>,
    /// What the policy decides by.
    pub settings: policy::Settings,
    /// What is offered on which host.
    pub offers: offer::Rules,
    /// The names of hosts.
    pub known_hosts: LookUp,
    /// How long things may take.
    pub limits: Limits,
    /// How long keys are held that bring no lifetime; None is until the agent ends.
    pub default_lifetime: Option<Duration>,
    /// The user's home directory, where `ssh-add` finds its default keys.
    pub home: Option<PathBuf>,
    /// What is remembered of wrong PINs.
    pub pin_guard: PinGuard,
    /// One human interaction at a time.
    pub person: Mutex<()>,
    /// One conversation with the tokens at a time: a token mixes up the answers of two.
    pub tokens: Mutex<()>,
    requests: AtomicU64,
}

impl Agent {
    /// An agent without connections yet.
    #[must_use]
    pub fn new(
        keystore: Keystore,
        authenticator: Arc<dyn Authenticator>,
        prompts: Chain,
        audit: Arc<dyn AuditLog>,
        settings: policy::Settings,
        limits: Limits,
        home: Option<PathBuf>,
    ) -> Self {
        let known_hosts = home.as_deref().map(LookUp::of).unwrap_or_default();
        Self {
            keystore: Arc::new(keystore),
            lock: Arc::default(),
            authenticator,
            upstreams: Upstreams::default(),
            prompts,
            audit,
            settings,
            offers: offer::Rules::default(),
            known_hosts,
            limits,
            default_lifetime: None,
            home,
            pin_guard: PinGuard::default(),
            person: Mutex::new(()),
            tokens: Mutex::new(()),
            requests: AtomicU64::new(0),
        }
    }

    /// The same agent with others behind it.
    #[must_use]
    pub fn with_upstreams(mut self, upstreams: Upstreams) -> Self {
        self.upstreams = upstreams;
        self
    }

    /// The same agent with rules for what it offers.
    #[must_use]
    pub fn with_offers(mut self, rules: Vec<HostRule>) -> Self {
        self.offers = offer::Rules::new(rules, self.known_hosts.clone());
        self
    }

    /// Changes the keystore, away from the daemon's own thread: the list of kept keys is a file under a lock.
    ///
    /// # Errors
    /// When the list can't be written; the keys in memory are changed all the same.
    pub async fn change_keys<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Keystore) -> Result<T, KeystoreError> + Send + 'static,
    ) -> Result<T, KeystoreError> {
        let keystore = Arc::clone(&self.keystore);
        let changed = tokio::task::spawn_blocking(move || change(&keystore)).await;
        changed.unwrap_or_else(|panic| Err(KeystoreError::unfinished(panic)))
    }

    /// When a key that is added now expires, as a time since boot. `lifetime` is what it brings.
    #[must_use]
    pub fn expiry(&self, lifetime: Option<Duration>) -> Option<Duration> {
        lifetime.or(self.default_lifetime).map(|lifetime| since_boot().saturating_add(lifetime))
    }

    /// A number for a request, unique in this run.
    pub fn next_request(&self) -> RequestId {
        RequestId(self.requests.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Time since boot, suspended time included (CLOCK_BOOTTIME): what lifetimes are measured in.
#[must_use]
pub fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// Seconds since 1970: what certificates are valid by.
#[must_use]
pub fn wall_clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    u64::try_from(now.tv_sec).unwrap_or_default()
}
