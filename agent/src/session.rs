//! One connection to the agent's socket: the protocol's messages on one side, the domain on the other.

use std::sync::Arc;

use ssh_agent_lib::agent::Session as Protocol;
use ssh_agent_lib::error::AgentError;
use ssh_agent_lib::proto::{Identity as Listed, PublicCredential, RemoveIdentity, Response, SignRequest};
use ssh_encoding::Encode;
use ssh_key::Signature;
use ssh_key::public::KeyData;
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, since_boot};
use crate::audit::record::Act;
use crate::constraint::Constraints;
use crate::denial::{Code, Denial};
use crate::extension;
use crate::identity::{self, Holder, Identity};
use crate::keystore::{Keystore, KeystoreError, file};
use crate::peer::Peer;
use crate::policy;
use crate::session_binding::SessionBindings;
use crate::sign;
use crate::wire::{self, Addition, Incoming};

/// SSH_AGENT_FAILURE. It carries no reason: that goes to the prompt, the audit log and the agent's messages.
const FAILURE: u8 = 5;

/// The most refusals of a connection. Each leaves a record, and a stranger must not fill the disk with them; ssh tries each
/// key of the agent once.
const MOST_REFUSALS: u32 = 64;

/// A client's session.
pub(crate) struct Session {
    agent: Arc<Agent>,
    peer: Peer,
    bindings: SessionBindings,
    client: CancellationToken,
    refused: u32,
}

impl Session {
    /// A session with nothing bound yet. `client` is cancelled when the client hangs up.
    pub(crate) fn new(agent: Arc<Agent>, peer: Peer, client: CancellationToken) -> Self {
        Self { agent, peer, bindings: SessionBindings::default(), client, refused: 0 }
    }

    /// Answers one message. What can't be parsed is answered with FAILURE, and the connection lives on.
    pub(crate) async fn answer(&mut self, frame: &[u8]) -> Vec<u8> {
        let incoming = match wire::decode(frame) {
            Ok(incoming) => incoming,
            Err(error) => {
                tracing::debug!(%error, "a message was not understood");
                return vec![FAILURE];
            }
        };
        let response = match incoming {
            Incoming::Extension { name, body } => return extension::serve(&name, &body, &mut self.bindings),
            Incoming::Add(addition) => self.add(addition).await.map(|()| Response::Success),
            Incoming::Other(request) => self.handle(request).await,
        };
        match response.map(|response| wire::encode(&response)) {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => {
                tracing::error!(%error, "an answer can't be encoded");
                vec![FAILURE]
            }
            Err(_) => vec![FAILURE],
        }
    }

    async fn add(&mut self, addition: Addition) -> Result<(), AgentError> {
        self.may_manage("add").await?;
        let Addition { key, comment, confirm, lifetime } = addition;
        let Ok(credential) = file::credential(&key) else {
            let reason = "only keys of FIDO tokens can be added so far";
            return Err(self.refuse("add", Denial::new(Code::NotSupported, reason)).await);
        };
        let public_key = match ssh_key::PrivateKey::new(key, "") {
            Ok(key) => key.public_key().key_data().clone(),
            Err(error) => return Err(AgentError::other(error)),
        };
        let expires_at = lifetime.map(|lifetime| since_boot() + lifetime);
        let identity = Identity {
            public_key,
            comment,
            holder: Holder::Credential(credential),
            constraints: Constraints { confirm, expires_at },
        };
        let finding = tokio::task::spawn_blocking({
            let (key, home) = (identity.public_key.clone(), self.agent.home.clone());
            let client = self.peer.processes.first().cloned();
            move || file::find(&key, client.as_ref(), home.as_deref())
        });
        let path = finding.await.ok().flatten();
        let from = path.as_ref().map_or_else(|| self.peer.describe(), |path| path.display().to_string());
        let act = Act::Add { key: identity::fingerprint(&identity.public_key), from };
        self.record(act).await?;
        self.change_keys(move |keys| keys.add(identity, path)).await;
        Ok(())
    }

    /// Changes the keys. What can't be written to the list of kept keys holds until the agent ends, and is said.
    async fn change_keys(&self, change: impl FnOnce(&Keystore) -> Result<(), KeystoreError> + Send + 'static) {
        if let Err(error) = self.agent.change_keys(change).await {
            tracing::error!(%error, "this change does not outlast the agent");
        }
    }

    async fn may_manage(&mut self, request: &str) -> Result<(), AgentError> {
        match policy::may_manage(&self.bindings) {
            Ok(()) => Ok(()),
            Err(denial) => Err(self.refuse(request, denial).await),
        }
    }

    async fn refuse(&mut self, request: &str, denial: Denial) -> AgentError {
        tracing::warn!(code = denial.code.as_str(), "{request} refused: {denial}");
        self.count_refusal();
        let recorded = self.record(Act::Refused { request: request.into(), denial }).await;
        recorded.err().unwrap_or(AgentError::Failure)
    }

    fn count_refusal(&mut self) {
        self.refused += 1;
        if self.refused == MOST_REFUSALS {
            tracing::warn!("a connection is closed after {MOST_REFUSALS} refusals");
            self.client.cancel();
        }
    }

    /// What changes the agent is on record first.
    async fn record(&self, act: Act) -> Result<(), AgentError> {
        self.agent.audit.act(act).await.map_err(|error| {
            tracing::error!(%error, "the audit log can't be written");
            AgentError::Failure
        })
    }
}

#[ssh_agent_lib::async_trait]
impl Protocol for Session {
    async fn request_identities(&mut self) -> Result<Vec<Listed>, AgentError> {
        let identities = self.agent.keystore.list(since_boot());
        let listed = |identity: Identity| Listed { credential: identity.public_key.into(), comment: identity.comment };
        Ok(identities.into_iter().map(listed).collect())
    }

    async fn sign(&mut self, request: SignRequest) -> Result<Signature, AgentError> {
        let mut key_blob = Vec::new();
        request.credential.encode(&mut key_blob).map_err(AgentError::other)?;
        let request = sign::Request {
            key: match request.credential {
                PublicCredential::Key(key) => key,
                PublicCredential::Cert(certificate) => certificate.public_key().clone(),
            },
            key_blob,
            data: request.data,
            bindings: self.bindings.clone(),
            peer: self.peer.clone(),
        };
        let signed = sign::sign(&self.agent, &request, &self.client).await;
        if signed.is_err() {
            self.count_refusal();
        }
        signed.map_err(|_| AgentError::Failure)
    }

    async fn remove_identity(&mut self, identity: RemoveIdentity) -> Result<(), AgentError> {
        self.may_manage("remove").await?;
        let key = plain_key(identity.credential)?;
        if self.agent.keystore.find(&key).is_none() {
            return Err(AgentError::Failure);
        }
        self.record(Act::Remove { key: identity::fingerprint(&key) }).await?;
        self.change_keys(move |keys| keys.remove(&key).map(|_| ())).await;
        Ok(())
    }

    async fn remove_all_identities(&mut self) -> Result<(), AgentError> {
        self.may_manage("remove all").await?;
        self.record(Act::RemoveAll).await?;
        self.change_keys(Keystore::remove_all).await;
        Ok(())
    }
}

/// The key a request names. A certificate is another identity than the key in it, and none can be added so far.
fn plain_key(credential: PublicCredential) -> Result<KeyData, AgentError> {
    match credential {
        PublicCredential::Key(key) => Ok(key),
        PublicCredential::Cert(_) => Err(AgentError::Failure),
    }
}
