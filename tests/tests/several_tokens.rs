//! Several tokens, and which of them is asked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;

use agent::audit::record::Act;
use agent::denial::Code;
use soft_token::{Command, Device, Fault, TokenOptions, Touch, Unplugged, What};
use tests::{Agent, Answer, Env, Host, KeyFile, Kind, PIN, Recipe};

/// What the tokens have heard by now. What comes later is what a scenario is about.
struct Heard(Vec<usize>);

impl Heard {
    fn by(tokens: &[&Device]) -> Self {
        Self(tokens.iter().map(|token| token.events().len()).collect())
    }

    /// Which of the tokens have been asked for a touch, a finger or a PIN since.
    fn asked(&self, tokens: &[&Device]) -> Vec<usize> {
        let asked = |what: What| {
            matches!(what, What::Waiting | What::PinOk | What::PinWrong { .. } | What::Command(Command::PinToken))
        };
        let since =
            |place: usize| tokens[place].events().into_iter().skip(self.0[place]).any(|event| asked(event.what));
        (0..tokens.len()).filter(|place| since(*place)).collect()
    }
}

/// A token of a model that there are many of: each is as the other, down to its serial number.
fn twin() -> TokenOptions {
    TokenOptions::pin_only().pin(PIN).name("Twin").serial("7")
}

/// A key on a token that is plugged in alone, and a host where it logs in.
fn key_and_host(env: &Env, agent: &Agent, recipe: &Recipe, name: &str) -> (KeyFile, Host) {
    let key = env.ssh_keygen(recipe);
    agent.ssh_add(&key);
    let host = env.host(name);
    host.authorize(&key);
    (key, host)
}

/// A twin with a name, and a resident verify-required key made on it afterwards that logs in on the host of that name.
fn named_twin(env: &Env, agent: &Agent, name: &str) -> (Unplugged, Host) {
    let token = env.plug(twin());
    agent.cli(["-S", "tokens", "name", name]).run().success();
    let key = agent.gen_keys(&Recipe::ed25519().resident().verify_required());
    let host = env.host(name);
    host.authorize(&key);
    (token.unplug(), host)
}

#[test]
fn two_of_one_model_with_keys_that_answer_a_probe() {
    let env = Env::new();
    let agent = env.agent().start();
    let first = env.plug(twin());
    let (_red, _red_host) = key_and_host(&env, &agent, &Recipe::ed25519(), "red");
    let first = first.unplug();
    let second = env.plug(twin());
    let (_blue, _blue_host) = key_and_host(&env, &agent, &Recipe::ecdsa(), "blue");
    let first = env.bus().plug_again(first);
    let tokens = [&first, &second];
    for login in 0..20 {
        let (host, right) = [("red", 0), ("blue", 1)][login % 2];
        let heard = Heard::by(&tokens);
        agent.ssh([host, "true"]).run().success();
        assert_eq!(heard.asked(&tokens), [right], "login {login}");
    }
    assert_eq!(agent.audit().signatures().len(), 20);
    assert_eq!(env.person().texts(Kind::Secret).len() + env.person().texts(Kind::Confirm).len(), 0);
}

#[test]
fn two_of_one_model_with_names_and_keys_that_hide() {
    let env = Env::new();
    let agent = env.agent().start();
    let (first, _red) = named_twin(&env, &agent, "red");
    let (second, _blue) = named_twin(&env, &agent, "blue");
    let (first, second) = (env.bus().plug_again(first), env.bus().plug_again(second));
    let tokens = [&first, &second];
    env.person().looks_at_tokens();
    env.person().always_types(PIN);
    for login in 0..20 {
        let (host, right) = [("red", 0), ("blue", 1)][login % 2];
        let heard = Heard::by(&tokens);
        agent.ssh([host, "true"]).run().success();
        assert_eq!(heard.asked(&tokens), [right], "login {login}");
    }
    assert_eq!(env.person().texts(Kind::Confirm), Vec::<String>::new(), "a token with a name needs no other word");
    let pins = env.person().texts(Kind::Secret);
    assert_eq!(pins.len(), 20);
    assert!(pins[0].contains("token: red, Twin serial 7 at ") && !pins[0].contains("not proven"), "{}", pins[0]);
    let names: Vec<_> = agent.audit().acts().into_iter().filter(|act| matches!(act, Act::NameToken { .. })).collect();
    assert_eq!(names.len(), 2, "{names:#?}");
}

