//! What is asked to be signed, read from the bytes themselves: what is found here is *verified*, since the signature
//! will cover it.

use std::borrow::Cow;

use ssh_encoding::{Decode, Reader};

use crate::certificate::{Claims, is_certificate, plain_public_key};

/// The meaning of the data in a sign request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A login (RFC 4252 § 7).
    Userauth(Userauth),
    /// A signature over a file, commit or message (OpenSSH PROTOCOL.sshsig).
    SshSig {
        /// What the signature is for: `git`, `file`, …
        namespace: String,
    },
    /// A certificate to be issued (OpenSSH PROTOCOL.certkeys).
    Certificate {
        /// Its type, e.g. `ssh-ed25519-cert-v01@openssh.com`.
        kind: String,
        /// What else it says; None where it can't be read.
        claims: Option<Claims>,
    },
    /// Anything else.
    Opaque,
}

/// A request to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Userauth {
    /// The session this login is for.
    pub session_id: Vec<u8>,
    /// As whom. It need not be UTF-8; what it is compared with is bytes as well.
    pub user: Vec<u8>,
    /// The host key the client saw, where the method carries it (`publickey-hostbound-v00@openssh.com`).
    pub host_key: Option<Vec<u8>>,
    /// Whether it shows a certificate of the key that signs, rather than the key. ssh asks so for a CertificateFile whose
    /// key is in the agent without it.
    pub by_certificate: bool,
}

impl Userauth {
    /// The service that is asked for: no other one has a login (RFC 4254 § 1).
    pub const SERVICE: &str = "ssh-connection";

    /// How the user is to be authenticated (RFC 4252 § 7; OpenSSH PROTOCOL § 3.1).
    #[must_use]
    pub fn method(&self) -> &'static str {
        if self.host_key.is_some() { HOSTBOUND } else { PUBLICKEY }
    }

    /// The user's name for people to read.
    #[must_use]
    pub fn user_name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.user)
    }
}

const PUBLICKEY: &str = "publickey";
const HOSTBOUND: &str = "publickey-hostbound-v00@openssh.com";
const SSH_MSG_USERAUTH_REQUEST: u8 = 50;
const SSHSIG_MAGIC: &[u8] = b"SSHSIG";

impl Payload {
    /// Reads `data`, which `key` (as the client encoded it: key or certificate) is asked to sign.
    #[must_use]
    pub fn parse(data: &[u8], key: &[u8]) -> Self {
        userauth(data, key)
            .map(Self::Userauth)
            .or_else(|| sshsig(data))
            .or_else(|| certificate(data))
            .unwrap_or(Self::Opaque)
    }
}

/// Statement by statement `parse_userauth_request` of ssh-agent.c: nothing missing, nothing left over, and the key in
/// the data is the key that signs, or a certificate of it, which ssh-agent refuses for constrained keys alone.
fn userauth(mut data: &[u8], key: &[u8]) -> Option<Userauth> {
    let data = &mut data;
    let session_id = Vec::<u8>::decode(data).ok()?;
    let kind = u8::decode(data).ok()?;
    let user = c_string(data)?;
    let service = text(data)?;
    let method = text(data)?;
    let signature_follows = u8::decode(data).ok()?;
    let algorithm = text(data)?;
    let in_data = Vec::<u8>::decode(data).ok()?;
    let host_key = match method.as_str() {
        PUBLICKEY => None,
        HOSTBOUND => Some(Vec::<u8>::decode(data).ok()?),
        _ => return None,
    };
    let by_certificate = in_data != key;
    let fits = !session_id.is_empty()
        && kind == SSH_MSG_USERAUTH_REQUEST
        && service == Userauth::SERVICE
        && signature_follows == 1
        && (!by_certificate || certifies(&in_data, key))
        && signs_with(&algorithm, &in_data)
        && data.is_empty();
    fits.then_some(Userauth { session_id, user, host_key, by_certificate })
}

/// Whether `shown` is a certificate of the plain `key`.
fn certifies(shown: &[u8], key: &[u8]) -> bool {
    let plain = || plain_public_key(key).filter(|_| !is_certificate(key));
    is_certificate(shown) && plain().is_some_and(|plain| plain_public_key(shown) == Some(plain))
}

