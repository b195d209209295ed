//! Statement 16: locked, and unlocked again.

use std::thread;
use std::time::{Duration, Instant};

use agent::audit::record::Act;
use agent::denial::Code;
use tests::{
    Agent, Client, Env, FAILURE, KeyFile, Recipe, SIGN_RESPONSE, SUCCESS, TokenKind, session_bind, sshsig, string,
};

use crate::{FakeHost, SESSION_BIND, remove};

fn with_a_key() -> (Agent, KeyFile) {
    let env = Env::new();
    let (agent, key) = (env.agent().start(), env.plain_key());
    agent.ssh_add(&key);
    (agent, key)
}

fn lock(password: &[u8]) -> Vec<u8> {
    [&[22][..], &string(password)].concat()
}

fn unlock(password: &[u8]) -> Vec<u8> {
    [&[23][..], &string(password)].concat()
}

#[test]
fn locked_it_lists_nothing_and_takes_bindings() {
    let (agent, key) = with_a_key();
    let (host, mut client) = (FakeHost::new(), agent.connect());
    assert_eq!(client.ask(&lock(b"")), [FAILURE], "an empty password");
    assert_eq!(client.ask(&unlock(b"password")), [FAILURE], "it is not locked");
    assert_eq!(client.number_of_keys(), 1);
    assert_eq!(client.ask(&lock(b"password")), [SUCCESS]);

    let mut bound = agent.connect();
    for (what, message) in [
        ("lock again", lock(b"another")),
        ("remove", remove(&key)),
        ("remove all", vec![19]),
        ("remove all of protocol 1", vec![9]),
        ("add", vec![17]),
        ("add with constraints", vec![25]),
        ("add from a module", vec![20]),
        ("query", [&[27][..], &string(b"query")].concat()),
        ("an unknown message", vec![99]),
        ("unlock with nothing", unlock(b"")),
    ] {
        assert_eq!(bound.ask(&message), [FAILURE], "{what}");
    }
    assert_eq!(bound.sign(&key.blob(), &sshsig("file")), [FAILURE]);
    assert_eq!(bound.number_of_keys(), 0);
    assert_eq!(bound.extension(SESSION_BIND, &session_bind(&host.0, b"session", false)), [SUCCESS]);
    assert_eq!(bound.extension(SESSION_BIND, b"rubbish"), [28]);

    assert_eq!(client.ask(&unlock(b"password")), [SUCCESS]);
    assert_eq!(client.number_of_keys(), 1);
    assert_eq!(client.sign(&key.blob(), &sshsig("file"))[0], SIGN_RESPONSE);
    let answer = bound.sign(&key.blob(), &sshsig("file"));
    assert_eq!(answer, [FAILURE], "what was bound while it was locked is bound");
    let acts = agent.audit().acts();
    let number = |wanted: fn(&Act) -> bool| acts.iter().filter(|act| wanted(act)).count();
    assert_eq!((number(|act| matches!(act, Act::Lock)), number(|act| matches!(act, Act::Unlock))), (1, 1));
    assert_eq!(agent.audit().refusal_codes(), [Code::Locked, Code::SessionMismatch]);
}

/// `agent-cli` is no way around it.
#[test]
fn locked_it_takes_no_keys_by_its_control_socket() {
    let env = Env::new();
    let _token = env.plug(TokenKind::PinOnly.options());
    let key = env.ssh_keygen(&Recipe::ed25519());
    let agent = env.agent().start();
    assert_eq!(agent.connect().ask(&lock(b"password")), [SUCCESS]);
    let file = env.path("new");
    let new = file.to_str().unwrap();
    // With a passphrase to be asked for, `agent-cli` would not ask the agent.
    let make = ["gen-keys", "--no-passphrase", "--file", new];
    for arguments in [&["add", key.path().to_str().unwrap()][..], &["add", "--resident"], &make] {
        let refused = agent.cli(["-S"]).args(arguments).input("1234\n").run().code(1);
        assert!(refused.stderr.contains("the agent is locked"), "{arguments:?}: {}", refused.stderr);
    }
    assert!(!file.exists(), "no key was made");
    assert_eq!(agent.connect().ask(&unlock(b"password")), [SUCCESS]);
    assert_eq!(agent.connect().number_of_keys(), 0);
    agent.cli(["-S", "add"]).arg(key.path()).run().success();
}

#[test]
fn a_password_is_any_bytes() {
    let (agent, _) = with_a_key();
    let mut client = agent.connect();
    for password in [&b"caf\xe9"[..], &[0xff; 100], b"\0", &[b'x'; 10_000]] {
        assert_eq!(client.ask(&lock(password)), [SUCCESS]);
        assert_eq!(client.ask(&unlock(&[password, b"x"].concat())), [FAILURE]);
        assert_eq!(client.ask(&unlock(password)), [SUCCESS]);
    }
}

/// Twenty callers at once: each waits for its own answer, ssh-agent's all in a row. Meanwhile others are served, and the
/// right password opens at once.
#[test]
fn a_wrong_password_costs_its_caller_and_nobody_else() {
    let (agent, _) = with_a_key();
    assert_eq!(agent.connect().ask(&lock(b"right")), [SUCCESS]);
    let began = Instant::now();
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let mut client = Client::connect(agent.socket());
            client.send_message(&unlock(b"wrong"));
            thread::spawn(move || {
                assert_eq!(client.answer().unwrap(), [FAILURE]);
                began.elapsed()
            })
        })
        .collect();
    let refused = |act: &Act| matches!(act, Act::Refused { request, .. } if request == "unlock");
    let end = Instant::now() + tests::PATIENCE;
    while agent.audit().acts().iter().filter(|act| refused(act)).count() < callers.len() {
        assert!(Instant::now() < end);
    }
    assert_eq!(agent.connect().number_of_keys(), 0);
    assert_eq!(agent.connect().ask(&unlock(b"right")), [SUCCESS]);
    assert_eq!(agent.connect().number_of_keys(), 1);
    let served = began.elapsed();

    let mut delays: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    delays.sort();
    for (n, delay) in (1..).zip(&delays) {
        assert!(*delay >= Duration::from_millis(100) * n, "the one after {n} failures waited {delay:?}");
    }
    let last = delays[delays.len() - 1];
    assert!(served < last, "all were served after {served:?}, and the last caller after {last:?}");
    assert!(last < Duration::from_secs(21), "one after the other they would have taken 21 s: {last:?}");
}
