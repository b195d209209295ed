//! No try of a token's PIN is wasted: not in one request, not over several, and not at the last tries.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use agent::audit::record::{Event, Verification};
use agent::denial::{Code, Denial};
use soft_token::{Command, Device, Touch, What};
use tests::{Answer, Kind, PIN, Recipe, Scene, TokenKind, for_each_token};

/// A token that is touched at once, and an agent that wants its PIN even where there is a sensor.
fn scene(kind: TokenKind) -> Scene {
    let by_pin = "user_verification = \"pin\"";
    let scene = Scene::with(kind, &Recipe::ed25519().verify_required(), |agent| agent.setting(by_pin));
    scene.token.set_touch(Touch::Always);
    scene
}

/// The last line of each prompt of a kind.
fn asked(scene: &Scene, kind: Kind) -> Vec<String> {
    let last_line = |text: String| text.lines().last().unwrap_or_default().to_owned();
    scene.env.person().texts(kind).into_iter().map(last_line).collect()
}

fn refused(scene: &Scene) -> Denial {
    scene.agent.ssh(["device", "true"]).run().code(255);
    scene.agent.audit().refusals().pop().expect("a refusal is on record before ssh hears of it")
}

/// How often a PIN was sent to the token.
fn sent(token: &Device) -> usize {
    token.events().iter().filter(|event| event.what == What::Command(Command::PinToken)).count()
}

