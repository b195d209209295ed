//! The keys that the agents hold while they are attacked, the hosts they are for, and how keys are added byte by byte.

use ssh_key::private::{EcdsaKeypair, KeypairData};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, PrivateKey};
use tests::{Env, KeyFile, Recipe};

use crate::line::{Answer, Line};
use crate::message::{
    ADD_ID_CONSTRAINED, ADD_IDENTITY, CONSTRAIN_CONFIRM, CONSTRAIN_EXTENSION, CONSTRAIN_LIFETIME, Message,
    REMOVE_IDENTITY, SIGN_REQUEST,
};

/// What the agents hold, and what the attacks need to know.
pub(crate) struct Keys {
    /// On a token. Its use takes a touch.
    pub(crate) token: KeyFile,
    /// Without constraints.
    pub(crate) plain: PrivateKey,
    /// Without constraints, of the type whose flags choose the hash.
    pub(crate) rsa: PrivateKey,
    /// For `me` on `device` through `jump`, and for nothing else.
    pub(crate) restricted: PrivateKey,
    /// To be confirmed at each use.
    pub(crate) confirmed: PrivateKey,
    /// Not held: what attacks try to add.
    pub(crate) other: PrivateKey,
    /// A host on the way.
    pub(crate) jump: PrivateKey,
    /// The host at the end.
    pub(crate) device: PrivateKey,
    /// A host that nobody has named.
    pub(crate) stranger: PrivateKey,
}

impl Keys {
    /// New ones.
    pub(crate) fn new(env: &Env) -> Self {
        let rsa = env.path("rsa");
        let keygen = env.program("ssh-keygen").args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"]);
        keygen.arg(&rsa).run().success();
        Self {
            token: env.ssh_keygen(&Recipe::ed25519()),
            plain: ed25519(),
            rsa: PrivateKey::read_openssh_file(&rsa).unwrap(),
            restricted: ed25519(),
            confirmed: ed25519(),
            other: ed25519(),
            jump: ed25519(),
            device: ed25519(),
            stranger: ed25519(),
        }
    }

    /// Adds all that needs no file.
    pub(crate) fn add_to(&self, line: &mut Line) -> Result<(), String> {
        let restricted = restrict(&[
            Destination::from_here("jump", &self.jump),
            Destination { from: Some(("jump", &self.jump)), user: "me", to: "device", key: &self.device },
        ]);
        for (what, message) in [
            ("a key", add(&self.plain)),
            ("an RSA key", add(&self.rsa)),
            ("a key that is for one destination", add_constrained(&self.restricted, &[restricted])),
            ("a key to be confirmed", add_constrained(&self.confirmed, &[confirm()])),
        ] {
            match line.ask(&message) {
                Answer::Message(answer) if answer == [tests::SUCCESS] => {}
                answer => return Err(format!("{what} can't be added: {answer:?}")),
            }
        }
        Ok(())
    }
}

/// A new key.
pub(crate) fn ed25519() -> PrivateKey {
    random(Algorithm::Ed25519)
}

/// A new key of this type.
pub(crate) fn random(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::random(&mut OsRng, algorithm).unwrap()
}

/// Its public key, as clients name it.
pub(crate) fn blob(key: &PrivateKey) -> Vec<u8> {
    key.public_key().to_bytes().unwrap()
}

/// The message that adds it.
pub(crate) fn add(key: &PrivateKey) -> Message {
    Message::new(ADD_IDENTITY).fields(&private(key)).string("hostile")
}

/// The message that adds it with these constraints. It may end before each.
pub(crate) fn add_constrained(key: &PrivateKey, constraints: &[Message]) -> Message {
    let unconstrained = Message::new(ADD_ID_CONSTRAINED).fields(&private(key)).string("hostile").may_end();
    constraints.iter().fold(unconstrained, |message, constraint| message.fields(constraint).may_end())
}

