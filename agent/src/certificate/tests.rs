//! Certificates that `ssh-keygen` made, see `fixtures/keys/make`, and damaged ones.

use super::*;
use crate::made_by_openssh::{certificate as made, string};
use crate::software_key::SoftwareKey;

/// 2026, when these tests were written.
const NOW: u64 = 1_784_000_000;

#[test]
fn keys_of_every_type_are_certified() {
    for (name, algorithm) in [
        ("key-ed25519", "ssh-ed25519"),
        ("key-ecdsa256", "ecdsa-sha2-nistp256"),
        ("key-ecdsa384", "ecdsa-sha2-nistp384"),
        ("key-ecdsa521", "ecdsa-sha2-nistp521"),
        ("key-rsa", "ssh-rsa"),
        ("key-sk-ed25519", "sk-ssh-ed25519@openssh.com"),
        ("key-sk-ecdsa", "sk-ecdsa-sha2-nistp256@openssh.com"),
    ] {
        let blob = made(name);
        let certificate = Certificate::parse(&blob).expect(name);
        assert_eq!(certificate.public_key.algorithm().as_str(), algorithm);
        assert_eq!(certificate.authority.algorithm().as_str(), "ssh-ed25519");
        assert!(is_certificate(&blob), "{name}");
        let plain = crate::identity::key_blob(&certificate.public_key);
        assert!(!is_certificate(&plain) && Certificate::parse(&plain).is_none(), "{name}, plain");
        for blob in [&blob, &plain] {
            assert_eq!(plain_public_key(blob).as_ref(), Some(&certificate.public_key), "{name}");
        }
    }
}

/// With SHA-1 an authority certifies nothing, as in all versions of OpenSSH since 8.2.
#[test]
fn keys_of_every_type_certify() {
    for (name, algorithm) in [
        ("ca-ed25519", Some("ssh-ed25519")),
        ("ca-ecdsa256", Some("ecdsa-sha2-nistp256")),
        ("ca-ecdsa384", Some("ecdsa-sha2-nistp384")),
        ("ca-ecdsa521", Some("ecdsa-sha2-nistp521")),
        ("ca-rsa", Some("ssh-rsa")),
        ("ca-rsa-sha256", Some("ssh-rsa")),
        ("ca-rsa-sha1", None),
        ("ca-sk-ed25519", Some("sk-ssh-ed25519@openssh.com")),
        ("ca-sk-ecdsa", Some("sk-ecdsa-sha2-nistp256@openssh.com")),
    ] {
        let authority = Certificate::parse(&made(name)).map(|certificate| certificate.authority.algorithm());
        assert_eq!(authority.as_ref().map(Algorithm::as_str), algorithm, "{name}");
    }
}

#[test]
fn a_host_is_named_by_host_certificates_that_are_good_now() {
    for (name, host, now, expected) in [
        ("host", "leaf", NOW, true),
        ("host", "leaf.example.com", NOW, true),
        ("host", "leaf2", NOW, false),
        ("host", "LEAF", NOW, false),
        ("host", "", NOW, false),
        ("host", "leaf", 0, true),
        ("host", "leaf", u64::MAX - 1, true),
        ("host-wildcards", "leaf.example.com", NOW, true),
        ("host-wildcards", "spine1", NOW, true),
        ("host-wildcards", "spine", NOW, false),
        ("host-wildcards", "example.com", NOW, false),
        ("host-wildcards", "*.example.com", NOW, true),
        ("host-nobody", "leaf", NOW, false),
        ("host-nobody", "", NOW, false),
        ("host-2020s", "leaf", 1_577_836_799, false),
        ("host-2020s", "leaf", 1_577_836_800, true),
        ("host-2020s", "leaf", 1_893_455_999, true),
        ("host-2020s", "leaf", 1_893_456_000, false),
        ("host-options", "leaf", NOW, false),
        ("user", "leaf", NOW, false),
        ("user-options", "leaf", NOW, false),
    ] {
        let certificate = Certificate::parse(&made(name)).expect(name);
        assert_eq!(certificate.names_host(host, now), expected, "{name} for {host:?} at {now}");
    }
}

/// The key, the names, the dates, the authority: its signature covers them all.
#[test]
fn no_byte_can_be_changed() {
    for name in ["host-2020s", "ca-rsa", "ca-ecdsa256", "ca-sk-ed25519"] {
        let good = made(name);
        // RSA is left out now and then: each of its verifications takes a while where nothing is optimised.
        let step = if name == "host-2020s" { 1 } else { 7 };
        for place in (0..good.len()).step_by(step) {
            let mut damaged = good.clone();
            damaged[place] ^= 0x10;
            assert!(Certificate::parse(&damaged).is_none(), "byte {place} of {name}");
        }
        for length in (0..good.len()).step_by(step) {
            assert!(Certificate::parse(&good[..length]).is_none(), "{length} bytes of {name}");
        }
        assert!(Certificate::parse(&[good.as_slice(), &[0]].concat()).is_none(), "a byte more than {name}");
    }
}

