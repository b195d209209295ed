//! Clients that are no friends: they lie about where they are, ask too much, send ahead, and pass keys off as others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use agent::audit::record::{Act, Outcome};
use agent::denial::Code;
use signature::Signer;
use soft_token::Touch;
use ssh_encoding::Encode;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, Certificate, PrivateKey, Signature};
use tests::{
    Agent, Client, Env, FAILURE, KeyFile, Recipe, SIGN_RESPONSE, SUCCESS, Scene, TokenKind, for_each_token,
    session_bind, sshsig, string,
};

/// Messages of RFC 9987, by their numbers.
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const ADD_IDENTITY: u8 = 17;
const REMOVE_IDENTITY: u8 = 18;
const REMOVE_ALL_IDENTITIES: u8 = 19;
const EXTENSION_FAILURE: u8 = 28;

const SESSION_BIND: &str = "session-bind@openssh.com";

fn host() -> PrivateKey {
    PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap()
}

fn remove(key: &[u8]) -> Vec<u8> {
    [&[REMOVE_IDENTITY], &string(key)[..]].concat()
}

/// What `ssh-add FILE` sends.
fn add(key: &KeyFile) -> Vec<u8> {
    let mut message = vec![ADD_IDENTITY];
    let private = PrivateKey::read_openssh_file(key.path()).unwrap();
    private.key_data().encode(&mut message).unwrap();
    [message, string(b"again")].concat()
}

for_each_token! {
    /// The token works on the first one meanwhile.
    fn requests_that_are_sent_ahead_are_answered_in_order(kind: TokenKind) {
        let scene = Scene::ready(kind, &Recipe::ed25519());
        let mut client = scene.agent.connect();
        client.begin_to_sign(&scene.key.blob(), &sshsig("file"));
        client.send_message(&[REQUEST_IDENTITIES]);
        scene.env.person().approve(&scene.token);
        assert_eq!(client.answer().unwrap()[0], SIGN_RESPONSE);
        assert_eq!(client.answer().unwrap()[0], IDENTITIES_ANSWER);
    }
}

#[test]
fn sixteen_messages_ahead_are_answered_and_seventeen_are_too_many() {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let send_ahead = |count| {
        let mut client = scene.agent.connect();
        client.begin_to_sign(&scene.key.blob(), &sshsig("file"));
        (0..count).for_each(|_| client.send_message(&[REQUEST_IDENTITIES]));
        client
    };
    let mut client = send_ahead(16);
    scene.env.person().approve(&scene.token);
    assert_eq!(client.answer().unwrap()[0], SIGN_RESPONSE);
    (0..16).for_each(|_| assert_eq!(client.answer().unwrap()[0], IDENTITIES_ANSWER));
    assert_eq!(client.number_of_keys(), 1);

    let mut client = send_ahead(17);
    assert_eq!(client.answer(), Some(vec![FAILURE]), "the request that was under way");
    assert_eq!(client.answer(), None);
    assert_eq!(scene.agent.audit().wait_for_refusal().code, Code::ClientGone);
    scene.env.person().wait_until_nothing_is_shown();
    assert!(!scene.token.is_waiting());
}

/// An identity of its own, which nobody has added.
#[test]
fn a_certificate_that_names_a_held_key_is_refused() {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    scene.token.set_touch(Touch::Always);
    let authority = scene.env.plain_key();
    let keygen = scene.env.program("ssh-keygen").args(["-q", "-I", "me", "-n", "me", "-V", "+1h", "-s"]);
    keygen.arg(authority.path()).arg(scene.key.public_path()).run().success();
    let file = format!("{}-cert.pub", scene.key.path().display());
    let certificate = Certificate::read_file(file.as_ref()).unwrap().to_bytes().unwrap();

    let mut client = scene.agent.connect();
    assert_eq!(client.sign(&certificate, &sshsig("file")), [FAILURE]);
    let [(_, Outcome::Refused { denial, subject: Some(subject) })] = &scene.agent.audit().outcomes()[..] else {
        panic!("{:?}", scene.agent.audit().outcomes());
    };
    assert_eq!(denial.reason, "the agent does not hold this certificate");
    assert_eq!((denial.code, &subject.key), (Code::UnknownKey, &scene.key.fingerprint()));
    assert_eq!(client.ask(&remove(&certificate)), [FAILURE]);
    assert_eq!(client.number_of_keys(), 1, "the key itself is held still");
    assert_eq!(client.sign(&scene.key.blob(), &sshsig("file"))[0], SIGN_RESPONSE);
}

