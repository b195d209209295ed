//! What all connections share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::audit::AuditLog;
use crate::audit::record::{Act, Event, RequestId};
use crate::control::ConfigStatus;
use crate::counters::Counters;
use crate::denial::{Code, Denial};
use crate::in_force::InForce;
use crate::keystore::{Keystore, KeystoreError};
use crate::known_hosts::LookUp;
use crate::limits::Limits;
use crate::lock::Lock;
use crate::lookout::Lookout;
use crate::mute::{self, Muting};
use crate::occasion::{audit_bindings, audit_peer};
use crate::offer::{self, HostRule};
use crate::peer::Peer;
use crate::pin_guard::PinGuard;
use crate::policy;
use crate::prompt::Chain;
use crate::refusal::Refusal;
use crate::session_binding::SessionBindings;
use crate::token::Authenticator;
use crate::token::known::{KnownToken, KnownTokens};
use crate::token::pluggings::Pluggings;
use crate::upstream::Upstreams;

/// The agent behind both sockets.
pub struct Agent {
    /// The identities.
    pub keystore: Arc<Keystore>,
    /// Whether they are locked away.
    pub lock: Arc<Lock>,
    /// What locks it when its person leaves.
    pub(crate) lookout: Lookout,
    /// Cancelled when the agent is to end, and with it each client's own.
    pub(crate) stop: CancellationToken,
    /// The tokens.
    pub authenticator: Arc<dyn Authenticator>,
    /// The tokens that the person has named.
    pub known_tokens: Arc<KnownTokens>,
    /// What was found out of devices since they were plugged in.
    pub(crate) pluggings: Pluggings,
    /// The agents whose keys are offered after ours.
    pub upstreams: Upstreams,
    /// The ways to a person.
    pub prompts: Chain,
    /// The audit log.
    pub audit: Arc<dyn AuditLog>,
    in_force: RwLock<Arc<InForce>>,
    config_status: Mutex<ConfigStatus>,
    /// The names of hosts.
    pub known_hosts: LookUp,
    /// How long keys are held that bring no lifetime; None is until the agent ends.
    pub default_lifetime: Option<Duration>,
    /// The user's home directory, where `ssh-add` finds its default keys.
    pub home: Option<PathBuf>,
    /// What is remembered of wrong PINs.
    pub pin_guard: PinGuard,
    /// What is remembered of signature counters.
    pub(crate) counters: Counters,
    /// The clients that are refused too often.
    pub muting: Muting,
    /// One human interaction at a time.
    pub person: tokio::sync::Mutex<()>,
    /// One conversation with the tokens at a time: a token mixes up the answers of two.
    pub tokens: tokio::sync::Mutex<()>,
    requests: AtomicU64,
}

