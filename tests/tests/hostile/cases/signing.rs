//! Signatures that a key's restrictions, or the connection's bindings, do not allow. Each differs in one thing from a login
//! that is allowed, which has to work first.

use ssh_key::PrivateKey;

use super::bindings::Bind;
use crate::attack::Attack;
use crate::case::Case;
use crate::keys::{blob, sign};
use crate::message::Message;

/// A login's data (RFC 4252 § 7, OpenSSH PROTOCOL), field by field.
pub(crate) struct Login {
    session: Vec<u8>,
    number: u8,
    user: String,
    service: &'static str,
    method: Option<&'static str>,
    signature_follows: u8,
    algorithm: String,
    key: Vec<u8>,
    host: Option<Vec<u8>>,
    rest: &'static [u8],
}

impl Login {
    /// A plain one, as `me`.
    pub(crate) fn new(key: &PrivateKey, session: &[u8]) -> Self {
        Self {
            session: session.to_vec(),
            number: 50,
            user: "me".into(),
            service: "ssh-connection",
            method: None,
            signature_follows: 1,
            algorithm: if key.algorithm().is_rsa() { "rsa-sha2-512".into() } else { key.algorithm().as_str().into() },
            key: blob(key),
            host: None,
            rest: b"",
        }
    }

    /// One that names the host's key.
    fn to(key: &PrivateKey, session: &[u8], host: &PrivateKey) -> Self {
        Self { host: Some(blob(host)), ..Self::new(key, session) }
    }

    /// As another user.
    pub(crate) fn user(self, user: impl Into<String>) -> Self {
        Self { user: user.into(), ..self }
    }

    /// Its data.
    pub(crate) fn message(&self) -> Message {
        let usual = if self.host.is_some() { "publickey-hostbound-v00@openssh.com" } else { "publickey" };
        let data = Message::default().string(&self.session).byte(self.number).string(&self.user).string(self.service);
        let data = data.string(self.method.unwrap_or(usual)).byte(self.signature_follows);
        let data = data.string(&self.algorithm).string(&self.key);
        let data = match &self.host {
            Some(host) => data.string(host),
            None => data,
        };
        data.raw(self.rest)
    }
}

