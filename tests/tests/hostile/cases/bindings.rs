//! session-bind@openssh.com: sessions that no host has vouched for, and paths that are none (ssh-agent.c
//! `process_ext_session_bind`).

use signature::Signer;
use ssh_key::{Algorithm, EcdsaCurve, PrivateKey, Signature};

use crate::attack::Attack;
use crate::case::Case;
use crate::certificate::{Certificate, HOST};
use crate::keys::{blob, random};
use crate::message::{EXTENSION, Message};

/// The longest session identifier (ssh-agent.c AGENT_MAX_SID_LEN).
const LONGEST_SESSION: usize = 128;
/// The most bindings of a connection (ssh-agent.c AGENT_MAX_SESSION_IDS).
const MOST_BINDINGS: u8 = 16;

/// A binding, field by field.
#[derive(Clone)]
pub(crate) struct Bind {
    /// The host key.
    pub(crate) host: Vec<u8>,
    /// The session's identifier.
    pub(crate) session: Vec<u8>,
    /// The host's signature over it.
    pub(crate) signature: Vec<u8>,
    /// Whether it is for forwarding; any number but 0 is.
    pub(crate) forwarding: u8,
}

impl Bind {
    /// A good one.
    pub(crate) fn new(host: &PrivateKey, session: &[u8], forwarding: bool) -> Self {
        let signature = signature(host, session);
        Self { host: blob(host), session: session.to_vec(), signature, forwarding: forwarding.into() }
    }

    /// Its message.
    pub(crate) fn message(&self) -> Message {
        let message = Message::new(EXTENSION).string("session-bind@openssh.com").string(&self.host);
        message.string(&self.session).string(&self.signature).byte(self.forwarding)
    }
}

fn signature(host: &PrivateKey, data: &[u8]) -> Vec<u8> {
    let signature: Signature = host.try_sign(data).unwrap();
    Vec::try_from(signature).unwrap()
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::refused("bind: forged signatures", forged),
        Case::refused("bind: a host's signature, replayed in another session", |attack| {
            let (jump, stranger) = (&attack.keys().jump, &attack.keys().stranger);
            let replayed = Bind { session: b"ours".to_vec(), ..Bind::new(jump, b"theirs", true) };
            attack.tries("another session", replayed.message());
            let borrowed = Bind { host: blob(stranger), ..Bind::new(jump, b"ours", true) };
            attack.tries("another host", borrowed.message());
        }),
        Case::refused("bind: a session that is bound to another host", |attack| {
            let (jump, stranger) = (&attack.keys().jump, &attack.keys().stranger);
            attack.begin_with([Bind::new(jump, b"session", true).message()]);
            attack.has_to_work("the same again", Bind::new(jump, b"session", true).message());
            attack.tries("another host", Bind::new(stranger, b"session", true).message());
            attack.tries("another host, for a login", Bind::new(stranger, b"session", false).message());
        }),
        Case::refused("bind: anything after a login", |attack| {
            let (jump, device) = (&attack.keys().jump, &attack.keys().device);
            attack.begin_with([Bind::new(jump, b"hop", true).message(), Bind::new(device, b"login", false).message()]);
            attack.tries("the same again", Bind::new(device, b"login", false).message());
            attack.tries("another hop", Bind::new(jump, b"another", true).message());
            attack.tries("another login", Bind::new(device, b"another", false).message());
        }),
        Case::refused("bind: the seventeenth, and a thousand more", |attack| {
            let jump = &attack.keys().jump;
            attack.begin_with((0..MOST_BINDINGS).map(|n| Bind::new(jump, &[n], true).message()));
            attack.has_to_work("one of the sixteen", Bind::new(jump, &[7], true).message());
            for n in 0..super::many(100, 1000) {
                attack.tries("one more", Bind::new(jump, &n.to_be_bytes(), true).message());
            }
        }),
        Case::refused("bind: sessions that are too long", |attack| {
            let jump = &attack.keys().jump;
            attack.has_to_work("the longest", Bind::new(jump, &[7; LONGEST_SESSION], true).message());
            for length in [LONGEST_SESSION + 1, 1024, 200 * 1024] {
                attack.tries(&format!("{length} bytes"), Bind::new(jump, &vec![7; length], true).message());
            }
        }),
        Case::refused("bind: an empty session, which no login can be for", |attack| {
            attack.tries("no bytes", Bind::new(&attack.keys().jump, b"", true).message());
        }),
        Case::refused("bind: host keys that are none, or can't be verified", host_keys),
        Case::refused("bind: host certificates that do not hold", host_certificates),
    ]
}

fn forged(attack: &mut Attack<'_, '_>) {
    let jump = &attack.keys().jump;
    let good = Bind::new(jump, b"session", true);
    attack.has_to_work("a good one", good.message());
    attack.hang_up();
    for at in 0..good.signature.len() {
        let mut forged = good.clone();
        forged.signature[at] ^= 1;
        attack.tries(&format!("byte {at} is another"), forged.message());
    }
    for length in 0..good.signature.len() {
        let signature = good.signature[..length].to_vec();
        attack.tries(&format!("{length} bytes of it"), Bind { signature, ..good.clone() }.message());
    }
    let named = |name: &str, bytes: &[u8]| Message::default().string(name).string(bytes).bytes().to_vec();
    let raw = &good.signature[good.signature.len() - 64..];
    for (what, signature) in [
        ("of another type", named("ssh-rsa", raw)),
        ("of a type that is none", named("ssh-nonsense", raw)),
        ("of zeros", named("ssh-ed25519", &[0; 64])),
        ("of 200 KiB", named("ssh-ed25519", &[0x5a; 200 * 1024])),
        ("a byte too long", [&good.signature[..], &[0]].concat()),
        ("by another host", signature(&attack.keys().stranger, b"session")),
    ] {
        attack.tries(what, Bind { signature, ..good.clone() }.message());
    }
}

