//! Too much of everything.

use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh_key::PrivateKey;

use crate::attack::Attack;
use crate::bystander::Crowd;
use crate::case::Case;
use crate::cases::bindings::Bind;
use crate::cases::many;
use crate::cases::signing::Login;
use crate::keys::{add_constrained, blob, ed25519, hop, private, remove, restrict_to, sign, way};
use crate::line::{Answer, Line};
use crate::message::{ADD_IDENTITY, EXTENSION, Message, REQUEST_IDENTITIES, SIGN_REQUEST, framed};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::unnoticed("lists without end, sent ahead and read", |attack| {
            pipelined(attack, &Message::new(REQUEST_IDENTITIES), many(10_000, 200_000));
        }),
        Case::unnoticed("signatures without end, sent ahead and read", |attack| {
            let key = &attack.keys().plain;
            let login = Login::new(key, b"session").message();
            pipelined(attack, &sign(&blob(key), login.bytes(), 0), many(500, 20_000));
        }),
        Case::unnoticed("signatures without end, on eight connections at once", |attack| {
            let key = &attack.keys().plain;
            let request = sign(&blob(key), Login::new(key, b"session").message().bytes(), 0);
            let lines: Vec<_> = (0..8).filter_map(|_| attack.connect()).collect();
            let signing = lines.into_iter().map(|mut line| {
                let request = request.clone();
                thread::spawn(move || {
                    (0..many(50, 5000)).map(|_| line.ask(&request)).find(|answer| !is_signature(answer))
                })
            });
            // All at once, before the first of them is waited for.
            for signing in signing.collect::<Vec<_>>() {
                if let Some(answer) = signing.join().unwrap() {
                    attack.tally.unprepared.push(format!("a signature: {answer:?}"));
                }
            }
        }),
        Case::unnoticed("refusals without end, on one connection after the other", |attack| {
            let key = &attack.keys().restricted;
            for _ in 0..many(10, 1000) {
                pipelined(attack, &sign(&blob(key), b"anything", 0), 100);
            }
        }),
        Case::unnoticed("answers that nobody reads", |attack| {
            let mut lines: Vec<_> = (0..20).filter_map(|_| attack.connect()).collect();
            pour(&mut lines, &framed([REQUEST_IDENTITIES]).repeat(10_000), false);
        }),
        Case::unnoticed("hanging up in the middle of an answer", |attack| {
            for _ in 0..many(200, 10_000) {
                let Some(mut line) = attack.connect() else { return };
                line.send(&framed([REQUEST_IDENTITIES]).repeat(10));
            }
        }),
        Case::unnoticed("hanging up in the middle of a message", |attack| {
            let message = framed(Message::new(SIGN_REQUEST).raw(&[0; 1000]));
            for length in 0..many(200, 1000) {
                let Some(mut line) = attack.connect() else { return };
                line.send(&message[..length]);
            }
        }),
        Case::unnoticed("connections that come and go", |attack| {
            for _ in 0..many(2000, 50_000) {
                drop(attack.connect());
            }
        }),
        Case::unnoticed("a thousand connections that say nothing", |attack| {
            let lines: Vec<_> = (0..1000).filter_map(|_| attack.connect()).collect();
            others_are_let_in(attack);
            drop(lines);
        }),
        Case::unnoticed("hundreds of connections, each with a message that lacks a byte", |attack| {
            let message = framed(Message::new(SIGN_REQUEST).raw(&vec![0; 256 * 1024 - 1]));
            let mut lines: Vec<_> = (0..many(300, 1000)).map_while(|_| attack.connect()).collect();
            pour(&mut lines, &message[..message.len() - 1], false);
            others_are_let_in(attack);
        }),
        Case::unnoticed("more processes with more connections than there is room for", |attack| {
            // As long as a message may be that takes no room from others, and as long as it may be at all.
            drop(Crowd::gather(attack.target(), 10, 300, 4 * 1024));
            drop(Crowd::gather(attack.target(), 10, many(40, 100), 256 * 1024));
        }),
        Case::unnoticed("long messages sent ahead, while somebody is asked", |attack| {
            let long = framed(Message::new(EXTENSION).string("x".repeat(255 * 1024)));
            let mut lines: Vec<_> = (0..many(40, 200)).map_while(|_| ask_to_confirm(attack)).collect();
            pour(&mut lines, &long, true);
        }),
        Case::unnoticed("a hundred requests that somebody has to confirm", |attack| {
            let lines: Vec<_> = (0..100).filter_map(|_| ask_to_confirm(attack)).collect();
            others_are_let_in(attack);
            drop(lines);
        }),
        Case::refused("extensions with names of 200 KiB, with odd ones, and a query with a body", |attack| {
            let extension = |name: &[u8]| Message::new(EXTENSION).string(name);
            for name in [&b""[..], b"session-bind@openssh.com\0", b"SESSION-BIND@OPENSSH.COM", b"quer", b"\xff\xfe"] {
                attack.tries("an odd name", extension(name));
                attack.tries("an odd name and a body", extension(name).raw(&[0x5a; 100]));
            }
            for _ in 0..many(20, 1000) {
                attack.tries("a long name", extension(&[b'x'; 200 * 1024]));
            }
            attack.tries("a long body", extension(b"no-such@example.com").raw(&[0; 200 * 1024]));
            attack.tries("a query with a body", extension(b"query").string("query"));
        }),
        Case::refused("names of 200 KiB in what is to be signed", |attack| {
            let keys = attack.keys();
            let bind = [Bind::new(&keys.jump, b"hop", true), Bind::new(&keys.device, b"login", false)];
            attack.begin_with(bind.map(|bind| bind.message()));
            for user in ["u", "\u{1b}[2J\r\n", "\u{202e}"] {
                let login = Login::new(&keys.restricted, b"another").user(user.repeat(200 * 1024 / user.len()));
                for _ in 0..many(20, 1000) {
                    attack.tries("a long user", sign(&blob(&keys.restricted), login.message().bytes(), 0));
                }
            }
        }),
        Case::unnoticed("keys without end, each with all the constraints that it may have", |attack| {
            // As much as fits into a message.
            let to = hop(&"u".repeat(100), "device", b"", Some(&attack.keys().device));
            let way = way(&hop("", "", b"", None), &to, b"");
            let restricted = restrict_to(&(0..900).fold(Message::default(), |all, _| all.nested(&way)));
            endless_keys(attack, many(200, 1000), |key| add_constrained(key, std::slice::from_ref(&restricted)));
        }),
        Case::unnoticed("keys without end, with long comments", |attack| {
            let comment = "\u{1f511}".repeat(50_000);
            endless_keys(attack, many(200, 1000), |key| {
                Message::new(ADD_IDENTITY).fields(&private(key)).string(&comment)
            });
        }),
    ]
}