fn names(names: &[&[u8]]) -> Vec<u8> {
    names.iter().flat_map(|name| string(name)).collect()
}

/// What `ssh-keygen` would never put into a certificate, and some authority may.
#[derive(Clone)]
struct Odd {
    kind: u32,
    principals: Vec<u8>,
    critical_options: Vec<u8>,
    extensions: Vec<u8>,
    behind: Vec<u8>,
}

impl Odd {
    /// With a good signature.
    fn encode(&self) -> Vec<u8> {
        let public = [
            0x03, 0xa1, 0x07, 0xbf, 0xf3, 0xce, 0x10, 0xbe, 0x1d, 0x70, 0xdd, 0x18, 0xe7, 0x4b, 0xc0, 0x99, 0x67, 0xe4,
            0xd6, 0x30, 0x9b, 0xa5, 0x0d, 0x5f, 0x1d, 0xdc, 0x86, 0x64, 0x12, 0x55, 0x31, 0xb8,
        ];
        let seed: Vec<u8> = (0..32).collect();
        let authority = SoftwareKey::ed25519(&seed, &public).unwrap();
        let key = [string(b"ssh-ed25519"), string(&public)].concat();
        let mut out = string(b"ssh-ed25519-cert-v01@openssh.com");
        for part in [string(&[7; 32]), string(&public), 0_u64.to_be_bytes().to_vec(), self.kind.to_be_bytes().to_vec()]
        {
            out.extend(part);
        }
        out.extend([string(b"id"), string(&self.principals)].concat());
        out.extend([0_u64.to_be_bytes(), u64::MAX.to_be_bytes()].concat());
        for part in [&self.critical_options[..], &self.extensions, b"reserved", &key] {
            out.extend(string(part));
        }
        let signature = authority.sign(&out, 0).unwrap();
        [out, string(&signature), self.behind.clone()].concat()
    }
}

/// `cert_parse` refuses the same ones.
#[test]
fn what_an_authority_signed_has_to_be_a_certificate_too() {
    let plain = Odd {
        kind: HOST,
        principals: names(&[b"leaf"]),
        critical_options: vec![],
        extensions: names(&[b"permit-pty", b""]),
        behind: vec![],
    };
    let certificate = Certificate::parse(&plain.encode()).expect("nothing is odd yet");
    assert!(certificate.names_host("leaf", NOW));
    let many = names(&[&b"leaf"[..]; MOST_PRINCIPALS]);
    for (what, odd, good) in [
        ("neither for users nor for hosts", Odd { kind: 0, ..plain.clone() }, false),
        ("the same", Odd { kind: 3, ..plain.clone() }, false),
        ("as many principals as may be", Odd { principals: many.clone(), ..plain.clone() }, true),
        ("one more", Odd { principals: [many, names(&[b"leaf"])].concat(), ..plain.clone() }, false),
        ("a principal that is cut", Odd { principals: vec![0, 0, 0, 5, b'l'], ..plain.clone() }, false),
        ("a principal that is not UTF-8", Odd { principals: names(&[b"leaf\xff"]), ..plain.clone() }, false),
        ("an option without a value", Odd { critical_options: names(&[b"x"]), ..plain.clone() }, false),
        ("an extension without a value", Odd { extensions: names(&[b"x"]), ..plain.clone() }, false),
        ("an extension that is cut", Odd { extensions: vec![0, 0, 1], ..plain.clone() }, false),
        ("a byte behind it", Odd { behind: vec![0], ..plain.clone() }, false),
    ] {
        assert_eq!(Certificate::parse(&odd.encode()).is_some(), good, "{what}");
    }
}

#[test]
fn rubbish_is_no_certificate() {
    for blob in [&b""[..], b"rubbish", &string(b"ssh-ed25519-cert-v01@openssh.com"), &[0xff; 200]] {
        assert!(Certificate::parse(blob).is_none() && plain_public_key(blob).is_none(), "{blob:?}");
    }
}

#[test]
fn a_certificate_says_its_id_its_serial_and_its_authority() {
    let blob = made("key-ed25519");
    let claims = Claims::read(&blob).unwrap();
    assert_eq!((claims.id.as_slice(), claims.serial), (b"key-ed25519".as_slice(), 7));
    assert_eq!(claims.authority, Certificate::parse(&blob).unwrap().authority);
    // What an authority is asked to sign ends before its signature.
    let signature = string(&[string(b"ssh-ed25519"), string(&[0; 64])].concat());
    let unsigned = blob.len() - signature.len();
    assert_eq!(Claims::read(&blob[..unsigned]), Some(claims));
    assert_eq!(Claims::read(&blob[..unsigned - 1]), None);
}
