//! A client that is refused again and again is not listened to for a while; others are, and nothing gets lost of what it was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::time::Instant;

use agent::audit::record::{Act, Event, Peer};
use agent::denial::Code;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, PrivateKey};
use tests::{
    Agent, Answer, Client, Env, FAILURE, Kind, PATIENCE, Recipe, SIGN_RESPONSE, SUCCESS, Scene, TokenKind,
    for_each_token, session_bind, sshsig, string,
};

/// Messages of RFC 9987, by their numbers.
const REMOVE_IDENTITY: u8 = 18;
const LOCK: u8 = 22;
const EXTENSION_FAILURE: u8 = 28;

const SESSION_BIND: &str = "session-bind@openssh.com";

/// So many refusals are one too many, if nothing else is set (agent/src/mute.rs).
const TOO_MANY: usize = 32;

fn this_process() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

fn remove(key: &[u8]) -> Vec<u8> {
    [&[REMOVE_IDENTITY], &string(key)[..]].concat()
}

/// A client that is refused so often, anew on each connection, and is muted for it.
fn refused_too_often(agent: &Agent, key: &[u8]) {
    for n in 0..TOO_MANY {
        assert_eq!(agent.connect().sign(key, b"opaque"), [FAILURE], "the answer to request {n}");
    }
    wait_until_muted(agent);
}

/// The last refusal is answered before the muting is on record, and that is before it is told.
fn wait_until_muted(agent: &Agent) {
    agent.messages().wait_for("(muted)");
}

/// Those who were muted, as often as they were, with the number of refusals before.
fn muted(agent: &Agent) -> Vec<(i32, u32)> {
    let muted = |act| match act {
        Act::Muted { peer, refusals, .. } => Some((peer.pid, refusals)),
        _ => None,
    };
    agent.audit().acts().into_iter().filter_map(muted).collect()
}

/// Asks until it is listened to again, and says how many of its requests were not until then.
fn until_listened_to(agent: &Agent, key: &[u8]) -> u64 {
    let end = Instant::now() + PATIENCE;
    let mut client = agent.connect();
    loop {
        assert_eq!(client.sign(key, b"opaque"), [FAILURE]);
        let ended = |act| match act {
            Act::Unmuted { refused, .. } => Some(refused),
            _ => None,
        };
        if let Some(refused) = agent.audit().acts().into_iter().find_map(ended) {
            return refused;
        }
        assert!(Instant::now() < end, "it is muted still");
    }
}

for_each_token! {
    /// Whatever it asks and however often it connects; an ssh beside it logs in.
    fn a_stranger_who_connects_anew_is_muted_and_nobody_else(kind: TokenKind) {
        let Scene { env, token, key, agent, device: _device } = Scene::ready(kind, &Recipe::ed25519());
        refused_too_often(&agent, &key.blob());
        assert_eq!(muted(&agent), [(this_process(), 32)]);
        let (records, messages) = (agent.audit().records(), agent.messages().text());

        let mut client = agent.connect();
        for _ in 0..1000 {
            assert_eq!(client.sign(&key.blob(), b"opaque"), [FAILURE]);
        }
        assert_eq!(client.sign(&key.blob(), &sshsig("file")), [FAILURE], "what it may sign otherwise");
        for message in [remove(&key.blob()), [&[LOCK], &string(b"password")[..]].concat(), vec![200]] {
            assert_eq!(agent.connect().ask(&message), [FAILURE], "to message {}", message[0]);
        }
        assert_eq!(client.extension(SESSION_BIND, b"rubbish"), [EXTENSION_FAILURE]);
        assert_eq!(client.number_of_keys(), 1, "it is shown the keys");
        assert_eq!(agent.audit().records(), records, "there is no record of each");
        let since = agent.messages().text()[messages.len()..].to_owned();
        assert!(!since.contains("refused"), "nor a message: {since}");
        assert!(env.person().asked().is_empty() && !token.is_waiting(), "nobody is asked");

        let login = agent.ssh(["device", "true"]).start();
        env.person().approve(&token);
        login.wait().success();

        let audit = agent.audit();
        agent.terminate();
        let [.., Act::Unmuted { peer: Peer { pid, .. }, refused }, Act::Stop { .. }] = &audit.acts()[..] else {
            panic!("{:?}", audit.acts());
        };
        assert_eq!((*pid, *refused), (this_process(), 1000 + 1 + 3 + 1));
    }

    /// All connections of a host that the agent is forwarded to are those of the ssh that forwards it.
    fn a_host_is_muted_and_the_person_is_not(kind: TokenKind) {
        let Scene { env, token, key, agent, device: _device } = Scene::ready(kind, &Recipe::ed25519());
        let script = "for n in $(seq 40); do ssh-add -d \"$1\" 2>/dev/null; done; ssh-add -l; echo done; read line";
        let script = env.script("stranger", &format!("#!/bin/sh\n{script}\n"));
        let mut forwarding = agent.ssh(["-A", "device"]).arg(script).arg(key.public_path()).interactive().start();
        env.person().approve(&token);
        forwarding.stdout().wait_for("done");
        let listed = forwarding.stdout().text();
        assert!(listed.contains(&key.fingerprint()), "{listed}");
        let ssh = i32::try_from(forwarding.pid()).unwrap();
        assert_eq!(muted(&agent), [(ssh, 32)]);
        let refused = |act: &Act| matches!(act, Act::Refused { denial, .. } if denial.code == Code::ForwardedManagement);
        assert_eq!(agent.audit().acts().iter().filter(|act| refused(act)).count(), 32);

        let other = env.host("other");
        other.authorize(&key);
        for name in ["device", "other"] {
            let login = agent.ssh([name, "true"]).start();
            env.person().approve(&token);
            login.wait().success();
        }
        forwarding.type_line("");
        forwarding.wait().success();
    }
}

