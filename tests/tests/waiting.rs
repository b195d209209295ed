//! While a person is waited for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::time::{Duration, Instant};

use agent::denial::Code;
use soft_token::What;
use tests::{Answer, Client, Env, Kind, PATIENCE, PIN, Recipe, Scene, TokenKind, for_each_token, sshsig};

for_each_token! {
    /// Both lists are answered while the token waits, which it still does afterwards.
    fn lists_are_answered_while_a_touch_is_awaited(kind: TokenKind) {
        let Scene { env, token, key, agent, device: _device } = Scene::ready(kind, &Recipe::ed25519());
        let login = agent.ssh(["device", "true"]).start();
        token.wait_until_waiting();

        let list = agent.program("ssh-add").arg("-l").run().success().stdout;
        assert!(list.contains(&key.fingerprint()), "{list}");
        assert_eq!(agent.cli(["list"]).run().success().stdout, list);
        assert!(token.is_waiting(), "nobody has touched the token yet");

        env.person().approve(&token);
        login.wait().success();
    }

    /// The same while a PIN is awaited; of the fingerprint token the sensor is blocked, so that it wants one.
    fn lists_are_answered_while_a_pin_is_awaited(kind: TokenKind) {
        let Scene { env, token, key, agent, device: _device } =
            Scene::ready(kind, &Recipe::ed25519().verify_required());
        if kind == TokenKind::Fingerprint {
            token.block_uv();
        }
        let login = agent.ssh(["device", "true"]).start();
        env.person().wait_until_asked(Kind::Secret);

        let list = agent.program("ssh-add").arg("-l").run().success().stdout;
        assert!(list.contains(&key.fingerprint()), "{list}");
        assert_eq!(agent.cli(["list"]).run().success().stdout, list);
        assert!(env.person().asked()[0].shown, "the question has no answer yet");

        env.person().answer(&Answer::Type(PIN.into()));
        env.person().approve(&token);
        login.wait().success();
    }

    /// Two logins at once: one prompt at a time, each with its own host.
    fn two_signatures_queue_each_with_its_own_prompt(kind: TokenKind) {
        let Scene { env, token, key, agent, device } = Scene::ready(kind, &Recipe::ed25519().verify_required());
        env.person().always_types(PIN);
        let other = env.host("other");
        other.authorize(&key);
        let logins = [agent.ssh(["device", "true"]).start(), agent.ssh(["other", "true"]).start()];

        let mut notices = Vec::new();
        for _ in &logins {
            let notice = env.person().wait_until_asked(Kind::Notice);
            let shown = env.person().asked().iter().filter(|asked| asked.shown).count();
            assert_eq!(shown, 1, "one prompt at a time");
            assert_eq!(env.person().approve(&token), notice.text);
            notices.push(notice.text);
        }
        for login in logins {
            login.wait().success();
        }
        for host in [&device, &other] {
            let of_host = notices.iter().filter(|notice| notice.contains(&host.fingerprint())).count();
            assert_eq!(of_host, 1, "each host has its own prompt: {notices:#?}");
        }
        let pins = if kind == TokenKind::PinOnly { 2 } else { 0 };
        assert_eq!(env.person().texts(Kind::Secret).len(), pins, "each is asked its own PIN");
        assert_eq!(env.person().texts(Kind::Notice).len(), 2);
        assert_eq!(agent.audit().signatures().len(), 2);
    }

    /// The token hears of it, and is there for the next.
    fn a_client_that_goes_away_cancels_the_token(kind: TokenKind) {
        let Scene { env, token, agent, device: _device, .. } = Scene::ready(kind, &Recipe::ed25519().verify_required());
        env.person().always_types(PIN);
        let mut login = agent.ssh(["device", "true"]).start();
        token.wait_for(|what| what == What::Waiting, PATIENCE);
        env.person().wait_until_asked(Kind::Notice);
        login.kill();
        let cancelled = token.wait_for(|what| what == What::Cancelled, PATIENCE);
        env.person().wait_until_nothing_is_shown();
        assert_eq!(agent.audit().wait_for_refusal().code, Code::ClientGone);

        let next = agent.ssh(["device", "true"]).start();
        let waiting = token.wait_for(|what| what == What::Waiting, PATIENCE);
        env.person().approve(&token);
        next.wait().success();
        assert!(waiting.at - cancelled.at < Duration::from_secs(10), "the token was free at once");
        assert!(token.events().iter().all(|event| event.what != What::RefusedAsBusy));
    }

    /// A finger that is on its way when a request ends serves no other: the next one gives it a second to stop.
    fn a_touch_that_comes_late_does_not_serve_the_next_request(kind: TokenKind) {
        let Scene { env, token, agent, device: _device, .. } = Scene::ready(kind, &Recipe::ed25519());
        let mut login = agent.ssh(["device", "true"]).start();
        token.wait_until_waiting();
        let ended = Instant::now();
        login.kill();
        let next = agent.ssh(["device", "true"]).start();
        token.wait_for(|what| what == What::Cancelled, PATIENCE);
        assert_eq!(agent.audit().wait_for_refusal().code, Code::ClientGone);
        token.tap();

        let waiting = token.wait_for(|what| what == What::Waiting, PATIENCE);
        assert!(waiting.at - ended >= Duration::from_secs(1), "asked again after {:?}", waiting.at - ended);
        env.person().wait_until_asked(Kind::Notice);
        assert!(token.is_waiting(), "the touch in the gap went nowhere");
        env.person().approve(&token);
        next.wait().success();
    }

    /// The agent's own limit, long before the token's.
    fn without_a_touch_our_deadline_ends_it(kind: TokenKind) {
        let Scene { env, token, agent, device: _device, .. } =
            Scene::with(kind, &Recipe::ed25519().verify_required(), |agent| agent.touch_seconds(2));
        env.person().always_types(PIN);
        let login = agent.ssh(["device", "true"]).start();
        let waiting = token.wait_for(|what| what == What::Waiting, PATIENCE);
        let cancelled = token.wait_for(|what| what == What::Cancelled, PATIENCE);
        assert!(cancelled.at - waiting.at < Duration::from_secs(10), "that is not the token's own limit");
        let refused = login.wait().code(255);
        assert!(refused.stderr.contains("agent refused operation"), "{}", refused.stderr);

        let denial = agent.audit().wait_for_refusal();
        assert_eq!(denial.code, Code::TouchTimeout);
        assert_eq!(denial.reason, "the token was not touched in time");
        agent.messages().wait_for("the token was not touched in time (touch-timeout)");
        env.person().wait_until_nothing_is_shown();

        let next = agent.ssh(["device", "true"]).start();
        env.person().approve(&token);
        next.wait().success();
    }
}

