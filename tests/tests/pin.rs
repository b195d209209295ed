//! PINs and fingers: what is asked, how often, and what it costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use agent::audit::record::{Event, Outcome, Verification};
use agent::denial::Code;
use soft_token::{Command, Device, Finger, Touch, What};
use tests::{AgentOptions, Kind, PIN, Recipe, Scene, TokenKind, for_each_token};

fn count(token: &Device, wanted: impl Fn(What) -> bool) -> usize {
    token.events().into_iter().filter(|event| wanted(event.what)).count()
}

fn wrong_pins(token: &Device) -> usize {
    count(token, |what| matches!(what, What::PinWrong { .. }))
}

/// The last line of each question.
fn questions(scene: &Scene) -> Vec<String> {
    let last_line = |text: String| text.lines().last().unwrap_or_default().to_owned();
    scene.env.person().texts(Kind::Secret).into_iter().map(last_line).collect()
}

fn verification_of_the_signature(scene: &Scene) -> Verification {
    match scene.agent.audit().signatures().as_slice() {
        [(_, Outcome::Signed { assertion: Some(assertion), .. })] => {
            assert_eq!(assertion.flags & 0x04, 0x04, "the token says that it has verified its user");
            assertion.user_verification
        }
        other => panic!("one signature, not {other:?}"),
    }
}

fn verify_required() -> Recipe {
    Recipe::ed25519().resident().verify_required()
}

/// Of the fingerprint token the sensor is blocked, so that it wants the PIN too.
fn scene_that_takes_a_pin(kind: TokenKind, agent: impl FnOnce(AgentOptions) -> AgentOptions) -> Scene {
    let scene = Scene::with(kind, &verify_required(), agent);
    if kind == TokenKind::Fingerprint {
        scene.token.block_uv();
    }
    scene
}

for_each_token! {
    fn a_wrong_pin_is_asked_again_with_the_tries_that_are_left(kind: TokenKind) {
        let scene = scene_that_takes_a_pin(kind, |agent| agent);
        scene.env.person().types(["0000", PIN]);
        let login = scene.agent.ssh(["device", "true"]).start();
        scene.env.person().approve(&scene.token);
        login.wait().success();

        let questions = questions(&scene);
        assert_eq!(questions.len(), 2, "{questions:#?}");
        assert!(questions[0].ends_with("PIN (8 tries left): "), "{questions:#?}");
        assert_eq!(questions[1], "The PIN was wrong. PIN (7 tries left): ");
        assert_eq!(wrong_pins(&scene.token), 1);
        assert_eq!(scene.token.pin_retries(), 8, "the right PIN gives all tries back");
        let attempts = scene.agent.audit().records().into_iter().filter(|r| matches!(r.event, Event::Attempt { .. }));
        assert_eq!(attempts.count(), 1, "the wrong PIN is on record");
        assert_eq!(verification_of_the_signature(&scene), Verification::Pin);
    }

    fn two_wrong_pins_end_the_request_and_no_try_is_wasted(kind: TokenKind) {
        let scene = scene_that_takes_a_pin(kind, |agent| agent);
        scene.env.person().types(["0000", "1111", "2222"]);
        scene.agent.ssh(["device", "true"]).run().code(255);

        assert_eq!(questions(&scene).len(), 2, "asked again at most once");
        assert_eq!(wrong_pins(&scene.token), 2);
        assert_eq!(scene.token.pin_retries(), 6);
        let denial = scene.agent.audit().wait_for_refusal();
        assert_eq!(denial.code, Code::PinGuard);
        assert!(denial.reason.ends_with("6 tries are left"), "{denial}");
        assert!(!scene.token.is_waiting());
    }

    fn no_answer_to_the_pin_prompt_costs_no_try(kind: TokenKind) {
        let scene = scene_that_takes_a_pin(kind, |agent| agent);
        scene.env.person().always_refuses();
        scene.agent.ssh(["device", "true"]).run().code(255);

        assert_eq!(scene.agent.audit().wait_for_refusal().code, Code::PromptRefused);
        assert_eq!(questions(&scene).len(), 1);
        no_pin_was_sent(&scene.token);
    }

    fn without_a_prompter_refused_at_once_and_ssh_goes_on_to_its_next_key(kind: TokenKind) {
        let scene = scene_that_takes_a_pin(kind, AgentOptions::without_prompter);
        let plain = scene.env.plain_key();
        scene.device.authorize(&plain);
        let login = scene.agent.ssh(["-v", "-i"]).arg(plain.path()).args(["device", "echo", "hello"]).run().success();

        assert_eq!(login.stdout, "hello\n");
        let refused = login.stderr.find("agent refused operation").expect("ssh says that the agent refused");
        let next = login.stderr.rfind("Offering public key").expect("ssh says what it offers");
        assert!(refused < next, "{}", login.stderr);
        assert!(scene.device.log().contains("Accepted publickey"), "{}", scene.device.log());

        let reason = "no terminal is attached, pinentry has neither a display nor a terminal to appear on, \
            and the agent has neither DISPLAY nor WAYLAND_DISPLAY, which askpass needs";
        let denial = scene.agent.audit().wait_for_refusal();
        assert_eq!(denial.code, Code::NoPrompter);
        assert_eq!(denial.reason, reason);
        scene.agent.messages().wait_for(&format!("{reason} (no-prompter)"));
        no_pin_was_sent(&scene.token);
    }
}

