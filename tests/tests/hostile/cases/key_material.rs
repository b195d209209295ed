//! Keys that are none, or not the ones they say they are.

use ssh_key::{Algorithm, EcdsaCurve, PrivateKey};

use crate::attack::Attack;
use crate::case::Case;
use crate::certificate::{Certificate, USER};
use crate::keys::{Keys, blob, ed25519, random};
use crate::message::{ADD_IDENTITY, Message};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::refused("add: Ed25519 keys whose halves do not fit", ed25519_keys),
        Case::refused("add: ECDSA keys off their curve, or of another scalar", ecdsa_keys),
        Case::refused("add: RSA keys whose numbers do not fit", rsa_keys),
        Case::refused("add: RSA keys that take for ever to compute with", rsa_giants),
        Case::refused("add: keys of tokens that are none", token_keys),
        Case::refused("add: keys of types that are none, or are gone", types),
        Case::refused("add: certificates that do not hold", certificates),
        Case::refused("requests that name keys that are none", public_keys),
    ]
}

fn tries_to_add(attack: &mut Attack<'_, '_>, what: &str, key: &Message) {
    attack.tries(what, Message::new(ADD_IDENTITY).fields(key).string("hostile"));
}

fn ed25519_keys(attack: &mut Attack<'_, '_>) {
    let pair = |key: &PrivateKey| key.key_data().ed25519().unwrap().to_bytes();
    let (ours, theirs) = (pair(&attack.keys().other), pair(&attack.keys().stranger));
    let (seed, public, other) = (&ours[..32], &ours[32..], &theirs[32..]);
    let whole = |public: &[u8], secret: &[u8]| Message::default().string("ssh-ed25519").string(public).string(secret);
    for (what, key) in [
        ("another public key in front", whole(other, &ours)),
        ("another public key behind the seed", whole(public, &[seed, other].concat())),
        ("another public key in both places", whole(other, &[seed, other].concat())),
        ("a short public key", whole(&public[1..], &ours)),
        ("a long public key", whole(&[public, &[0]].concat(), &ours)),
        ("no public key", whole(b"", &ours)),
        ("the seed alone", whole(public, seed)),
        ("a byte too few", whole(public, &ours[..63])),
        ("a byte too many", whole(public, &[&ours[..], &[0]].concat())),
        ("nothing secret", whole(public, b"")),
        ("something long", whole(public, &ours.repeat(3000))),
    ] {
        tries_to_add(attack, what, &key);
    }
}

fn ecdsa_keys(attack: &mut Attack<'_, '_>) {
    /// The order of P-256's group (SEC 2 § 2.4.2).
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let ecdsa = |curve| random(Algorithm::Ecdsa { curve });
    for curve in [EcdsaCurve::NistP256, EcdsaCurve::NistP384, EcdsaCurve::NistP521] {
        let (key, other) = (ecdsa(curve), ecdsa(curve));
        let pair = key.key_data().ecdsa().unwrap();
        let (point, scalar) = (pair.public_key_bytes(), pair.private_key_bytes());
        let other = other.key_data().ecdsa().unwrap().public_key_bytes();
        let name = key.algorithm();
        let name = name.as_str();
        let whole = |curve: &str, point: &[u8]| Message::default().string(name).string(curve).string(point);
        let changed = |at: usize, to: u8| [&point[..at], &[to], &point[at + 1..]].concat();
        let half = point.len().div_ceil(2);
        for (what, key) in [
            ("another curve's name", whole("nistp224", point).mpint(scalar)),
            (
                "another type's curve",
                whole(if name.ends_with("384") { "nistp256" } else { "nistp384" }, point).mpint(scalar),
            ),
            ("no curve", whole("", point).mpint(scalar)),
            (
                "a point off the curve",
                whole(curve.as_str(), &changed(point.len() - 1, !point[point.len() - 1])).mpint(scalar),
            ),
            ("a compressed point", whole(curve.as_str(), &[&[2], &point[1..half]].concat()).mpint(scalar)),
            ("the point at infinity", whole(curve.as_str(), &[0]).mpint(scalar)),
            ("a point of another kind", whole(curve.as_str(), &changed(0, 7)).mpint(scalar)),
            ("no point", whole(curve.as_str(), b"").mpint(scalar)),
            ("half a point", whole(curve.as_str(), &point[..half]).mpint(scalar)),
            ("another key's point", whole(curve.as_str(), other).mpint(scalar)),
            ("the scalar 0", whole(curve.as_str(), point).mpint(b"")),
            ("the scalar 1", whole(curve.as_str(), point).mpint(&[1])),
            ("a scalar that is negative", whole(curve.as_str(), point).string([&[0xff], scalar].concat())),
            ("a scalar of 100 KiB", whole(curve.as_str(), point).mpint(&[0x5a; 100 * 1024])),
            ("the order as scalar", whole(curve.as_str(), point).mpint(&ORDER)),
        ] {
            tries_to_add(attack, &format!("{name}: {what}"), &key);
        }
    }
}

