//! Which keys are there again when the agent is started again, and which are not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::path::PathBuf;

use tests::{Agent, Env, KeyFile, Kind, Recipe, Scene, TokenKind, for_each_token};

const NONE: &str = "The agent has no identities.\n";

/// Kills the agent, as a power failure would, and starts another.
fn again(agent: Agent) -> Agent {
    let env = agent.env().clone();
    agent.kill();
    env.agent().start()
}

/// An agent, and keys whose token is not at hand.
fn keys<const N: usize>() -> (Agent, [KeyFile; N]) {
    let env = Env::new();
    let _token = env.plug(TokenKind::PinOnly.options());
    let keys = [(); N].map(|()| env.ssh_keygen(&Recipe::ed25519()));
    (env.agent().start(), keys)
}

/// The list of kept keys.
fn list_of_keys(env: &Env) -> PathBuf {
    env.path("state/fido-ssh-agent/keys.json")
}

for_each_token! {
    /// `ssh-add` opened it, and the agent knows which file it was. The next one is told its passphrase at the first use.
    fn a_file_under_a_passphrase_is_listed_and_opened_at_the_first_use(kind: TokenKind) {
        let scene = Scene::ready(kind, &Recipe::ed25519());
        let Scene { env, token, mut agent, device, .. } = scene;
        token.set_touch(soft_token::Touch::Always);
        let key = env.ssh_keygen(&Recipe::ecdsa().passphrase("correct horse"));
        device.authorize(&key);
        agent.program("ssh-add").arg("-D").run().success();
        let typist = env.person_who_types("correct horse");
        agent.program("ssh-add").asking(&typist).arg("-q").arg(key.path()).run().success();
        let list = agent.list();

        agent = again(agent);
        assert_eq!(agent.list(), list, "with the same comment, too");
        env.person().types(["wrong horse"]);
        agent.ssh(["device", "true"]).run().code(255);
        env.person().types(["correct horse"]);
        agent.ssh(["device", "true"]).run().success();
        agent.ssh(["device", "true"]).run().success();
        assert_eq!(env.person().texts(Kind::Secret).len(), 2, "a wrong one, the right one, and no third");
    }
}

/// They would come back without their constraints; even where the same key was kept before.
#[test]
fn keys_with_constraints_are_not_there_again() {
    for constraint in [&["-c"][..], &["-t", "3600"]] {
        let (mut agent, [kept_before, new]) = keys();
        agent.ssh_add(&kept_before);
        agent = again(agent);
        assert!(agent.list().contains(&kept_before.fingerprint()));
        for key in [&kept_before, &new] {
            agent.program("ssh-add").arg("-q").args(constraint).arg(key.path()).run().success();
        }
        assert_eq!(agent.list().lines().count(), 2);
        assert_eq!(again(agent).list(), NONE, "ssh-add {constraint:?}");
    }
}

#[test]
fn removed_keys_are_not_there_again() {
    for (program, arguments) in [("ssh-add", &["-d"][..]), ("ssh-add", &["-D"]), ("agent-cli", &["remove"])] {
        let (agent, [key]) = keys();
        agent.cli(["-S", "add"]).arg(key.path()).run().success();
        let removal = match program {
            "ssh-add" => agent.program(program).arg("-q").args(arguments),
            _ => agent.cli(arguments),
        };
        let removal = if arguments == ["-D"] { removal } else { removal.arg(key.path()) };
        removal.run().success();
        assert_eq!(again(agent).list(), NONE, "after {program} {arguments:?}");
    }
}

#[test]
fn a_file_that_holds_another_key_now_is_passed_over() {
    let (agent, [key, other]) = keys();
    agent.ssh_add(&key);
    let agent = {
        let aside = agent.env().path("aside");
        fs::rename(key.path(), &aside).unwrap();
        fs::copy(other.path(), key.path()).unwrap();
        let agent = again(agent);
        assert_eq!(agent.list(), NONE);
        agent.messages().wait_for("a kept key's file holds another key now, and is passed over");
        fs::rename(&aside, key.path()).unwrap();
        again(agent)
    };
    assert!(agent.list().contains(&key.fingerprint()), "once the file is its own again, the key is back");
}

/// A key on a disk that is not there yet stays on the list.
#[test]
fn a_file_that_is_away_is_waited_for() {
    let (agent, [key, other]) = keys();
    agent.ssh_add(&key);
    agent.ssh_add(&other);
    let away = agent.env().path("away");
    fs::rename(key.path(), &away).unwrap();
    let agent = again(agent);
    let list = agent.list();
    assert!(!list.contains(&key.fingerprint()) && list.contains(&other.fingerprint()), "{list}");
    fs::rename(&away, key.path()).unwrap();
    assert!(again(agent).list().contains(&key.fingerprint()));
}