/// Whether `algorithm` is one that `key` signs with. Only RSA keys have signature algorithms by other names (RFC 8332).
fn signs_with(algorithm: &str, mut key: &[u8]) -> bool {
    let Ok(kind) = String::decode(&mut key) else {
        return false;
    };
    let rsa = |name: &str| matches!(name, "ssh-rsa" | "rsa-sha2-256" | "rsa-sha2-512");
    let rsa_certificate = |name: &str| name.strip_suffix("-cert-v01@openssh.com").is_some_and(rsa);
    algorithm == kind || rsa(algorithm) && rsa(&kind) || rsa_certificate(algorithm) && rsa_certificate(&kind)
}

fn sshsig(data: &[u8]) -> Option<Payload> {
    let data = &mut data.strip_prefix(SSHSIG_MAGIC)?;
    let namespace = text(data)?;
    let _reserved = Vec::<u8>::decode(data).ok()?;
    let hash_algorithm = text(data)?;
    let hash = Vec::<u8>::decode(data).ok()?;
    let length = match hash_algorithm.as_str() {
        "sha256" => 32,
        "sha512" => 64,
        _ => return None,
    };
    (!namespace.is_empty() && hash.len() == length && data.is_empty()).then_some(Payload::SshSig { namespace })
}

/// The part of a certificate its issuer signs begins with the certificate's type and a nonce, then the subject's key.
fn certificate(data: &[u8]) -> Option<Payload> {
    let mut rest = data;
    let kind = text(&mut rest)?;
    ssh_key::Algorithm::new_certificate(&kind).ok()?;
    rest.drain_prefixed().ok()?;
    (!rest.is_empty()).then(|| Payload::Certificate { kind, claims: Claims::read(data) })
}