/// Whatever is wrong with it; and each on a connection that was good until then.
#[test]
fn a_session_binding_that_does_not_hold_fails() {
    let agent = Env::new().agent().start();
    let signature = |host: &PrivateKey, session: &[u8]| -> Vec<u8> {
        let signature: Signature = host.try_sign(session).unwrap();
        Vec::try_from(signature).unwrap()
    };
    let (ours, other) = (host(), host());
    let key = ours.public_key().to_bytes().unwrap();
    let body = |key: &[u8], signature: &[u8]| [string(key), string(b"session"), string(signature), vec![0]].concat();
    let good = session_bind(&ours, b"session", false);
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(body(&key, &signature(&ours, b"session")), good);
    for (what, body) in [
        ("nothing", vec![]),
        ("cut short", good[..good.len() - 1].to_vec()),
        ("with more behind it", longer),
        ("no session", session_bind(&ours, b"", false)),
        ("a session that is too long", session_bind(&ours, &[7; 129], false)),
        ("no host key", body(b"rubbish", &signature(&ours, b"session"))),
        ("no signature", body(&key, b"")),
        ("a signature over another session", body(&key, &signature(&ours, b"another"))),
        ("another host's signature", body(&key, &signature(&other, b"session"))),
    ] {
        let mut client = agent.connect();
        assert_eq!(client.extension(SESSION_BIND, &body), [EXTENSION_FAILURE], "{what}");
        assert_eq!(client.number_of_keys(), 0, "the connection lives on after {what}");
    }
    let mut client = agent.connect();
    let forwarded = session_bind(&ours, b"another session", true);
    for (what, body, expected) in [
        ("a hop", &forwarded, SUCCESS),
        ("the same hop again, which changes nothing", &forwarded, SUCCESS),
        ("the hop's session with another host", &session_bind(&other, b"another session", true), EXTENSION_FAILURE),
        ("a login", &good, SUCCESS),
        ("the same login: nothing follows a login, as with ssh-agent", &good, EXTENSION_FAILURE),
    ] {
        assert_eq!(client.extension(SESSION_BIND, body), [expected], "{what}");
    }
}

fn may_not_manage(client: &mut Client, key: &KeyFile) {
    for message in [remove(&key.blob()), vec![REMOVE_ALL_IDENTITIES], add(key)] {
        assert_eq!(client.ask(&message), [FAILURE], "to message {}", message[0]);
    }
    assert_eq!(client.number_of_keys(), 1);
}

/// Requests to add or remove that were refused, with their codes.
fn refused_acts(agent: &Agent) -> Vec<(String, Code)> {
    let refused = |act| match act {
        Act::Refused { request, denial, .. } => Some((request, denial.code)),
        _ => None,
    };
    agent.audit().acts().into_iter().filter_map(refused).collect()
}

/// A host whose binding failed may be on the way, and no later binding takes that back: anyone can make up a host key.
#[test]
fn after_a_failed_binding_keys_are_neither_added_nor_removed() {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let mut client = scene.agent.connect();
    assert_eq!(client.extension(SESSION_BIND, b"rubbish"), [EXTENSION_FAILURE]);
    may_not_manage(&mut client, &scene.key);
    let made_up = session_bind(&host(), b"made up", false);
    assert_eq!(client.extension(SESSION_BIND, &made_up), [SUCCESS]);
    may_not_manage(&mut client, &scene.key);

    let binding = vec![("bind the connection to a host".to_owned(), Code::BindingRefused)];
    let refused = ["remove", "remove all", "add"].map(|request| (request.to_owned(), Code::ForwardedManagement));
    assert_eq!(refused_acts(&scene.agent), [binding, refused.to_vec(), refused.to_vec()].concat());
    let mut local = scene.agent.connect();
    assert_eq!(local.ask(&remove(&scene.key.blob())), [SUCCESS], "another connection is another matter");
    assert_eq!(local.ask(&add(&scene.key)), [SUCCESS]);
}

for_each_token! {
    fn a_forwarded_connection_lists_and_signs_and_does_not_manage(kind: TokenKind) {
        let scene = Scene::ready(kind, &Recipe::ecdsa());
        let (jump, mut client) = (host(), scene.agent.connect());
        assert_eq!(client.extension(SESSION_BIND, &session_bind(&jump, b"to the jump host", true)), [SUCCESS]);
        may_not_manage(&mut client, &scene.key);

        client.begin_to_sign(&scene.key.blob(), &sshsig("file"));
        let notice = scene.env.person().approve(&scene.token);
        assert_eq!(client.answer().unwrap()[0], SIGN_RESPONSE);
        assert!(notice.contains("\n  forwarded through the host with key"), "{notice}");
        assert_eq!(refused_acts(&scene.agent).len(), 3);
    }
}
