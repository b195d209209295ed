//! A small agent that signs nothing: it says what ours has to answer, and ssh-agent too.
//!
//! It is written from the numbered statements and the design's decisions, not from the agent's code, none of which it
//! knows. A request is read as ssh-agent reads it; where ours is stricter, a [`Reason`] is noted on the way.

mod addition;
mod answer;
mod destination;
mod key;
mod login;
mod reader;
mod reason;

use crate::cast::{Identity, Key, cast};
use crate::request::{
    ADD, ADD_CONSTRAINED, EXTENSION, LIST, LOCK, REMOVE, REMOVE_ALL, REMOVE_ALL_OF_PROTOCOL_1, SESSION_BIND, SIGN,
    UNLOCK,
};
use addition::Addition;
pub(crate) use answer::{Answer, Theirs, Verdict};
use destination::{Binding, Destination, permitted};
use key::canonical;
use login::{is_sshsig, login};
use reader::Reader;
pub(crate) use reason::Reason;
use reason::{Notes, Served};

/// How many refusals end a connection.
const MOST_REFUSALS: u32 = 64;
/// Statement 3.
const LONGEST_SESSION: usize = 128;
const MOST_BINDINGS: usize = 16;
/// RFC 8332.
const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

/// What the agents know.
#[derive(Debug)]
pub(crate) struct Oracle {
    /// Seconds since 1970.
    now: u64,
    keys: Vec<Held>,
    password: Option<Vec<u8>>,
    connections: Vec<Connection>,
}

/// A key that is held.
#[derive(Debug)]
struct Held {
    identity: Identity,
    comment: Vec<u8>,
    confirm: bool,
    destinations: Vec<Destination>,
}

#[derive(Debug, Clone, Default)]
struct Connection {
    bindings: Vec<Binding>,
    failed: bool,
    refusals: Refusals,
}

/// How many of a connection's requests were refused with a record of it: certainly, and perhaps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Refusals {
    certain: u32,
    possible: u32,
}

/// What becomes of a connection after too many refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    Left,
    /// It may have been closed or not.
    Uncertain,
    /// It is closed.
    Lost,
}

impl Oracle {
    pub(crate) fn new(connections: usize, now: u64) -> Self {
        Self { now, keys: Vec::new(), password: None, connections: vec![Connection::default(); connections] }
    }

    /// A new client took the place of this connection's.
    pub(crate) fn forget(&mut self, connection: usize) {
        self.connections[connection] = Connection::default();
    }

    pub(crate) fn patience(&self, connection: usize) -> Patience {
        match self.connections[connection].refusals {
            refusals if refusals.certain >= MOST_REFUSALS => Patience::Lost,
            refusals if refusals.possible >= MOST_REFUSALS => Patience::Uncertain,
            _ => Patience::Left,
        }
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.password.is_some()
    }

    /// The password it is locked under.
    pub(crate) fn password(&self) -> Option<&[u8]> {
        self.password.as_deref()
    }

    /// Whether a key that a frame asks for is restricted to destinations.
    pub(crate) fn is_about_constrained_key(&self, frame: &[u8]) -> bool {
        let named = |blob: &[u8]| self.keys.iter().any(|held| !held.destinations.is_empty() && held.is(blob));
        frame.split_first().and_then(|(_, body)| Reader(body).string()).is_some_and(named)
    }

    /// What a frame that came over this connection is answered with.
    pub(crate) fn judge(&mut self, connection: usize, frame: &[u8]) -> Verdict {
        let Some((kind, body)) = frame.split_first() else { return Verdict::same(Answer::Failure) };
        let verdict = match *kind {
            UNLOCK => self.unlock(connection, body),
            EXTENSION => self.extension(connection, body),
            LIST => self.list(connection, body),
            LOCK => self.lock(connection, body),
            _ if self.is_locked() => Verdict::same(Answer::Failure),
            SIGN => self.sign(connection, body),
            ADD | ADD_CONSTRAINED => self.add(connection, *kind, body),
            REMOVE => self.remove(connection, body),
            REMOVE_ALL | REMOVE_ALL_OF_PROTOCOL_1 => self.remove_all(connection, body),
            _ => Verdict::same(Answer::Failure),
        };
        if verdict.ours == Answer::Failure {
            // Each refused signature is on record, whatever the reason; of the other failures some are.
            let refusals = &mut self.connections[connection].refusals;
            refusals.certain += u32::from(is_sign_request(frame));
            refusals.possible += 1;
        }
        if verdict.ours == Answer::ExtensionFailure {
            // A binding that was refused is on record too.
            self.connections[connection].refusals.possible += 1;
        }
        verdict
    }

