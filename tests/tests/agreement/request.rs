//! What clients ask for, and how it is written (RFC 9987; OpenSSH PROTOCOL.agent).

use std::fmt;

use crate::cast::{HostKey, Identity, cast};
use crate::part::{Damage, Part, byte, message, number, text};
use crate::secret::certificate_kind;

pub(crate) const REMOVE_ALL_OF_PROTOCOL_1: u8 = 9;
pub(crate) const LIST: u8 = 11;
pub(crate) const SIGN: u8 = 13;
pub(crate) const ADD: u8 = 17;
pub(crate) const REMOVE: u8 = 18;
pub(crate) const REMOVE_ALL: u8 = 19;
pub(crate) const LOCK: u8 = 22;
pub(crate) const UNLOCK: u8 = 23;
pub(crate) const ADD_CONSTRAINED: u8 = 25;
pub(crate) const EXTENSION: u8 = 27;

pub(crate) const SESSION_BIND: &str = "session-bind@openssh.com";
pub(crate) const RESTRICT_DESTINATION: &str = "restrict-destination-v00@openssh.com";
pub(crate) const HOSTBOUND: &str = "publickey-hostbound-v00@openssh.com";

/// A request, over one of the connections, and what happens to it on its way.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) connection: usize,
    pub(crate) request: Request,
    pub(crate) damage: Option<Damage>,
    /// Whether it is sent before the answer to the one before.
    pub(crate) ahead: bool,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    List,
    Sign {
        identity: Identity,
        data: Data,
        flags: u32,
    },
    /// Without a list of constraints it is the message that has none.
    Add {
        identity: Identity,
        comment: Text,
        constraints: Option<Vec<Constraint>>,
    },
    Remove(Identity),
    RemoveAll,
    RemoveAllOfProtocol1,
    Lock(Text),
    Unlock(Text),
    Bind(Bind),
    Extension(&'static str),
    /// A message of another number, with nothing in it.
    Number(u8),
    /// The client goes, and another one comes in its place.
    HangUp,
}

/// A session is bound to the connection.
#[derive(Debug, Clone)]
pub(crate) struct Bind {
    pub(crate) host: HostKey,
    pub(crate) session: Session,
    pub(crate) forwarding: bool,
    pub(crate) forgery: Option<Forgery>,
}

/// What is wrong with a host's signature over its session.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Forgery {
    ByAnotherHost(HostKey),
    OverAnotherSession(Session),
}

/// A session's identifier, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session(pub(crate) u8);

/// What is to be signed.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    Login(Login),
    SshSig { namespace: &'static str },
    Opaque(&'static [u8]),
    Nothing,
}

/// A login. What is not given is as it should be.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) session: Session,
    pub(crate) user: Text,
    pub(crate) host: Option<HostKey>,
    pub(crate) another_key: Option<Identity>,
    pub(crate) algorithm: Option<&'static str>,
    pub(crate) service: &'static str,
}

/// A constraint of a key.
#[derive(Debug, Clone)]
pub(crate) enum Constraint {
    Lifetime(u32),
    Confirm,
    Destinations(Vec<Destination>),
    /// Another extension.
    Extension(&'static str),
    /// A constraint that is none.
    Number(u8),
}

/// From where to where, as whom.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) from: Option<Hop>,
    pub(crate) to: Hop,
    pub(crate) user: Text,
}

/// A host in a constraint: its name, and keys, with whether each is an authority's.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    pub(crate) name: &'static str,
    pub(crate) keys: Vec<(HostKey, bool)>,
}

/// Bytes that are mostly text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) &'static [u8]);

impl Step {
    /// The bytes a client sends. None where it sends none.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        self.request.parts().map(|parts| message(parts, self.damage.as_ref()))
    }

    /// Whether it is sent together with the one before.
    pub(crate) fn goes_with(&self, before: &Self) -> bool {
        let is_one_message = |step: &Self| {
            step.bytes().is_some_and(|bytes| match bytes.split_first_chunk() {
                Some((length, body)) => !body.is_empty() && u32::from_be_bytes(*length) as usize == body.len(),
                None => false,
            })
        };
        self.ahead && self.connection == before.connection && is_one_message(before) && is_one_message(self)
    }
}

