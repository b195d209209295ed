//! What a record says besides who asked for what: the circumstances of a login, as it happened.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;

use agent::audit::chain::Hash;
use agent::audit::record::{
    Act, Assertion, Course, Event, Meaning, Outcome, Program, PromptKind, Prompted, RequestId, Signer, Token,
};
use agent::policy::Ground;
use tests::{Agent, PIN, Recipe, Scene, TokenKind};

/// The courses of the requests with a signature, and what the token said of each.
fn signed(agent: &Agent) -> Vec<(Course, Option<Assertion>)> {
    let ended = |event| match event {
        Event::Outcome { outcome: Outcome::Signed { assertion, .. }, course, .. } => {
            Some((course.expect("an agent that lives knows it"), assertion))
        }
        _ => None,
    };
    agent.audit().records().into_iter().filter_map(|record| ended(record.event)).collect()
}

/// Logs in, and gives what the prompts said.
fn log_in(scene: &Scene) -> String {
    scene.env.person().always_types(PIN);
    let login = scene.agent.ssh(["device", "true"]).start();
    let notice = scene.env.person().approve(&scene.token);
    login.wait().success();
    notice
}

#[test]
fn every_record_names_the_agent_its_settings_and_the_boot() {
    let Scene { env, agent, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let of_this_boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let audit = agent.audit();
    let config = fs::read(env.path("config/fido-ssh-agent/config.toml")).unwrap_or_default();
    for record in audit.records() {
        assert_eq!(record.agent.pid, agent.pid());
        assert_eq!(record.agent.boot_id, of_this_boot.trim());
        assert_eq!(record.agent.config, Hash::of(&config));
    }
    agent.terminate();
    let agent = env.agent().start();
    let starts = || audit.acts().iter().filter(|act| **act == Act::Start).count();
    audit.wait_for(|_| starts() == 2);
    let records = audit.records();
    assert_eq!(records.last().unwrap().agent.pid, agent.pid());
    let runs: std::collections::BTreeSet<_> = records.iter().map(|record| record.agent.run).collect();
    assert_eq!(runs.len(), 2, "each start is a run of its own");
    assert!(records.is_sorted_by_key(|record| record.boot_ms));
}

#[test]
fn a_login_by_pin_says_who_was_asked_where_and_how_long_it_took() {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519().verify_required());
    let notice = log_in(&scene);
    let audit = scene.agent.audit();

    let (intent, _) = audit.signatures().pop().unwrap();
    let Meaning::Login { service, method, .. } = &intent.subject.meaning else { panic!("{intent:?}") };
    assert_eq!((service.as_str(), method.as_str()), ("ssh-connection", "publickey-hostbound-v00@openssh.com"));
    assert_eq!((intent.rule, &intent.subject.certificate), (Ground::ProvenRoute, &None));
    let peer = &intent.subject.peer;
    let Program { pid, name, executable } = &peer.programs[0];
    assert_eq!((*pid, name.as_str(), executable.as_deref()), (peer.pid, "ssh", Some("/usr/bin/ssh")));
    assert!(peer.pinned || rustix::system::uname().release().to_string_lossy().starts_with("6.1."), "{peer:?}");
    let Signer::Token { token: Token { name, aaguid, .. }, .. } = &intent.signer else { panic!("{intent:?}") };
    assert_eq!((name, aaguid.as_ref().map(String::len)), (&None, Some(32)));

    let (Course { prompts, times }, assertion) = signed(&scene.agent).pop().unwrap();
    let kinds: Vec<_> = prompts.iter().map(|prompt| (prompt.kind, prompt.ms.is_some())).collect();
    let (confirm, secret, notices) = (PromptKind::Confirm, PromptKind::Secret, PromptKind::Notice);
    assert_eq!(kinds, [(confirm, true), (secret, true), (notices, false)], "it is yours; its PIN; touch it");
    let Prompted { channel, hash, .. } = &prompts[2];
    assert_eq!((channel.as_str(), *hash), ("askpass", Hash::of(notice.trim_end().as_bytes())));
    assert!(times.person > 0 && times.token > 0, "{times:?}");
    assert!(times.total >= times.person + times.token + times.disk, "{times:?}");
    let assertion = assertion.unwrap();
    assert_eq!(assertion.counter_step, None, "it is the key's first use");

    log_in(&scene);
    let (_, again) = signed(&scene.agent).pop().unwrap();
    let again = again.unwrap();
    let step = i64::from(again.counter) - i64::from(assertion.counter);
    assert_eq!(again.counter_step, Some(step));
    // OpenSK raises its counter by a random number between 1 and 5.
    assert!(step > 0 && again.assertions > assertion.assertions, "{again:?}");
    scene.agent.terminate();
    assert!(matches!(audit.acts().last(), Some(Act::Stop { assertions }) if *assertions >= again.assertions));
}

#[test]
fn a_certificate_is_named_with_its_authority() {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let authority = scene.env.plain_key();
    let plain = scene.env.plain_key();
    let certify = scene.env.program("ssh-keygen").arg("-q").arg("-s").arg(authority.path());
    certify.args(["-I", "me", "-n", "me", "-z", "18446744073709551615"]).arg(plain.public_path()).run().success();
    scene.agent.ssh_add(&plain);
    let signing =
        scene.agent.program("ssh-add").arg("-T").arg(
            plain.path().with_file_name(format!("{}-cert.pub", plain.path().file_name().unwrap().to_string_lossy())),
        );
    signing.run().success();
    let (intent, _) = scene.agent.audit().signatures().pop().unwrap();
    let certified = intent.subject.certificate.unwrap();
    assert_eq!((certified.id.as_str(), certified.serial.as_str()), ("me", "18446744073709551615"));
    assert_eq!(certified.authority, authority.fingerprint());
}

#[test]
fn what_becomes_of_a_signature_is_noted() {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    log_in(&scene);
    let audit = scene.agent.audit();
    let delivery = audit.wait_for(|event| matches!(event, Event::Delivery { .. }));
    let Event::Delivery { request, delivered: true } = delivery else { panic!("{delivery:?}") };
    assert_eq!(audit.outcomes().last().map(|((_, signed), _)| *signed), Some(RequestId(request.0)));
}
