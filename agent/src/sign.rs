//! A sign request, from the frame that asked for it to the signature: one stage after the other.

mod absent;
mod choose;
mod patience;
mod retry;
mod software;
mod token;
mod trail;
mod upstream;
mod verification;

use std::sync::Arc;

use secrecy::SecretString;
use ssh_key::public::KeyData;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::admission::Turn;
use crate::agent::{Agent, since_boot, wall_clock};
use crate::audit::record::RequestId;
use crate::certificate::is_certificate;
use crate::course::{self, Course, Phase};
use crate::denial::{Code, Denial};
use crate::identity::{Holder, Identity};
use crate::occasion::{self, Occasion, Surroundings};
use crate::payload::Payload;
use crate::peer::Peer;
use crate::policy::{self, Authorization, Permit, Question};
use crate::prompt::{Prompt, Prompter};
use crate::refusal::{self, Refusal};
use crate::session_binding::SessionBindings;
use crate::token::select::Selected;
pub(crate) use patience::Patience;
use trail::{Allowed, Signed, Trail};

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The key that is to sign.
    pub key: KeyData,
    /// The same, or a certificate of it, as the client encoded it: it stands in the data of a login.
    pub key_blob: Vec<u8>,
    /// What is to be signed.
    pub data: Vec<u8>,
    /// With which hash an RSA key signs (RFC 8332; RFC 9987 § 3.3).
    pub flags: u32,
    /// What the connection is bound to.
    pub bindings: SessionBindings,
    /// Who asks.
    pub peer: Peer,
    /// Its turns among the connections of its process.
    pub(crate) turn: Turn,
    /// Whether only keys held here may sign: another agent asks, whose own upstreams its person can name there.
    pub own_keys_only: bool,
}

/// Serves a request: stages 4 to 14 of the architecture, and gives the signature as SSH encodes it, with the name of the
/// request. `client` is cancelled when the client hangs up.
///
/// # Errors
/// A refusal, which is on record by then.
pub async fn sign(
    agent: &Agent,
    request: &Request,
    client: &CancellationToken,
) -> Result<(RequestId, Vec<u8>), Refusal> {
    // 5: what is asked, read from the bytes. It comes before 4 so that the record of an unknown key has it too.
    let payload = Payload::parse(&request.data, &request.key_blob);
    let subject = occasion::subject(&request.key, &request.key_blob, &payload, &request.bindings, &request.peer);
    let evidence = occasion::evidence(&request.key_blob, &request.data, &request.bindings);
    let (id, asked) = (agent.next_request(), refusal::asked(&subject));
    let course = Course::begin(id);
    let mut trail = Trail::begin(agent.audit.as_ref(), id, Arc::clone(&course), subject, evidence);
    let signing = Signing { agent, request, payload: &payload, client, surroundings: OnceCell::new() };
    let result = course::serving(course, signing.run(&mut trail)).await;
    // 14: exactly one outcome, whichever stage ended the request.
    let ended = trail.end(result).await;
    match &ended {
        Ok(_) => agent.prompts.signed(id, &asked),
        Err(refusal) => agent.tell(Some(id), refusal),
    }
    ended.map(|signature| (id, signature))
}

/// One request under way.
struct Signing<'a> {
    agent: &'a Agent,
    request: &'a Request,
    payload: &'a Payload,
    client: &'a CancellationToken,
    surroundings: OnceCell<Surroundings>,
}

