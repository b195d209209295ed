//! The audit log: what is there after a crash, what is refused when it can't be written, and that refusals are on it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use agent::audit::record::{Act, Event, Outcome};
use agent::denial::Code;
use soft_token::{Touch, What};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, PrivateKey};
use tests::{
    AgentOptions, FAILURE, Kind, PATIENCE, PIN, Recipe, SIGN_RESPONSE, SUCCESS, Scene, TokenKind, for_each_token,
    login, session_bind, sshsig,
};

for_each_token! {
    /// While a touch is awaited, the intent is on disk and its outcome is not.
    fn killed_between_the_two_records(kind: TokenKind) {
        let Scene { env, token, agent, device: _device, .. } = Scene::ready(kind, &Recipe::ed25519().verify_required());
        env.person().always_types(PIN);
        let login = agent.ssh(["device", "true"]).start();
        token.wait_for(|what| what == What::Waiting, PATIENCE);
        let audit = agent.audit();
        agent.kill();
        login.wait().code(255);
        let intents = audit.intents();
        let [((killed, orphan), _)] = intents.as_slice() else { panic!("one intent, not {intents:?}") };
        assert_eq!(audit.outcomes(), []);

        let agent = env.agent().start();
        let unknown = Outcome::Unknown { intent_by: *killed };
        let outcomes = audit.outcomes();
        assert_eq!(outcomes.iter().map(|((_, request), end)| (request, end)).collect::<Vec<_>>(), [(orphan, &unknown)]);
        assert_ne!(outcomes[0].0.0, *killed, "the agent that says so is another one");
        agent.messages().wait_for("an earlier agent was killed during a request: its outcome is unknown");

        // The helper heard of it and freed the token, so that the next login works.
        token.wait_for(|what| what == What::Cancelled, PATIENCE);
        let login = agent.ssh(["device", "true"]).start();
        env.person().approve(&token);
        login.wait().success();

        // It is said once.
        agent.terminate();
        let agent = env.agent().start();
        assert_eq!(audit.outcomes().iter().filter(|(_, outcome)| *outcome == unknown).count(), 1);
        let sequence: Vec<_> = audit.records().iter().map(|record| record.sequence).collect();
        assert_eq!(sequence, (1..=sequence.len() as u64).collect::<Vec<_>>(), "the numbers go on");
        drop(agent);
    }

    /// The token has signed, and the signature stays here.
    fn no_signature_leaves_without_its_outcome(kind: TokenKind) {
        let scene =
            Scene::with(kind, &Recipe::ed25519(), tests::AgentOptions::with_a_disk_that_can_be_full);
        let login = scene.agent.ssh(["device", "true"]).start();
        scene.env.person().wait_until_asked(Kind::Notice);
        scene.agent.limit_file_size(Some(fs::metadata(scene.agent.audit().path()).unwrap().len()));
        scene.env.person().approve(&scene.token);
        let refused = login.wait().code(255);
        assert!(refused.stderr.contains("agent refused operation"), "{}", refused.stderr);
        assert!(scene.token.events().iter().any(|event| event.what == What::Touched));
        scene.agent.messages().wait_for("the audit log can't be written");
        assert_eq!((scene.agent.audit().intents().len(), scene.agent.audit().outcomes().len()), (1, 0));

        scene.agent.limit_file_size(None);
        let login = scene.agent.ssh(["device", "true"]).start();
        scene.env.person().approve(&scene.token);
        login.wait().success();
        assert_eq!(scene.agent.audit().signatures().len(), 1);
    }

    /// Without an intent on record, nobody is troubled with a touch.
    fn no_token_is_asked_without_an_intent(kind: TokenKind) {
        let scene =
            Scene::with(kind, &Recipe::ed25519(), tests::AgentOptions::with_a_disk_that_can_be_full);
        scene.agent.limit_file_size(Some(1));
        scene.agent.ssh(["device", "true"]).run().code(255);
        scene.agent.messages().wait_for("(audit-unwritable)");
        assert!(!scene.token.is_waiting());
        assert_eq!(scene.env.person().asked(), []);

        scene.agent.limit_file_size(None);
        let login = scene.agent.ssh(["device", "true"]).start();
        scene.env.person().approve(&scene.token);
        login.wait().success();
    }
}