/// A private key as it is added: its type and its fields (RFC 9987 § 3.2).
pub(crate) fn private(key: &PrivateKey) -> Message {
    let name = Message::default().string(key.algorithm().as_str());
    match key.key_data() {
        KeypairData::Ed25519(pair) => name.string(pair.public.0).string(pair.to_bytes()),
        KeypairData::Ecdsa(pair) => {
            let scalar = match pair {
                EcdsaKeypair::NistP256 { private, .. } => private.as_slice(),
                EcdsaKeypair::NistP384 { private, .. } => private.as_slice(),
                EcdsaKeypair::NistP521 { private, .. } => private.as_slice(),
            };
            let Algorithm::Ecdsa { curve } = key.algorithm() else { unreachable!("it is one") };
            name.string(curve.as_str()).string(pair.public_key_bytes()).mpint(scalar)
        }
        KeypairData::Rsa(pair) => {
            let (public, private) = (&pair.public, &pair.private);
            let numbers = [&public.n, &public.e, &private.d, &private.iqmp, &private.p, &private.q];
            numbers.iter().fold(name, |message, number| message.string(number.as_bytes()))
        }
        KeypairData::SkEd25519(pair) => {
            let key = name.string(pair.public().public_key().0).string(pair.public().application());
            key.byte(pair.flags()).string(pair.key_handle()).string(b"")
        }
        KeypairData::SkEcdsaSha2NistP256(pair) => {
            let key = name.string("nistp256").string(pair.public().ec_point().as_bytes());
            key.string(pair.public().application()).byte(pair.flags()).string(pair.key_handle()).string(b"")
        }
        other => unreachable!("no attack adds {other:?}"),
    }
}

/// The key is forgotten after this time.
pub(crate) fn lifetime(seconds: u32) -> Message {
    Message::new(CONSTRAIN_LIFETIME).uint32(seconds)
}

/// Each use is to be confirmed.
pub(crate) fn confirm() -> Message {
    Message::new(CONSTRAIN_CONFIRM)
}

/// Who uses the key on its token.
pub(crate) fn provider(name: impl AsRef<[u8]>) -> Message {
    Message::new(CONSTRAIN_EXTENSION).string("sk-provider@openssh.com").string(name)
}

/// One way on which a key may be used.
pub(crate) struct Destination<'a> {
    /// From this host; from here where there is none.
    pub(crate) from: Option<(&'a str, &'a PrivateKey)>,
    /// As this user; as anyone where it is empty.
    pub(crate) user: &'a str,
    /// To this host.
    pub(crate) to: &'a str,
    /// Its key.
    pub(crate) key: &'a PrivateKey,
}

impl<'a> Destination<'a> {
    /// From here to a host, as anyone.
    pub(crate) fn from_here(to: &'a str, key: &'a PrivateKey) -> Self {
        Self { from: None, user: "", to, key }
    }
}

/// The key is for these destinations (OpenSSH PROTOCOL.agent § 2).
pub(crate) fn restrict(destinations: &[Destination<'_>]) -> Message {
    let all = destinations.iter().fold(Message::default(), |all, destination| {
        let from = destination.from.map_or_else(|| hop("", "", b"", None), |(name, key)| hop("", name, b"", Some(key)));
        let to = hop(destination.user, destination.to, b"", Some(destination.key));
        all.nested(&way(&from, &to, b""))
    });
    restrict_to(&all)
}

/// The constraint around its destinations.
pub(crate) fn restrict_to(destinations: &Message) -> Message {
    Message::new(CONSTRAIN_EXTENSION).string("restrict-destination-v00@openssh.com").nested(destinations)
}

/// One destination: from, to, and what is reserved.
pub(crate) fn way(from: &Message, to: &Message, reserved: &[u8]) -> Message {
    Message::default().nested(from).nested(to).string(reserved)
}

/// One end of a destination.
pub(crate) fn hop(user: &str, name: &str, reserved: &[u8], key: Option<&PrivateKey>) -> Message {
    let hop = Message::default().string(user).string(name).string(reserved);
    match key {
        Some(key) => hop.string(blob(key)).byte(0),
        None => hop,
    }
}

/// The message that asks for a signature.
pub(crate) fn sign(key: &[u8], data: &[u8], flags: u32) -> Message {
    Message::new(SIGN_REQUEST).string(key).string(data).uint32(flags)
}

/// The message that removes a key.
pub(crate) fn remove(key: &[u8]) -> Message {
    Message::new(REMOVE_IDENTITY).string(key)
}