impl Agent {
    /// An agent without connections yet.
    #[must_use]
    #[allow(clippy::too_many_arguments, reason = "it is put together in one place")]
    pub fn new(
        keystore: Keystore,
        authenticator: Arc<dyn Authenticator>,
        known_tokens: KnownTokens,
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
            lookout: Lookout::default(),
            stop: CancellationToken::new(),
            authenticator,
            known_tokens: Arc::new(known_tokens),
            pluggings: Pluggings::default(),
            upstreams: Upstreams::default(),
            prompts,
            audit,
            in_force: RwLock::new(Arc::new(InForce { policy: settings, limits, offers: offer::Rules::default() })),
            config_status: Mutex::default(),
            known_hosts,
            default_lifetime: None,
            home,
            pin_guard: PinGuard::default(),
            counters: Counters::default(),
            muting: Muting::default(),
            person: tokio::sync::Mutex::new(()),
            tokens: tokio::sync::Mutex::new(()),
            requests: AtomicU64::new(0),
        }
    }

    /// The same agent with others behind it.
    #[must_use]
    pub fn with_upstreams(mut self, upstreams: Upstreams) -> Self {
        self.upstreams = upstreams;
        self
    }

    /// The settings that hold now. Whoever decides by several of them asks once.
    #[must_use]
    pub fn settings(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has these settings hold from now on.
    pub(crate) fn put_in_force(&self, policy: policy::Settings, limits: Limits, offers: Vec<HostRule>) {
        let offers = offer::Rules::new(offers, self.known_hosts.clone());
        let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        *in_force = Arc::new(InForce { policy, limits, offers });
    }

    /// How it stands with the configuration's files.
    pub(crate) fn config_status(&self) -> ConfigStatus {
        self.config_status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of how it stands with them.
    pub(crate) fn change_config_status(&self, change: impl FnOnce(&mut ConfigStatus)) {
        change(&mut self.config_status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The same agent with other rules for clients that are refused too often.
    #[must_use]
    pub fn with_muting(mut self, settings: mute::Settings) -> Self {
        self.muting = Muting::new(settings);
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

    /// The tokens that the person has named. Where the list can't be read, an emergency must not wait for its repair: then no
    /// token is known, and each is shown to the person before it gets a PIN.
    pub(crate) async fn known_tokens(&self) -> Vec<KnownToken> {
        self.change_known_tokens(KnownTokens::list).await.unwrap_or_else(|denial| {
            tracing::error!("no token can be recognised: {denial}");
            Vec::new()
        })
    }

    /// Remembers which token holds these keys. That the list can't be written spoils nothing else.
    pub(crate) async fn remember_keys(&self, token: &str, keys: Vec<String>) {
        let token = token.to_owned();
        if let Err(denial) = self.change_known_tokens(move |known| known.remember(&token, &keys)).await {
            tracing::warn!("which token holds a key can't be remembered: {denial}");
        }
    }

    /// Reads or changes the list of named tokens, away from the daemon's own thread: it is a file under a lock.
    pub(crate) async fn change_known_tokens<T: Send + 'static>(
        &self,
        change: impl FnOnce(&KnownTokens) -> Result<T, Denial> + Send + 'static,
    ) -> Result<T, Denial> {
        let known = Arc::clone(&self.known_tokens);
        let changed = tokio::task::spawn_blocking(move || change(&known)).await;
        changed.unwrap_or_else(|_| Err(Denial::plain(Code::KnownTokens)))
    }

    /// When a key that is added now expires, as a time since boot. `lifetime` is what it brings.
    #[must_use]
    pub fn expiry(&self, lifetime: Option<Duration>) -> Option<Duration> {
        lifetime.or(self.default_lifetime).map(|lifetime| since_boot().saturating_add(lifetime))
    }

    /// Puts on record that something other than a signature was refused, and tells it. Refused it is, whether or not that
    /// can be written down.
    pub(crate) async fn refuse(
        &self,
        request: &str,
        peer: &Peer,
        bindings: &SessionBindings,
        denial: Denial,
    ) -> Refusal {
        let (peer, bindings) = (audit_peer(peer), audit_bindings(bindings));
        let act = Act::Refused {
            request: request.into(),
            peer: peer.clone(),
            bindings: bindings.clone(),
            denial: denial.clone(),
        };
        let id = self.audit.act(act).await.map_err(|error| tracing::error!(%error, "a refusal can't be recorded"));
        let refusal = Refusal::of_act(id.ok(), request, &peer, &bindings, denial);
        self.tell(None, &refusal);
        refusal
    }

    /// Takes note of a refusal, after which the client may be muted.
    pub(crate) async fn note_refusal(&self, peer: &Peer, code: Code) {
        let acts = self.muting.refused(peer.process_id(), &audit_peer(peer), code, since_boot());
        for act in acts {
            self.record_muting(act).await;
        }
    }

    /// Puts on record that a client is muted, or that it was. Whether or not that can be written down, it holds.
    pub(crate) async fn record_muting(&self, act: Act) {
        let written = self.audit.act(act.clone()).await;
        let id = written.map_err(|error| tracing::error!(%error, "a muted client can't be recorded")).ok();
        match act {
            Act::Muted { peer, refusals, seconds } => {
                let denial = mute::denial(refusals, seconds);
                self.tell(None, &Refusal::of_act(id, mute::EVERYTHING, &peer, &[], denial));
            }
            Act::Unmuted { peer, refused } => {
                tracing::info!(pid = peer.pid, refused, "a muted client is listened to again");
            }
            _ => {}
        }
    }

    /// Puts on record which of the agents behind this one do not answer any more.
    pub(crate) fn note_lost_upstreams(&self) {
        for (socket, error) in self.upstreams.newly_lost() {
            let socket = socket.display().to_string();
            self.audit.note(Event::Act { act: Act::UpstreamLost { socket, error } });
        }
    }

    /// Tells of a refusal where a person may look: among the agent's messages, and in an attached terminal.
    pub(crate) fn tell(&self, request: Option<RequestId>, refusal: &Refusal) {
        tracing::warn!(code = refusal.denial.code.as_str(), "{refusal}");
        self.prompts.refused(request, refusal);
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