/// Each with its reason, with what was asked, and with nothing asked of a token.
#[test]
fn each_refusal_is_on_record() {
    // Nobody can be asked to plug the token in.
    let Scene { token, key, agent, .. } =
        Scene::with(TokenKind::PinOnly, &Recipe::ed25519(), AgentOptions::without_prompter);
    let waits = || token.events().iter().filter(|event| event.what == What::Waiting).count();
    let waits_before = waits();
    let audit = agent.audit();
    let host = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
    let host_key = host.public_key().to_bytes().unwrap();
    let other_host = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
    let other_key = other_host.public_key().to_bytes().unwrap();
    let bound = |forwarding| {
        let mut client = agent.connect();
        let answer = client.extension("session-bind@openssh.com", &session_bind(&host, b"session", forwarding));
        assert_eq!(answer, [SUCCESS]);
        client
    };
    let blob = key.blob();
    let mut answers = vec![
        (Code::UnknownKey, agent.connect().sign(&host_key, &sshsig("file"))),
        (Code::OpaqueData, agent.connect().sign(&blob, b"a website's challenge")),
        (Code::SessionMismatch, bound(false).sign(&blob, &login(b"another", &key, None))),
        (Code::HostKeyMismatch, bound(false).sign(&blob, &login(b"session", &key, Some(&other_key)))),
        (Code::SessionReplayed, bound(true).sign(&blob, &login(b"session", &key, Some(&host_key)))),
    ];
    assert_eq!(waits(), waits_before);
    drop(token);
    answers.push((Code::TokenAbsent, agent.connect().sign(&blob, &sshsig("file"))));

    for (code, answer) in &answers {
        assert_eq!(answer, &[FAILURE], "{code}");
    }
    let expected: Vec<_> = answers.iter().map(|(code, _)| *code).collect();
    assert_eq!(audit.refusal_codes(), expected);
    for record in audit.records() {
        let Event::Outcome { outcome: Outcome::Refused { denial, subject }, .. } = record.event else { continue };
        let subject = subject.expect("there was no intent that says who asked for what");
        assert_eq!(subject.peer.pid, i32::try_from(std::process::id()).unwrap(), "{denial}");
        assert!(subject.key.starts_with("SHA256:"));
        agent.messages().wait_for(&format!("refused #{}: ", record.sequence));
        agent.messages().wait_for(&denial.to_string());
    }
}

/// Secrets have no place there, whatever happens.
#[test]
fn no_pin_and_no_passphrase_is_ever_written() {
    let recipe = Recipe::ed25519().verify_required().passphrase("a passphrase of mine");
    let scene = Scene::with_key_not_added(TokenKind::PinOnly, &recipe, |agent| agent.setting(""));
    scene.agent.cli(["-S", "add"]).arg(scene.key.path()).input("a passphrase of mine\n").run().success();
    scene.token.set_touch(Touch::Always);
    scene.env.person().types(["0815", PIN]);
    assert_eq!(scene.agent.connect().sign(&scene.key.blob(), &sshsig("file"))[0], SIGN_RESPONSE);

    let log = fs::read_to_string(scene.agent.audit().path()).unwrap();
    let messages = scene.agent.messages().text();
    // The PIN is too short to be looked for in fingerprints; as a word it would stand out.
    for secret in ["a passphrase of mine", "\"0815\"", &format!("\"{PIN}\"")] {
        assert!(!log.contains(secret) && !messages.contains(secret), "{secret} was written");
    }
    assert_eq!(fs::metadata(scene.agent.audit().path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_changes_the_agent_is_on_record() {
    let Scene { env: _env, key, agent, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    agent.program("ssh-add").arg("-d").arg(key.path()).run().success();
    agent.cli(["-S", "add"]).arg(key.path()).run().success();
    agent.program("ssh-add").arg("-D").run().success();
    let audit = agent.audit();
    agent.terminate();
    let (fingerprint, from) = (key.fingerprint(), key.path().display().to_string());
    let add = Act::Add { key: fingerprint.clone(), from };
    let remove = Act::Remove { key: fingerprint };
    let acts = audit.acts();
    assert_eq!(acts[0], Act::Start);
    // ssh-add -D asks twice: once in the words of protocol 1, which ssh-agent understands too.
    assert_eq!(acts[1..], [add.clone(), remove, add, Act::RemoveAll, Act::RemoveAll, Act::Stop { assertions: 0 }]);
}
