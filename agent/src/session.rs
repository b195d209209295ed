//! One connection to the agent's socket: the protocol's messages on one side, the domain on the other.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretSlice};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::admission::Turn;
use crate::agent::{Agent, since_boot, wall_clock};
use crate::audit::record::{Act, Event, RequestId};
use crate::certificate::plain_public_key;
use crate::constraint::Constraints;
use crate::denial::{Code, Denial};
use crate::extension::{self, Connection};
use crate::identity::{self, Holder, Identity};
use crate::keystore::{Identities, Keystore, KeystoreError, file};
use crate::lock::LockError;
use crate::manage;
use crate::mute::Muted;
use crate::peer::Peer;
use crate::policy::{self, Rule};
use crate::process_table;
use crate::sign;
use crate::upstream::{self, OfferedKey};
use crate::wire::{self, AddedKey, Addition, Incoming};

/// A client's session.
pub(crate) struct Session {
    agent: Arc<Agent>,
    peer: Peer,
    connection: Connection,
    turn: Turn,
    client: CancellationToken,
    /// Whose signature is on its way to the client.
    undelivered: Option<RequestId>,
}

/// The request was refused: SSH_AGENT_FAILURE. It carries no reason: that is on record, and among the agent's messages.
struct Failure;

impl Session {
    /// A session with nothing bound yet. `client` is cancelled when the client hangs up.
    pub(crate) fn new(agent: Arc<Agent>, peer: Peer, turn: Turn, client: CancellationToken) -> Self {
        Self { agent, peer, connection: Connection::default(), turn, client, undelivered: None }
    }

    /// The client's socket has taken the last answer.
    pub(crate) fn delivered(&mut self) {
        self.note_delivery(true);
    }

    fn note_delivery(&mut self, delivered: bool) {
        if let Some(request) = self.undelivered.take() {
            self.agent.audit.note(Event::Delivery { request, delivered });
        }
    }

    /// Answers one message. What can't be parsed is answered with FAILURE, and the connection lives on.
    pub(crate) async fn answer(&mut self, frame: &[u8]) -> Bytes {
        let incoming = wire::decode(frame);
        // What a connection is bound to has to be known however often its client was refused: what comes later is judged by it.
        let is_heard = matches!(incoming, Ok(Incoming::List | Incoming::Extension { .. })) || !self.is_muted().await;
        if !is_heard {
            return status(Err(Failure));
        }
        let incoming = match incoming {
            Ok(incoming) => incoming,
            Err(error) => {
                let message = frame.first().map_or_else(String::new, |kind| format!(", of kind {kind}"));
                let denial = Denial::new(Code::Malformed, error.to_string());
                return status(Err(self.refuse(&format!("read a message{message}"), denial).await));
            }
        };
        match incoming {
            Incoming::List => self.list().await,
            Incoming::Sign(request) => match self.sign(request).await {
                Ok(signature) => signature.into(),
                Err(Failure) => status(Err(Failure)),
            },
            Incoming::Extension { name, body } => {
                // A host's signature may take milliseconds to verify.
                let _turn = self.turn.take().await;
                let locked = self.agent.lock.is_locked();
                let (answer, refused) = extension::serve(&name, &body, &mut self.connection, locked);
                if let Some(denial) = refused
                    && !self.is_muted().await
                {
                    self.refuse("bind the connection to a host", denial).await;
                }
                answer.into()
            }
            Incoming::Add => status(self.add(frame).await),
            Incoming::Remove(blob) => status(self.remove(blob).await),
            Incoming::RemoveAll => status(self.remove_all().await),
            Incoming::Lock(password) => status(self.lock(password).await),
            Incoming::Unlock(password) => status(self.unlock(password).await),
            Incoming::Pkcs11 => status(Err(self.refuse("use PKCS#11", Denial::plain(Code::Provider)).await)),
        }
    }