#[test]
fn of_three_tokens_only_the_right_one_is_asked() {
    let env = Env::new();
    let agent = env.agent().start();
    let recipes = [("a", Recipe::ed25519()), ("b", Recipe::ed25519().resident()), ("c", Recipe::ecdsa())];
    let mut hosts = Vec::new();
    let mut unplugged = Vec::new();
    for (name, recipe) in &recipes {
        let token = env.plug(TokenOptions::pin_only().pin(PIN));
        hosts.push(key_and_host(&env, &agent, recipe, name));
        unplugged.push(token.unplug());
    }
    let plugged: Vec<_> = unplugged.into_iter().map(|token| env.bus().plug_again(token)).collect();
    let tokens: Vec<_> = plugged.iter().collect();
    env.person().always_types(PIN);
    for (right, (name, _)) in recipes.iter().enumerate() {
        let heard = Heard::by(&tokens);
        agent.ssh([*name, "true"]).run().success();
        assert_eq!(heard.asked(&tokens), [right], "{name}");
    }
}

#[test]
fn the_right_one_is_absent_and_a_wrong_one_changes_nothing() {
    let env = Env::new();
    let agent = env.agent().start();
    let (red, _red_host) = named_twin(&env, &agent, "red");
    let (blue, _blue_host) = named_twin(&env, &agent, "blue");
    let blue = env.bus().plug_again(blue);
    let heard = Heard::by(&[&blue]);
    env.person().always_types(PIN);
    let login = agent.ssh(["red", "true"]).start();
    let question = env.person().wait_until_a_token_is_wanted();
    assert!(question.text.contains("Plug in token red"), "{}", question.text);

    // Another stranger, which is asked whether it is red, and then left alone.
    let stranger = env.plug(twin());
    stranger.wait_for(|what| what == What::Command(Command::GetAssertion), tests::PATIENCE);
    env.person().wait_until_a_token_is_wanted();

    let red = env.bus().plug_again(red);
    login.wait().success();
    assert_eq!(heard.asked(&[&blue]), [0_usize; 0]);
    assert_eq!(Heard(vec![0]).asked(&[&stranger]), [0_usize; 0]);
    assert!(!red.is_waiting());
    assert_eq!(env.person().texts(Kind::Secret).len(), 1);
}

#[test]
fn a_stranger_beside_a_token_with_a_name() {
    let env = Env::new();
    let agent = env.agent().start();
    let (red, _red_host) = named_twin(&env, &agent, "red");
    let stranger = env.plug(twin());
    let (_key, _host) = key_and_host(&env, &agent, &Recipe::ed25519().resident().verify_required(), "other");
    let red = env.bus().plug_again(red);
    let tokens = [&red, &stranger];
    env.person().always_types(PIN);
    let heard = Heard::by(&tokens);
    agent.ssh(["red", "true"]).run().success();
    assert_eq!(heard.asked(&tokens), [0]);

    // Which token holds the other key is not known: the person says so by touch, before any PIN is asked for.
    red.set_touch(Touch::Manual);
    stranger.set_touch(Touch::Manual);
    let pins = env.person().texts(Kind::Secret).len();
    let login = agent.ssh(["other", "true"]).start();
    let notice = env.person().wait_until_asked(Kind::Notice);
    assert!(notice.text.contains("Touch the token that holds this key"), "{}", notice.text);
    assert_eq!(env.person().texts(Kind::Secret).len(), pins);
    stranger.touch();
    stranger.wait_for(|what| what == What::PinOk, tests::PATIENCE);
    stranger.set_touch(Touch::Always);
    login.wait().success();

    // It has signed with the key since it was plugged in: it is not asked for by touch again.
    let heard = Heard::by(&tokens);
    agent.ssh(["other", "true"]).run().success();
    assert_eq!(heard.asked(&tokens), [1]);
}

