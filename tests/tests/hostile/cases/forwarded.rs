//! What a host does that the agent was forwarded to: it may list and sign, and no more. So does a connection whose binding
//! failed, since such a host may be behind it.

use crate::attack::Attack;
use crate::case::Case;
use crate::cases::bindings::Bind;
use crate::keys::{add, add_constrained, blob, confirm, lifetime, provider, remove};
use crate::message::{
    ADD_ID_CONSTRAINED, ADD_SMARTCARD_KEY, ADD_SMARTCARD_KEY_CONSTRAINED, LOCK, Message, REMOVE_ALL_IDENTITIES,
    REMOVE_ALL_RSA_IDENTITIES, REMOVE_SMARTCARD_KEY, UNLOCK,
};

type Manage = fn(&mut Attack<'_, '_>);

const MANAGEMENT: [(&str, Manage); 9] = [
    ("LOCK", |attack| attack.tries("lock", Message::new(LOCK).string("stolen"))),
    ("UNLOCK", |attack| attack.tries("unlock", Message::new(UNLOCK).string("guessed"))),
    ("ADD_IDENTITY", |attack| {
        let keys = attack.keys();
        attack.tries("a new key", add(&keys.other));
        attack.tries("a key that is there", add(&keys.plain));
        attack.tries("a key, without its restriction", add(&keys.restricted));
        attack.tries("a key, without its confirmation", add(&keys.confirmed));
    }),
    ("ADD_ID_CONSTRAINED", |attack| {
        let keys = attack.keys();
        attack.tries("a new key", add_constrained(&keys.other, &[confirm()]));
        attack.tries("a key that is to be forgotten soon", add_constrained(&keys.plain, &[lifetime(1)]));
        attack.tries("a key, without its confirmation", add_constrained(&keys.confirmed, &[]));
        attack.tries("a key, without its restriction", add_constrained(&keys.restricted, &[confirm()]));
    }),
    ("REMOVE_IDENTITY", |attack| {
        let keys = attack.keys();
        for key in [keys.token.blob(), blob(&keys.plain), blob(&keys.restricted), blob(&keys.confirmed)] {
            attack.tries("a key", remove(&key));
        }
    }),
    ("REMOVE_ALL_IDENTITIES", |attack| attack.tries("all keys", [REMOVE_ALL_IDENTITIES])),
    ("REMOVE_ALL_RSA_IDENTITIES", |attack| attack.tries("all keys", [REMOVE_ALL_RSA_IDENTITIES])),
    ("PKCS#11 providers", |attack| {
        let path = |number| Message::new(number).string("/usr/lib/x86_64-linux-gnu/libz.so.1").string("1234");
        attack.tries("add", path(ADD_SMARTCARD_KEY));
        attack.tries("add with constraints", path(ADD_SMARTCARD_KEY_CONSTRAINED).fields(&lifetime(9)));
        attack.tries("remove", path(REMOVE_SMARTCARD_KEY));
    }),
    ("sk-providers", |attack| {
        for path in ["internal", "/usr/lib/x86_64-linux-gnu/libz.so.1"] {
            let key = Message::new(ADD_ID_CONSTRAINED).fields(&super::key_material::sk_ed25519()).string("hostile");
            attack.tries(path, key.fields(&provider(path)));
        }
    }),
];

pub(crate) fn cases() -> Vec<Case> {
    let forwarded = MANAGEMENT.map(|(name, manage)| {
        Case::refused(format!("over a forwarded connection: {name}"), move |attack| {
            let jump = &attack.keys().jump;
            attack.begin_with([Bind::new(jump, b"hop", true).message()]);
            manage(attack);
            // Anyone can make up a host for a login.
            let made_up = Bind::new(&attack.keys().stranger, b"made up", false);
            attack.begin_with([Bind::new(jump, b"hop", true).message(), made_up.message()]);
            manage(attack);
        })
    });
    let failed = Case::refused("over a connection whose binding failed: all of these", |attack| {
        for (_, manage) in MANAGEMENT {
            attack.begin_with([] as [Message; 0]);
            let jump = &attack.keys().jump;
            attack.tries("a binding", Bind { signature: Vec::new(), ..Bind::new(jump, b"hop", true) }.message());
            manage(attack);
        }
    });
    forwarded.into_iter().chain([failed]).collect()
}
