//! Tokens that come and go.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::time::{Duration, Instant};

use agent::denial::Code;
use soft_token::{Command, Fault, Touch};
use tests::{Kind, PIN, Recipe, Scene, TokenKind, for_each_token};

for_each_token! {
    /// Refused within two seconds; and the same agent serves the same token when it is back.
    fn unplugged_mid_touch_and_plugged_in_again(kind: TokenKind) {
        let Scene { env, token, agent, device: _device, .. } = Scene::ready(kind, &Recipe::ed25519().verify_required());
        env.person().always_types(PIN);
        let login = agent.ssh(["device", "true"]).start();
        env.person().wait_until_asked(Kind::Notice);
        token.wait_until_waiting();

        let began = Instant::now();
        let unplugged = token.unplug();
        let denial = agent.audit().wait_for_refusal();
        assert!(began.elapsed() < Duration::from_secs(2), "refused after {:?}", began.elapsed());
        assert_eq!(denial.code, Code::TokenAbsent);
        login.wait().code(255);
        env.person().wait_until_nothing_is_shown();

        // Without a token: refused at once, nobody is asked.
        let prompts = env.person().asked().len();
        agent.ssh(["device", "true"]).run().code(255);
        assert_eq!(agent.audit().refusal_codes(), [Code::TokenAbsent, Code::TokenAbsent]);
        assert_eq!(env.person().asked().len(), prompts);

        let token = env.bus().plug_again(unplugged);
        token.set_touch(Touch::Manual);
        let login = agent.ssh(["device", "true"]).start();
        env.person().approve(&token);
        login.wait().success();
    }

    /// Wherever in the conversation it happens.
    fn unplugged_at_any_packet(kind: TokenKind) {
        let Scene { env, mut token, key, agent, .. } = Scene::ready(kind, &Recipe::ecdsa().verify_required());
        env.person().always_types(PIN);
        for (command, packets) in
            [(Command::GetInfo, 0), (Command::GetInfo, 1), (Command::GetAssertion, 0), (Command::GetAssertion, 4)]
        {
            token.set_touch(Touch::Always);
            token.inject(Fault::UnplugAfter(packets).on(command));
            let answer = agent.connect().sign(&key.blob(), &tests::sshsig("file"));
            assert_eq!(answer, [tests::FAILURE], "unplugged after {packets} packets of {command:?}");
            token = env.bus().plug_again(token.unplug());
        }
        token.set_touch(Touch::Always);
        let answer = agent.connect().sign(&key.blob(), &tests::sshsig("file"));
        assert_ne!(answer, [tests::FAILURE]);
    }
}