fn host_keys(attack: &mut Attack<'_, '_>) {
    let keys = attack.keys();
    let good = Bind::new(&keys.jump, b"session", true);
    let rsa = |e: &[u8], n: &[u8]| Message::default().string("ssh-rsa").mpint(e).mpint(n);
    let odd = |bits: usize| vec![0xa5; bits / 8];
    let point = |name: &str, curve: &str, point: &[u8]| Message::default().string(name).string(curve).string(point);
    let dsa = (0..4).fold(Message::default().string("ssh-dss"), |key, _| key.mpint(&[0x5a; 128]));
    let plain = blob(&keys.jump);
    for (what, host) in [
        ("nothing", Message::default()),
        ("rubbish", Message::default().raw(&[0x5a; 64])),
        ("a type that is none", Message::default().string("ssh-nonsense").string([7; 32])),
        ("DSA", dsa),
        ("a byte too many", Message::default().raw(&plain).byte(0)),
        ("an Ed25519 key of zeros", Message::default().string("ssh-ed25519").string([0; 32])),
        ("a short Ed25519 key", Message::default().string("ssh-ed25519").string([7; 31])),
        ("a point off the curve", point("ecdsa-sha2-nistp256", "nistp256", &[4; 65])),
        ("the point at infinity", point("ecdsa-sha2-nistp256", "nistp256", &[0])),
        ("another curve", point("ecdsa-sha2-nistp256", "nistp521", &[4; 133])),
        ("RSA of 512 bits", rsa(&[1, 0, 1], &odd(512))),
        ("RSA of 16384 bits", rsa(&[1, 0, 1], &odd(16384))),
        ("RSA of 16384 bits with such an exponent", rsa(&odd(16384), &odd(16384))),
        ("RSA of 200 KiB", rsa(&[1, 0, 1], &odd(1600 * 1024))),
        ("RSA with the exponent 1", rsa(&[1], &odd(2048))),
        ("RSA with an even modulus", rsa(&[1, 0, 1], &[&odd(2040)[..], &[0]].concat())),
        ("RSA with nothing", rsa(b"", b"")),
        ("a token's key", super::key_material::sk_ed25519()),
    ] {
        attack.tries(what, Bind { host: host.bytes().to_vec(), ..good.clone() }.message());
        let like_rsa = Message::default().string("rsa-sha2-512").string(odd(16384));
        let bind = Bind { host: host.bytes().to_vec(), signature: like_rsa.bytes().to_vec(), ..good.clone() };
        attack.tries(&format!("{what}, with a signature of 16384 bits"), bind.message());
    }
    let ecdsa = random(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 });
    let good = Bind::new(&ecdsa, b"session", true);
    attack.has_to_work("an ECDSA host", good.message());
    let nothing = Message::default().string(b"").string(b"");
    let ones = Message::default().mpint(&[1]).mpint(&[1]);
    let negative = Message::default().string([0xff; 32]).string([0xff; 32]);
    let long = Message::default().mpint(&[0x5a; 100 * 1024]).mpint(&[0x5a; 100 * 1024]);
    for (what, numbers) in [("r = s = 0", nothing), ("r = s = 1", ones), ("negative", negative), ("long", long)] {
        let signature = Message::default().string("ecdsa-sha2-nistp256").nested(&numbers);
        attack.tries(what, Bind { signature: signature.bytes().to_vec(), ..good.clone() }.message());
    }
}

fn host_certificates(attack: &mut Attack<'_, '_>) {
    let keys = attack.keys();
    let good = || Certificate { kind: HOST, principal: "jump", ..Certificate::for_user(&keys.jump, &keys.stranger) };
    let bind = |certificate: &[u8]| Bind { host: certificate.to_vec(), ..Bind::new(&keys.jump, b"session", true) };
    let whole = good().message();
    attack.has_to_work("a good one", bind(whole.bytes()).message());
    attack.hang_up();
    let flip = |mut signature: Vec<u8>| {
        *signature.last_mut().unwrap() ^= 1;
        signature
    };
    let of_another = Certificate { subject: &keys.device, ..good() };
    let by_certificate = Certificate { authority_blob: Some(whole.bytes().to_vec()), ..good() };
    for (what, certificate) in [
        ("of another host", of_another.message()),
        ("whose signature is another", Certificate { signature: flip, ..good() }.message()),
        ("signed by a certificate", by_certificate.message()),
        ("of a kind that is none", Certificate { kind: 9, ..good() }.message()),
    ] {
        attack.tries(what, bind(certificate.bytes()).message());
    }
    for length in 0..whole.bytes().len() {
        attack.tries(&format!("cut to {length} bytes"), bind(&whole.bytes()[..length]).message());
    }
    for (number, lie) in whole.lies().enumerate() {
        attack.tries(&format!("lie {number}"), bind(&lie).message());
    }
}