    async fn list(&self) -> Bytes {
        let settings = self.agent.settings();
        let (rule, offered) = tokio::join!(settings.offers.holding(&self.connection.bindings), self.offered_upstream());
        // Both may have taken a while: what is ours is looked at now.
        if self.agent.lock.is_locked() {
            return encode_list(std::iter::empty());
        }
        let identities = self.agent.keystore.list(since_boot());
        if rule.is_none() && offered.is_empty() && !identities.any_destinations() {
            return identities.encoded(|all: &Identities| encode_list(all.iter().map(named)));
        }
        let now = wall_clock();
        let visible = identities.iter().filter(|identity| policy::visible(identity, &self.connection.bindings, now));
        let visible: Vec<_> = visible.map(named).collect();
        // One that is ours and hidden stays hidden.
        let ours: HashSet<_> = identities.iter().map(|identity| identity.blob.as_slice()).collect();
        let others = offered.iter().filter(|key| !ours.contains(key.blob.as_slice()));
        let all = visible.iter().copied().chain(upstream::beside(&visible, others));
        match rule {
            Some(rule) => encode_list(rule.select(all).into_iter()),
            None => encode_list(all),
        }
    }

    /// The keys of the other agents behind this one, where they are wanted and may be shown.
    async fn offered_upstream(&self) -> Vec<OfferedKey> {
        if self.connection.own_keys_only || self.agent.upstreams.is_empty() || self.agent.lock.is_locked() {
            return Vec::new();
        }
        let listing = async {
            // A process that asks without end must not keep the other agents from answering others.
            let _turn = self.turn.take().await;
            let keys = self.agent.upstreams.list(&self.connection.bindings).await;
            self.agent.note_lost_upstreams();
            keys
        };
        let keys = tokio::select! {
            keys = listing => keys,
            () = self.client.cancelled() => Vec::new(),
        };
        // What can't be verified later is not worth a try at a server, which counts them.
        keys.into_iter().map(|key| key.key).filter(|key| plain_public_key(&key.blob).is_some()).collect()
    }

    async fn sign(&mut self, request: wire::Sign) -> Result<Vec<u8>, Failure> {
        let Some(key) = plain_public_key(&request.key_blob) else {
            let denial = Denial::new(Code::Malformed, "the key is of no type that this agent knows, or is damaged");
            return Err(self.refuse("sign", denial).await);
        };
        process_table::look_up(&mut self.peer).await;
        let request = sign::Request {
            key,
            key_blob: request.key_blob,
            data: request.data,
            flags: request.flags,
            bindings: self.connection.bindings.clone(),
            peer: self.peer.clone(),
            turn: self.turn.clone(),
            own_keys_only: self.connection.own_keys_only,
        };
        match sign::sign(&self.agent, &request, &self.client).await {
            Ok((id, signature)) => {
                self.undelivered = Some(id);
                wire::encode_signature(&signature).map_err(|error| {
                    tracing::error!(%error, "a signature can't be sent");
                    Failure
                })
            }
            Err(refusal) => {
                self.agent.note_refusal(&self.peer, refusal.denial.code).await;
                Err(Failure)
            }
        }
    }