/// An agent that does not start is worse than one that has to be given its keys again.
#[test]
fn a_damaged_list_is_set_aside() {
    let (mut agent, [key]) = keys();
    agent.ssh_add(&key);
    let list = list_of_keys(agent.env());
    let text = fs::read_to_string(&list).unwrap();
    let damaged = &text[..text.len() / 2];
    fs::write(&list, damaged).unwrap();

    agent = again(agent);
    assert_eq!(agent.list(), NONE);
    agent.messages().wait_for("the list of kept keys is damaged, and set aside");
    assert_eq!(fs::read_to_string(list.with_extension("damaged")).unwrap(), damaged);
    agent.ssh_add(&key);
    assert!(again(agent).list().contains(&key.fingerprint()), "a new list was begun");
}

/// A key with its certificate beside it: the list shows both.
fn certified_key() -> (Agent, KeyFile) {
    let (agent, [key]) = keys();
    agent.env().authority().certify(&key, &["-n", "me"]);
    (agent, key)
}

/// `ssh-add` sends the certificate after the key, and `agent-cli` has it read.
#[test]
fn a_certificate_beside_the_file_is_there_again() {
    for program in ["ssh-add", "agent-cli"] {
        let (agent, key) = certified_key();
        match program {
            "ssh-add" => agent.ssh_add(&key),
            _ => drop(agent.cli(["-S", "add"]).arg(key.path()).run().success()),
        }
        let list = agent.list();
        assert_eq!(list.matches(&key.fingerprint()).count(), 2, "{list}");
        assert!(list.contains("(ED25519-SK-CERT)"), "{list}");
        let agent = again(agent);
        assert_eq!(agent.list(), list, "after {program}, with the same comments");

        agent.program("ssh-add").args(["-q", "-d"]).arg(key.path()).run().success();
        assert_eq!(agent.list(), NONE);
        assert_eq!(again(agent).list(), NONE, "both are forgotten");
    }
}

/// Both are one entry on the list of kept keys, and what was removed must not come back.
#[test]
fn where_one_of_both_is_removed_none_comes_back() {
    for certificate_alone in [true, false] {
        let (agent, key) = certified_key();
        agent.ssh_add(&key);
        let line = if certificate_alone { key.certificate_line() } else { key.public_line() };
        agent.program("ssh-add").args(["-q", "-d", "-"]).input(line + "\n").run().success();
        assert_eq!(agent.list().lines().count(), 1, "the other one stays for now");
        assert_eq!(again(agent).list(), NONE);
    }
}

/// Renewed while the agent was away: it is the file's certificate that counts.
#[test]
fn a_certificate_that_was_renewed_takes_the_place_of_the_old_one() {
    let (mut agent, key) = certified_key();
    agent.ssh_add(&key);
    let old = agent.program("ssh-add").arg("-L").run().success().stdout;
    agent.env().authority().certify(&key, &["-n", "me"]);
    agent = again(agent);
    let new = agent.program("ssh-add").arg("-L").run().success().stdout;
    assert_eq!((new.lines().count(), new.lines().next()), (2, old.lines().next()), "{new}");
    let blob = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(blob(new.lines().last().unwrap()), blob(&key.certificate_line()));
    assert_ne!(blob(new.lines().last().unwrap()), blob(old.lines().last().unwrap()));

    std::fs::write(key.certificate_path(), "rubbish").unwrap();
    assert_eq!(again(agent).list().lines().count(), 1, "a certificate that is none is passed over");
}

for_each_token! {
    /// The token is asked as for the key itself.
    fn a_certificate_that_is_there_again_logs_in(kind: TokenKind) {
        let Scene { env, token, key, agent, device } = Scene::ready(kind, &Recipe::ed25519().verify_required());
        let authority = env.authority();
        authority.certify(&key, &["-n", env.user(), "-O", "verify-required"]);
        agent.ssh_add(&key);
        let agent = again(agent);
        drop(device);
        let host = env.host("certificates");
        host.authorize_line(&format!("cert-authority {}\n", authority.public_line()));
        env.person().always_types(tests::PIN);
        let login = agent.ssh(["certificates", "true"]).start();
        env.person().approve(&token);
        login.wait().success();
    }
}