/// A string that people will read. Bytes that are not UTF-8 are shown as such; the signature covers the bytes.
fn text(data: &mut &[u8]) -> Option<String> {
    c_string(data).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// A name that is one in C as well: sshd reads no further than a NUL, and no program sends one.
fn c_string(data: &mut &[u8]) -> Option<Vec<u8>> {
    let bytes = Vec::<u8>::decode(data).ok()?;
    (!bytes.contains(&0)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssh_encoding::Encode;

    const KEY: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x04abcd";

    enum Part<'a> {
        Str(&'a [u8]),
        Byte(u8),
    }
    use Part::{Byte, Str};

    fn bytes(parts: &[Part<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        for part in parts {
            match part {
                Str(s) => s.encode(&mut out).unwrap(),
                Byte(b) => out.push(*b),
            }
        }
        out
    }

    fn login() -> Vec<Part<'static>> {
        vec![
            Str(b"session"),
            Byte(50),
            Str(b"alice"),
            Str(b"ssh-connection"),
            Str(b"publickey"),
            Byte(1),
            Str(b"ssh-ed25519"),
            Str(KEY),
        ]
    }

    #[test]
    fn a_login_is_read() {
        let expected = Userauth {
            session_id: b"session".to_vec(),
            user: b"alice".to_vec(),
            host_key: None,
            by_certificate: false,
        };
        assert_eq!(Payload::parse(&bytes(&login()), KEY), Payload::Userauth(expected));
    }

    #[test]
    fn a_hostbound_login_carries_its_host_key() {
        let mut parts = login();
        parts[4] = Str(b"publickey-hostbound-v00@openssh.com");
        parts.push(Str(b"host key"));
        let Payload::Userauth(login) = Payload::parse(&bytes(&parts), KEY) else { panic!("not a login") };
        assert_eq!(login.host_key.unwrap(), b"host key");
    }

    #[test]
    fn a_login_may_show_a_certificate_of_the_key() {
        let key = |fill: u8| bytes(&[Str(b"ssh-ed25519"), Str(&[fill; 32])]);
        let kind = b"ssh-ed25519-cert-v01@openssh.com";
        let certificate = bytes(&[Str(kind), Str(&[0; 32]), Str(&[1; 32])]);
        let mut parts = login();
        (parts[6], parts[7]) = (Str(kind), Str(&certificate));
        let Payload::Userauth(login) = Payload::parse(&bytes(&parts), &key(1)) else { panic!("not a login") };
        assert!(login.by_certificate);
        assert_eq!(Payload::parse(&bytes(&parts), &key(2)), Payload::Opaque, "another key's");
        let plain = key(1);
        (parts[6], parts[7]) = (Str(b"ssh-ed25519"), Str(&plain));
        assert_eq!(Payload::parse(&bytes(&parts), &certificate), Payload::Opaque, "not the other way round");
    }

    /// Each change alone makes a login something opaque.
    #[test]
    fn whatever_is_not_exactly_a_login_is_opaque() {
        let cases: [(&str, usize, Part<'_>); 10] = [
            ("empty session id", 0, Str(b"")),
            ("another message number", 1, Byte(51)),
            ("a user with a NUL inside", 2, Str(b"alice\0x")),
            ("a user with a NUL at the end", 2, Str(b"alice\0")),
            ("another service", 3, Str(b"ssh-userauth")),
            ("another method", 4, Str(b"password")),
            ("hostbound without a host key", 4, Str(b"publickey-hostbound-v00@openssh.com")),
            ("no signature follows", 5, Byte(0)),
            ("an algorithm of another key", 6, Str(b"ssh-rsa")),
            ("another key", 7, Str(b"\0\0\0\x0bssh-ed25519\0\0\0\x04abce")),
        ];
        for (what, place, part) in cases {
            let mut parts = login();
            parts[place] = part;
            assert_eq!(Payload::parse(&bytes(&parts), KEY), Payload::Opaque, "{what}");
        }
        let mut longer = bytes(&login());
        longer.push(0);
        assert_eq!(Payload::parse(&longer, KEY), Payload::Opaque, "a byte left over");
        longer.truncate(longer.len() - 3);
        assert_eq!(Payload::parse(&longer, KEY), Payload::Opaque, "cut short");
    }

    #[test]
    fn an_sshsig_names_its_namespace() {
        let body = bytes(&[Str(b"git"), Str(b""), Str(b"sha512"), Str(&[1; 64])]);
        let data = [SSHSIG_MAGIC, &body].concat();
        assert_eq!(Payload::parse(&data, KEY), Payload::SshSig { namespace: "git".into() });
        for (what, parts) in [
            ("empty namespace", [Str(b""), Str(b""), Str(b"sha512"), Str(&[1; 64])]),
            ("another hash", [Str(b"git"), Str(b""), Str(b"md5"), Str(&[1; 16])]),
            ("a hash too short", [Str(b"git"), Str(b""), Str(b"sha512"), Str(&[1; 32])]),
        ] {
            let data = [SSHSIG_MAGIC, &bytes(&parts)].concat();
            assert_eq!(Payload::parse(&data, KEY), Payload::Opaque, "{what}");
        }
    }

    #[test]
    fn a_certificate_is_known_by_its_type() {
        let data = bytes(&[Str(b"ssh-ed25519-cert-v01@openssh.com"), Str(&[0; 32]), Str(&[1; 32])]);
        let kind = "ssh-ed25519-cert-v01@openssh.com".into();
        assert_eq!(Payload::parse(&data, KEY), Payload::Certificate { kind, claims: None });
    }

    #[test]
    fn rsa_signs_under_three_names() {
        let rsa = bytes(&[Str(b"ssh-rsa")]);
        assert!(signs_with("rsa-sha2-512", &rsa) && signs_with("ssh-rsa", &rsa));
        assert!(!signs_with("ssh-ed25519", &rsa) && !signs_with("rsa-sha2-512-cert-v01@openssh.com", &rsa));
    }

    #[test]
    fn rubbish_is_opaque() {
        assert_eq!(Payload::parse(b"", KEY), Payload::Opaque);
        assert_eq!(Payload::parse(&[0xFF; 64], KEY), Payload::Opaque);
        assert_eq!(Payload::parse(b"SSHSIG", KEY), Payload::Opaque);
    }
}