/// n, e, d, iqmp, p, q.
fn rsa_numbers(keys: &Keys) -> [Vec<u8>; 6] {
    let pair = keys.rsa.key_data().rsa().unwrap();
    let (public, private) = (&pair.public, &pair.private);
    [&public.n, &public.e, &private.d, &private.iqmp, &private.p, &private.q]
        .map(|number| number.as_positive_bytes().unwrap().to_vec())
}

fn rsa(numbers: &[Vec<u8>; 6]) -> Message {
    numbers.iter().fold(Message::default().string("ssh-rsa"), |key, number| key.mpint(number))
}

fn rsa_keys(attack: &mut Attack<'_, '_>) {
    const NAMES: [&str; 6] = ["n", "e", "d", "iqmp", "p", "q"];
    let good = rsa_numbers(attack.keys());
    for (at, name) in NAMES.iter().enumerate() {
        let with = |number: Vec<u8>| {
            let mut numbers = good.clone();
            numbers[at] = number;
            numbers
        };
        let mut even = good[at].clone();
        *even.last_mut().unwrap() &= 0xfe;
        let mut flipped = good[at].clone();
        *flipped.last_mut().unwrap() ^= 2;
        for (what, number) in [("0", vec![]), ("1", vec![1]), ("2", vec![2]), ("another number", flipped)] {
            tries_to_add(attack, &format!("{name} is {what}"), &rsa(&with(number)));
        }
        // Some of them are even by right.
        if ["n", "e", "p", "q"].contains(name) {
            tries_to_add(attack, &format!("{name} is even"), &rsa(&with(even)));
        }
        let negative = NAMES.iter().zip(&good).fold(Message::default().string("ssh-rsa"), |key, (other, number)| {
            if other == name { key.string([&[0xff], &number[..]].concat()) } else { key.mpint(number) }
        });
        tries_to_add(attack, &format!("{name} is negative"), &negative);
    }
    let [n, e, d, iqmp, p, q] = good.clone();
    tries_to_add(attack, "p and p", &rsa(&[n.clone(), e.clone(), d.clone(), iqmp.clone(), p.clone(), p.clone()]));
    tries_to_add(attack, "p = n and q = 1", &rsa(&[n.clone(), e.clone(), d.clone(), iqmp.clone(), n.clone(), vec![1]]));
    let short = |number: &Vec<u8>| number[..64].to_vec();
    tries_to_add(attack, "512 bits", &rsa(&[short(&n), e, short(&d), short(&iqmp), short(&p), short(&q)]));
}

