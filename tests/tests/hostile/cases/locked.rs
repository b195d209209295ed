//! An agent that its owner has locked: it keeps quiet, and whoever guesses waits for each guess, alone.

use std::thread;
use std::time::{Duration, Instant};

use tests::SUCCESS;

use crate::attack::Attack;
use crate::case::Case;
use crate::cases::bindings::Bind;
use crate::cases::signing::Login;
use crate::keys::{add, blob, remove, sign};
use crate::line::Answer;
use crate::message::{LOCK, Message, REMOVE_ALL_IDENTITIES, REMOVE_ALL_RSA_IDENTITIES, UNLOCK};

const PASSWORD: &str = "correct horse";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::refused("locked: everything but a list, which is empty", |attack| {
            while_locked(attack, |attack| {
                let keys = attack.keys();
                let login = Login::new(&keys.plain, b"session").message();
                attack.tries("sign", sign(&blob(&keys.plain), login.bytes(), 0));
                attack.tries("add", add(&keys.other));
                attack.tries("remove", remove(&blob(&keys.plain)));
                attack.tries("remove all", [REMOVE_ALL_IDENTITIES]);
                attack.tries("remove all, of SSH 1", [REMOVE_ALL_RSA_IDENTITIES]);
                attack.tries("lock again", Message::new(LOCK).string("stolen"));
                attack.tries("unlock with nothing", Message::new(UNLOCK).string(""));
                attack.has_to_work("bind", Bind::new(&keys.jump, b"hop", true).message());
                attack.tries("unlock from a host", Message::new(UNLOCK).string(PASSWORD));
            });
        }),
        Case::refused("locked: UNLOCK guessed on many connections at once", |attack| {
            while_locked(attack, |attack| {
                let lines: Vec<_> = (0..super::many(10, 200)).filter_map(|_| attack.connect()).collect();
                let guesses: Vec<_> = lines
                    .into_iter()
                    .map(|mut line| {
                        thread::spawn(move || [0; 2].map(|_| line.ask(Message::new(UNLOCK).string("guess"))))
                    })
                    .collect();
                for guess in guesses {
                    for answer in guess.join().unwrap() {
                        attack.note("a guess", answer);
                    }
                }
            });
        }),
        Case::refused("locked: UNLOCK with passwords of 200 KiB, cut and lied about", |attack| {
            while_locked(attack, |attack| {
                let good = Message::new(UNLOCK).string(PASSWORD);
                for wrong in good.lies().chain(good.cuts()).chain([good.with_one_more()]) {
                    attack.tries("damaged", wrong);
                }
                attack.tries("long", Message::new(UNLOCK).string("a".repeat(200 * 1024)));
            });
        }),
    ]
}

/// The owner has a connection of their own, and is let in again at once whatever others have guessed.
fn while_locked(attack: &mut Attack<'_, '_>, guess: impl FnOnce(&mut Attack<'_, '_>)) {
    /// A delay for somebody else's guesses would be longer.
    const AT_ONCE: Duration = Duration::from_secs(1);
    let Some(mut owner) = attack.connect() else { return };
    if owner.ask(Message::new(LOCK).string(PASSWORD)) != Answer::Message(vec![SUCCESS]) {
        attack.tally.unprepared.push("the owner can't lock the agent".into());
        return;
    }
    guess(attack);
    let began = Instant::now();
    let unlocked = owner.ask(Message::new(UNLOCK).string(PASSWORD));
    if unlocked != Answer::Message(vec![SUCCESS]) || began.elapsed() > AT_ONCE {
        attack.tally.unprepared.push(format!("the owner's unlock took {:?}: {unlocked:?}", began.elapsed()));
    }
}
