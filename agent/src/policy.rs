//! Whether a request is served, and what it takes. Pure: everything it looks at is passed in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ssh_key::public::KeyData;

use crate::denial::{Code, Denial};
use crate::destination;
use crate::identity::{self, Holder, Identity};
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
    /// Whether the agent is locked.
    pub locked: bool,
    /// Time since boot, which lifetimes are measured in.
    pub now: Duration,
    /// Seconds since 1970, which certificates are valid by.
    pub wall_clock: u64,
}

/// The parts of the configuration that decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What holds for requests through a forwarding host that does not prove where they lead. [`Rule::Allow`] labels them.
    pub unbound_hop: Rule,
    /// Whether software keys sign, on this machine, what is neither a login nor an SSHSIG message: sshd's own host keys
    /// need it.
    pub opaque: Rule,
    /// Whether software keys can be added.
    pub software_keys: Rule,
    /// Whether keys are added and removed, and the agent locked and unlocked, over a forwarded connection.
    pub forwarded_management: Rule,
    /// The fingerprints of the keys that issue certificates, and do nothing else.
    pub authorities: BTreeSet<String>,
    /// How tokens verify their user.
    pub user_verification: VerificationMode,
    /// The same for single keys, by their fingerprints.
    pub key_verification: BTreeMap<String, VerificationMode>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            unbound_hop: Rule::Allow,
            opaque: Rule::Allow,
            software_keys: Rule::Allow,
            forwarded_management: Rule::Deny,
            authorities: BTreeSet::new(),
            user_verification: VerificationMode::default(),
            key_verification: BTreeMap::new(),
        }
    }
}

/// How tokens verify their user, as configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerificationMode {
    /// Where the key asks for it: by the token's own sensor where it has one, else by PIN.
    #[default]
    AsKeyAsks,
    /// For every signature, by PIN.
    Pin,
    /// For every signature, by the token's own sensor and in no other way.
    BuiltIn,
    /// For every signature, by the token's own sensor where it has one, else by PIN.
    BuiltInThenPin,
    /// For every signature, by both: the PIN first, then the token's own sensor.
    PinAndBuiltIn,
}

/// What a setting says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Served.
    #[default]
    Allow,
    /// Refused.
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
    ground: Ground,
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

    /// Why it may be made.
    #[must_use]
    pub fn ground(&self) -> Ground {
        self.ground
    }
}

/// What a permit rests on, for the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ground {
    /// The key's destination constraints name this path.
    DestinationConstraints,
    /// The key issues certificates, as configured.
    Authority,
    /// A software key may sign what has no name: the setting `opaque`.
    Opaque,
    /// Nothing proves where it goes behind the last host: the setting `unbound_hop`.
    UnboundHop,
    /// It is for a host that has proven itself, through others that have.
    ProvenRoute,
    /// A program on this machine asks.
    ThisMachine,
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
    /// By PIN.
    Pin,
    /// By its own sensor.
    BuiltIn,
    /// By its own sensor where it has one, else by PIN.
    BuiltInThenPin,
    /// By PIN, and then by its own sensor.
    PinAndBuiltIn,
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

