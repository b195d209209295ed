//! Whether a request is served, and what it takes. Pure: everything it looks at is passed in.

use std::time::Duration;

use serde::Deserialize;

use crate::denial::{Code, Denial};
use crate::identity::{Holder, Identity};
use crate::payload::{Payload, Userauth};
use crate::session_binding::{SessionBinding, SessionBindings};

/// What is to be decided on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The key that is to sign.
    pub identity: &'a Identity,
    /// What it is to sign.
    pub payload: &'a Payload,
    /// What the connection is bound to.
    pub bindings: &'a SessionBindings,
    /// Time since boot.
    pub now: Duration,
}

/// The parts of the configuration that decide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// What holds for requests through a forwarding host that does not prove where they lead.
    pub unbound_hop: UnboundHop,
}

/// See [`Settings::unbound_hop`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnboundHop {
    /// They are served, and labelled.
    #[default]
    Allow,
    /// They are refused.
    Deny,
}

/// The decision.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorization {
    /// The request may be served, under these requirements.
    Allowed(Permit),
    /// It may not.
    Denied(Denial),
}

/// The right to ask a token for one signature. Only [`authorize`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    requirements: Requirements,
    route: Route,
}

impl Permit {
    /// What has to happen, and be seen in the signature.
    #[must_use]
    pub fn requirements(&self) -> Requirements {
        self.requirements
    }

    /// Where the signature goes, as far as that is proven.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }
}

/// What a signature takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirements {
    /// A person has to agree before the token is asked.
    pub confirm: bool,
    /// The token has to be touched, and say so (flag UP).
    pub user_presence: bool,
    /// How the token has to verify its user, and say so (flag UV).
    pub user_verification: UserVerification,
}

/// How the token verifies its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserVerification {
    /// Not at all.
    NotRequired,
    /// By its own sensor where it has one, else by PIN.
    BuiltInThenPin,
}

/// Where a signature goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// A program on this machine asks, and nothing proves for which host.
    Unbound,
    /// To a host that has proven itself with its host key, perhaps through others.
    Proven {
        /// The host's public key, plain or certificate.
        host_key: Vec<u8>,
        /// The forwarding hosts before it.
        through: Path,
    },
    /// Somewhere behind forwarding hosts.
    NotProven {
        /// These.
        through: Path,
    },
}

/// The forwarding hosts that a request came through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path {
    /// Their host keys, the nearest first.
    pub hosts: Vec<Vec<u8>>,
    /// Whether there may be another one, whose binding failed.
    pub unverified: bool,
}

impl Path {
    /// Whether the request comes from this machine.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && !self.unverified
    }
}

/// Decides. It is asked twice for each request: before a person is troubled, and again after, since minutes may have
/// passed.
pub fn authorize(question: &Question<'_>, settings: Settings) -> Authorization {
    match route(question, settings).and_then(|route| served(question).map(|()| route)) {
        Ok(route) => Authorization::Allowed(Permit { requirements: requirements(question.identity), route }),
        Err(denial) => Authorization::Denied(denial),
    }
}

/// Whether keys may be added or removed over a connection. One that is forwarded, or whose binding failed, is held by a
/// stranger, who could otherwise take the operator's keys away for good.
///
/// # Errors
/// The refusal.
pub fn may_manage(bindings: &SessionBindings) -> Result<(), Denial> {
    let forwarded = bindings.iter().any(|binding| binding.is_forwarding);
    if forwarded || bindings.attempt_failed() { Err(Denial::plain(Code::ForwardedManagement)) } else { Ok(()) }
}

fn served(question: &Question<'_>) -> Result<(), Denial> {
    if question.identity.constraints.expired(question.now) {
        return Err(Denial::plain(Code::KeyGone));
    }
    // A FIDO key never signs what it can't name, whatever its application: websites' challenges among it
    // (ssh-agent.c, check_websafe_message_contents).
    match question.payload {
        Payload::Userauth(_) | Payload::SshSig { .. } => Ok(()),
        Payload::Certificate { .. } | Payload::Opaque => Err(Denial::plain(Code::OpaqueData)),
    }
}

fn requirements(identity: &Identity) -> Requirements {
    // The flags of a key under a passphrase are not known yet. The decision after it was opened knows them.
    let (user_presence, verify) = match &identity.holder {
        Holder::Credential(credential) => {
            (credential.flags.user_presence_required(), credential.flags.user_verification_required())
        }
        Holder::ProtectedFile(_) => (true, false),
    };
    Requirements {
        confirm: identity.constraints.confirm,
        user_presence,
        user_verification: if verify { UserVerification::BuiltInThenPin } else { UserVerification::NotRequired },
    }
}

