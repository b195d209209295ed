//! Session bindings of one connection: which SSH sessions it serves, proven by the hosts' signatures
//! (OpenSSH PROTOCOL.agent § 1, `process_ext_session_bind` in ssh-agent.c).

use ssh_key::public::KeyData;

use crate::certificate::{Certificate, is_certificate, plain_public_key};
use crate::verify::verifies;

/// The longest session identifier, in bytes (ssh-agent.c AGENT_MAX_SID_LEN).
pub const MAX_SESSION_ID: usize = 128;
/// The most bindings of one connection (ssh-agent.c AGENT_MAX_SESSION_IDS).
pub const MAX_BINDINGS: usize = 16;

/// A verified binding. The signature is kept: it is the evidence, and upstream agents ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionBinding {
    /// The host key or host certificate, as the host sent it.
    pub host_key: Vec<u8>,
    /// The plain public key in it.
    pub host_public_key: KeyData,
    /// The certificate, where it is one; its authority's signature is good, whoever that authority is.
    pub certificate: Option<Certificate>,
    /// The session identifier: the exchange hash of the first key exchange (RFC 4253 § 7.2).
    pub session_id: Vec<u8>,
    /// The host's signature over the session identifier.
    pub signature: Vec<u8>,
    /// Whether the connection was bound to be forwarded to that host, rather than to log in there.
    pub is_forwarding: bool,
}

/// All bindings of one connection, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionBindings {
    bindings: Vec<SessionBinding>,
    failed: bool,
}

/// Why a binding is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The session identifier is empty or longer than [`MAX_SESSION_ID`].
    #[error("the session identifier's length is out of bounds")]
    SessionId,
    /// The host key can't be parsed, or is of a type that can't be verified.
    #[error("the host key can't be read")]
    HostKey,
    /// The signature does not verify.
    #[error("the host's signature over the session does not verify")]
    Signature,
    /// An earlier binding was for authentication, which ends the path.
    #[error("the connection was already bound for authentication")]
    NotForwarding,
    /// The same session with another host key.
    #[error("the session was already bound to another host key")]
    OtherHostKey,
    /// There are [`MAX_BINDINGS`] already.
    #[error("the connection has too many bindings")]
    TooMany,
}

impl SessionBindings {
    /// Verifies a binding and appends it. Repeating a binding is a success that changes nothing.
    ///
    /// # Errors
    /// See [`BindError`]; the failed attempt is remembered, see [`Self::attempt_failed`].
    pub fn bind(
        &mut self,
        host_key: &[u8],
        session_id: &[u8],
        signature: &[u8],
        is_forwarding: bool,
    ) -> Result<(), BindError> {
        let bound = self.append(host_key, session_id, signature, is_forwarding);
        self.failed |= bound.is_err();
        bound
    }

    fn append(
        &mut self,
        host_key: &[u8],
        session_id: &[u8],
        signature: &[u8],
        is_forwarding: bool,
    ) -> Result<(), BindError> {
        if session_id.is_empty() || session_id.len() > MAX_SESSION_ID {
            return Err(BindError::SessionId);
        }
        let host_public_key = plain_public_key(host_key).ok_or(BindError::HostKey)?;
        let certificate = Certificate::parse(host_key);
        if certificate.is_none() && is_certificate(host_key) {
            return Err(BindError::HostKey);
        }
        if !verifies(&host_public_key, session_id, signature) {
            return Err(BindError::Signature);
        }
        for earlier in &self.bindings {
            if !earlier.is_forwarding {
                return Err(BindError::NotForwarding);
            }
            if earlier.session_id == session_id {
                let same = earlier.host_key == host_key;
                return if same { Ok(()) } else { Err(BindError::OtherHostKey) };
            }
        }
        if self.bindings.len() >= MAX_BINDINGS {
            return Err(BindError::TooMany);
        }
        self.bindings.push(SessionBinding {
            host_key: host_key.to_vec(),
            host_public_key,
            certificate,
            session_id: session_id.to_vec(),
            signature: signature.to_vec(),
            is_forwarding,
        });
        Ok(())
    }

