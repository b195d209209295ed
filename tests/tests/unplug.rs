//! Tokens that come and go.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::time::{Duration, Instant};

use agent::audit::record::Event;
use agent::denial::Code;
use soft_token::{Command, Fault, Touch};
use tests::{Answer, Kind, PIN, Recipe, Scene, TokenKind, for_each_token};

for_each_token! {
    /// The person is asked for the token within two seconds, and the login goes on by itself when it is back.
    fn unplugged_mid_touch_and_plugged_in_again(kind: TokenKind) {
        let Scene { env, token, agent, device: _device, .. } = Scene::ready(kind, &Recipe::ed25519().verify_required());
        env.person().always_types(PIN);
        let login = agent.ssh(["device", "true"]).start();
        env.person().wait_until_asked(Kind::Notice);
        token.wait_until_waiting();

        let began = Instant::now();
        let unplugged = token.unplug();
        let question = env.person().wait_until_a_token_is_wanted();
        assert!(began.elapsed() < Duration::from_secs(2), "asked for after {:?}", began.elapsed());
        assert!(question.text.contains("Plug in the token that holds this key"), "{}", question.text);

        let token = env.bus().plug_again(unplugged);
        token.set_touch(Touch::Manual);
        env.person().approve(&token);
        login.wait().success();
        env.person().wait_until_nothing_is_shown();
        let attempts = agent.audit().records().into_iter().filter(|r| matches!(r.event, Event::Attempt { .. }));
        assert_eq!(attempts.count(), 1, "the touch that was not to be is on record");
        assert_eq!(agent.audit().refusal_codes(), []);
        assert_eq!(agent.audit().signatures().len(), 1);
    }

    /// The prompt goes away with the token, and nothing was sent. Then all of it begins anew.
    fn unplugged_while_the_pin_is_asked_for(kind: TokenKind) {
        let Scene { env, token, agent, device: _device, .. } = Scene::ready(kind, &Recipe::ed25519().verify_required());
        if kind == TokenKind::Fingerprint {
            token.block_uv();
        }
        let login = agent.ssh(["device", "true"]).start();
        let question = env.person().wait_until_asked(Kind::Secret);
        let unplugged = token.unplug();
        env.person().wait_until_a_token_is_wanted();
        let shown: Vec<_> = env.person().asked().into_iter().filter(|asked| asked.shown).collect();
        assert!(!shown.contains(&question), "one prompt at a time: {shown:#?}");

        env.person().types([PIN]);
        let token = env.bus().plug_again(unplugged);
        token.set_touch(Touch::Manual);
        env.person().approve(&token);
        login.wait().success();
        assert_eq!(env.person().texts(Kind::Secret).len(), 2);
        assert_eq!(token.pin_retries(), 8);
    }

    /// A token that comes loose each time does not keep a request for ever.
    fn pulled_out_three_times_is_enough(kind: TokenKind) {
        let Scene { env, mut token, agent, device: _device, .. } =
            Scene::ready(kind, &Recipe::ed25519().verify_required());
        env.person().always_types(PIN);
        let login = agent.ssh(["device", "true"]).start();
        for time in 1..=3 {
            token.wait_until_waiting();
            let unplugged = token.unplug();
            if time == 3 {
                break;
            }
            env.person().wait_until_a_token_is_wanted();
            token = env.bus().plug_again(unplugged);
            token.set_touch(Touch::Manual);
        }
        login.wait().code(255);
        assert_eq!(agent.audit().wait_for_refusal().code, Code::TokenAbsent);
        env.person().wait_until_nothing_is_shown();
    }

    fn without_a_token_the_person_is_asked_for_it_and_may_say_no(kind: TokenKind) {
        let Scene { env, token, agent, device: _device, .. } = Scene::ready(kind, &Recipe::ed25519());
        let unplugged = token.unplug();
        let login = agent.ssh(["device", "true"]).start();
        env.person().wait_until_a_token_is_wanted();
        env.person().answer(&Answer::Refuse);
        login.wait().code(255);
        assert_eq!(agent.audit().wait_for_refusal().code, Code::TokenAbsent);
        env.person().wait_until_nothing_is_shown();

        // Yes is no more than a promise.
        let login = agent.ssh(["device", "true"]).start();
        env.person().wait_until_a_token_is_wanted();
        env.person().answer(&Answer::Type("yes".into()));
        let token = env.bus().plug_again(unplugged);
        token.set_touch(Touch::Manual);
        env.person().approve(&token);
        login.wait().success();
    }

    /// ssh would hang, and nobody would know what for.
    fn without_a_token_and_a_way_to_say_so_refused_at_once(kind: TokenKind) {
        let Scene { token, agent, device: _device, .. } =
            Scene::with(kind, &Recipe::ed25519(), tests::AgentOptions::without_prompter);
        drop(token);
        let began = Instant::now();
        agent.ssh(["device", "true"]).run().code(255);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert_eq!(agent.audit().refusal_codes(), [Code::TokenAbsent]);
    }

    fn who_leaves_is_not_waited_for(kind: TokenKind) {
        let Scene { env, token, agent, device: _device, .. } = Scene::ready(kind, &Recipe::ed25519());
        drop(token);
        let mut login = agent.ssh(["device", "true"]).start();
        env.person().wait_until_a_token_is_wanted();
        login.kill();
        env.person().wait_until_nothing_is_shown();
        assert_eq!(agent.audit().wait_for_refusal().code, Code::ClientGone);
    }

    fn nobody_waits_longer_than_the_request_may_take(kind: TokenKind) {
        let Scene { env, token, agent, device: _device, .. } =
            Scene::with(kind, &Recipe::ed25519(), |agent| agent.request_seconds(2));
        drop(token);
        agent.ssh(["device", "true"]).run().code(255);
        assert_eq!(agent.audit().wait_for_refusal().code, Code::TokenAbsent);
        env.person().wait_until_nothing_is_shown();
    }

    /// Wherever in the conversation it happens: plugged in again, it serves the same request.
    fn unplugged_at_any_packet(kind: TokenKind) {
        let Scene { env, mut token, key, agent, .. } = Scene::ready(kind, &Recipe::ecdsa().verify_required());
        env.person().always_types(PIN);
        for (command, packets) in
            [(Command::GetInfo, 0), (Command::GetInfo, 1), (Command::GetAssertion, 0), (Command::GetAssertion, 4)]
        {
            token.set_touch(Touch::Always);
            token.inject(Fault::UnplugAfter(packets).on(command));
            let mut client = agent.connect();
            client.begin_to_sign(&key.blob(), &tests::sshsig("file"));
            env.person().wait_until_a_token_is_wanted();
            token = env.bus().plug_again(token.unplug());
            token.set_touch(Touch::Always);
            let answer = client.answer().unwrap_or_default();
            assert_eq!(answer.first(), Some(&tests::SIGN_RESPONSE), "unplugged after {packets} packets of {command:?}");
        }
    }
}
