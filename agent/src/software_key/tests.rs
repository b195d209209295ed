//! Keys that `ssh-keygen` made, see `fixtures/keys/make`, and keys that are none.

use super::*;
use crate::made_by_openssh::addition;
use crate::verify::verifies;
use crate::wire::{AddedKey, Addition, decode_addition};
use ssh_encoding::Decode;
use ssh_key::public::KeyData;
use std::time::{Duration, Instant};

fn added(name: &str) -> (KeyData, SoftwareKey) {
    match decode_addition(&addition(name)) {
        Ok(Addition { public_key, key: AddedKey::Software(key), .. }) => (public_key, key),
        _ => panic!("{name} is not added"),
    }
}

fn name_of(signature: &[u8]) -> String {
    String::decode(&mut &*signature).unwrap()
}

#[test]
fn keys_of_every_type_sign() {
    for (name, algorithm) in [
        ("ed25519", "ssh-ed25519"),
        ("ecdsa256", "ecdsa-sha2-nistp256"),
        ("ecdsa384", "ecdsa-sha2-nistp384"),
        ("ecdsa521", "ecdsa-sha2-nistp521"),
        ("short521", "ecdsa-sha2-nistp521"),
    ] {
        let (public, key) = added(name);
        assert!(!key.is_slow());
        // What an ECDSA signature's two integers begin with is a matter of luck, and so is their length.
        for n in 0..100_u8 {
            let signature = key.sign(&[n; 300], 0).unwrap();
            assert!(verifies(&public, &[n; 300], &signature), "{name}, message {n}");
            assert_eq!(name_of(&signature), algorithm);
        }
        assert_eq!(name_of(&key.sign(b"", RSA_SHA2_256 | RSA_SHA2_512).unwrap()), algorithm, "flags are for RSA keys");
    }
}

/// RFC 8032 § 7.1, test 2: the one signature here that does not depend on chance.
#[test]
fn ed25519_signs_as_its_specification_says() {
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let seed = bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let public = bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                    085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
    let signature = SoftwareKey::ed25519(&seed, &public).unwrap().sign(&[0x72], 0).unwrap();
    assert_eq!(signature[signature.len() - 64..], bytes(expected));
}

/// Statement 17: of two hashes SHA-256; SHA-1 for nobody.
#[test]
fn flags_choose_the_hash_of_an_rsa_key() {
    let (public, key) = added("rsa");
    assert!(key.is_slow());
    for (flags, expected) in [
        (0, Err(SoftwareKeyError::Sha1)),
        (RSA_SHA2_256, Ok("rsa-sha2-256")),
        (RSA_SHA2_512, Ok("rsa-sha2-512")),
        (RSA_SHA2_256 | RSA_SHA2_512, Ok("rsa-sha2-256")),
        (RSA_SHA2_512 | 0x8000_0000, Ok("rsa-sha2-512")),
        (1, Err(SoftwareKeyError::Sha1)),
        (0xffff_fff8, Err(SoftwareKeyError::Sha1)),
    ] {
        let signature = key.sign(b"data", flags);
        assert_eq!(signature.as_ref().map(|signature| name_of(signature)), expected.as_ref().map(ToString::to_string));
        if let Ok(signature) = signature {
            assert!(verifies(&public, b"data", &signature), "flags {flags:#x}");
        }
    }
}

#[test]
fn the_longest_rsa_key_signs() {
    let (public, key) = added("rsa8192");
    let signature = key.sign(b"data", RSA_SHA2_512).unwrap();
    assert!(verifies(&public, b"data", &signature));
    assert_eq!(signature.len(), 4 + "rsa-sha2-512".len() + 4 + LONGEST_MODULUS);
}

/// Such a key would sign in vain, and make clients believe in it.
#[test]
fn a_public_key_has_to_be_that_of_the_private_one() {
    let ours: [u8; 32] = std::array::from_fn(|n| n as u8);
    let theirs = ours.map(|byte| byte + 1);
    let public = |seed| ssh_key::private::Ed25519Keypair::from_seed(seed).public.0;
    assert!(SoftwareKey::ed25519(&ours, &public(&ours)).is_ok());
    for (seed, public) in [
        (&ours[..], &public(&theirs)[..]),
        (&ours[..31], &public(&ours)),
        (&[], &public(&ours)),
        (&ours, &[]),
        (&ours, &[0; 32]),
    ] {
        assert_eq!(SoftwareKey::ed25519(seed, public).err(), Some(SoftwareKeyError::Rejected));
    }
}

fn mpint(bytes: &[u8]) -> Mpint {
    Mpint::from_positive_bytes(bytes).unwrap()
}