impl Route {
    /// Whether the request came from another host.
    #[must_use]
    pub fn is_forwarded(&self) -> bool {
        match self {
            Self::Unbound => false,
            Self::Proven { through, .. } | Self::NotProven { through } => !through.is_empty(),
        }
    }
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
pub fn authorize(question: &Question<'_>, settings: &Settings) -> Authorization {
    match decide(question, settings) {
        Ok(route) => {
            let ground = ground(question, settings, &route);
            Authorization::Allowed(Permit { requirements: requirements(question.identity, settings), route, ground })
        }
        Err(denial) => Authorization::Denied(denial),
    }
}

fn decide(question: &Question<'_>, settings: &Settings) -> Result<Route, Denial> {
    if question.locked {
        return Err(Denial::plain(Code::Locked));
    }
    if question.identity.constraints.expired(question.now) {
        return Err(Denial::plain(Code::KeyGone));
    }
    let route = route(question, settings)?;
    meaning(question, settings, &route)?;
    destinations(question)?;
    Ok(route)
}

/// Which of the rules that were kept is the narrowest.
fn ground(question: &Question<'_>, settings: &Settings, route: &Route) -> Ground {
    let constrained = !question.identity.constraints.destinations.is_empty();
    match (question.payload, route) {
        _ if constrained => Ground::DestinationConstraints,
        (Payload::Certificate { .. }, _) if is_authority(question, settings) => Ground::Authority,
        (Payload::Certificate { .. } | Payload::Opaque, _) => Ground::Opaque,
        (_, Route::NotProven { .. }) => Ground::UnboundHop,
        (_, Route::Proven { .. }) => Ground::ProvenRoute,
        (_, Route::Unbound) => Ground::ThisMachine,
    }
}

/// Whether the key issues certificates, and does nothing else.
fn is_authority(question: &Question<'_>, settings: &Settings) -> bool {
    let fingerprint = || identity::fingerprint(&question.identity.public_key);
    !settings.authorities.is_empty() && settings.authorities.contains(&fingerprint())
}

/// Whether an identity is listed over a connection, and may be replaced or removed over it: what is hidden can't be
/// touched either (ssh-agent.c, `identity_permitted`).
#[must_use]
pub fn visible(identity: &Identity, bindings: &SessionBindings, wall_clock: u64) -> bool {
    destination::permitted(&identity.constraints.destinations, bindings, None, wall_clock)
}

/// Whether keys may be added or removed, and the agent locked or unlocked, over a connection. One that is forwarded, or
/// whose binding failed, is held by a stranger, who could otherwise take the operator's keys away for good.
///
/// # Errors
/// The refusal.
pub fn may_manage(bindings: &SessionBindings, settings: &Settings) -> Result<(), Denial> {
    let forwarded = bindings.iter().any(|binding| binding.is_forwarding) || bindings.attempt_failed();
    match settings.forwarded_management {
        Rule::Deny if forwarded => Err(Denial::plain(Code::ForwardedManagement)),
        _ => Ok(()),
    }
}

/// Whether the key signs data of this meaning.
fn meaning(question: &Question<'_>, settings: &Settings, route: &Route) -> Result<(), Denial> {
    let local = *route == Route::Unbound;
    let is_authority = is_authority(question, settings);
    let on_token = identity::application(&question.identity.public_key).is_some();
    let served = match question.payload {
        Payload::Certificate { .. } if is_authority => local,
        _ if is_authority => false,
        Payload::Userauth(_) | Payload::SshSig { .. } => true,
        // A FIDO key never signs what it can't name, whatever its application: websites' challenges are among it
        // (ssh-agent.c, check_websafe_message_contents, looks at applications other than "ssh:" alone).
        Payload::Certificate { .. } | Payload::Opaque => local && !on_token && settings.opaque == Rule::Allow,
    };
    match served {
        true => Ok(()),
        false if is_authority => Err(Denial::plain(Code::AuthorityKey)),
        false => Err(Denial::plain(Code::OpaqueData)),
    }
}

/// Whether the key's destination constraints let it sign this (ssh-agent.c, `process_sign_request2`).
fn destinations(question: &Question<'_>) -> Result<(), Denial> {
    let constraints = &question.identity.constraints.destinations;
    if constraints.is_empty() {
        return Ok(());
    }
    let proven = match (question.payload, question.bindings.last()) {
        (Payload::Userauth(login), Some(last)) if !login.by_certificate => {
            // Behind another host a login has to name its host key: that host could otherwise pass on a session of its
            // own making.
            let hostbound = login.host_key.is_some() || question.bindings.iter().count() == 1;
            let to_last = login.session_id == last.session_id
                && login.host_key.as_ref().is_none_or(|host_key| *host_key == last.host_key);
            let user = Some(login.user.as_slice());
            hostbound && to_last && destination::permitted(constraints, question.bindings, user, question.wall_clock)
        }
        _ => false,
    };
    if proven { Ok(()) } else { Err(Denial::plain(Code::DestinationNotPermitted)) }
}

fn requirements(identity: &Identity, settings: &Settings) -> Requirements {
    // The flags of a key under a passphrase are not known yet. The decision after it was opened knows them.
    let (user_presence, verify) = match &identity.holder {
        Holder::Credential(credential) => {
            (credential.flags.user_presence_required(), credential.flags.user_verification_required())
        }
        Holder::ProtectedFile(_) => (true, false),
        // Another agent asks its token and its person itself.
        Holder::Software(_) | Holder::Upstream(_) => (false, false),
    };
    Requirements {
        confirm: identity.constraints.confirm,
        user_presence,
        user_verification: match (&identity.holder, settings.verification_mode(&identity.public_key)) {
            (Holder::Software(_) | Holder::Upstream(_), _) => UserVerification::NotRequired,
            (_, VerificationMode::AsKeyAsks) if verify => UserVerification::BuiltInThenPin,
            (_, VerificationMode::AsKeyAsks) => UserVerification::NotRequired,
            (_, VerificationMode::Pin) => UserVerification::Pin,
            (_, VerificationMode::BuiltIn) => UserVerification::BuiltIn,
            (_, VerificationMode::BuiltInThenPin) => UserVerification::BuiltInThenPin,
            (_, VerificationMode::PinAndBuiltIn) => UserVerification::PinAndBuiltIn,
        },
    }
}

impl Settings {
    /// How a token verifies its user for this key: the key's own entry goes before what holds in general.
    fn verification_mode(&self, key: &KeyData) -> VerificationMode {
        let own = || self.key_verification.get(&identity::fingerprint(key)).copied();
        let own = if self.key_verification.is_empty() { None } else { own() };
        own.unwrap_or(self.user_verification)
    }
}

/// Follows the bindings to where the signature goes, and refuses what contradicts them.
fn route(question: &Question<'_>, settings: &Settings) -> Result<Route, Denial> {
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
    settings: &Settings,
) -> Result<Route, Denial> {
    if login.is_some_and(|login| bindings.iter().any(|hop| hop.session_id == login.session_id)) {
        return Err(Denial::plain(Code::SessionReplayed));
    }
    match settings.unbound_hop {
        Rule::Allow => Ok(Route::NotProven { through: path(bindings) }),
        Rule::Deny => Err(Denial::plain(Code::UnboundHop)),
    }
}

fn path(bindings: &SessionBindings) -> Path {
    let hosts = bindings.iter().map(|binding| binding.host_key.clone()).collect();
    Path { hosts, unverified: bindings.attempt_failed() }
}

#[cfg(test)]
mod tests;