/// An SSHSIG request over a hash.
fn sshsig() -> Vec<u8> {
    tests::sshsig("file")
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::refused("sign, restricted key: on a connection that is bound to nothing", |attack| {
            let key = &attack.keys().restricted;
            attack.tries("a login", sign(&blob(key), Login::new(key, b"session").message().bytes(), 0));
            attack.tries("a file", sign(&blob(key), &sshsig(), 0));
            attack.tries("anything", sign(&blob(key), b"anything", 0));
        }),
        Case::refused("sign, restricted key: data that is no login, or not quite", not_quite),
        Case::refused("sign, restricted key: another session than the last one bound", |attack| {
            on_its_way(attack);
            let keys = attack.keys();
            for session in [&b"hop"[..], b"logi", b"login ", b"another"] {
                let login = Login::to(&keys.restricted, session, &keys.device);
                attack.tries("another session", sign(&blob(&keys.restricted), login.message().bytes(), 0));
            }
        }),
        Case::refused("sign, restricted key: another host key than the last one bound", |attack| {
            on_its_way(attack);
            let keys = attack.keys();
            let mut longer = blob(&keys.device);
            longer.push(0);
            for host in [blob(&keys.jump), blob(&keys.stranger), longer, b"rubbish".to_vec(), Vec::new()] {
                let login = Login { host: Some(host), ..Login::new(&keys.restricted, b"login") };
                attack.tries("another host key", sign(&blob(&keys.restricted), login.message().bytes(), 0));
            }
        }),
        Case::refused("sign, restricted key: no host key in the data, behind a hop", |attack| {
            on_its_way(attack);
            let keys = attack.keys();
            let login = Login::new(&keys.restricted, b"login");
            attack.tries("a plain login", sign(&blob(&keys.restricted), login.message().bytes(), 0));
        }),
        Case::refused("sign, restricted key: as somebody else", |attack| {
            on_its_way(attack);
            let keys = attack.keys();
            for user in ["root", "", "m", "mee", "ME", "me\0", "me ", "*"] {
                let login = Login::to(&keys.restricted, b"login", &keys.device).user(user);
                attack.tries(user, sign(&blob(&keys.restricted), login.message().bytes(), 0));
            }
        }),
        Case::refused("sign, restricted key: on other ways than its own", |attack| {
            let (jump, device, stranger) = (&attack.keys().jump, &attack.keys().device, &attack.keys().stranger);
            tries_on(attack, "to the host at once", device, [Bind::new(device, b"login", false)]);
            let through = [Bind::new(stranger, b"hop", true), Bind::new(device, b"login", false)];
            tries_on(attack, "through another host", device, through);
            let to = [Bind::new(jump, b"hop", true), Bind::new(stranger, b"login", false)];
            tries_on(attack, "to another host", stranger, to);
            let twice = [Bind::new(jump, b"1", true), Bind::new(jump, b"2", true), Bind::new(device, b"login", false)];
            tries_on(attack, "through the host twice", device, twice);
            let back = [Bind::new(jump, b"1", true), Bind::new(device, b"2", true), Bind::new(jump, b"login", false)];
            tries_on(attack, "and back", jump, back);
        }),
        Case::refused("sign, restricted key: a host on the way, for its own session", |attack| {
            let (jump, device) = (&attack.keys().jump, &attack.keys().device);
            tries_on(attack, "to the hop", jump, [Bind::new(jump, b"login", true)]);
            tries_on(attack, "to the host", device, [Bind::new(jump, b"login", true)]);
            let both = [Bind::new(jump, b"hop", true), Bind::new(device, b"login", true)];
            tries_on(attack, "a host that forwards", device, both);
        }),
        Case::refused("sign, restricted key: after a binding that failed", |attack| {
            let keys = attack.keys();
            let forged = Bind { signature: b"forged".to_vec(), ..Bind::new(&keys.device, b"login", false) };
            attack.tries("the binding", forged.message());
            let login = Login::to(&keys.restricted, b"login", &keys.device);
            attack.tries("a login", sign(&blob(&keys.restricted), login.message().bytes(), 0));
        }),
        Case::refused("sign, any key: another session than that of the login it is bound to", |attack| {
            on_its_way(attack);
            let keys = attack.keys();
            for key in [&keys.plain, &keys.rsa] {
                attack.has_to_work("the login", sign_login(&Login::to(key, b"login", &keys.device), key));
                for session in [&b"hop"[..], b"another"] {
                    attack.tries("another session", sign_login(&Login::to(key, session, &keys.device), key));
                    attack.tries("another session, plain", sign_login(&Login::new(key, session), key));
                }
            }
        }),
        Case::refused("sign, any key: another host key than that of the login it is bound to", |attack| {
            on_its_way(attack);
            let keys = attack.keys();
            for key in [&keys.plain, &keys.rsa] {
                for host in [&keys.jump, &keys.stranger] {
                    attack.tries("another host key", sign_login(&Login::to(key, b"login", host), key));
                }
            }
        }),
        Case::refused("sign, any key: a host on the way, for a login to its own session", |attack| {
            let keys = attack.keys();
            let hops = [Bind::new(&keys.jump, b"hop", true), Bind::new(&keys.device, b"second", true)];
            attack.begin_with(hops.map(|bind| bind.message()));
            for key in [&keys.plain, &keys.rsa] {
                attack.tries("the first hop", sign_login(&Login::to(key, b"hop", &keys.jump), key));
                attack.tries("the first hop, plain", sign_login(&Login::new(key, b"hop"), key));
                attack.tries("the last hop", sign_login(&Login::to(key, b"second", &keys.device), key));
                attack.tries("the last hop, plain", sign_login(&Login::new(key, b"second"), key));
            }
        }),
        Case::refused("sign, any key: a login with another key, or opaque data, where a login is bound", |attack| {
            on_its_way(attack);
            let keys = attack.keys();
            let other = Login::to(&keys.restricted, b"login", &keys.device).message();
            for key in [&keys.plain, &keys.rsa] {
                attack.tries("another key's login", sign(&blob(key), other.bytes(), 4));
                attack.tries("opaque data", sign(&blob(key), b"anything", 4));
            }
        }),
        Case::refused("sign, FIDO key: a website's challenge, or anything else", |attack| {
            let keys = attack.keys();
            let token = keys.token.blob();
            let mut login = tests::login(b"session", &keys.token, None);
            login.push(0);
            for data in [&b""[..], b"anything", &[0; 32], &[0xff; 200 * 1024], b"SSHSIG", &login] {
                attack.tries("opaque data", sign(&token, data, 0));
            }
            for cut in 0..login.len() - 1 {
                attack.tries(&format!("{cut} bytes of a login"), sign(&token, &login[..cut], 0));
            }
            let signed = sshsig();
            for cut in 0..signed.len() {
                attack.tries(&format!("{cut} bytes of a file's"), sign(&token, &signed[..cut], 0));
            }
        }),
        Case::refused("sign, RSA: flags that ask for SHA-1", |attack| {
            let keys = attack.keys();
            let rsa = blob(&keys.rsa);
            let data = Login::new(&keys.rsa, b"session").message();
            let sha256 = Login { algorithm: "rsa-sha2-256".into(), ..Login::new(&keys.rsa, b"session") };
            attack.has_to_work("SHA-256", sign(&rsa, sha256.message().bytes(), 2));
            attack.has_to_work("SHA-512", sign(&rsa, data.bytes(), 4));
            for flags in [0, 1, 8, 0xffff_fff8, 0x8000_0000] {
                attack.tries(&format!("{flags:#x}"), sign(&rsa, data.bytes(), flags));
            }
        }),
        Case::unnoticed("sign: flags that mean nothing", |attack| {
            let keys = attack.keys();
            // Of an RSA key they ask for a hash, whatever else they say.
            for (key, flags) in [(&keys.plain, [1, 8, 0x100, 0xffff_ffff]), (&keys.rsa, [6, 7, 0x106, 0xffff_ffff])] {
                let data = Login::new(key, b"session").message();
                for flags in flags {
                    attack.has_to_work(&format!("{flags:#x}"), sign(&blob(key), data.bytes(), flags));
                }
            }
        }),
    ]
}