/// Follows the bindings to where the signature goes, and refuses what contradicts them.
fn route(question: &Question<'_>, settings: Settings) -> Result<Route, Denial> {
    let login = match question.payload {
        Payload::Userauth(login) => Some(login),
        _ => None,
    };
    match question.bindings.last() {
        Some(last) if !last.is_forwarding => at_authenticating_host(question.bindings, last, login),
        None if !question.bindings.attempt_failed() => Ok(Route::Unbound),
        _ => behind_forwarding_host(question.bindings, login, settings),
    }
}

/// The connection is bound for a login to `last`: it serves that login and nothing else.
fn at_authenticating_host(
    bindings: &SessionBindings,
    last: &SessionBinding,
    login: Option<&Userauth>,
) -> Result<Route, Denial> {
    let login = login.filter(|login| login.session_id == last.session_id);
    let Some(login) = login else {
        return Err(Denial::plain(Code::SessionMismatch));
    };
    if login.host_key.as_ref().is_some_and(|key| *key != last.host_key) {
        return Err(Denial::plain(Code::HostKeyMismatch));
    }
    let mut through = path(bindings);
    through.hosts.pop();
    // ssh-agent.c asks for a hostbound login behind a hop for constrained keys only; without it the host is proven all
    // the same, by its signature over the session that the login names.
    Ok(Route::Proven { host_key: last.host_key.clone(), through })
}

/// The client behind the last hop did not bind its own session: an old ssh, paramiko, libssh2, or ssh-keygen.
fn behind_forwarding_host(
    bindings: &SessionBindings,
    login: Option<&Userauth>,
    settings: Settings,
) -> Result<Route, Denial> {
    if login.is_some_and(|login| bindings.iter().any(|hop| hop.session_id == login.session_id)) {
        return Err(Denial::plain(Code::SessionReplayed));
    }
    match settings.unbound_hop {
        UnboundHop::Allow => Ok(Route::NotProven { through: path(bindings) }),
        UnboundHop::Deny => Err(Denial::plain(Code::UnboundHop)),
    }
}