    /// Statements 7 and 16.
    fn list(&self, connection: usize, body: &[u8]) -> Verdict {
        let (mut theirs, mut ours, mut reason) = (Vec::new(), Vec::new(), None);
        for held in self.keys.iter().filter(|_| !self.is_locked()) {
            let mut notes = Notes::default();
            let served = if self.shows(connection, held, &mut notes) { notes.served() } else { Served::Neither };
            let line = (cast().blob(held.identity).to_vec(), held.comment.clone());
            if matches!(served, Served::Both | Served::Ours(_)) {
                ours.push(line.clone());
            }
            if matches!(served, Served::Both | Served::Theirs(_)) {
                theirs.push(line);
            }
            if let Served::Ours(differs) | Served::Theirs(differs) = served {
                reason = Some(differs);
            }
        }
        let ours = if body.is_empty() { Answer::List(ours) } else { Answer::Failure };
        let theirs = Answer::List(theirs);
        match reason {
            _ if !body.is_empty() => Verdict { ours, theirs: Theirs::Otherwise(Reason::LeftOver, theirs) },
            Some(reason) => Verdict { ours, theirs: Theirs::Otherwise(reason, theirs) },
            None => Verdict::same(ours),
        }
    }

    fn shows(&self, connection: usize, held: &Held, notes: &mut Notes) -> bool {
        let Connection { bindings, failed, .. } = &self.connections[connection];
        permitted(&held.destinations, bindings, *failed, None, self.now, notes)
    }

    /// Statements 8 to 12 and 17.
    fn sign(&self, connection: usize, body: &[u8]) -> Verdict {
        let mut notes = Notes::default();
        match self.may_sign(connection, body, &mut notes) {
            None => Verdict::same(Answer::Failure),
            Some(signature) => Verdict::answer(signature, &notes),
        }
    }

    fn may_sign(&self, connection: usize, body: &[u8], notes: &mut Notes) -> Option<Answer> {
        let mut body = Reader(body);
        let (blob, data, flags) = (body.string()?, body.string()?, body.number()?);
        notes.note_if(!body.is_empty(), Reason::LeftOver);
        let blob = canonical(blob, notes);
        let held = self.keys.iter().find(|held| held.is(&blob))?;
        let Connection { bindings, failed, .. } = &self.connections[connection];
        if !held.destinations.is_empty() {
            let last = bindings.last()?;
            let login = login(data, &[&blob], notes)?;
            let user = Some(login.user.as_slice());
            let host_fits = match &login.host {
                Some(host) => host == cast().host_blob(last.host),
                None => bindings.len() == 1,
            };
            let permitted = permitted(&held.destinations, bindings, *failed, user, self.now, notes);
            if !permitted || login.session != last.session || !host_fits {
                return None;
            }
        }
        // Nobody is there to ask.
        if held.confirm {
            return None;
        }
        self.may_leave(connection, data, held.identity, notes);
        let algorithm = match held.identity.key {
            Key::Rsa if flags & RSA_SHA2_256 != 0 => "rsa-sha2-256",
            Key::Rsa if flags & RSA_SHA2_512 != 0 => "rsa-sha2-512",
            Key::Rsa => "ssh-rsa",
            Key::Ed25519 | Key::AnotherEd25519 => "ssh-ed25519",
            Key::P256 => "ecdsa-sha2-nistp256",
            Key::P384 => "ecdsa-sha2-nistp384",
            Key::P521 => "ecdsa-sha2-nistp521",
        };
        notes.note_if(algorithm == "ssh-rsa", Reason::Sha1);
        Some(Answer::Signature { key: held.identity.key, algorithm, data: data.to_vec() })
    }

