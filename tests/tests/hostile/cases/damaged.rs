//! Messages that were good: cut at every byte, with lengths that lie, and with a byte too many.

use ssh_key::{Algorithm, EcdsaCurve};

use crate::attack::Attack;
use crate::case::Case;
use crate::cases::bindings::Bind;
use crate::cases::is_soak;
use crate::certificate::Certificate;
use crate::keys::{Destination, Keys, add, add_constrained, blob, confirm, lifetime, provider, random, restrict};
use crate::message::{
    ADD_ID_CONSTRAINED, ADD_IDENTITY, ADD_SMARTCARD_KEY, ADD_SMARTCARD_KEY_CONSTRAINED, EXTENSION, LOCK, Message,
    REMOVE_IDENTITY, REMOVE_SMARTCARD_KEY, SIGN_REQUEST, UNLOCK,
};

type Make = fn(&Keys) -> Message;

/// A good one of each kind. None is granted, or changes anything, as long as something is missing.
const GOOD: [(&str, Make); 18] = [
    ("SIGN_REQUEST", |keys| Message::new(SIGN_REQUEST).nested(&public(&keys.plain)).string(login(keys)).uint32(0)),
    ("ADD_IDENTITY with ed25519", |keys| add(&keys.other)),
    ("ADD_IDENTITY with ecdsa-sha2-nistp256", |_| add(&random(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }))),
    ("ADD_IDENTITY with ecdsa-sha2-nistp521", |_| add(&random(Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 }))),
    ("ADD_IDENTITY with rsa", |keys| add(&keys.rsa)),
    ("ADD_IDENTITY with sk-ssh-ed25519", |_| {
        Message::new(ADD_IDENTITY).fields(&super::key_material::sk_ed25519()).string("hostile")
    }),
    ("ADD_IDENTITY with sk-ecdsa-sha2-nistp256", |_| {
        Message::new(ADD_IDENTITY).fields(&super::key_material::sk_ecdsa()).string("hostile")
    }),
    ("ADD_IDENTITY with a certificate", |keys| Certificate::for_user(&keys.other, &keys.stranger).add(ADD_IDENTITY)),
    ("ADD_ID_CONSTRAINED", |keys| {
        let to = [Destination::from_here("jump", &keys.jump)];
        add_constrained(&keys.other, &[lifetime(1), confirm(), restrict(&to)])
    }),
    ("ADD_ID_CONSTRAINED with an sk-provider", |_| {
        let key = Message::new(ADD_ID_CONSTRAINED).fields(&super::key_material::sk_ed25519()).string("hostile");
        key.may_end().fields(&provider("internal"))
    }),
    ("REMOVE_IDENTITY", |keys| Message::new(REMOVE_IDENTITY).nested(&public(&keys.plain))),
    ("ADD_SMARTCARD_KEY", |_| smartcard(ADD_SMARTCARD_KEY)),
    ("ADD_SMARTCARD_KEY_CONSTRAINED", |_| {
        smartcard(ADD_SMARTCARD_KEY_CONSTRAINED).fields(&lifetime(1)).fields(&confirm())
    }),
    ("REMOVE_SMARTCARD_KEY", |_| smartcard(REMOVE_SMARTCARD_KEY)),
    ("LOCK", |_| Message::new(LOCK).string("correct horse")),
    ("UNLOCK", |_| Message::new(UNLOCK).string("correct horse")),
    ("session-bind", |keys| Bind::new(&keys.jump, b"session", true).message()),
    ("query", |_| Message::new(EXTENSION).string("query")),
];

pub(crate) fn cases() -> Vec<Case> {
    let damaged = GOOD.map(|(name, make)| {
        Case::refused(format!("{name}: cut at every byte, lengths that lie"), move |attack| damage(attack, make))
    });
    let longer = Case::refused("every message, with a byte too many", |attack| {
        for (name, make) in GOOD {
            attack.tries(name, make(attack.keys()).with_one_more());
        }
    });
    let mut all = Vec::from(damaged);
    all.push(longer);
    all
}

fn damage(attack: &mut Attack<'_, '_>, make: Make) {
    damage_once(attack, make);
    if is_soak() {
        // Over a connection that may not manage the keys.
        attack.begin_with([Bind::new(&attack.keys().jump, b"hop", true).message()]);
        damage_once(attack, make);
    }
}

fn damage_once(attack: &mut Attack<'_, '_>, make: Make) {
    let message = make(attack.keys());
    for cut in message.cuts() {
        attack.tries(&format!("cut to {} bytes", cut.len()), cut);
    }
    for (number, lie) in message.lies().enumerate() {
        attack.tries(&format!("lie {number}"), lie);
    }
}

fn public(key: &ssh_key::PrivateKey) -> Message {
    // Only for what is in a string of its own: where the lengths in it are matters, and a name comes first.
    let blob = blob(key);
    let name = key.algorithm();
    Message::default().string(name.as_str()).string(&blob[4 + name.as_str().len() + 4..])
}

/// Of a session that the agent knows nothing of.
fn login(keys: &Keys) -> Message {
    super::signing::Login::new(&keys.plain, b"session").message()
}

fn smartcard(number: u8) -> Message {
    Message::new(number).string("/nonexistent/pkcs11.so").string("1234")
}