#[test]
fn a_pin_prompt_that_nobody_answers_ends() {
    let scene = Scene::with(TokenKind::PinOnly, &verify_required(), |agent| agent.prompt_seconds(1));
    scene.agent.ssh(["device", "true"]).run().code(255);
    assert_eq!(scene.agent.audit().wait_for_refusal().code, Code::PromptTimeout);
    scene.env.person().wait_until_nothing_is_shown();
}

/// The PINs that the token saw are those of ssh-keygen, which were right.
fn no_pin_was_sent(token: &Device) {
    let sent = count(token, |what| what == What::Command(Command::PinToken));
    assert_eq!(sent, count(token, |what| what == What::PinOk));
    assert_eq!(token.pin_retries(), 8);
}

#[test]
fn a_fingerprint_needs_no_prompter() {
    let scene = Scene::with(TokenKind::Fingerprint, &verify_required(), AgentOptions::without_prompter);
    let login = scene.agent.ssh(["device", "true"]).start();
    scene.token.touch();
    login.wait().success();
    assert_eq!(verification_of_the_signature(&scene), Verification::BuiltIn);
}

#[test]
fn a_finger_that_is_not_recognised_is_asked_for_again() {
    let scene = Scene::ready(TokenKind::Fingerprint, &verify_required());
    scene.token.set_finger(Finger::Mismatch);
    let login = scene.agent.ssh(["device", "true"]).start();
    scene.env.person().approve(&scene.token);
    scene.token.set_finger(Finger::Match);
    let second = scene.env.person().approve(&scene.token);
    login.wait().success();

    assert!(second.ends_with("The finger was not recognised. Put your finger on the token's sensor."), "{second}");
    assert_eq!(questions(&scene), Vec::<String>::new());
    assert_eq!(verification_of_the_signature(&scene), Verification::BuiltIn);
}

#[test]
fn fingers_that_are_not_recognised_lead_to_the_pin() {
    let scene = Scene::ready(TokenKind::Fingerprint, &verify_required());
    scene.env.person().types([PIN]);
    scene.token.set_finger(Finger::Mismatch);
    scene.token.set_touch(Touch::Always);
    scene.agent.ssh(["device", "true"]).run().success();

    assert_eq!(questions(&scene).len(), 1);
    assert_eq!(verification_of_the_signature(&scene), Verification::Pin);
    assert_eq!(scene.token.pin_retries(), 8);
}

#[test]
fn a_blocked_sensor_leads_to_the_pin() {
    let scene = Scene::ready(TokenKind::Fingerprint, &verify_required());
    scene.token.block_uv();
    scene.env.person().types([PIN]);
    let login = scene.agent.ssh(["device", "true"]).start();
    scene.env.person().approve(&scene.token);
    login.wait().success();

    assert_eq!(questions(&scene), ["The fingerprint sensor is blocked. PIN (8 tries left): "]);
    assert_eq!(verification_of_the_signature(&scene), Verification::Pin);
}

#[test]
fn a_blocked_pin_is_said_and_not_asked_for() {
    let scene = Scene::ready(TokenKind::PinOnly, &verify_required());
    scene.token.block_pin();
    scene.agent.ssh(["device", "true"]).run().code(255);
    assert_eq!(scene.agent.audit().wait_for_refusal().code, Code::PinBlocked);
    assert_eq!(questions(&scene), Vec::<String>::new());
}

for_each_token! {
    /// The person said no on the token itself: that is an answer, and no reason to ask in another way.
    fn a_declined_touch_is_a_refusal(kind: TokenKind) {
        let scene = Scene::ready(kind, &verify_required());
        scene.env.person().always_types(PIN);
        scene.token.set_touch(Touch::Deny);
        scene.agent.ssh(["device", "true"]).run().code(255);

        assert_eq!(scene.agent.audit().wait_for_refusal().code, Code::DeclinedOnToken);
        let asked_before = usize::from(kind == TokenKind::PinOnly);
        assert_eq!(questions(&scene).len(), asked_before, "no PIN is asked for after a no");
        assert_eq!(count(&scene.token, |what| what == What::Denied), 1);
    }
}