    /// DESIGN, "Decided": what holds for every key, where ssh-agent asks nothing.
    fn may_leave(&self, connection: usize, data: &[u8], signer: Identity, notes: &mut Notes) {
        let Connection { bindings, failed, .. } = &self.connections[connection];
        let mut odd = Notes::default();
        // ssh shows a certificate of the key, where it has one that the agent has not.
        let shown = [signer, Identity { certified: true, ..signer }].map(|identity| cast().blob(identity));
        let login = login(data, &shown, &mut odd).filter(|_| odd.served() == Served::Both);
        match (bindings.last(), login) {
            (Some(last), login) if !last.forwarding => {
                let host = cast().host_blob(last.host);
                let fits = login
                    .is_some_and(|login| login.session == last.session && login.host.is_none_or(|named| named == host));
                notes.note_if(!fits, Reason::AnotherSession);
            }
            (None, _) if !failed => {}
            (_, Some(login)) => {
                let replayed = bindings.iter().any(|hop| hop.session == login.session);
                notes.note_if(replayed, Reason::SessionReplayed);
            }
            (_, None) => notes.note_if(!is_sshsig(data), Reason::OpaqueData),
        }
    }

    /// Statements 13 and 15.
    fn add(&mut self, connection: usize, kind: u8, body: &[u8]) -> Verdict {
        let mut notes = Notes::default();
        let Some(Addition { identity, comment, constraints }) = addition::read(body, &mut notes) else {
            return Verdict::same(Answer::Failure);
        };
        // A private key that is not one of ours is one that was damaged.
        let Some(identity) = identity else { return Verdict::not_asked(Reason::DamagedKey) };
        notes.note_if(kind == ADD && constraints.is_given, Reason::LeftOver);
        notes.note_if(self.is_stranger(connection), Reason::Stranger);
        let place = self.keys.iter().position(|held| held.identity == identity);
        if place.is_some_and(|place| !self.shows(connection, &self.keys[place], &mut notes)) {
            return Verdict::same(Answer::Failure);
        }
        let verdict = Verdict::change(&notes);
        if verdict.ours == Answer::Success {
            let held = Held { identity, comment, confirm: constraints.confirm, destinations: constraints.destinations };
            match place {
                // Its time is over at once.
                Some(place) if constraints.lifetime == Some(0) => drop(self.keys.remove(place)),
                None if constraints.lifetime == Some(0) => {}
                Some(place) => self.keys[place] = held,
                None => self.keys.push(held),
            }
        }
        verdict
    }

    /// Statement 7.
    fn remove(&mut self, connection: usize, body: &[u8]) -> Verdict {
        let (mut notes, mut body) = (Notes::default(), Reader(body));
        let blob = body.string().map(|blob| canonical(blob, &mut notes));
        let place = blob.and_then(|blob| self.keys.iter().position(|held| held.is(&blob)));
        let Some(place) = place.filter(|place| self.shows(connection, &self.keys[*place], &mut notes)) else {
            return Verdict::same(Answer::Failure);
        };
        notes.note_if(!body.is_empty(), Reason::LeftOver);
        notes.note_if(self.is_stranger(connection), Reason::Stranger);
        let verdict = Verdict::change(&notes);
        if verdict.ours == Answer::Success {
            self.keys.remove(place);
        }
        verdict
    }

    fn remove_all(&mut self, connection: usize, body: &[u8]) -> Verdict {
        let mut notes = Notes::default();
        notes.note_if(!body.is_empty(), Reason::LeftOver);
        notes.note_if(self.is_stranger(connection), Reason::Stranger);
        let verdict = Verdict::change(&notes);
        if verdict.ours == Answer::Success {
            self.keys.clear();
        }
        verdict
    }

    /// Statement 16.
    fn lock(&mut self, connection: usize, body: &[u8]) -> Verdict {
        match self.password_in(connection, body) {
            _ if self.is_locked() => Verdict::same(Answer::Failure),
            Err(reason) => Verdict::not_asked(reason),
            Ok([]) => Verdict::same(Answer::Failure),
            Ok(password) => {
                self.password = Some(password.to_vec());
                Verdict::same(Answer::Success)
            }
        }
    }