/// A question is withdrawn with the program that caused it, and the next one is not held up.
#[test]
fn a_client_that_goes_away_takes_its_pin_prompt_with_it() {
    let Scene { env, token, agent, device: _device, .. } =
        Scene::ready(TokenKind::PinOnly, &Recipe::ed25519().verify_required());
    let mut login = agent.ssh(["device", "true"]).start();
    env.person().wait_until_asked(Kind::Secret);
    login.kill();
    env.person().wait_until_nothing_is_shown();
    assert_eq!(agent.audit().wait_for_refusal().code, Code::ClientGone);

    env.person().types([PIN]);
    let next = agent.ssh(["device", "true"]).start();
    env.person().approve(&token);
    next.wait().success();
    assert_eq!(token.pin_retries(), 8);
}

/// A host that the agent is forwarded to may open connections as it likes: all of them are one process to the agent, which
/// has one request in the queue for the person.
#[test]
fn a_process_with_many_requests_does_not_keep_the_person_from_others() {
    const MANY: usize = 40;
    let env = Env::new();
    let agent = env.agent().mutes_nobody().start();
    let (theirs, mine) = (env.plain_key(), env.plain_key());
    for key in [&theirs, &mine] {
        agent.program("ssh-add").args(["-q", "-c"]).arg(key.path()).run().success();
    }
    let mut strangers: Vec<Client> = (0..MANY).map(|_| agent.connect()).collect();
    strangers.iter_mut().for_each(|client| client.begin_to_sign(&theirs.blob(), &sshsig("theirs")));
    env.person().wait_until_asked(Kind::Confirm);

    let signing = agent.program("ssh-keygen").args(["-Y", "sign", "-n", "mine", "-f"]).arg(mine.public_path());
    let signing = signing.input("text").start();
    env.person().always_refuses();
    env.person().answer(&Answer::Refuse);
    signing.wait().code(255);
    let asked = env.person().texts(Kind::Confirm);
    let before = asked.iter().take_while(|text| !text.contains(&mine.fingerprint())).count();
    assert!(before < MANY, "all of the {MANY} requests of one process came first");
}
