//! The agent protocol, byte by byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use agent::denial::Code;
use soft_token::Touch;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, PrivateKey};
use tests::{
    Env, FAILURE, Kind, Recipe, SIGN_RESPONSE, SUCCESS, Scene, TokenKind, login, session_bind, sshsig, string,
};

const LONGEST_FRAME: usize = 256 * 1024;
const EXTENSION_FAILURE: u8 = 28;
const EXTENSION_RESPONSE: u8 = 29;

#[test]
fn a_message_of_256_kib_is_the_longest() {
    let agent = Env::new().agent().start();
    let mut client = agent.connect();
    let mut message = vec![200; LONGEST_FRAME];
    assert_eq!(client.ask(&message), [FAILURE], "as long as may be, and no message that is known");
    assert_eq!(client.number_of_keys(), 0, "the connection lives on");
    message.push(0);
    client.send_message(&message);
    assert_eq!(client.answer(), None, "one byte more ends the connection");
    assert_eq!(agent.connect().number_of_keys(), 0, "and that connection only");
}

#[test]
fn an_empty_message_ends_the_connection() {
    let agent = Env::new().agent().start();
    let mut client = agent.connect();
    client.send_message(b"");
    assert_eq!(client.answer(), None);
}

/// Whatever it is, the next message is served.
#[test]
fn what_can_not_be_parsed_is_a_failure_and_no_more() {
    let Scene { agent, key, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let mut client = agent.connect();
    let blob = key.blob();
    for (what, message) in [
        ("an unknown number", vec![99]),
        ("a sign request without anything", vec![13]),
        ("a sign request that is cut", [&[13], &string(&blob)[..], &[0, 0]].concat()),
        ("a length beyond the end", vec![13, 0xff, 0xff, 0xff, 0xff]),
        ("a key that is none", [&[13], &string(b"rubbish")[..], &string(b"data"), &[0; 4]].concat()),
        ("an add without a key", vec![17]),
        ("an add of a key that is none", [&[17], &string(b"ssh-nonsense")[..], &[0; 40]].concat()),
        ("a remove that is cut", [&[18], &blob[..8]].concat()),
        ("a lock that is malformed", vec![22, 0, 0, 0]),
        ("an SSH 1 request", vec![1]),
    ] {
        assert_eq!(client.ask(&message), [FAILURE], "{what}");
        assert_eq!(client.number_of_keys(), 1, "after {what}");
    }
}

/// Two messages in one write, one message in many: a stream has no seams.
#[test]
fn messages_are_told_apart_by_their_lengths_alone() {
    let agent = Env::new().agent().start();
    let mut client = agent.connect();
    client.send(&[string(&[11]), string(&[99]), string(&[11])].concat());
    let lists = [client.answer(), client.answer(), client.answer()].map(Option::unwrap);
    assert_eq!(lists, [vec![12, 0, 0, 0, 0], vec![FAILURE], vec![12, 0, 0, 0, 0]]);
    for byte in string(&[11]) {
        client.send(&[byte]);
    }
    assert_eq!(client.answer().unwrap(), [12, 0, 0, 0, 0]);
}

#[test]
fn query_names_the_extensions() {
    let agent = Env::new().agent().start();
    let answer = agent.connect().extension("query", b"");
    let names = ["query", "query", "session-bind@openssh.com", "own-keys-only@fido-ssh-agent"];
    let names = names.map(|name| string(name.as_bytes())).concat();
    assert_eq!(answer, [&[EXTENSION_RESPONSE], &names[..]].concat());
}

#[test]
fn an_extension_that_fails_says_that_it_is_one() {
    let agent = Env::new().agent().start();
    let mut client = agent.connect();
    let host = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
    let good = session_bind(&host, b"session", false);
    let mut forged = good.clone();
    let last_of_signature = forged.len() - 2;
    forged[last_of_signature] ^= 1;
    let failure = [EXTENSION_FAILURE];
    assert_eq!(client.extension("no-such-extension@example.com", b""), failure);
    assert_eq!(client.extension("session-bind@openssh.com", b"rubbish"), failure);
    assert_eq!(client.extension("session-bind@openssh.com", &forged), failure);
    assert_eq!(client.extension("session-bind@openssh.com", &good), [SUCCESS]);
    let further = session_bind(&host, b"another", true);
    assert_eq!(client.extension("session-bind@openssh.com", &further), failure, "a login ends the path");
}

/// A website's challenge, say: nobody is asked.
#[test]
fn opaque_data_is_refused_for_a_token_s_key() {
    let Scene { env, token, key, agent, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    token.set_touch(Touch::Always);
    let mut client = agent.connect();
    let mut longer = login(b"session", &key, None);
    longer.push(0);
    for data in [&b""[..], b"a challenge", &[0xff; 32], &longer] {
        assert_eq!(client.sign(&key.blob(), data), [FAILURE]);
    }
    assert_eq!(agent.audit().refusal_codes(), [Code::OpaqueData; 4]);
    assert_eq!(env.person().asked(), []);
    assert_eq!(client.sign(&key.blob(), &login(b"session", &key, None))[0], SIGN_RESPONSE);
}

/// Keys could be taken away for good, or others put in their place.
#[test]
fn a_forwarded_connection_changes_nothing() {
    let Scene { key, agent, env, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let host = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
    let mut client = agent.connect();
    assert_eq!(client.extension("session-bind@openssh.com", &session_bind(&host, b"session", true)), [SUCCESS]);
    assert_eq!(client.ask(&[&[18], &string(&key.blob())[..]].concat()), [FAILURE], "remove");
    assert_eq!(client.ask(&[19]), [FAILURE], "remove all");
    assert_eq!(client.number_of_keys(), 1);
    agent.messages().wait_for("(forwarded-management)");
    assert_eq!(env.person().asked(), []);
}

/// A client may send its next message before the answer to the last, and hang up behind it.
#[test]
fn a_hang_up_is_seen_behind_messages_that_wait() {
    let Scene { env, token, key, agent, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let mut client = agent.connect();
    client.begin_to_sign(&key.blob(), &sshsig("file"));
    env.person().wait_until_asked(Kind::Notice);
    client.send_message(&[11]);
    drop(client);
    token.wait_for(|what| what == soft_token::What::Cancelled, tests::PATIENCE);
    assert_eq!(agent.audit().wait_for_refusal().code, Code::ClientGone);
}
