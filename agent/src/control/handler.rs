//! Serves the control socket.

use std::sync::Arc;

use futures_util::SinkExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio_util::codec::{FramedWrite, LinesCodec};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lines::SecretLines;
use super::{Event, MAX_LINE, Request, Status, VERSION};
use crate::admission::Admission;
use crate::agent::{Agent, since_boot};
use crate::audit::record::{Act, RecordId};
use crate::denial::{Code, Denial};
use crate::listener;
use crate::manage::{self, Management};
use crate::occasion;
use crate::paths::Paths;
use crate::peer::Peer;
use crate::process_table;
use crate::prompt::attached::Terminal;
use crate::session_binding::SessionBindings;
use crate::socket::Socket;
use crate::token::fido_nodes;

/// How many events may wait for a client to read them. One that does not read is treated as one that is gone.
const MOST_UNREAD: usize = 256;

/// Serves clients until `stop`.
pub(crate) async fn serve(
    socket: &Socket,
    admission: &Arc<Admission>,
    agent: &Arc<Agent>,
    paths: &Arc<Paths>,
    stop: &CancellationToken,
    clients: &TaskTracker,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            (stream, peer, admitted) = listener::next_client(socket, admission) => {
                let connection = Connection { agent: Arc::clone(agent), paths: Arc::clone(paths), peer };
                let stop = stop.child_token();
                clients.spawn(async move {
                    let _until_it_ends = admitted;
                    connection.serve(stream, stop).await;
                });
            }
        }
    }
}

struct Connection {
    agent: Arc<Agent>,
    paths: Arc<Paths>,
    peer: Peer,
}

impl Connection {
    async fn serve(self, stream: UnixStream, client: CancellationToken) {
        let (read, write) = stream.into_split();
        let requests = SecretLines::new(read, MAX_LINE);
        let (events, mut outbox) = mpsc::channel::<Event>(MOST_UNREAD);
        let writer = async move {
            let mut lines = FramedWrite::new(write, LinesCodec::new());
            while let Some(event) = outbox.recv().await {
                let Ok(line) = serde_json::to_string(&event) else {
                    continue;
                };
                if lines.send(line).await.is_err() {
                    return;
                }
            }
        };
        let _ = events.try_send(Event::Hello { version: VERSION, agent: env!("CARGO_PKG_VERSION").into() });
        let terminal = Terminal::new(events.clone());
        let conversation = self.converse(requests, events, terminal, &client);
        // The writer ends after the conversation has dropped its senders, the terminal's too, and everything was sent.
        tokio::join!(writer, conversation);
    }

    /// The first request is served; what follows it are answers to its questions.
    async fn converse(
        &self,
        mut requests: SecretLines<OwnedReadHalf>,
        events: mpsc::Sender<Event>,
        terminal: Arc<Terminal>,
        client: &CancellationToken,
    ) {
        let first = tokio::select! {
            () = client.cancelled() => return,
            first = next_request(&mut requests) => first,
        };
        let Some(request) = first else { return };
        let attached = matches!(request, Request::Attach);
        let work = async {
            let name = request.name();
            let event = match self.answer(request, &terminal, client).await {
                Ok(event) => event,
                Err(denial) => self.refused(name, denial).await,
            };
            let rehearsal = match event {
                Event::Rehearsing { id } => Some(id),
                _ => None,
            };
            let _ = events.try_send(event);
            if attached || rehearsal.is_some() {
                client.cancelled().await;
            }
            if let Some(RecordId(rehearsal)) = rehearsal {
                // Whoever reads the log sees without it, too, that the program is gone; the log has said what is wrong with it.
                let _ = manage::record(&self.agent, Act::RehearsalEnded { rehearsal }).await;
            }
        };
        let answers = async {
            while let Some(Request::Answer { id, answer }) = next_request(&mut requests).await {
                terminal.answer(id, answer.map(|answer| answer.0));
            }
            client.cancel();
        };
        let mut work = std::pin::pin!(work);
        tokio::select! {
            () = &mut work => {}
            // The client hung up: the work sees it, and puts its end on record.
            () = answers => work.await,
        }
        self.agent.prompts.detach(&terminal);
    }

    async fn refused(&self, request: &str, denial: Denial) -> Event {
        let mut peer = self.peer.clone();
        process_table::look_up(&mut peer).await;
        let refusal = self.agent.refuse(request, &peer, &SessionBindings::default(), denial).await;
        Event::Refused { denial: refusal.denial, id: refusal.id }
    }