fn rsa_giants(attack: &mut Attack<'_, '_>) {
    let good = rsa_numbers(attack.keys());
    let with = |changes: &[(usize, Vec<u8>)]| {
        let mut numbers = good.clone();
        for (at, number) in changes {
            numbers[*at] = number.clone();
        }
        rsa(&numbers)
    };
    let odd = |bits: usize| {
        let mut number = vec![0xa5; bits / 8];
        number[0] |= 0x80;
        *number.last_mut().unwrap() |= 1;
        number
    };
    for (what, key) in [
        ("an exponent as long as the modulus", with(&[(1, odd(2048))])),
        ("an exponent of 100 KiB", with(&[(1, odd(800 * 1024))])),
        ("a modulus of 8192 bits", with(&[(0, odd(8192)), (4, odd(4096)), (5, odd(4096))])),
        ("a modulus of 16384 bits", with(&[(0, odd(16384)), (2, odd(16384)), (4, odd(8192)), (5, odd(8192))])),
        ("a modulus of 100 KiB", with(&[(0, odd(800 * 1024))])),
        ("all of 40 KiB", rsa(&[0, 1, 2, 3, 4, 5].map(|_| odd(320 * 1024)))),
        ("an exponent of 16384 bits, a modulus of 16384", with(&[(0, odd(16384)), (1, odd(16384)), (2, odd(16384))])),
    ] {
        for _ in 0..super::many(1, 20) {
            tries_to_add(attack, what, &key);
        }
    }
}

/// Nobody has its token.
pub(crate) fn sk_ed25519() -> Message {
    let public = blob(&ed25519());
    token_key("sk-ssh-ed25519@openssh.com", &[&public[public.len() - 32..]])
}

/// The same on the other curve.
pub(crate) fn sk_ecdsa() -> Message {
    let key = random(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 });
    token_key("sk-ecdsa-sha2-nistp256@openssh.com", &[b"nistp256", key.key_data().ecdsa().unwrap().public_key_bytes()])
}

fn token_key(name: &str, public: &[&[u8]]) -> Message {
    let key = public.iter().fold(Message::default().string(name), |key, field| key.string(field));
    key.string("ssh:").byte(1).string([9; 64]).string(b"")
}

fn token_keys(attack: &mut Attack<'_, '_>) {
    const ED25519: &str = "sk-ssh-ed25519@openssh.com";
    const ECDSA: &str = "sk-ecdsa-sha2-nistp256@openssh.com";
    let key = random(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 });
    let point = key.key_data().ecdsa().unwrap().public_key_bytes();
    for (what, key) in [
        ("a short public key", token_key(ED25519, &[&[7; 31]])),
        ("a long public key", token_key(ED25519, &[&[7; 33]])),
        ("no public key", token_key(ED25519, &[b""])),
        ("another curve", token_key(ECDSA, &[b"nistp384", &[4; 97]])),
        ("another curve's name", token_key(ECDSA, &[b"nistp384", point])),
        ("a compressed point", token_key(ECDSA, &[b"nistp256", &[&[2], &point[1..33]].concat()])),
        ("a point off the curve", token_key(ECDSA, &[b"nistp256", &[4; 65]])),
        ("the point at infinity", token_key(ECDSA, &[b"nistp256", &[0]])),
        ("no point", token_key(ECDSA, &[b"nistp256", b""])),
    ] {
        tries_to_add(attack, what, &key);
    }
}

fn types(attack: &mut Attack<'_, '_>) {
    let ed25519 = crate::keys::private(&attack.keys().other);
    let fields = &ed25519.bytes()[4 + "ssh-ed25519".len()..];
    for name in [
        "",
        "ssh-ed25519\0",
        "ssh-ed25519 ",
        "SSH-ED25519",
        "ssh-ed448",
        "ssh-dss",
        "ssh-xmss@openssh.com",
        "rsa-sha2-256",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ssh-ed25519-cert-v01@openssh.com",
        "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
        "sk-ssh-ed25519@openssh.com",
        "\u{fffd}",
        "null",
    ] {
        tries_to_add(attack, name, &Message::default().string(name).raw(fields));
    }
    tries_to_add(attack, "a name of 200 KiB", &Message::default().string("a".repeat(200 * 1024)).raw(fields));
    tries_to_add(attack, "a name that is not UTF-8", &Message::default().string(b"ssh-\xff\xfe").raw(fields));
}