for_each_token! {
    fn one_two_stop_over_several_requests_until_the_token_is_plugged_in_again(kind: TokenKind) {
        let scene = scene(kind);
        // The first: asked again, and given up.
        scene.env.person().types(["0000"]);
        let login = scene.agent.ssh(["device", "true"]).start();
        scene.token.wait_for(|what| what == What::PinWrong { retries: 7 }, tests::PATIENCE);
        scene.env.person().wait_until_asked(Kind::Secret);
        scene.env.person().answer(&Answer::Refuse);
        login.wait().code(255);
        assert_eq!(scene.agent.audit().refusal_codes(), [Code::PromptRefused]);

        // The second, in another request, is the last.
        scene.env.person().types(["1111"]);
        let denial = refused(&scene);
        assert_eq!(denial.code, Code::PinGuard);
        assert_eq!(denial.reason, "2 wrong PINs were tried since the token was plugged in; 6 tries are left");
        assert_eq!(asked(&scene, Kind::Secret).len(), 3);
        let before = sent(&scene.token);

        // From then on nobody is asked, whatever wants the PIN.
        assert_eq!(refused(&scene).code, Code::PinGuard);
        let adding = scene.agent.cli(["-S", "add", "--resident"]).input(format!("{PIN}\n")).run().code(1);
        assert!(adding.stderr.contains("(pin-guard)"), "{}", adding.stderr);
        assert_eq!(asked(&scene, Kind::Secret).len(), 3, "no prompt");
        assert_eq!((sent(&scene.token), scene.token.pin_retries()), (before, 6), "no PIN");
        scene.agent.messages().wait_for("(pin-guard). Find the right PIN; then pull the token out, plug it in, and repeat.");

        // Plugged in again.
        let Scene { env, token, key, agent, device } = scene;
        let token = env.bus().plug_again(token.unplug());
        let scene = Scene { env, token, key, agent, device };
        scene.env.person().types([PIN]);
        scene.agent.ssh(["device", "true"]).run().success();
        assert_eq!(asked(&scene, Kind::Secret)[3], "PIN (6 tries left): ");
        assert_eq!(scene.token.pin_retries(), 8);

        let records = scene.agent.audit().records();
        let wrong = records.iter().filter(|record| match &record.event {
            Event::Attempt { attempt, .. } => {
                attempt.user_verification == Verification::Pin && attempt.ctap_status == Some(0x31)
            }
            _ => false,
        });
        assert_eq!(wrong.count(), 1, "what did not end its request is an attempt; the other one is a refusal");
    }

    /// A right PIN makes up for a wrong one before it.
    fn a_right_pin_begins_anew(kind: TokenKind) {
        let scene = scene(kind);
        scene.env.person().types(["0000", PIN, "0000", PIN]);
        for _ in 0..2 {
            scene.agent.ssh(["device", "true"]).run().success();
        }
        assert_eq!(asked(&scene, Kind::Secret).len(), 4);
    }

    fn at_two_tries_left_the_person_has_to_insist(kind: TokenKind) {
        let scene = scene(kind);
        scene.token.waste_pin_tries(6);
        let before = sent(&scene.token);
        scene.env.person().always_refuses();
        let denial = refused(&scene);
        assert_eq!(denial.code, Code::PinFewTries);
        assert_eq!(denial.reason, "PIN tries left: 2, and no other one was insisted on");
        assert_eq!(asked(&scene, Kind::Confirm), [
            "Only 2 tries are left for the token's PIN. After 2 wrong ones it is blocked for good and the keys on the token are lost. Try all the same? "
        ]);
        assert_eq!(asked(&scene, Kind::Secret), Vec::<String>::new());
        assert_eq!((sent(&scene.token), scene.token.pin_retries()), (before, 2));

        // Insisted once, and wrong: the last one takes another yes.
        scene.env.person().types(["yes", "0000"]);
        assert_eq!(refused(&scene).code, Code::PinFewTries);
        let last = asked(&scene, Kind::Confirm).pop().unwrap();
        assert!(last.starts_with("This is the last try for the token's PIN."), "{last}");
        assert_eq!(scene.token.pin_retries(), 1);

        // Insisted, and right.
        scene.env.person().types(["yes", PIN]);
        scene.agent.ssh(["device", "true"]).run().success();
        let last = asked(&scene, Kind::Secret).pop().unwrap();
        assert!(last.ends_with("PIN (last try before the token blocks itself for good): "), "{last}");
        assert_eq!(scene.token.pin_retries(), 8);
    }

    /// Over the forwarded agent of a real sshd: the first wrong PIN is the end, whatever the person would type next.
    fn a_forwarded_request_has_one_try(kind: TokenKind) {
        let scene = scene(kind);
        let jump = scene.env.host("jump");
        jump.authorize(&scene.key);
        let config = scene.env.ssh_config();
        // The login to the jump host is the person's own; the one behind it comes from there.
        scene.env.person().types([PIN, "0000", PIN]);
        let login = scene.agent.ssh(["-A", "jump", "ssh", "-F"]).arg(&config).args(["device", "true"]);
        login.run().code(255);

        let denial = scene.agent.audit().wait_for_refusal();
        assert_eq!(denial.code, Code::PinWrong);
        assert_eq!(denial.reason, "the token did not accept the PIN, 7 tries left; a forwarded request has one try");
        assert_eq!(asked(&scene, Kind::Secret).len(), 2, "one for each login");
        assert_eq!(scene.token.pin_retries(), 7);
        assert!(!scene.device.log().contains("Accepted publickey"));
    }

    /// PIN_AUTH_BLOCKED, by a program beside the agent: the token says so before anybody is asked.
    fn three_wrong_pins_of_another_program_ask_for_a_replug(kind: TokenKind) {
        let scene = scene(kind);
        let stranger = scene.env.person_who_types("0000");
        for _ in 0..3 {
            let loading = scene.env.program_with_tokens("ssh-keygen").asking(&stranger).args(["-K"]);
            assert!(!loading.run().stderr.is_empty());
        }
        assert_eq!(scene.token.pin_retries(), 5);
        let before = sent(&scene.token);
        assert_eq!(refused(&scene).code, Code::PinReplug);
        assert_eq!(asked(&scene, Kind::Secret), Vec::<String>::new());
        assert_eq!(sent(&scene.token), before);

        let Scene { env, token, key, agent, device } = scene;
        let token = env.bus().plug_again(token.unplug());
        env.person().types([PIN]);
        let scene = Scene { env, token, key, agent, device };
        scene.agent.ssh(["device", "true"]).run().success();
        assert_eq!(scene.token.pin_retries(), 8);
    }

    /// PIN_BLOCKED: nothing is asked for, and what is left is said.
    fn a_pin_that_is_blocked_for_good(kind: TokenKind) {
        let scene = scene(kind);
        scene.token.block_pin();
        let before = sent(&scene.token);
        assert_eq!(refused(&scene).code, Code::PinBlocked);
        assert_eq!(asked(&scene, Kind::Secret), Vec::<String>::new());
        assert_eq!(sent(&scene.token), before);
        scene.agent.messages().wait_for("Use your backup token. This one has to be reset, which erases its keys.");
    }

    /// A token whose PIN has to be changed would call the right one wrong.
    fn a_pin_that_has_to_be_changed_first(kind: TokenKind) {
        let scene = scene(kind);
        scene.token.demand_pin_change();
        let before = sent(&scene.token);
        scene.env.person().always_types(PIN);
        assert_eq!(refused(&scene).code, Code::PinChangeRequired);
        assert_eq!(asked(&scene, Kind::Secret), Vec::<String>::new());
        assert_eq!((sent(&scene.token), scene.token.pin_retries()), (before, 8));
        scene.agent.messages().wait_for("agent-cli tokens change-pin");
    }

    /// What can't be a PIN is not sent.
    fn a_slip_of_the_finger_costs_no_try(kind: TokenKind) {
        let scene = scene(kind);
        let before = sent(&scene.token);
        scene.env.person().types(["123", PIN]);
        scene.agent.ssh(["device", "true"]).run().success();
        assert_eq!(asked(&scene, Kind::Secret)[1], "A PIN has 4 to 63 characters. PIN (8 tries left): ");
        assert_eq!(sent(&scene.token), before + 1);
    }
}