impl Request {
    fn parts(&self) -> Option<Vec<Part>> {
        let parts = match self {
            Self::List => vec![byte(LIST)],
            Self::Sign { identity, data, flags } => {
                vec![byte(SIGN), cast().shown(*identity), Part::String(data.parts(*identity)), number(*flags)]
            }
            Self::Add { identity, comment, constraints } => {
                let mut parts = vec![byte(if constraints.is_some() { ADD_CONSTRAINED } else { ADD })];
                parts.extend(cast().addition(*identity));
                parts.push(text(comment.0));
                parts.extend(constraints.iter().flatten().flat_map(Constraint::parts));
                parts
            }
            Self::Remove(identity) => vec![byte(REMOVE), cast().shown(*identity)],
            Self::RemoveAll => vec![byte(REMOVE_ALL)],
            Self::RemoveAllOfProtocol1 => vec![byte(REMOVE_ALL_OF_PROTOCOL_1)],
            Self::Lock(password) => vec![byte(LOCK), text(password.0)],
            Self::Unlock(password) => vec![byte(UNLOCK), text(password.0)],
            Self::Bind(bind) => [vec![byte(EXTENSION), text(SESSION_BIND)], bind.parts()].concat(),
            Self::Extension(name) => vec![byte(EXTENSION), text(name)],
            Self::Number(kind) => vec![byte(*kind)],
            Self::HangUp => return None,
        };
        Some(parts)
    }
}

impl Bind {
    fn parts(&self) -> Vec<Part> {
        let by = match self.forgery {
            Some(Forgery::ByAnotherHost(another)) => another,
            _ => self.host,
        };
        let over = match self.forgery {
            Some(Forgery::OverAnotherSession(another)) => another,
            _ => self.session,
        };
        let signature = cast().host_signature(by, &over.id());
        vec![cast().host_shown(self.host), text(self.session.id()), text(signature), byte(u8::from(self.forwarding))]
    }
}

impl Session {
    /// No identifier; the longest one; one that is too long.
    pub(crate) const ODD: [Self; 3] = [Self(200), Self(201), Self(202)];

    /// The identifier.
    pub(crate) fn id(self) -> Vec<u8> {
        let length = match self.0 {
            200 => 0,
            201 => 128,
            202 => 129,
            _ => 32,
        };
        vec![self.0; length]
    }
}

impl Data {
    fn parts(&self, signer: Identity) -> Vec<Part> {
        match self {
            Self::Login(login) => login.parts(signer),
            // OpenSSH PROTOCOL.sshsig.
            Self::SshSig { namespace } => {
                vec![Part::Bytes(b"SSHSIG".to_vec()), text(namespace), text(""), text("sha512"), text([7; 64])]
            }
            Self::Opaque(data) => vec![Part::Bytes(data.to_vec())],
            Self::Nothing => vec![],
        }
    }
}

impl Login {
    /// RFC 4252 § 7; OpenSSH PROTOCOL § 3.1.
    fn parts(&self, signer: Identity) -> Vec<Part> {
        const USERAUTH_REQUEST: u8 = 50;
        let shown = self.another_key.unwrap_or(signer);
        let kind = cast().key(shown.key).kind();
        let kind = if shown.certified { certificate_kind(&kind) } else { kind };
        let mut parts = vec![
            text(self.session.id()),
            byte(USERAUTH_REQUEST),
            text(self.user.0),
            text(self.service),
            text(if self.host.is_some() { HOSTBOUND } else { "publickey" }),
            byte(1),
            text(self.algorithm.unwrap_or(&kind)),
            cast().shown(shown),
        ];
        parts.extend(self.host.map(|host| cast().host_shown(host)));
        parts
    }
}

impl Constraint {
    fn parts(&self) -> Vec<Part> {
        const LIFETIME: u8 = 1;
        const CONFIRM: u8 = 2;
        const EXTENSION: u8 = 255;
        match self {
            Self::Lifetime(seconds) => vec![byte(LIFETIME), number(*seconds)],
            Self::Confirm => vec![byte(CONFIRM)],
            Self::Destinations(destinations) => {
                let destinations = destinations.iter().map(|one| Part::String(one.parts())).collect();
                vec![byte(EXTENSION), text(RESTRICT_DESTINATION), Part::String(destinations)]
            }
            Self::Extension(name) => vec![byte(EXTENSION), text(name), text("internal")],
            Self::Number(kind) => vec![byte(*kind)],
        }
    }
}

impl Destination {
    fn parts(&self) -> Vec<Part> {
        let from = self.from.as_ref().map_or_else(|| vec![text(""), text(""), text("")], |from| from.parts(Text(b"")));
        vec![Part::String(from), Part::String(self.to.parts(self.user)), text("")]
    }
}

impl Hop {
    fn parts(&self, user: Text) -> Vec<Part> {
        let mut parts = vec![text(user.0), text(self.name), text("")];
        for (key, is_authority) in &self.keys {
            parts.extend([cast().host_shown(*key), byte(u8::from(*is_authority))]);
        }
        parts
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}: {:?}", self.connection, self.request)?;
        if let Some(damage) = &self.damage {
            write!(f, ", damaged: {damage:?}")?;
        }
        if self.ahead { write!(f, ", at once") } else { Ok(()) }
    }
}
