//! Keys that are added with constraints which make no sense, or that nobody could keep to.

use crate::attack::Attack;
use crate::case::Case;
use crate::keys::{Destination, add_constrained, blob, confirm, hop, lifetime, provider, restrict, restrict_to, way};
use crate::message::{
    ADD_ID_CONSTRAINED, ADD_SMARTCARD_KEY_CONSTRAINED, CONSTRAIN_EXTENSION, CONSTRAIN_LIFETIME, Message,
};

/// The most destinations of a key (ssh-agent.c AGENT_MAX_DEST_CONSTRAINTS).
const MOST_DESTINATIONS: usize = 1024;
/// The longest pattern for users (ssh-agent.c AGENT_USER_CONSTRAINT_MAX_LEN).
const LONGEST_USER: usize = 256;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::refused("constraints that are unknown, twice there, or for others", of_no_kind),
        Case::refused("restrict-destination: what its rules forbid", destinations),
        Case::refused("restrict-destination: 1025 of them, and a list that is too long", many_destinations),
        Case::refused("sk-provider: libraries, whatever their path", |attack| {
            for path in PROVIDERS {
                let key = Message::new(ADD_ID_CONSTRAINED).fields(&super::key_material::sk_ed25519()).string("hostile");
                attack.tries(path, key.fields(&provider(path)));
            }
        }),
        Case::refused("PKCS#11: libraries, whatever their path", |attack| {
            for path in PROVIDERS {
                for number in [crate::message::ADD_SMARTCARD_KEY, crate::message::REMOVE_SMARTCARD_KEY] {
                    attack.tries(path, Message::new(number).string(path).string("1234"));
                }
                let constrained = Message::new(ADD_SMARTCARD_KEY_CONSTRAINED).string(path).string("1234");
                attack.tries(path, constrained.fields(&lifetime(60)).fields(&confirm()));
            }
        }),
    ]
}

/// One that is there, and may be loaded, for ssh-agent's default list of them too.
const PROVIDERS: [&str; 6] = [
    "/usr/lib/x86_64-linux-gnu/libz.so.1",
    "/tmp/evil.so",
    "/usr/lib/../../tmp/evil.so",
    "./evil.so",
    "",
    "/usr/lib/a-name-that-is-far-longer-than-all-that-is-in-this-folder/\u{1b}[2J",
];

fn of_no_kind(attack: &mut Attack<'_, '_>) {
    let keys = attack.keys();
    let extension = |name: &str| Message::new(CONSTRAIN_EXTENSION).string(name);
    let here = restrict(&[Destination::from_here("jump", &keys.jump)]);
    for (what, constraints) in [
        ("an unknown one", vec![Message::new(77)]),
        ("0", vec![Message::new(0)]),
        ("MAXSIGN, of a signature scheme that is gone", vec![Message::new(3).uint32(5)]),
        ("an unknown extension", vec![extension("no-such@example.com").string("data")]),
        ("an extension without a name", vec![extension("")]),
        ("an extension whose name has 200 KiB", vec![extension(&"x".repeat(200 * 1024))]),
        ("two lifetimes", vec![lifetime(60), lifetime(60)]),
        ("two confirmations", vec![confirm(), confirm()]),
        ("destinations twice", vec![here.clone(), here]),
        ("a lifetime that is cut", vec![Message::new(CONSTRAIN_LIFETIME).raw(&[0, 0])]),
        ("a token's provider for a key that is on none", vec![provider("internal")]),
        (
            "a smartcard's certificates for a key that is on none",
            vec![extension("associated-certs-v00@openssh.com").byte(1).string(b"")],
        ),
        ("a good one and rubbish", vec![confirm(), Message::default().raw(&[0x5a; 40])]),
    ] {
        attack.tries(what, add_constrained(&keys.other, &constraints));
    }
}

fn destinations(attack: &mut Attack<'_, '_>) {
    let keys = attack.keys();
    let (jump, device) = (Some(&keys.jump), Some(&keys.device));
    let here = || hop("", "", b"", None);
    let to = || hop("", "device", b"", device);
    let with_key = |name: &str, key: &[u8]| Message::default().string("").string(name).string("").string(key).byte(0);
    let unfinished = Message::default().string("").string("device").string("").string(blob(&keys.device));
    for (what, way) in [
        ("to nowhere", way(&here(), &here(), b"")),
        ("to a host without keys", way(&here(), &hop("", "device", b"", None), b"")),
        ("to keys without a host", way(&here(), &hop("", "", b"", device), b"")),
        ("from a host without keys", way(&hop("", "jump", b"", None), &to(), b"")),
        ("from keys without a host", way(&hop("", "", b"", jump), &to(), b"")),
        ("from a user", way(&hop("me", "jump", b"", jump), &to(), b"")),
        ("from a user here", way(&hop("me", "", b"", None), &to(), b"")),
        ("reserved bytes", way(&here(), &to(), b"x")),
        ("reserved bytes in its beginning", way(&hop("", "", b"x", None), &to(), b"")),
        ("reserved bytes in its end", way(&here(), &hop("", "device", b"x", device), b"")),
        ("a pattern that is too long", way(&here(), &hop(&"u".repeat(LONGEST_USER + 1), "device", b"", device), b"")),
        ("a pattern of 100 KiB", way(&here(), &hop(&"*".repeat(100 * 1024), "device", b"", device), b"")),
        ("a key that is none", way(&here(), &with_key("device", b"rubbish"), b"")),
        ("an empty key", way(&here(), &with_key("device", b""), b"")),
        ("a key that says not whether it is an authority", way(&here(), &unfinished, b"")),
        ("rubbish behind it", way(&here(), &to(), b"").raw(b"x")),
        ("a beginning that is rubbish", way(&Message::default().raw(b"rubbish"), &to(), b"")),
        ("nothing", Message::default()),
        ("a key and more", way(&here(), &with_key("device", &[blob(&keys.device), vec![0]].concat()), b"")),
    ] {
        let constraint = restrict_to(&Message::default().nested(&way));
        attack.tries(what, add_constrained(&keys.other, &[constraint]));
        // A good one in front makes it no better.
        let good = crate::keys::way(&here(), &to(), b"");
        let constraint = restrict_to(&Message::default().nested(&good).nested(&way));
        attack.tries(&format!("{what}, behind a good one"), add_constrained(&keys.other, &[constraint]));
    }
}

fn many_destinations(attack: &mut Attack<'_, '_>) {
    let keys = attack.keys();
    let way = way(&hop("", "", b"", None), &hop("", "device", b"", Some(&keys.device)), b"");
    for count in [MOST_DESTINATIONS + 1, 2000] {
        let all = (0..count).fold(Message::default(), |all, _| all.nested(&way));
        attack.tries(&format!("{count}"), add_constrained(&keys.other, &[restrict_to(&all)]));
    }
}