fn path(bindings: &SessionBindings) -> Path {
    let hosts = bindings.iter().map(|binding| binding.host_key.clone()).collect();
    Path { hosts, unverified: bindings.attempt_failed() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constraint::Constraints;
    use crate::identity::{Credential, KeyHandle, SkFlags};
    use signature::Signer;
    use ssh_key::rand_core::OsRng;
    use ssh_key::{Algorithm, PrivateKey, Signature};

    const ALLOW: Settings = Settings { unbound_hop: UnboundHop::Allow };
    const DENY: Settings = Settings { unbound_hop: UnboundHop::Deny };

    fn host() -> PrivateKey {
        PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap()
    }

    fn key_of(host: &PrivateKey) -> Vec<u8> {
        host.public_key().to_bytes().unwrap()
    }

    fn bound(path: &[(&PrivateKey, &[u8], bool)]) -> SessionBindings {
        let mut bindings = SessionBindings::default();
        for (host, session, forwarding) in path {
            let signature: Signature = host.try_sign(session).unwrap();
            let signature = Vec::try_from(signature).unwrap();
            bindings.bind(&key_of(host), session, &signature, *forwarding).unwrap();
        }
        bindings
    }

    fn identity(flags: u8) -> Identity {
        Identity {
            public_key: host().public_key().key_data().clone(),
            comment: String::new(),
            holder: Holder::Credential(Credential {
                application: "ssh:".into(),
                key_handle: KeyHandle::new([1; 16]),
                flags: SkFlags(flags),
            }),
            constraints: Constraints::default(),
        }
    }

    fn login(session: &[u8], host_key: Option<Vec<u8>>) -> Payload {
        Payload::Userauth(Userauth { session_id: session.to_vec(), user: "alice".into(), host_key })
    }

    fn decide(payload: &Payload, bindings: &SessionBindings, settings: Settings) -> Result<Route, Code> {
        let identity = identity(0x01);
        let question = Question { identity: &identity, payload, bindings, now: Duration::ZERO };
        match authorize(&question, settings) {
            Authorization::Allowed(permit) => Ok(permit.route),
            Authorization::Denied(denial) => Err(denial.code),
        }
    }

    fn sshsig() -> Payload {
        Payload::SshSig { namespace: "git".into() }
    }

    /// DESIGN: what holds for each shape of path, data and setting.
    #[test]
    fn table_of_routes() {
        let (jump, device) = (host(), host());
        let (jump_key, device_key) = (key_of(&jump), key_of(&device));
        let local = SessionBindings::default();
        let direct = bound(&[(&device, b"device", false)]);
        let through = bound(&[(&jump, b"jump", true), (&device, b"device", false)]);
        let mut failed = SessionBindings::default();
        failed.note_failure();
        let mut failed_then_bound = direct.clone();
        failed_then_bound.note_failure();
        let open = bound(&[(&jump, b"jump", true)]);
        let to_device = |hosts: &[Vec<u8>], unverified| {
            let through = Path { hosts: hosts.to_vec(), unverified };
            Ok(Route::Proven { host_key: device_key.clone(), through })
        };
        let not_proven = |hosts: &[Vec<u8>], unverified| {
            Ok(Route::NotProven { through: Path { hosts: hosts.to_vec(), unverified } })
        };

        let cases = [
            ("local login", login(b"any", None), &local, ALLOW, Ok(Route::Unbound)),
            ("local signature", sshsig(), &local, DENY, Ok(Route::Unbound)),
            ("bound login", login(b"device", None), &direct, ALLOW, to_device(&[], false)),
            ("bound, hostbound", login(b"device", Some(device_key.clone())), &direct, ALLOW, to_device(&[], false)),
            (
                "bound, another host",
                login(b"device", Some(jump_key.clone())),
                &direct,
                ALLOW,
                Err(Code::HostKeyMismatch),
            ),
            ("bound, another session", login(b"other", None), &direct, ALLOW, Err(Code::SessionMismatch)),
            ("bound, no login", sshsig(), &direct, ALLOW, Err(Code::SessionMismatch)),
            (
                "through a jump host",
                login(b"device", None),
                &through,
                DENY,
                to_device(std::slice::from_ref(&jump_key), false),
            ),
            ("the jump host's own session, after", login(b"jump", None), &through, ALLOW, Err(Code::SessionMismatch)),
            ("the jump host's own session", login(b"jump", None), &open, ALLOW, Err(Code::SessionReplayed)),
            (
                "a client without session-bind",
                login(b"device", None),
                &open,
                ALLOW,
                not_proven(std::slice::from_ref(&jump_key), false),
            ),
            ("the same, denied", login(b"device", None), &open, DENY, Err(Code::UnboundHop)),
            ("signature over forwarding", sshsig(), &open, ALLOW, not_proven(std::slice::from_ref(&jump_key), false)),
            ("the same, denied", sshsig(), &open, DENY, Err(Code::UnboundHop)),
            ("a binding that failed", login(b"any", None), &failed, ALLOW, not_proven(&[], true)),
            ("the same, denied", login(b"any", None), &failed, DENY, Err(Code::UnboundHop)),
            ("failed, then bound", login(b"device", None), &failed_then_bound, DENY, to_device(&[], true)),
            ("opaque", Payload::Opaque, &local, ALLOW, Err(Code::OpaqueData)),
            ("certificate", Payload::Certificate { kind: "x".into() }, &local, ALLOW, Err(Code::OpaqueData)),
        ];
        for (what, payload, bindings, settings, expected) in cases {
            assert_eq!(decide(&payload, bindings, settings), expected, "{what}");
        }
    }

    #[test]
    fn a_stranger_manages_no_keys() {
        let (jump, device) = (host(), host());
        let mut failed = SessionBindings::default();
        failed.note_failure();
        for (what, bindings, allowed) in [
            ("local", SessionBindings::default(), true),
            ("bound for a login", bound(&[(&device, b"device", false)]), true),
            ("forwarded", bound(&[(&jump, b"jump", true)]), false),
            ("forwarded, then bound", bound(&[(&jump, b"jump", true), (&device, b"device", false)]), false),
            ("binding failed", failed, false),
        ] {
            assert_eq!(may_manage(&bindings).is_ok(), allowed, "{what}");
        }
    }

    #[test]
    fn requirements_are_what_the_key_asks() {
        for (flags, presence, verification) in [
            (0x00, false, UserVerification::NotRequired),
            (0x01, true, UserVerification::NotRequired),
            (0x05, true, UserVerification::BuiltInThenPin),
            (0x25, true, UserVerification::BuiltInThenPin),
        ] {
            let required = requirements(&identity(flags));
            assert_eq!((required.user_presence, required.user_verification), (presence, verification), "{flags:#x}");
        }
    }

    #[test]
    fn an_expired_key_is_gone() {
        let mut identity = identity(0x01);
        identity.constraints.expires_at = Some(Duration::from_secs(10));
        let (payload, bindings) = (sshsig(), SessionBindings::default());
        let at = |seconds| {
            let now = Duration::from_secs(seconds);
            authorize(&Question { identity: &identity, payload: &payload, bindings: &bindings, now }, ALLOW)
        };
        assert!(matches!(at(9), Authorization::Allowed(_)));
        assert!(matches!(at(10), Authorization::Denied(Denial { code: Code::KeyGone, .. })));
    }
}
