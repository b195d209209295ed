//! A key in a file of authorized_keys lines.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use soft_token::Touch;
use tests::{Agent, Ended, KeyFile, Recipe, Scene, TokenKind};

fn publish(agent: &Agent, key: &KeyFile, to: &str) -> Ended {
    agent.cli(["-S", "publish", "--to", to]).arg(key.public_path()).input("y\n").run()
}

/// sshd takes it, and wants its user's verification.
#[test]
fn a_key_in_a_file_logs_in() {
    let recipe = Recipe::ed25519().verify_required();
    let Scene { env, agent, token, key, .. } = Scene::ready(TokenKind::Fingerprint, &recipe);
    token.set_touch(Touch::Always);
    let _other = env.host("other");
    let file = env.path("other/authorized_keys");
    let others = "# mine\nssh-ed25519 AAAA nobody's\n";
    fs::write(&file, others).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    agent.ssh(["other", "true"]).run().code(255);

    let to = file.to_str().unwrap();
    let published = publish(&agent, &key, to).success();
    assert!(published.stderr.contains("there now  not this key"), "{}", published.stderr);
    let expected = format!("{others}verify-required {}\n", key.public_line());
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    agent.ssh(["other", "true"]).run().success();

    let again = publish(&agent, &key, to).success();
    assert!(again.stdout.starts_with("Published already"), "{}", again.stdout);
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    let compared = agent.cli(["published", "--to", to]).arg(key.public_path()).run().success();
    assert!(compared.stdout.contains("All of them agree."), "{}", compared.stdout);
}

/// As `AuthorizedKeysFile FOLDER/%u` reads it; a second key does not replace the first.
#[test]
fn a_folder_has_a_file_for_each_user() {
    let recipe = Recipe::ed25519();
    let Scene { env, agent, token, key, .. } = Scene::ready(TokenKind::PinOnly, &recipe);
    token.set_touch(Touch::Always);
    let second = env.ssh_keygen(&Recipe::ecdsa());
    agent.ssh_add(&second);
    let folder = env.path("keys");
    fs::create_dir(&folder).unwrap();
    for key in [&key, &second] {
        publish(&agent, key, folder.to_str().unwrap()).success();
    }
    let lines = fs::read_to_string(folder.join(env.user())).unwrap();
    assert_eq!(lines, format!("{}\n{}\n", key.public_line(), second.public_line()));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);

    for (to, code) in [("keys", 64), ("/dev/null", 1), ("/proc/keys", 1)] {
        publish(&agent, &key, to).code(code);
    }
}

/// A denied proof leaves the file as it was, and one that was not there is not made.
#[test]
fn nothing_is_written_without_a_proof() {
    let Scene { env, agent, token, key, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    token.set_touch(Touch::Deny);
    let file = env.path("authorized_keys");
    publish(&agent, &key, file.to_str().unwrap()).code(1);
    assert!(!file.exists());
}
