//! Keys log in, by every road: directly, through a jump host, and over the forwarded agent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use agent::audit::record::{Meaning, Outcome, Signer, Verification};
use soft_token::{Device, Touch};
use tests::{Agent, Env, Host, KeyFile, PIN, Program, Recipe, Scene, TokenKind, for_each_token};

/// The authenticator data's flags (CTAP 2.1 § 6.1).
const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;

for_each_token! {
    fn a_key_of_ssh_keygen_ed25519(kind: TokenKind) {
        by_every_road(kind, &Recipe::ed25519(), made_by_ssh_keygen);
    }

    fn a_key_of_ssh_keygen_ecdsa(kind: TokenKind) {
        by_every_road(kind, &Recipe::ecdsa(), made_by_ssh_keygen);
    }

    fn a_key_of_ssh_keygen_ed25519_resident_verify_required(kind: TokenKind) {
        by_every_road(kind, &Recipe::ed25519().resident().verify_required(), made_by_ssh_keygen);
    }

    fn a_key_of_ssh_keygen_ecdsa_resident_verify_required(kind: TokenKind) {
        by_every_road(kind, &Recipe::ecdsa().resident().verify_required(), made_by_ssh_keygen);
    }

    fn a_key_of_gen_keys_ed25519(kind: TokenKind) {
        by_every_road(kind, &Recipe::ed25519(), Agent::gen_keys);
    }

    fn a_key_of_gen_keys_ecdsa(kind: TokenKind) {
        by_every_road(kind, &Recipe::ecdsa(), Agent::gen_keys);
    }

    fn a_key_of_gen_keys_ed25519_resident_verify_required(kind: TokenKind) {
        by_every_road(kind, &Recipe::ed25519().resident().verify_required(), Agent::gen_keys);
    }

    fn a_key_of_gen_keys_ecdsa_resident_verify_required(kind: TokenKind) {
        by_every_road(kind, &Recipe::ecdsa().resident().verify_required(), Agent::gen_keys);
    }
}

fn made_by_ssh_keygen(agent: &Agent, recipe: &Recipe) -> KeyFile {
    let key = agent.env().ssh_keygen(recipe);
    agent.ssh_add(&key);
    key
}

/// What a login shows, and what is recorded of it.
fn by_every_road(kind: TokenKind, recipe: &Recipe, make: impl Fn(&Agent, &Recipe) -> KeyFile) {
    let env = Env::new();
    let token = env.plug(kind.options());
    let agent = env.agent().start();
    let key = make(&agent, recipe);
    let hosts = [env.host("jump"), env.host("device")];
    hosts.iter().for_each(|host| host.authorize(&key));
    let [jump, device] = &hosts;
    token.set_touch(Touch::Manual);
    env.person().always_types(PIN);

    let at = |host: &Host| format!("on the host with key {} [verified]", host.fingerprint());
    let behind_jump = format!("{}, forwarded through {} [verified]", at(device), jump.fingerprint());
    let config = env.ssh_config();
    let roads = [
        (agent.ssh(["device", "echo", "hello"]), vec![at(device)]),
        (agent.ssh(["-J", "jump", "device", "echo", "hello"]), vec![at(jump), at(device)]),
        (
            agent.ssh(["-A", "jump", "ssh", "-F"]).arg(&config).args(["device", "echo", "hello"]),
            vec![at(jump), behind_jump],
        ),
    ];
    let mut destinations = Vec::new();
    for (login, expected) in roads {
        log_in(&env, &token, &key, login, &expected);
        destinations.extend(expected);
    }

    for host in &hosts {
        assert!(host.log().contains(&key.fingerprint()), "the host knows who logged in: {}", host.log());
    }
    is_on_record(kind, recipe, &agent, &key, &destinations);
}

/// Touches the token at each notice, which has to say where the login goes.
fn log_in(env: &Env, token: &Device, key: &KeyFile, login: Program, destinations: &[String]) {
    let login = login.start();
    for destination in destinations {
        let notice = env.person().approve(token);
        let lines: Vec<_> = notice.lines().map(str::trim).collect();
        assert_eq!(lines[0], format!("Log in as {}", env.user()));
        // The record has both in one line, and the prompt says that known_hosts has neither.
        for (host, line) in destination.split(", forwarded through ").zip(&lines[1..]) {
            let host = host.trim_start_matches("on the host with key ");
            assert!(line.ends_with(&format!("the host with key {host}, not in known_hosts")), "{notice}");
        }
        assert!(lines.iter().any(|line| line.starts_with(&format!("key: {}", key.fingerprint()))), "{notice}");
        let client = lines.iter().rev().nth(1).expect("there are many lines");
        assert!(client.starts_with("asked by: ssh (") && client.ends_with("[reported]"), "{notice}");
    }
    assert_eq!(login.wait().success().stdout, "hello\n");
}

fn is_on_record(kind: TokenKind, recipe: &Recipe, agent: &Agent, key: &KeyFile, destinations: &[String]) {
    let (expected_flags, expected_verification) = match (recipe.is_verify_required(), kind) {
        (false, _) => (USER_PRESENT, Verification::None),
        (true, TokenKind::PinOnly) => (USER_PRESENT | USER_VERIFIED, Verification::Pin),
        (true, TokenKind::Fingerprint) => (USER_PRESENT | USER_VERIFIED, Verification::BuiltIn),
    };
    let signatures = agent.audit().signatures();
    assert_eq!(signatures.len(), destinations.len());
    for ((intent, outcome), destination) in signatures.iter().zip(destinations) {
        assert_eq!(intent.destination, *destination);
        assert_eq!(intent.subject.key, key.fingerprint());
        assert_eq!(intent.subject.application.as_deref(), Some("ssh:"));
        assert_eq!(intent.subject.peer.programs[0].name, "ssh");
        let Meaning::Login { user, host_key, .. } = &intent.subject.meaning else { panic!("{intent:?}") };
        assert_eq!(user, agent.env().user());
        assert!(destination.contains(host_key.as_deref().expect("OpenSSH logs in hostbound")));
        assert!(matches!(intent.signer, Signer::Token { .. }), "{intent:?}");
        let Outcome::Signed { assertion: Some(assertion), .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!((assertion.flags, assertion.user_verification), (expected_flags, expected_verification));
    }
}

for_each_token! {
    /// `-O resident` and `-O verify-required` each alone.
    fn a_key_of_ssh_keygen_with_one_option_only(kind: TokenKind) {
        for recipe in [Recipe::ed25519().resident(), Recipe::ecdsa().verify_required()] {
            let scene = Scene::ready(kind, &recipe);
            scene.env.person().always_types(PIN);
            let login = scene.agent.ssh(["device", "true"]).start();
            scene.env.person().approve(&scene.token);
            login.wait().success();
        }
    }
}

/// Two tokens: the one that holds the key is found without a touch, and the other one is left alone.
#[test]
fn the_token_that_holds_the_key_is_found_among_two() {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let other = scene.env.plug(TokenKind::Fingerprint.options().touch(Touch::Never));
    let login = scene.agent.ssh(["device", "true"]).start();
    let notice = scene.env.person().approve(&scene.token);
    login.wait().success();
    assert!(notice.contains(&format!("serial {}", scene.token.serial())), "{notice}");
    assert!(!other.events().iter().any(|event| event.what == soft_token::What::Waiting));
}