    async fn add(&mut self, frame: &[u8]) -> Result<(), Failure> {
        self.may_manage("add").await?;
        let frame = Zeroizing::new(frame.to_vec());
        let decoding = self.turn.work(move || wire::decode_addition(&frame)).await;
        let addition = match decoding {
            Ok(Ok(addition)) => addition,
            // Worth a record: whoever brought the key is told no reason.
            Ok(Err(error)) => {
                return Err(self.refuse("add", Denial::new(Code::KeyRejected, error.to_string())).await);
            }
            Err(_) => return Err(self.refuse("add", Denial::plain(Code::KeyRejected)).await),
        };
        let Addition { blob, public_key, key, comment, confirm, lifetime, destinations, provider } = addition;
        // "internal" is the middleware that OpenSSH has built in, and what sk-helper does.
        if let Some(library) = provider.filter(|provider| !provider.eq_ignore_ascii_case("internal")) {
            let library = crate::prompt::visible(&library);
            let reason = format!("the key's FIDO middleware {library} is not loaded: this agent loads no libraries");
            return Err(self.refuse("add", Denial::new(Code::Provider, reason)).await);
        }
        let holder = match key {
            AddedKey::Credential(credential) => Holder::Credential(credential),
            AddedKey::Software(key) => {
                if self.agent.settings().policy.software_keys == Rule::Deny {
                    return Err(self.refuse("add", Denial::plain(Code::SoftwareKeysDenied)).await);
                }
                Holder::Software(key)
            }
        };
        self.may_touch("add", &blob).await?;
        let constraints = Constraints {
            confirm,
            expires_at: self.agent.expiry(lifetime),
            destinations: destinations.unwrap_or_default().into(),
        };
        let identity = Identity { public_key, blob, comment, holder, constraints };
        if !self.agent.keystore.has_room_for(&identity, since_boot()) {
            return Err(self.refuse("add", Denial::plain(Code::TooManyKeys)).await);
        }
        process_table::look_up(&mut self.peer).await;
        let path = self.key_file(&identity).await;
        let from = path.as_ref().map_or_else(|| self.peer.describe(), |path| path.display().to_string());
        let act = Act::Add { key: identity::fingerprint(&identity.public_key), from };
        self.record("add", act).await?;
        self.change_keys(move |keys| keys.add(identity, path)).await;
        Ok(())
    }

    /// The file a FIDO key comes from, to have it again after a restart. Software keys are never kept.
    async fn key_file(&self, identity: &Identity) -> Option<std::path::PathBuf> {
        if !matches!(identity.holder, Holder::Credential(_)) {
            return None;
        }
        let finding = tokio::task::spawn_blocking({
            let (key, home) = (identity.public_key.clone(), self.agent.home.clone());
            let client = self.peer.processes.first().cloned();
            move || file::find(&key, client.as_ref(), home.as_deref())
        });
        finding.await.ok().flatten()
    }

    async fn remove(&mut self, blob: Vec<u8>) -> Result<(), Failure> {
        self.may_manage("remove").await?;
        let Some(identity) = self.agent.keystore.find(&blob, since_boot()) else {
            let denial = match self.agent.upstreams.is_empty() {
                true => Denial::plain(Code::UnknownKey),
                false => Denial::new(
                    Code::UnknownKey,
                    "the key is not held here; where an upstream agent has it, remove it there",
                ),
            };
            return Err(self.refuse("remove", denial).await);
        };
        self.may_touch("remove", &blob).await?;
        self.record("remove", Act::Remove { key: identity::fingerprint(&identity.public_key) }).await?;
        self.change_keys(move |keys| keys.remove(&blob).map(|_| ())).await;
        Ok(())
    }

    async fn remove_all(&mut self) -> Result<(), Failure> {
        self.may_manage("remove all").await?;
        self.record("remove all", Act::RemoveAll).await?;
        self.change_keys(Keystore::remove_all).await;
        Ok(())
    }