#[test]
fn a_token_first_seen_is_confirmed_once_in_each_plugging_in() {
    let env = Env::new();
    let agent = env.agent().start();
    let token = env.plug(twin());
    let (_key, _host) = key_and_host(&env, &agent, &Recipe::ed25519().resident().verify_required(), "device");
    env.person().looks_at_tokens();
    let firsts = || env.person().asked().iter().filter(|asked| asked.is_of_a_first_seen_token()).count();

    env.person().types(["yes", PIN]);
    agent.ssh(["device", "true"]).run().success();
    assert_eq!(firsts(), 1);
    let text = &env.person().texts(Kind::Confirm)[0];
    assert!(text.contains("Twin serial 7 at /dev/hidraw"), "{text}");
    env.person().types([PIN]);
    agent.ssh(["device", "true"]).run().success();
    assert_eq!(firsts(), 1, "it is known now");

    let token = env.bus().plug_again(token.unplug());
    let heard = Heard::by(&[&token]);
    let login = agent.ssh(["device", "true"]).start();
    env.person().wait_until_asked(Kind::Confirm);
    env.person().answer(&Answer::Refuse);
    login.wait().code(255);
    assert_eq!(firsts(), 2);
    assert_eq!(agent.audit().wait_for_refusal().code, Code::PromptRefused);
    assert_eq!(heard.asked(&[&token]), [0_usize; 0], "what is not theirs gets no PIN");
}

/// It says that it holds the key, and its signature is false.
#[test]
fn a_device_that_lies_never_sees_a_pin() {
    let env = Env::new();
    // A key that answers a silent question, and is used with the PIN all the same.
    let agent = env.agent().setting("user_verification = \"pin\"").start();
    let token = env.plug(twin());
    let (_key, _host) = key_and_host(&env, &agent, &Recipe::ecdsa(), "device");
    env.person().always_types(PIN);
    agent.ssh(["device", "true"]).run().success();
    assert_eq!(env.person().texts(Kind::Secret).len(), 1);

    let heard = Heard::by(&[&token]);
    token.inject(Fault::WrongSignature.on(Command::GetAssertion).times(100));
    agent.ssh(["device", "true"]).run().code(255);
    assert_eq!(agent.audit().wait_for_refusal().code, Code::TokenUnproven);
    assert_eq!(heard.asked(&[&token]), [0_usize; 0]);
    assert_eq!(env.person().texts(Kind::Secret).len(), 1);
}

/// It claims a name that it can't prove, for a key that hides.
#[test]
fn a_device_that_lies_about_its_name_never_sees_a_pin() {
    let env = Env::new();
    let agent = env.agent().start();
    let (red, _host) = named_twin(&env, &agent, "red");
    let red = env.bus().plug_again(red);
    env.person().always_types(PIN);
    let heard = Heard::by(&[&red]);
    red.inject(Fault::WrongSignature.on(Command::GetAssertion).times(100));
    agent.ssh(["red", "true"]).run().code(255);
    assert_eq!(agent.audit().wait_for_refusal().code, Code::TokenUnproven);
    assert_eq!(heard.asked(&[&red]), [0_usize; 0]);
}

#[test]
fn names_are_given_changed_and_forgotten() {
    let env = Env::new();
    let agent = env.agent().start();
    let names = || agent.cli(["tokens", "--json"]).run().success().stdout;
    let first = env.plug(twin());
    agent.cli(["-S", "tokens", "name", "red"]).run().success();
    assert!(names().contains("\"name\": \"red\""), "{}", names());
    let made = first.events().into_iter().filter(|event| event.what == What::Command(Command::MakeCredential)).count();
    agent.cli(["-S", "tokens", "name", "green"]).run().success();
    let after = first.events().into_iter().filter(|event| event.what == What::Command(Command::MakeCredential)).count();
    assert_eq!((made, after), (1, 1), "it keeps its marker");
    let first = first.unplug();

    let second = env.plug(twin());
    assert!(!names().contains("green"), "a twin is another token");
    let refused = agent.cli(["-S", "tokens", "name", "green"]).run().code(1);
    assert!(refused.stderr.contains("another token is called green already"), "{}", refused.stderr);
    assert_eq!(agent.cli(["tokens", "forget", "red"]).run().code(1).stdout, "");
    agent.cli(["tokens", "forget", "green"]).run().success();
    agent.cli(["-S", "tokens", "name", "green"]).run().success();
    drop(second);
    let _first = env.bus().plug_again(first);
    assert!(!names().contains("green"), "{}", names());

    // A list that somebody damaged is said to be so, and left as it is.
    let list = env.path("state/fido-ssh-agent/tokens.json");
    fs::write(&list, "{ damaged").unwrap();
    let refused = agent.cli(["-S", "tokens", "name", "blue"]).run().code(1);
    assert!(refused.stderr.contains("the list of named tokens can't be used"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&list).unwrap(), "{ damaged");
}