fn sign_login(login: &Login, key: &PrivateKey) -> Message {
    const RSA_SHA2_512: u32 = 4;
    sign(&blob(key), login.message().bytes(), if key.algorithm().is_rsa() { RSA_SHA2_512 } else { 0 })
}

/// On the only way that the restricted key may be used on, where a good login is signed.
fn on_its_way(attack: &mut Attack<'_, '_>) {
    let keys = attack.keys();
    let way = [Bind::new(&keys.jump, b"hop", true), Bind::new(&keys.device, b"login", false)];
    attack.begin_with(way.map(|bind| bind.message()));
    let login = Login::to(&keys.restricted, b"login", &keys.device);
    attack.has_to_work("the login that is allowed", sign_login(&login, &keys.restricted));
}

/// On another way, with a login that is right for its end.
fn tries_on<const N: usize>(attack: &mut Attack<'_, '_>, what: &str, host: &PrivateKey, way: [Bind; N]) {
    let key = &attack.keys().restricted;
    attack.begin_with(way.map(|bind| bind.message()));
    attack.tries(what, sign_login(&Login::to(key, b"login", host), key));
    attack.tries(&format!("{what}, plain"), sign_login(&Login::new(key, b"login"), key));
}

fn not_quite(attack: &mut Attack<'_, '_>) {
    on_its_way(attack);
    let keys = attack.keys();
    let key = &keys.restricted;
    let good = || Login::to(key, b"login", &keys.device);
    for (what, login) in [
        ("no session", Login { session: Vec::new(), ..good() }),
        ("another message's number", Login { number: 51, ..good() }),
        ("another service", Login { service: "ssh-userauth", ..good() }),
        ("no service", Login { service: "", ..good() }),
        ("another method", Login { method: Some("hostbased"), ..good() }),
        ("a method that does not name the host", Login { method: Some("publickey"), ..good() }),
        ("no signature follows", Login { signature_follows: 0, ..good() }),
        ("a signature follows, somehow", Login { signature_follows: 2, ..good() }),
        ("another algorithm", Login { algorithm: "rsa-sha2-512".into(), ..good() }),
        ("no algorithm", Login { algorithm: String::new(), ..good() }),
        ("another key", Login { key: blob(&keys.plain), ..good() }),
        ("a key and more", Login { key: [blob(key), vec![0]].concat(), ..good() }),
        ("a byte more", Login { rest: b"\0", ..good() }),
    ] {
        attack.tries(what, sign_login(&login, key));
    }
    let data = good().message();
    for cut in data.cuts() {
        attack.tries(&format!("{} bytes of it", cut.len()), sign(&blob(key), &cut, 0));
    }
    for (number, lie) in data.lies().enumerate() {
        attack.tries(&format!("lie {number}"), sign(&blob(key), &lie, 0));
    }
    attack.tries("a file", sign(&blob(key), &sshsig(), 0));
    attack.tries("nothing", sign(&blob(key), b"", 0));
}