impl Signing<'_> {
    async fn run(&self, trail: &mut Trail<'_>) -> Result<Signed, Denial> {
        let patience = Patience::new(self.agent, self.client, self.agent.settings().limits.request);

        // 4: the key: one held here, or else another agent's.
        let identity = match self.held() {
            Some(held) => held,
            None => Arc::new(self.offered_upstream(&patience).await?),
        };

        // 6: may it sign this? Nobody is troubled with what is refused anyway.
        let permit = self.authorize(&identity)?;

        match &identity.holder {
            Holder::Software(key) => self.by_software_key(&identity, key, permit, &patience).await,
            Holder::Credential(_) | Holder::ProtectedFile(_) => self.by_token(&patience, trail).await,
            Holder::Upstream(socket) => self.by_upstream(&identity, socket, permit, &patience, trail).await,
        }
    }

    fn unknown_key(&self) -> Denial {
        match is_certificate(&self.request.key_blob) {
            true => Denial::new(Code::UnknownKey, "the agent does not hold this certificate"),
            false => Denial::plain(Code::UnknownKey),
        }
    }

    fn held(&self) -> Option<Arc<Identity>> {
        self.agent.keystore.find(&self.request.key_blob, since_boot())
    }

    /// A key that was removed or replaced in the meantime, perhaps by one with more constraints, signs nothing.
    fn still_held(&self, identity: &Identity) -> Result<(), Denial> {
        if self.agent.keystore.still_holds(identity) { Ok(()) } else { Err(Denial::plain(Code::KeyGone)) }
    }

    fn authorize(&self, identity: &Identity) -> Result<Permit, Denial> {
        let question = Question {
            identity,
            payload: self.payload,
            bindings: &self.request.bindings,
            locked: self.agent.lock.is_locked(),
            now: since_boot(),
            wall_clock: wall_clock(),
        };
        match policy::authorize(&question, &self.agent.settings().policy) {
            Authorization::Allowed(permit) => Ok(permit),
            Authorization::Denied(denial) => Err(denial),
        }
    }

    /// Waits for the person: one human interaction at a time, and one request of each process in the queue for it.
    async fn person(&self, patience: &Patience<'_>) -> Result<impl Sized, Denial> {
        let _queue = course::clock(Phase::Queue);
        let own = patience.wait(self.request.turn.person()).await?;
        // Of those that a process has waiting here none is asked after the one that was too many.
        if self.agent.muting.is_muted(self.request.peer.process_id(), since_boot()) {
            return Err(Denial::plain(Code::Muted));
        }
        Ok((own, patience.wait(self.agent.person.lock()).await?))
    }

    /// Looks up what a prompt says besides what is proven. Nobody is kept waiting for that where nobody is asked.
    async fn look_around(&self, patience: &Patience<'_>) -> Result<(), Denial> {
        let Request { peer, bindings, .. } = self.request;
        let surroundings =
            || Surroundings::look_up(&self.agent.known_hosts, peer, self.payload, bindings, wall_clock());
        patience.wait(self.surroundings.get_or_init(surroundings)).await.map(|_| ())
    }

    /// Asks the person whether the key may be used.
    async fn confirm(&self, occasion: &Occasion<'_>, patience: &Patience<'_>) -> Result<(), Denial> {
        let prompt = Prompt { lines: occasion.lines(), question: "Allow this? ".into() };
        let asked = self.agent.prompts.confirm(&prompt);
        let answer = patience.wait_at_most(self.agent.settings().limits.prompt, Code::PromptTimeout, asked).await;
        self.agent.prompts.settled().await;
        Ok(answer??)
    }

    /// Asks the person for a PIN or a passphrase.
    async fn secret(
        &self,
        occasion: &Occasion<'_>,
        question: String,
        patience: &Patience<'_>,
    ) -> Result<SecretString, Denial> {
        let prompt = Prompt { lines: occasion.lines(), question };
        let asked = self.agent.prompts.request_pin(&prompt);
        let answer = patience.wait_at_most(self.agent.settings().limits.prompt, Code::PromptTimeout, asked).await;
        self.agent.prompts.settled().await;
        Ok(answer??)
    }

    fn allowed(&self, identity: &Identity, permit: &Permit, token: Option<&Selected>) -> Allowed {
        Allowed { destination: self.occasion(identity, permit, token).destination(), rule: permit.ground() }
    }

    fn occasion<'a>(&'a self, identity: &'a Identity, permit: &'a Permit, token: Option<&'a Selected>) -> Occasion<'a> {
        Occasion {
            identity,
            payload: self.payload,
            route: permit.route(),
            peer: &self.request.peer,
            token: token.map(|token| &token.device),
            token_name: token.and_then(|token| token.name.as_deref()),
            token_proven: token.is_some_and(Selected::proven),
            surroundings: self.surroundings.get(),
        }
    }
}