    fn unlock(&mut self, connection: usize, body: &[u8]) -> Verdict {
        match self.password_in(connection, body) {
            Err(reason) => Verdict::not_asked(reason),
            Ok(password) if !password.is_empty() && self.password() == Some(password) => {
                self.password = None;
                Verdict::same(Answer::Success)
            }
            Ok(_) => Verdict::same(Answer::Failure),
        }
    }

    fn password_in<'b>(&self, connection: usize, body: &'b [u8]) -> Result<&'b [u8], Reason> {
        let mut body = Reader(body);
        match body.string() {
            None => Err(Reason::MalformedLock),
            Some(_) if !body.is_empty() => Err(Reason::LeftOver),
            Some(_) if self.is_stranger(connection) => Err(Reason::Stranger),
            Some(password) => Ok(password),
        }
    }

    fn is_stranger(&self, connection: usize) -> bool {
        let Connection { bindings, failed, .. } = &self.connections[connection];
        *failed || bindings.iter().any(|binding| binding.forwarding)
    }

    /// Statements 3 and 4.
    fn extension(&mut self, connection: usize, body: &[u8]) -> Verdict {
        let mut body = Reader(body);
        match body.name() {
            None => Verdict::same(Answer::Failure),
            Some(name) if name == SESSION_BIND.as_bytes() => self.bind(connection, body),
            Some(_) if self.is_locked() => Verdict::same(Answer::Failure),
            Some(b"query") if body.is_empty() => {
                Verdict { ours: Answer::Extensions, theirs: Theirs::Otherwise(Reason::Query, Answer::Failure) }
            }
            Some(_) => Verdict::same(Answer::ExtensionFailure),
        }
    }

    fn bind(&mut self, connection: usize, body: Reader<'_>) -> Verdict {
        let mut notes = Notes::default();
        let binding = self.binding(connection, body, &mut notes);
        let connection = &mut self.connections[connection];
        let verdict = match (binding, notes.served()) {
            (Some(binding), Served::Both) => {
                connection.bindings.extend(binding);
                Verdict::same(Answer::Success)
            }
            (Some(_), Served::Theirs(reason)) => {
                Verdict { ours: Answer::ExtensionFailure, theirs: Theirs::FailingBinding(reason) }
            }
            _ => Verdict::same(Answer::ExtensionFailure),
        };
        connection.failed |= verdict.ours != Answer::Success;
        verdict
    }

    /// The session that is to be bound, or Some(None) where it is already.
    fn binding(&self, connection: usize, mut body: Reader<'_>, notes: &mut Notes) -> Option<Option<Binding>> {
        let host = canonical(body.string()?, notes);
        let (session, signature, forwarding) = (body.string()?, body.string()?, body.byte()? != 0);
        notes.note_if(!body.is_empty(), Reason::LeftOver);
        notes.note_if(session.is_empty() || session.len() > LONGEST_SESSION, Reason::SessionLength);
        // Hosts sign the same session in the same way each time, so any other signature is none.
        let host = cast().host_key(&host).filter(|host| cast().host_signature(*host, session) == signature)?;
        let bindings = &self.connections[connection].bindings;
        for earlier in bindings {
            match earlier {
                earlier if !earlier.forwarding => return None,
                earlier if earlier.session == session => return (earlier.host == host).then_some(None),
                _ => {}
            }
        }
        let binding = Binding { host, session: session.to_vec(), forwarding };
        (bindings.len() < MOST_BINDINGS).then_some(Some(binding))
    }
}

impl Held {
    fn is(&self, blob: &[u8]) -> bool {
        cast().blob(self.identity) == blob
    }
}

/// Whether it is a request for a signature by a key, held or not.
fn is_sign_request(frame: &[u8]) -> bool {
    let is_whole = |body: &[u8]| {
        let mut body = Reader(body);
        let key = body.string().and_then(|blob| cast().identity(blob));
        key.is_some() && body.string().is_some() && body.number().is_some() && body.is_empty()
    };
    frame.split_first().is_some_and(|(kind, body)| *kind == SIGN && is_whole(body))
}
