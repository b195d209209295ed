//! What is wrong before a message has been read.

use crate::attack::Attack;
use crate::case::Case;
use crate::message::{
    ADD_ID_CONSTRAINED, ADD_IDENTITY, ADD_SMARTCARD_KEY, ADD_SMARTCARD_KEY_CONSTRAINED, EXTENSION, LOCK, Message,
    REMOVE_IDENTITY, REMOVE_SMARTCARD_KEY, SIGN_REQUEST, UNLOCK, framed,
};

/// The longest message (ssh-agent.c AGENT_MAX_LEN).
const LONGEST: usize = 256 * 1024;

/// Requests with a body.
const WITH_BODY: [u8; 10] = [
    SIGN_REQUEST,
    ADD_IDENTITY,
    REMOVE_IDENTITY,
    ADD_SMARTCARD_KEY,
    REMOVE_SMARTCARD_KEY,
    LOCK,
    UNLOCK,
    ADD_ID_CONSTRAINED,
    ADD_SMARTCARD_KEY_CONSTRAINED,
    EXTENSION,
];
/// Requests without one.
const WITHOUT_BODY: [u8; 3] = [
    crate::message::REMOVE_ALL_RSA_IDENTITIES,
    crate::message::REQUEST_IDENTITIES,
    crate::message::REMOVE_ALL_IDENTITIES,
];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::refused("five bytes: a LOCK without its password", |attack| attack.tries("LOCK", [LOCK])),
        Case::refused("numbers that are no request, with a body and without", |attack| {
            for number in (0..=255).filter(|number| !WITH_BODY.contains(number) && !WITHOUT_BODY.contains(number)) {
                attack.tries(&format!("{number}"), [number]);
                attack.tries(&format!("{number} with a body"), Message::new(number).raw(&[0x5a; 64]));
            }
        }),
        Case::refused("requests of SSH 1 (1, 3, 7, 8) as they were", |attack| {
            let number = [&1024u16.to_be_bytes()[..], &[0xa5; 128]].concat();
            let key = Message::default().uint32(1024).raw(&number).raw(&number);
            attack.tries("list", [1]);
            attack.tries("challenge", Message::new(3).fields(&key).raw(&number).raw(&[7; 16]).uint32(1));
            attack.tries("add", Message::new(7).fields(&key).raw(&number.repeat(4)).string("hostile"));
            attack.tries("remove", Message::new(8).fields(&key));
        }),
        Case::refused("an empty message", |attack| sends(attack, "eight zeros", &[0; 8])),
        Case::refused("one byte more than 256 KiB", |attack| {
            sends(attack, "a length", &framed(vec![200; LONGEST + 1]));
        }),
        Case::refused("a message of 1 GiB, of 2 and of 4", |attack| {
            for length in [0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff_u32] {
                let begun = [&length.to_be_bytes()[..], &[SIGN_REQUEST], &vec![0; 1024 * 1024]].concat();
                sends(attack, &format!("{length}"), &begun);
            }
        }),
        Case::refused("256 KiB of rubbish in every request", |attack| {
            // Those two end ssh-agent, and have their own attack.
            for number in WITH_BODY.into_iter().filter(|number| ![LOCK, UNLOCK].contains(number)) {
                for byte in [0x00, 0x01, 0x7f, 0xff] {
                    let rubbish = vec![byte; LONGEST - 1];
                    attack.tries(&format!("{number}: {byte:#x}"), Message::new(number).raw(&rubbish));
                }
            }
        }),
        Case::unnoticed("messages in pieces of one byte", |attack| {
            let Some(mut line) = attack.connect() else { return };
            let message = framed(Message::new(SIGN_REQUEST).raw(&[0xff; 100]));
            for _ in 0..20 {
                for byte in &message {
                    line.send(&[*byte]);
                }
                attack.note("a message in pieces", line.hear());
            }
        }),
    ]
}

/// Sends bytes as they are, on a connection of their own.
fn sends(attack: &mut Attack<'_, '_>, what: &str, bytes: &[u8]) {
    let Some(mut line) = attack.connect() else { return };
    line.send(bytes);
    attack.note(what, line.hear());
}