/// It is told where refusals are told, by the name of its record.
#[test]
fn that_a_client_is_muted_is_told_with_what_to_do() {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    refused_too_often(&scene.agent, &scene.key.blob());
    let is_it = |event: &Event| matches!(event, Event::Act { act: Act::Muted { .. } });
    let record = scene.agent.audit().records().into_iter().find(|record| is_it(&record.event)).unwrap();
    let id = record.sequence;
    scene.agent.messages().wait_for(&format!("refused #{id}: everything, asked by "));
    scene
        .agent
        .messages()
        .wait_for("it was refused 32 times in a short time, and is refused everything for 60 s (muted). ");
    let why = scene.agent.cli(["why", &format!("#{id}")]).run().success().stdout;
    assert!(why.lines().next().unwrap().ends_with("  muted") && why.contains(Code::Muted.next()), "{why}");
    assert!(why.contains("[mute]"), "{why}");
    scene.agent.cli(["audit", "verify"]).run().success();
}

#[test]
fn after_its_time_a_client_is_listened_to_again() {
    let scene = Scene::with(TokenKind::PinOnly, &Recipe::ed25519(), |agent| agent.mute_seconds(1));
    let (key, agent) = (scene.key.blob(), &scene.agent);
    refused_too_often(agent, &key);
    assert!(until_listened_to(agent, &key) > 0);
    assert_eq!(agent.audit().refusals().len(), TOO_MANY + 1, "the last one is on record");

    let mut client = agent.connect();
    client.begin_to_sign(&key, &sshsig("file"));
    scene.env.person().approve(&scene.token);
    assert_eq!(client.answer().unwrap()[0], SIGN_RESPONSE);
}

/// What a connection is bound to while its client is muted holds afterwards: it does not become one of this machine.
#[test]
fn a_binding_is_heard_while_its_client_is_muted() {
    let scene = Scene::with(TokenKind::PinOnly, &Recipe::ed25519(), |agent| agent.mute_seconds(1));
    let (key, agent) = (scene.key.blob(), &scene.agent);
    refused_too_often(agent, &key);
    let host = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
    let mut client = agent.connect();
    assert_eq!(client.extension(SESSION_BIND, &session_bind(&host, b"to the jump host", true)), [SUCCESS]);
    until_listened_to(agent, &key);

    assert_eq!(client.ask(&remove(&key)), [FAILURE]);
    agent.audit().wait_for(|event| {
        matches!(event, Event::Act { act: Act::Refused { request, denial, .. } }
            if request == "remove" && denial.code == Code::ForwardedManagement)
    });
    assert_eq!(client.number_of_keys(), 1);
}

/// Eight questions are enough, however many wait to be asked; while the eighth refusal is written down, the next may be shown.
#[test]
fn a_person_who_says_no_is_not_asked_for_ever() {
    const MANY: usize = 40;
    let env = Env::new();
    let agent = env.agent().start();
    let key = env.plain_key();
    agent.program("ssh-add").args(["-q", "-c"]).arg(key.path()).run().success();
    let mut strangers: Vec<Client> = (0..MANY).map(|_| agent.connect()).collect();
    strangers.iter_mut().for_each(|client| client.begin_to_sign(&key.blob(), &sshsig("theirs")));
    env.person().wait_until_asked(Kind::Confirm);
    env.person().always_refuses();
    env.person().answer(&Answer::Refuse);
    for client in &mut strangers {
        assert_eq!(client.answer(), Some(vec![FAILURE]));
    }
    wait_until_muted(&agent);
    let asked = env.person().texts(Kind::Confirm).len();
    assert!((8..MANY / 2).contains(&asked), "asked {asked} times");
    assert_eq!(muted(&agent), [(this_process(), 8)]);
    let codes = agent.audit().refusal_codes();
    let number = |code| codes.iter().filter(|refused| **refused == code).count();
    assert_eq!((number(Code::PromptRefused), number(Code::Muted)), (asked, MANY - asked), "each has its outcome");
}