    async fn answer(
        &self,
        request: Request,
        terminal: &Arc<Terminal>,
        client: &CancellationToken,
    ) -> Result<Event, Denial> {
        let management = Management { agent: &self.agent, terminal: terminal.as_ref(), client };
        match request {
            Request::Status => Ok(Event::Status(self.status().await)),
            Request::Tokens => Ok(Event::Tokens { tokens: management.tokens().await? }),
            Request::Attach => {
                self.record_attach(None).await?;
                self.agent.prompts.attach(Arc::clone(terminal));
                Ok(Event::Attached)
            }
            Request::HandOver(environment) => {
                let place = environment.usable().map_err(|why| Denial::new(Code::EnvironmentRejected, why))?;
                self.record_attach(Some(place)).await?;
                self.agent.prompts.hand_over(environment);
                Ok(Event::HandedOver { prompts: self.agent.prompts.reachable() })
            }
            Request::AddFile { path } => Ok(Event::Added { keys: management.add_file(path).await? }),
            Request::AddResident { all, application } => {
                Ok(Event::Added { keys: management.add_resident(all, application.as_deref()).await? })
            }
            Request::AskPerson => Ok(Event::Asked { yes: management.ask_person().await? }),
            Request::Unlock => self.unlock().await,
            Request::Rehearse { destination } => self.rehearse(destination).await,
            Request::Token(request) => Ok(Event::Token(management.token(request).await?)),
            Request::Generate(generate) => Ok(Event::Generated(management.generate(generate).await?)),
            Request::NameToken { name, holding } => {
                Ok(Event::TokenNamed(management.name_token(name, holding.as_deref()).await?))
            }
            Request::Keys { fingerprints } => Ok(Event::Keys { keys: management.known_keys(fingerprints).await? }),
            Request::Whereabouts { fingerprints } => {
                Ok(Event::Whereabouts { keys: management.whereabouts(fingerprints).await? })
            }
            Request::Succeed { old, new } => {
                management.succeed(old, new).await?;
                Ok(Event::Succeeded)
            }
            Request::ForgetToken { name } => {
                management.forget_token(name).await?;
                Ok(Event::TokenForgotten)
            }
            Request::Answer { .. } => Err(Denial::new(Code::NotSupported, "nothing was asked")),
        }
    }

    /// Whoever attaches gets the next PIN, so it is on record before it happens.
    async fn record_attach(&self, handed_over: Option<String>) -> Result<(), Denial> {
        let mut peer = self.peer.clone();
        process_table::look_up(&mut peer).await;
        manage::record(&self.agent, Act::Attach { peer: occasion::audit_peer(&peer), handed_over }).await.map(drop)
    }

    /// Which program says so is on record with it, so that its requests can be told from those of others.
    async fn rehearse(&self, destination: String) -> Result<Event, Denial> {
        let mut peer = self.peer.clone();
        process_table::look_up(&mut peer).await;
        let act = Act::RehearsalBegun { destination, peer: occasion::audit_peer(&peer) };
        Ok(Event::Rehearsing { id: manage::record(&self.agent, act).await? })
    }

    /// What the program that says so is, is on record before it is believed.
    async fn unlock(&self) -> Result<Event, Denial> {
        let lock = &self.agent.lock;
        if lock.away().is_none() {
            let reason = match lock.has_password() {
                true => "the agent is locked under a password, and `ssh-add -X` unlocks it",
                false => "the agent is not locked",
            };
            return Err(Denial::new(Code::LockUnchanged, reason));
        }
        let mut peer = self.peer.clone();
        process_table::look_up(&mut peer).await;
        manage::record(&self.agent, Act::ComeBack { peer: Some(occasion::audit_peer(&peer)) }).await?;
        lock.come_back();
        Ok(Event::Unlocked)
    }

    async fn status(&self) -> Status {
        Status {
            agent: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            socket: self.paths.socket.clone(),
            audit_log: self.paths.audit_log(),
            audit_trouble: self.agent.audit.trouble(),
            keys: self.agent.keystore.list(since_boot()).len(),
            devices: Some(fido_nodes().len()),
            attached: self.agent.prompts.attached(),
            prompts: self.agent.prompts.reachable(),
            upstreams: self.agent.upstreams.status().await,
            locked: self.agent.lock.has_password(),
            away: self.agent.lock.away(),
            lookout: self.agent.lookout.standing(),
            config: self.agent.config_status(),
        }
    }
}

/// A line that is no request ends the connection: the client is of another version, or no client of ours.
async fn next_request(requests: &mut SecretLines<OwnedReadHalf>) -> Option<Request> {
    serde_json::from_slice(&requests.next().await?).ok()
}
