//! The frames of `ssh-add`, see `fixtures/keys/make`, and what could be sent instead.

use super::*;
use crate::made_by_openssh::{addition, additions, certificate, string};
use crate::verify::verifies;
use crate::wire::decode_addition as added;

#[test]
fn ssh_add_adds_keys_of_every_type() {
    for name in additions().filter(|name| *name != "rsa1024") {
        let added = added(&addition(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let plain = crate::identity::key_blob(&added.public_key);
        assert_eq!(added.blob == plain, !name.ends_with("-certificate"), "{name}");
        assert_eq!(crate::certificate::plain_public_key(&added.blob).as_ref(), Some(&added.public_key), "{name}");
        assert_eq!(added.comment, name.trim_end_matches("-certificate").replace("constrained", "ed25519"));
        match &added.key {
            AddedKey::Software(key) => {
                let signature = key.sign(b"data", 4).expect(name);
                assert!(verifies(&added.public_key, b"data", &signature), "{name}");
                assert_eq!(added.provider, None, "{name}");
            }
            AddedKey::Credential(credential) => {
                assert_eq!((credential.application.as_str(), credential.flags), ("ssh:", SkFlags(0x01)));
                assert_eq!(crate::identity::application(&added.public_key), Some("ssh:"));
                assert!(credential.key_handle.as_bytes().len() > 16, "{name}");
                assert_eq!(added.provider.as_deref(), Some("internal"), "{name}");
            }
        }
    }
}

/// Certificates that `ssh-add` sends are good for ever, which ssh-key 0.6 can't read.
#[test]
fn a_certificate_is_an_identity_beside_its_key() {
    for name in ["ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa", "sk-ed25519", "sk-ecdsa"] {
        let plain = added(&addition(name)).expect(name);
        let certified = added(&addition(&format!("{name}-certificate"))).expect(name);
        assert_eq!(plain.public_key, certified.public_key, "{name}");
        assert_ne!(plain.blob, certified.blob, "{name}");
    }
}

#[test]
fn a_frame_that_is_cut_adds_nothing() {
    for name in additions().filter(|name| *name != "rsa8192") {
        let frame = addition(name);
        // RSA keys are checked first and then found to lack a comment, which takes its time.
        let step = if name.starts_with("rsa") { 97 } else { 1 };
        for length in (0..frame.len()).step_by(step) {
            let Ok(added) = added(&frame[..length]) else { continue };
            // What is left out is constraints, and nothing of one.
            let constraints = if name.starts_with("sk-") { b"sk-provider@openssh.com".len() } else { 0 };
            assert!(constraints > 0 || name == "constrained", "{length} of {} bytes of {name}", frame.len());
            assert_eq!(added.provider, None, "{length} of {} bytes of {name}", frame.len());
        }
        assert!(added(&[&frame[..], &[0]].concat()).is_err(), "a byte more than {name}");
    }
}

/// A plain Ed25519 key, as `ssh-add` sends it.
fn ed25519(seed: u8, comment: &[u8]) -> Vec<u8> {
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]);
    let secret = [&[seed; 32][..], &pair.public.0].concat();
    [&[17][..], &string(b"ssh-ed25519"), &string(&pair.public.0), &string(&secret), &string(comment)].concat()
}

#[test]
fn a_comment_is_any_bytes() {
    for (comment, expected) in [
        (&b""[..], String::new()),
        (b"me@here", "me@here".into()),
        (b"caf\xe9", "caf\u{fffd}".into()),
        (&[b'x'; 100_000], "x".repeat(LONGEST_COMMENT)),
    ] {
        assert_eq!(added(&ed25519(1, comment)).unwrap().comment, expected);
    }
}