    /// Remembers an attempt whose message could not even be parsed.
    pub fn note_failure(&mut self) {
        self.failed = true;
    }

    /// Whether any binding failed. ssh goes on without it (a host key it likes and we can't verify is enough), so there
    /// may be a host on the way that is not among the bindings; what is bound later does not change that.
    #[must_use]
    pub fn attempt_failed(&self) -> bool {
        self.failed
    }

    /// The binding that says where the connection ends now.
    #[must_use]
    pub fn last(&self) -> Option<&SessionBinding> {
        self.bindings.last()
    }

    /// The bindings in their order: the first hop first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &SessionBinding> {
        self.bindings.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signature::Signer;
    use ssh_key::rand_core::OsRng;
    use ssh_key::{Algorithm, PrivateKey, Signature};

    struct Host(PrivateKey);

    impl Host {
        fn new() -> Self {
            Self(PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap())
        }
        fn key(&self) -> Vec<u8> {
            self.0.public_key().to_bytes().unwrap()
        }
        fn sign(&self, session: &[u8]) -> Vec<u8> {
            let signature: Signature = self.0.try_sign(session).unwrap();
            Vec::try_from(signature).unwrap()
        }
    }

    fn bind(to: &mut SessionBindings, host: &Host, session: &[u8], forwarding: bool) -> Result<(), BindError> {
        to.bind(&host.key(), session, &host.sign(session), forwarding)
    }

    #[test]
    fn a_path_through_a_jump_host() {
        let (jump, device, mut path) = (Host::new(), Host::new(), SessionBindings::default());
        bind(&mut path, &jump, b"jump session", true).unwrap();
        bind(&mut path, &device, b"device session", false).unwrap();
        assert_eq!(path.iter().map(|b| b.is_forwarding).collect::<Vec<_>>(), [true, false]);
        assert_eq!(path.last().unwrap().session_id, b"device session");
    }

    #[test]
    fn nothing_follows_a_binding_for_authentication() {
        let (device, other, mut path) = (Host::new(), Host::new(), SessionBindings::default());
        bind(&mut path, &device, b"session", false).unwrap();
        assert_eq!(bind(&mut path, &other, b"other", true), Err(BindError::NotForwarding));
    }

    #[test]
    fn the_same_binding_twice_is_one() {
        let (jump, other, mut path) = (Host::new(), Host::new(), SessionBindings::default());
        bind(&mut path, &jump, b"session", true).unwrap();
        bind(&mut path, &jump, b"session", true).unwrap();
        assert_eq!(path.iter().count(), 1);
        assert_eq!(bind(&mut path, &other, b"session", true), Err(BindError::OtherHostKey));
    }

    #[test]
    fn a_signature_over_another_session_is_refused_and_remembered() {
        let (host, mut path) = (Host::new(), SessionBindings::default());
        let refused = path.bind(&host.key(), b"session", &host.sign(b"another"), false);
        assert_eq!(refused, Err(BindError::Signature));
        assert!(path.attempt_failed());
        bind(&mut path, &host, b"session", false).unwrap();
        assert!(path.attempt_failed(), "a later binding does not say which host the first one was for");
    }

    #[test]
    fn lengths_and_numbers_are_bounded() {
        let (host, mut path) = (Host::new(), SessionBindings::default());
        assert_eq!(bind(&mut path, &host, b"", false), Err(BindError::SessionId));
        assert_eq!(bind(&mut path, &host, &[7; MAX_SESSION_ID + 1], false), Err(BindError::SessionId));
        for n in 0..MAX_BINDINGS {
            bind(&mut path, &host, &[n as u8; MAX_SESSION_ID], true).unwrap();
        }
        assert_eq!(bind(&mut path, &host, b"one more", true), Err(BindError::TooMany));
    }

    #[test]
    fn rubbish_is_no_host_key() {
        let mut path = SessionBindings::default();
        assert_eq!(path.bind(b"rubbish", b"session", b"", false), Err(BindError::HostKey));
        let mut longer = Host::new().key();
        longer.push(0);
        assert_eq!(path.bind(&longer, b"session", b"", false), Err(BindError::HostKey));
    }
}
