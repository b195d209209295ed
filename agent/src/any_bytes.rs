//! Whatever bytes come, the parsers say that they are none of theirs, and do not panic; and what they take they take whole.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;
use secrecy::ExposeSecret;

use crate::certificate::{Certificate, plain_public_key};
use crate::made_by_openssh::{addition, additions, certificate, string};
use crate::pattern::wildcard;
use crate::payload::Payload;
use crate::session_binding::SessionBindings;
use crate::wire::{Incoming, decode, decode_addition, decode_bind};

/// Names of certificates that OpenSSH made.
const CERTIFICATES: [&str; 2] = ["user", "host"];

/// Strings, numbers and bytes, as a message is made of them.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => vec(any::<u8>(), 0..40).prop_map(|bytes| string(&bytes)),
        2 => select(&["ssh-ed25519", "session-bind@openssh.com", "publickey", "sha512", "ssh-connection"])
            .prop_map(|name| string(name.as_bytes())),
        1 => any::<u32>().prop_map(|number| number.to_be_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    vec(part, 0..9).prop_map(|parts| parts.concat())
}

/// A message, or bytes that are none.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![message(), vec(any::<u8>(), 0..200)]
}

/// The same with the number of one in front.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![select(&[11_u8, 13, 17, 18, 19, 20, 22, 23, 25, 26, 27]), any::<u8>()];
    (kind, bytes()).prop_map(|(kind, body)| [&[kind], &body[..]].concat())
}

/// What happens to bytes on their way.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Cut(Index),
    Extend(Vec<u8>),
}

impl Damage {
    fn to(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Extend(more) => bytes.extend(more),
            _ if bytes.is_empty() => {}
            Self::Flip(place, bits) => *place.get_mut(&mut bytes) ^= bits,
            Self::Cut(place) => bytes.truncate(place.index(bytes.len())),
        }
        bytes
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<Index>(), 1_u8..).prop_map(|(place, bits)| Damage::Flip(place, bits)),
        2 => any::<Index>().prop_map(Damage::Cut),
        1 => vec(any::<u8>(), 1..5).prop_map(Damage::Extend),
    ]
}

/// A message as its client wrote it. None for those whose parts are read elsewhere.
fn encode(incoming: &Incoming, kind: u8) -> Option<Vec<u8>> {
    let body = match incoming {
        Incoming::List | Incoming::RemoveAll => vec![],
        Incoming::Sign(sign) => [&string(&sign.key_blob)[..], &string(&sign.data), &sign.flags.to_be_bytes()].concat(),
        Incoming::Remove(blob) => string(blob),
        Incoming::Lock(password) | Incoming::Unlock(password) => string(password.expose_secret()),
        Incoming::Add | Incoming::Extension { .. } | Incoming::Pkcs11 => return None,
    };
    Some([&[kind], &body[..]].concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 2000,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn messages(frame in frame()) {
        if let Ok(incoming) = decode(&frame) {
            if let Some(whole) = encode(&incoming, frame[0]) {
                prop_assert_eq!(&whole, &frame, "nothing is missing, and nothing left over");
            }
            if let Incoming::Extension { body, .. } = incoming {
                prop_assert!(frame.ends_with(&body));
                let _ = decode_bind(&body);
            }
        }
        let _ = decode_addition(&frame);
    }

    #[test]
    fn keys_to_be_added(which in any::<Index>(), damages in vec(damage(), 1..4)) {
        let names: Vec<_> = additions().collect();
        let whole = addition(names[which.index(names.len())]);
        let _ = decode_addition(&damages.iter().fold(whole, |bytes, damage| damage.to(bytes)));
    }

    /// All of a certificate is signed, but for the signature's own encoding.
    #[test]
    fn certificates(which in select(&CERTIFICATES), damage in damage(), any in bytes()) {
        let whole = certificate(which);
        prop_assert!(Certificate::parse(&whole).is_some());
        let damaged = damage.to(whole);
        prop_assert_eq!(Certificate::parse(&damaged), None);
        let _ = (plain_public_key(&damaged), Certificate::parse(&any), plain_public_key(&any));
    }

    #[test]
    fn data_to_be_signed(data in bytes(), key in bytes(), damage in damage()) {
        let _ = Payload::parse(&data, &key);
        let login = [
            string(b"session"),
            vec![50],
            string(b"me"),
            string(b"ssh-connection"),
            string(b"publickey"),
            vec![1],
            string(b"ssh-ed25519"),
            string(&key),
        ];
        let _ = Payload::parse(&damage.to(login.concat()), &key);
        let sshsig = [b"SSHSIG".to_vec(), string(b"git"), string(b""), string(b"sha512"), string(&[7; 64])].concat();
        prop_assert_eq!(Payload::parse(&sshsig, &key), Payload::SshSig { namespace: "git".into() });
        let _ = Payload::parse(&damage.to(sshsig), &key);
    }

    /// What nobody has signed is bound by nobody.
    #[test]
    fn session_bindings(key in bytes(), session in bytes(), signature in bytes(), is_forwarding in any::<bool>()) {
        for key in [key, certificate("host"), plain(&certificate("host"))] {
            let mut bindings = SessionBindings::default();
            prop_assert!(bindings.bind(&key, &session, &signature, is_forwarding).is_err());
            prop_assert!(bindings.attempt_failed() && bindings.last().is_none());
        }
    }

    #[test]
    fn patterns(pattern in "[ab*?]{0,8}", text in "[abé]{0,8}") {
        prop_assert_eq!(wildcard(&pattern, &text), matches(pattern.as_bytes(), text.as_bytes()));
    }
}

/// The plain key in a certificate.
fn plain(certificate: &[u8]) -> Vec<u8> {
    crate::identity::key_blob(&plain_public_key(certificate).unwrap())
}

/// What match.c means, as short as can be.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|swallowed| matches(rest, &text[swallowed..])),
        ([b'?', pattern @ ..], [_, text @ ..]) => matches(pattern, text),
        ([p, pattern @ ..], [t, text @ ..]) => p == t && matches(pattern, text),
        _ => false,
    }
}