    async fn lock(&mut self, password: SecretSlice<u8>) -> Result<(), Failure> {
        self.may_lock().await?;
        if password.expose_secret().is_empty() {
            return Err(self.refuse("lock", LockError::Empty.denial()).await);
        }
        let lock = Arc::clone(&self.agent.lock);
        self.record("lock", Act::Lock).await?;
        let locking = self.turn.work(move || lock.lock(password.expose_secret())).await;
        match locking.unwrap_or(Err(LockError::NoChange)) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.refuse("lock", error.denial()).await),
        }
    }

    async fn unlock(&mut self, password: SecretSlice<u8>) -> Result<(), Failure> {
        if let Err(denial) = policy::may_manage(&self.connection.bindings, &self.agent.settings().policy) {
            return Err(self.refuse("unlock", denial).await);
        }
        let lock = Arc::clone(&self.agent.lock);
        let unlocking = self.turn.work(move || lock.unlock(password.expose_secret())).await;
        match unlocking.unwrap_or(Err(LockError::NoChange)) {
            Ok(()) => self.record("unlock", Act::Unlock).await,
            Err(error) => {
                let failure = self.refuse("unlock", error.denial()).await;
                if let LockError::Wrong(delay) = error {
                    // It is this caller's answer that waits, and nobody else's.
                    tokio::select! {
                        () = tokio::time::sleep(delay) => {}
                        () = self.client.cancelled() => {}
                    }
                }
                Err(failure)
            }
        }
    }

    /// Changes the keys. What can't be written to the list of kept keys holds until the agent ends, and is said.
    async fn change_keys(&self, change: impl FnOnce(&Keystore) -> Result<(), KeystoreError> + Send + 'static) {
        if let Err(error) = self.agent.change_keys(change).await {
            tracing::error!(%error, "this change does not outlast the agent");
        }
    }

    /// Whether keys may be changed over this connection, now.
    async fn may_manage(&mut self, request: &str) -> Result<(), Failure> {
        let denial = match policy::may_manage(&self.connection.bindings, &self.agent.settings().policy) {
            Err(denial) => denial,
            Ok(()) if self.agent.lock.is_locked() => Denial::plain(Code::Locked),
            Ok(()) => return Ok(()),
        };
        Err(self.refuse(request, denial).await)
    }

    /// Whether it may be locked under a password over this connection. That its person is away is no reason against it.
    async fn may_lock(&mut self) -> Result<(), Failure> {
        let denial = match policy::may_manage(&self.connection.bindings, &self.agent.settings().policy) {
            Err(denial) => denial,
            Ok(()) if self.agent.lock.has_password() => Denial::plain(Code::Locked),
            Ok(()) => return Ok(()),
        };
        Err(self.refuse("lock", denial).await)
    }

    /// Whether the identity, if it is held already, may be replaced or removed over this connection.
    async fn may_touch(&mut self, request: &str, blob: &[u8]) -> Result<(), Failure> {
        let held = self.agent.keystore.find(blob, since_boot());
        if held.is_none_or(|held| policy::visible(&held, &self.connection.bindings, wall_clock())) {
            return Ok(());
        }
        Err(self.refuse(request, Denial::plain(Code::DestinationNotPermitted)).await)
    }

    async fn refuse(&mut self, request: &str, denial: Denial) -> Failure {
        process_table::look_up(&mut self.peer).await;
        let code = denial.code;
        self.agent.refuse(request, &self.peer, &self.connection.bindings, denial).await;
        self.agent.note_refusal(&self.peer, code).await;
        Failure
    }

    /// Whether this request is refused without further ado, and without a record of its own: the client was refused too often.
    async fn is_muted(&self) -> bool {
        match self.agent.muting.request(self.peer.process_id(), since_boot()) {
            Ok(None) => false,
            Ok(Some(was_muted)) => {
                self.agent.record_muting(was_muted).await;
                false
            }
            Err(Muted) => true,
        }
    }

    /// What changes the agent is on record first.
    async fn record(&mut self, request: &str, act: Act) -> Result<(), Failure> {
        match manage::record(&self.agent, act).await.map(drop) {
            Ok(()) => Ok(()),
            Err(denial) => Err(self.refuse(request, denial).await),
        }
    }
}

/// A signature that its client has not taken by now, it never will.
impl Drop for Session {
    fn drop(&mut self) {
        self.note_delivery(false);
    }
}

fn status(result: Result<(), Failure>) -> Bytes {
    wire::encode_status(result.is_ok()).into()
}

/// What the list says of an identity.
fn named(identity: &Arc<Identity>) -> (&[u8], &str) {
    (&identity.blob, &identity.comment)
}

fn encode_list<'a>(identities: impl Iterator<Item = (&'a [u8], &'a str)>) -> Bytes {
    wire::encode_list(identities).map_or_else(|_| status(Err(Failure)), Bytes::from)
}
