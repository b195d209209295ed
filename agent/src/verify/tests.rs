//! Signatures that `ssh-keygen` made when it certified, see `fixtures/keys/make`, and what others make of them.

use super::*;
use crate::made_by_openssh::{certificate, string};

/// A signature of the authority of that name over a certificate.
struct Signed {
    key: KeyData,
    message: Vec<u8>,
    blob: Vec<u8>,
}

fn signed_by(name: &str) -> Signed {
    let certificate = certificate(name);
    // The authority's key and its signature are a certificate's last two strings.
    for place in (0..certificate.len() - 4).rev() {
        let mut rest = &certificate[place..];
        let (Ok(key), message_end) = (Vec::<u8>::decode(&mut rest), certificate.len() - rest.len()) else { continue };
        let Ok(blob) = Vec::<u8>::decode(&mut rest) else { continue };
        if let (Ok(key), true) = (KeyData::decode(&mut key.as_slice()), rest.is_empty()) {
            return Signed { key, message: certificate[..message_end].to_vec(), blob };
        }
    }
    panic!("{name} is no certificate");
}

const KEYS: [&str; 10] = [
    "ca-ed25519",
    "ca-ecdsa256",
    "ca-ecdsa384",
    "ca-ecdsa521",
    "ca-rsa",
    "ca-rsa-sha256",
    "ca-rsa1024",
    "ca-rsa8192",
    "ca-sk-ed25519",
    "ca-sk-ecdsa",
];

#[test]
fn a_signature_is_one_key_s_over_one_message() {
    let all = KEYS.map(signed_by);
    for (name, signed) in KEYS.iter().zip(&all) {
        assert!(verifies(&signed.key, &signed.message, &signed.blob), "{name}");
        assert!(!verifies(&signed.key, &signed.message[1..], &signed.blob), "{name}, another message");
        for (other, other_key) in KEYS.iter().zip(&all).filter(|(_, other)| other.key != signed.key) {
            assert!(!verifies(&other_key.key, &signed.message, &signed.blob), "{name}'s, as {other}'s");
        }
    }
}

/// RSA keys have two names to sign under, with a hash each. SHA-1 is none, whatever it is called.
#[test]
fn a_signature_says_how_it_was_made() {
    const NAMES: [&str; 9] = [
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "ssh-rsa",
        "rsa-sha2-256",
        "rsa-sha2-512",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    for name in KEYS.into_iter().chain(["ca-rsa-sha1"]) {
        let Signed { key, message, blob } = signed_by(name);
        let own = String::decode(&mut blob.as_slice()).unwrap();
        for other in NAMES.into_iter().chain(["ssh-rsa-cert-v01@openssh.com", "made-up@example.com", ""]) {
            let renamed = [string(other.as_bytes()), blob[4 + own.len()..].to_vec()].concat();
            assert_eq!(verifies(&key, &message, &renamed), own == other && other != "ssh-rsa", "{name} as {other}");
        }
    }
}

/// Flags and counter stand behind the signature of a token's key, and nothing behind the others'.
#[test]
fn nothing_is_left_over_or_missing() {
    for name in KEYS {
        let Signed { key, message, blob } = signed_by(name);
        let behind = Encoded::parse(&blob).unwrap().trailer.len();
        assert_eq!(behind, if name.starts_with("ca-sk-") { SK_TRAILER } else { 0 }, "{name}");
        for length in 0..blob.len() {
            assert!(!verifies(&key, &message, &blob[..length]), "{length} bytes of {name}");
        }
        for more in [&[0][..], &[0x01, 0, 0, 0, 1]] {
            assert!(!verifies(&key, &message, &[&blob, more].concat()), "{name} and {more:?}");
        }
    }
}

/// A token's signature covers its flags and its counter, and the application.
#[test]
fn a_token_vouches_for_flags_and_counter() {
    for name in ["ca-sk-ed25519", "ca-sk-ecdsa"] {
        let Signed { key, message, blob } = signed_by(name);
        for place in blob.len() - SK_TRAILER..blob.len() {
            let mut changed = blob.clone();
            changed[place] ^= 0x04;
            assert!(!verifies(&key, &message, &changed), "byte {place} of {name}");
        }
        let mut public = crate::identity::key_blob(&key);
        assert!(public.ends_with(b"ssh:"));
        *public.last_mut().unwrap() = b';';
        assert!(!verifies(&KeyData::decode(&mut public.as_slice()).unwrap(), &message, &blob), "{name}");
    }
}

#[test]
fn two_integers_of_the_curve_s_length_are_an_ecdsa_signature() {
    let Signed { key, message, blob } = signed_by("ca-ecdsa384");
    let encoded = Encoded::parse(&blob).unwrap();
    let mut rest = encoded.signature.as_slice();
    let (r, s) = (Vec::<u8>::decode(&mut rest).unwrap(), Vec::<u8>::decode(&mut rest).unwrap());
    let with = |integers: &[&[u8]]| {
        let integers: Vec<u8> = integers.iter().flat_map(|integer| string(integer)).collect();
        [string(encoded.algorithm.as_bytes()), string(&integers)].concat()
    };
    for (what, integers, good) in [
        ("as it was", &[&r[..], &s][..], true),
        ("the other way round", &[&s, &r], false),
        ("one", &[&r], false),
        ("three", &[&r, &s, &[]], false),
        ("nothing", &[], false),
        ("zero", &[&r, &[]], false),
        ("negative", &[&r, &[0x80]], false),
        ("too long", &[&r, &[1; 49]], false),
        ("much too long", &[&r, &[1; 10_000]], false),
    ] {
        assert_eq!(verifies(&key, &message, &with(integers)), good, "{what}");
    }
}