#[test]
fn a_scalar_is_between_zero_and_the_curve_s_order() {
    for (name, curve) in [
        ("ecdsa256", EcdsaCurve::NistP256),
        ("ecdsa384", EcdsaCurve::NistP384),
        ("ecdsa521", EcdsaCurve::NistP521),
        ("short521", EcdsaCurve::NistP521),
    ] {
        let KeyData::Ecdsa(public) = added(name).0 else { panic!("{name}") };
        let point = public.as_sec1_bytes();
        // The scalar is the third string of the frame.
        let frame = addition(name);
        let mut rest = &frame[1..];
        let [_, _, _] = std::array::from_fn(|_| Vec::<u8>::decode(&mut rest).unwrap());
        let scalar = Mpint::decode(&mut rest).unwrap();
        assert!(SoftwareKey::ecdsa(curve, &scalar, point).is_ok(), "{name}");

        let length = curve_parameters(curve).1;
        let mut other = scalar.as_positive_bytes().unwrap().to_vec();
        *other.last_mut().unwrap() ^= 1;
        let not_on_the_curve = [&[4][..], &vec![1; 2 * length]].concat();
        for (what, scalar, point) in [
            ("another key's", mpint(&other), point),
            ("zero", mpint(&[]), point),
            ("one", mpint(&[1]), point),
            ("more than the order", mpint(&vec![0xff; length]), point),
            ("longer than the order", mpint(&vec![0x11; length + 1]), point),
            ("huge", mpint(&vec![0x11; 100_000]), point),
            ("negative", Mpint::from_bytes(&[0x80, 1]).unwrap(), point),
            ("its point not on the curve", scalar.clone(), &not_on_the_curve),
            ("its point missing", scalar.clone(), &[]),
            ("its point cut", scalar.clone(), &point[..point.len() - 1]),
        ] {
            assert_eq!(SoftwareKey::ecdsa(curve, &scalar, point).err(), Some(SoftwareKeyError::Rejected), "{what}");
        }
    }
}

/// The parts of an RSA key, in the order of `ssh-add`.
fn rsa_parts(name: &str) -> RsaParts {
    let frame = addition(name);
    let mut rest = &frame[1..];
    assert_eq!(String::decode(&mut rest).unwrap(), "ssh-rsa");
    let [n, e, d, iqmp, p, q] = std::array::from_fn(|_| Mpint::decode(&mut rest).unwrap());
    RsaParts { n, e, d, iqmp, p, q }
}

/// Whoever adds a key chooses its numbers. A library that divides by zero, or tries to factor them, is not asked to.
#[test]
fn an_rsa_key_is_refused_soon_whatever_its_numbers() {
    assert!(SoftwareKey::rsa(&rsa_parts("rsa")).is_ok());
    let began = Instant::now();
    let refused = |what: &str, parts: &RsaParts| {
        assert_eq!(SoftwareKey::rsa(parts).err(), Some(SoftwareKeyError::Rejected), "{what}");
    };
    refused("1024 bits", &rsa_parts("rsa1024"));

    type Place = fn(&mut RsaParts) -> &mut Mpint;
    let places: [(&str, Place); 6] = [
        ("n", |parts| &mut parts.n),
        ("e", |parts| &mut parts.e),
        ("d", |parts| &mut parts.d),
        ("iqmp", |parts| &mut parts.iqmp),
        ("p", |parts| &mut parts.p),
        ("q", |parts| &mut parts.q),
    ];
    for (name, place) in places {
        let good = place(&mut rsa_parts("rsa")).as_positive_bytes().unwrap().to_vec();
        let (mut even, mut other, mut high) = (good.clone(), good.clone(), good.clone());
        *even.last_mut().unwrap() ^= 1;
        *other.last_mut().unwrap() ^= 2;
        high[0] ^= 0x40;
        for (what, value) in [
            ("zero", mpint(&[])),
            ("one", mpint(&[1])),
            ("two", mpint(&[2])),
            ("even", mpint(&even)),
            ("another", mpint(&other)),
            ("another by far", mpint(&high)),
            ("cut", mpint(&good[..good.len() - 1])),
            ("doubled", mpint(&[&good[..], &good].concat())),
            ("all ones", mpint(&vec![0xff; LONGEST_MODULUS])),
            ("huge", mpint(&vec![0xff; 200_000])),
            ("negative", Mpint::from_bytes(&[0x80, 0]).unwrap()),
        ] {
            let mut parts = rsa_parts("rsa");
            *place(&mut parts) = value;
            refused(&format!("{name} is {what}"), &parts);
        }
    }
    let with_primes = |p: fn(&RsaParts) -> &Mpint, q: fn(&RsaParts) -> &Mpint| {
        let (good, mut parts) = (rsa_parts("rsa"), rsa_parts("rsa"));
        (parts.p, parts.q) = (p(&good).clone(), q(&good).clone());
        parts
    };
    refused("the same prime twice", &with_primes(|good| &good.p, |good| &good.p));
    refused("the primes the other way round", &with_primes(|good| &good.q, |good| &good.p));
    for (what, value) in [("zero", mpint(&[])), ("one", mpint(&[1])), ("huge", mpint(&vec![0xff; LONGEST_MODULUS]))] {
        let [n, e, d, iqmp, p, q] = std::array::from_fn(|_| value.clone());
        refused(&format!("all are {what}"), &RsaParts { n, e, d, iqmp, p, q });
    }
    // Each of them takes milliseconds where the code is optimised.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