fn certificates(attack: &mut Attack<'_, '_>) {
    let keys = attack.keys();
    let (subject, authority) = (&keys.other, &keys.stranger);
    let good = || Certificate::for_user(subject, authority);
    let flip = |mut signature: Vec<u8>| {
        *signature.last_mut().unwrap() ^= 1;
        signature
    };
    let ecdsa = random(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 });
    let by_certificate = Certificate { authority_blob: Some(good().message().bytes().to_vec()), ..good() };
    let by_another = Certificate { authority_blob: Some(blob(&keys.jump)), ..good() };
    let body = good().message();
    // The private key stands behind the certificate, as in every other message here.
    let secret = crate::keys::private(subject);
    let secret = &secret.bytes()[4 + "ssh-ed25519".len()..];
    let around = |certificate: &[u8]| {
        let name = good().name();
        Message::new(ADD_IDENTITY).string(name).string(certificate).raw(secret).string("hostile")
    };
    let mut longer = body.bytes().to_vec();
    longer.push(0);
    for (what, message) in [
        ("of another key", good().add_as(ADD_IDENTITY, &keys.jump)),
        ("of a key of another type", good().add_as(ADD_IDENTITY, &ecdsa)),
        ("whose signature is another", Certificate { signature: flip, ..good() }.add(ADD_IDENTITY)),
        ("without a signature", Certificate { signature: |_| Vec::new(), ..good() }.add(ADD_IDENTITY)),
        ("signed by somebody else", by_another.add(ADD_IDENTITY)),
        ("signed by a certificate", by_certificate.add(ADD_IDENTITY)),
        ("of a kind that is none", Certificate { kind: USER + 7, ..good() }.add(ADD_IDENTITY)),
        ("with a byte too many", around(&longer)),
        ("that is a plain key", around(&blob(subject))),
        ("that is empty", around(b"")),
        ("that is rubbish", around(&[0x5a; 1024])),
    ] {
        attack.tries(what, message);
    }
    // Cut in its own string, so that the message around it is whole.
    for length in 0..body.bytes().len() {
        attack.tries(&format!("cut to {length} bytes"), around(&body.bytes()[..length]));
    }
    for (number, lie) in body.lies().enumerate() {
        attack.tries(&format!("lie {number} in the certificate"), around(&lie));
    }
}

/// In requests to sign and to remove.
fn public_keys(attack: &mut Attack<'_, '_>) {
    let keys = attack.keys();
    let plain = blob(&keys.plain);
    let mut longer = plain.clone();
    longer.push(0);
    let huge = Message::default().string("ssh-rsa").mpint(&[3]).mpint(&[0xa5; 200 * 1024]);
    let nested = (0..200).fold(plain.clone(), |inner, _| Message::default().string(inner).bytes().to_vec());
    let of_token =
        Message::default().string("sk-ssh-ed25519@openssh.com").string([7; 32]).string("a".repeat(200 * 1024));
    let zeros = Message::default().string("ssh-ed25519").string([0; 32]);
    for (what, blob) in [
        ("nothing", Vec::new()),
        ("a key and a byte more", longer),
        ("half a key", plain[..plain.len() / 2].to_vec()),
        ("an RSA key of 200 KiB", huge.bytes().to_vec()),
        ("a string in a string in a string", nested),
        ("a key of zeros", zeros.bytes().to_vec()),
        ("a key that nobody has added", blob(&keys.other)),
        ("200 KiB of rubbish", vec![0x5a; 200 * 1024]),
        ("a token's key with a long application", of_token.bytes().to_vec()),
    ] {
        attack.tries(&format!("sign with {what}"), crate::keys::sign(&blob, b"data", 0));
        attack.tries(&format!("remove {what}"), crate::keys::remove(&blob));
    }
}