/// It would be offered, and sign nothing that anybody accepts.
#[test]
fn what_contradicts_itself_is_no_key() {
    let pair = |seed: u8| ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]);
    let (ours, theirs) = (pair(1).public.0, pair(2).public.0);
    let frame = |public: &[u8], secret: &[&[u8]]| {
        [&[17][..], &string(b"ssh-ed25519"), &string(public), &string(&secret.concat()), &string(b"")].concat()
    };
    assert!(added(&frame(&ours, &[&[1; 32], &ours])).is_ok());
    for (what, frame) in [
        ("another public key", frame(&theirs, &[&[1; 32], &ours])),
        ("another public key, twice", frame(&theirs, &[&[1; 32], &theirs])),
        ("another public key behind the secret", frame(&ours, &[&[1; 32], &theirs])),
        ("no public key behind the secret", frame(&ours, &[&[1; 32]])),
        ("no secret", frame(&ours, &[])),
        ("a short secret", frame(&ours, &[&[1; 16]])),
        ("a long secret", frame(&ours, &[&[1; 32], &ours, &[0]])),
        ("no public key", frame(&[], &[&[1; 32]])),
    ] {
        assert!(added(&frame).is_err(), "{what}");
    }
}

#[test]
fn a_certificate_is_added_with_the_key_it_certifies() {
    let frame = addition("ed25519-certificate");
    let mut rest = &frame[1..];
    let [name, blob, public, secret] = std::array::from_fn(|_| Vec::<u8>::decode(&mut rest).unwrap());
    let with = |name: &[u8], blob: &[u8], public: &[u8], secret: &[u8]| {
        let parts = [name, blob, public, secret, b"comment"].map(string);
        added(&[&[17][..], &parts.concat()].concat())
    };
    assert!(with(&name, &blob, &public, &secret).is_ok());
    let other = ssh_key::private::Ed25519Keypair::from_seed(&[1; 32]);
    let other_secret = [&[1; 32][..], &other.public.0].concat();
    let mut damaged = blob.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for (what, result) in [
        ("another key", with(&name, &blob, &other.public.0, &other_secret)),
        ("a certificate that is damaged", with(&name, &damaged, &public, &secret)),
        ("a certificate of another type", with(&name, &certificate("key-rsa"), &public, &secret)),
        ("a certificate of another name", with(b"ssh-rsa-cert-v01@openssh.com", &blob, &public, &secret)),
        ("a plain key for a certificate", with(&name, &string(b"ssh-ed25519"), &public, &secret)),
    ] {
        assert!(result.is_err(), "{what}");
    }
    // hostkey-agent.sh of OpenSSH's tests: sshd's keys may be in an agent, with their certificates.
    let host = certificate("host");
    let of_host = crate::certificate::plain_public_key(&host).unwrap();
    assert_eq!(of_host.ed25519().unwrap().0, *public, "the same key, certified as a host's");
    assert!(with(&name, &host, &public, &secret).is_ok());
}

#[test]
fn a_token_s_ecdsa_key_is_of_one_curve() {
    let frame = addition("sk-ecdsa");
    let name = string(b"sk-ecdsa-sha2-nistp256@openssh.com");
    let of_curve = |curve: &[u8]| {
        let behind = frame[1 + name.len()..].strip_prefix(&string(b"nistp256")[..]).unwrap();
        added(&[&[25][..], &name, &string(curve), behind].concat())
    };
    assert!(of_curve(b"nistp256").is_ok());
    for curve in [&b"nistp384"[..], b"nistp521", b"", b"rubbish"] {
        assert!(of_curve(curve).is_err(), "{curve:?}");
    }
}

/// The application is in the public key, in the certificate and beside the key handle.
#[test]
fn a_token_s_certificate_is_one_of_the_same_application() {
    for name in ["sk-ed25519-certificate", "sk-ecdsa-certificate"] {
        let frame = addition(name);
        let application = string(b"ssh:");
        let last = (0..frame.len() - 8).rev().find(|at| frame[*at..].starts_with(&application)).unwrap();
        let other = [&frame[..last], &string(b"ssh:other"), &frame[last + application.len()..]].concat();
        assert!(added(&frame).is_ok() && added(&other).is_err(), "{name}");
    }
}

#[test]
fn other_types_are_not_supported() {
    for name in ["ssh-dss", "ssh-dss-cert-v01@openssh.com", "ssh-xmss@openssh.com", "webauthn-sk@example.com", ""] {
        let frame = [&[17][..], &string(name.as_bytes()), &[0; 64]].concat();
        assert!(added(&frame).is_err(), "{name}");
    }
}