fn is_signature(answer: &Answer) -> bool {
    matches!(answer, Answer::Message(answer) if answer.first() == Some(&tests::SIGN_RESPONSE))
}

/// Sends a message so often, while the answers are read. As many come as the agent likes.
fn pipelined(attack: &mut Attack<'_, '_>, message: &Message, count: usize) {
    let Some(mut line) = attack.connect() else { return };
    let Some(mut other) = line.try_clone() else { return };
    let (message, at_once) = (framed(message), count.min(100));
    let sender = thread::spawn(move || {
        let messages = message.repeat(at_once);
        for _ in 0..count / at_once {
            if !other.send(&messages) {
                return;
            }
        }
    });
    for _ in 0..count {
        match line.hear() {
            Answer::Message(_) => {}
            Answer::Closed => break,
            Answer::Silence => {
                attack.note("a message that was sent ahead", Answer::Silence);
                break;
            }
        }
    }
    line.hang_up();
    sender.join().unwrap();
}

/// Sends these bytes over all lines at once, over and over if so wished, until the agent takes no more.
fn pour(lines: &mut [Line], bytes: &[u8], over_and_over: bool) {
    /// Longer than an agent needs that goes on reading.
    const PATIENCE: Duration = Duration::from_millis(500);
    let patience = Timespec::try_from(PATIENCE).unwrap();
    lines.iter().for_each(Line::never_wait);
    let mut open: Vec<_> = lines.iter_mut().map(|line| (line, 0)).collect();
    loop {
        open.retain_mut(|(line, sent)| {
            let Some(more) = line.send_some(&bytes[*sent..]) else { return false };
            *sent += more;
            if over_and_over {
                *sent %= bytes.len();
            }
            *sent < bytes.len()
        });
        let mut writable: Vec<_> = open.iter().map(|(line, _)| PollFd::new(&**line, PollFlags::OUT)).collect();
        if writable.is_empty() || !matches!(poll(&mut writable, Some(&patience)), Ok(1..)) {
            return;
        }
    }
}

/// A client in another process is served, whatever this one holds.
fn others_are_let_in(attack: &mut Attack<'_, '_>) {
    let patience = attack.target().patience().as_secs().to_string();
    let listed = attack.target().program("timeout").args([&patience, "ssh-add", "-l"]).run();
    if !listed.status.success() {
        attack.tally.shut_out.push(format!("ssh-add of another process: {}", listed.stderr));
    }
}

/// A request that waits for a person, who has other things to do.
fn ask_to_confirm(attack: &mut Attack<'_, '_>) -> Option<Line> {
    let key = &attack.keys().confirmed;
    let mut line = attack.connect()?;
    let login = Login::new(key, b"session").message();
    line.say(sign(&blob(key), login.bytes(), 0)).then_some(line)
}

/// Whatever is added is removed again. As long as it is there, others see their keys.
fn endless_keys(attack: &mut Attack<'_, '_>, count: usize, add: impl Fn(&PrivateKey) -> Message) {
    let Some(mut line) = attack.connect() else { return };
    let mut added = Vec::new();
    for _ in 0..count {
        let key = ed25519();
        match line.ask(add(&key)) {
            Answer::Message(answer) if answer == [tests::SUCCESS] => added.push(blob(&key)),
            Answer::Message(_) | Answer::Closed => break,
            Answer::Silence => return attack.note("a key", Answer::Silence),
        }
    }
    others_are_let_in(attack);
    let Some(mut line) = attack.connect() else { return };
    for blob in added {
        line.ask(remove(&blob));
    }
}
