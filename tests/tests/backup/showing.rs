//! What is shown of keys and their backups, and the lines for hosts.

use std::fs;

use serde_json::{Value, json};
use tests::{Agent, Ended, Env, KeyFile, PIN, Recipe, TokenKind};

use crate::{backed_up, first_token};

fn read_json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error} in {}", ended.stdout))
}

fn export(agent: &Agent, keys: &[&str]) -> Ended {
    agent.cli(["export", "authorized-keys"]).args(keys).run()
}

fn line(key: &KeyFile, on: &str) -> String {
    let public = key.public_line();
    format!("verify-required {public}{on}\n")
}

/// What each is good for; and whether it was tried, by the record.
#[test]
fn the_list_says_what_each_key_is_good_for() {
    let env = Env::new();
    let agent = env.agent().start();
    let (_first, second, original, backup) = backed_up(&env, &agent, TokenKind::PinOnly);
    let list = || agent.cli(["list"]).run().success().stdout;
    let described = |key: &KeyFile, comment: &str| format!("256 {} {comment} (ED25519-SK)", key.fingerprint());
    let lines = |tried: &str| {
        format!(
            "{}\n    on token red; its backup is {}; never tried\n{}\n    backup of {}, on token blue; {tried}\n",
            described(&original, "me here"),
            backup.fingerprint(),
            described(&backup, "me here (backup)"),
            original.fingerprint(),
        )
    };
    assert_eq!(list(), lines("never tried"));

    let device = env.host("device");
    device.authorize(&backup);
    agent.cli(["remove", &original.fingerprint()]).run().success();
    env.person().always_types(PIN);
    agent.ssh(["device", "true"]).run().success();
    agent.cli(["-S", "add"]).arg(original.path()).run().success();
    let json = read_json(&agent.cli(["list", "--json"]).run().success());
    let entry = |key: &KeyFile| {
        let found = json["keys"].as_array().unwrap().iter().find(|entry| entry["fingerprint"] == key.fingerprint());
        found.unwrap().clone()
    };
    let (first, other) = (entry(&original), entry(&backup));
    assert_eq!(
        (&first["token"], &first["backup_of"], &first["last_used"]),
        (&json!("red"), &Value::Null, &Value::Null)
    );
    assert_eq!(first["backups"], json!([backup.fingerprint()]));
    assert_eq!((&other["token"], &other["backup_of"]), (&json!("blue"), &json!(original.fingerprint())));
    let time: jiff::Timestamp = other["last_used"].as_str().unwrap().parse().unwrap();
    assert!(list().contains(&format!("on token blue; last used {}", time.strftime("%F %T UTC"))), "{}", list());

    // The next agent knows it, too; one without a control socket here is shown as `ssh-add -l` shows it.
    agent.kill();
    let agent = env.agent().start();
    let listed = agent.cli(["list"]).run().success().stdout;
    assert_eq!(listed.matches("backup").count(), 3, "{listed}");
    let elsewhere = env.path("elsewhere.sock");
    fs::hard_link(agent.socket(), &elsewhere).unwrap();
    let listed = agent.cli(["list"]).env("SSH_AUTH_SOCK", &elsewhere).run().success().stdout;
    assert_eq!(listed, agent.list());
    drop(second);
}

/// So does what compares them with where they are registered.
#[test]
fn published_says_which_key_is_a_backup() {
    let env = Env::new();
    let agent = env.agent().start();
    let (_first, _second, original, backup) = backed_up(&env, &agent, TokenKind::PinOnly);
    let registered = env.path("registered");
    fs::write(&registered, export(&agent, &[]).success().stdout).unwrap();
    let published = || agent.cli(["published", "--to"]).arg(&registered);
    let told = published().run().success().stdout;
    let of_backup = told.split(&backup.fingerprint()).nth(1).unwrap();
    assert!(of_backup.contains(&format!("\n  backup of  {}\n", original.fingerprint())), "{told}");
    assert_eq!(told.matches("backup of").count(), 1, "{told}");
    let json = read_json(&published().arg("--json").run().success());
    let of = |key: &KeyFile| {
        let found = json["keys"].as_array().unwrap().iter().find(|entry| entry["fingerprint"] == key.fingerprint());
        found.unwrap()["backup_of"].clone()
    };
    assert_eq!((of(&original), of(&backup)), (Value::Null, json!(original.fingerprint())));
}

/// A key whose only company is itself is listed as `ssh-add -l` lists it.
#[test]
fn a_key_without_a_backup_is_listed_as_ever() {
    let env = Env::new();
    let _token = env.plug(first_token(TokenKind::PinOnly));
    let agent = env.agent().start();
    agent.cli(["-S", "tokens", "name", "red"]).run().success();
    agent.gen_keys(&Recipe::ed25519().resident());
    assert_eq!(agent.cli(["list"]).run().success().stdout, agent.list());
    let json = read_json(&agent.cli(["list", "--json"]).run().success());
    assert_eq!(json["keys"][0]["token"], "red");
}

#[test]
fn lines_for_authorized_keys_are_those_of_a_key_and_its_backups() {
    let env = Env::new();
    let agent = env.agent().start();
    let (_first, _second, original, backup) = backed_up(&env, &agent, TokenKind::PinOnly);
    let both = line(&original, ", on token red") + &line(&backup, ", on token blue");
    let (first, second) = (original.fingerprint(), backup.fingerprint());
    for named in [first.clone(), second.clone(), "me here".into(), backup.path().display().to_string()] {
        assert_eq!(export(&agent, &[&named]).success().stdout, both, "{named}");
    }
    // All that the agent holds; and a key that asks for no PIN.
    let plain = env.ssh_keygen(&Recipe::ed25519());
    agent.ssh_add(&plain);
    let all = export(&agent, &[]).success();
    assert_eq!((all.stdout, all.stderr), (format!("{both}{}\n", plain.public_line()), String::new()));

    let json = read_json(&export(&agent, &["--json", &first]).success());
    let entry = |key: &KeyFile, token, of| {
        json!({
            "fingerprint": key.fingerprint(), "line": line(key, &format!(", on token {token}")).trim_end(),
            "verify_required": true, "token": token, "backup_of": of,
        })
    };
    let expected = [entry(&original, "red", Value::Null), entry(&backup, "blue", json!(original.fingerprint()))];
    assert_eq!(json, json!({"version": 1, "keys": expected}));

    // A backup that the agent does not hold is found by its file; where that is gone too, its line is missed.
    agent.cli(["remove", &second]).run().success();
    assert_eq!(export(&agent, &["me here"]).success().stdout, both);
    fs::remove_file(backup.public_path()).unwrap();
    let missing = export(&agent, &["me here"]).code(1);
    assert_eq!(missing.stdout, line(&original, ", on token red"));
    assert!(missing.stderr.contains(&second) && missing.stderr.contains("is missing"), "{}", missing.stderr);
}

/// The agent has not opened the file yet, and can't know; it is said, and the line lets the key in.
#[test]
fn a_key_under_a_passphrase_whose_flags_are_not_known() {
    let env = Env::new();
    let _token = env.plug(first_token(TokenKind::PinOnly));
    let agent = env.agent().start();
    let key = agent.gen_keys(&Recipe::ed25519().resident().verify_required().passphrase("correct horse"));
    assert_eq!(export(&agent, &[]).success().stdout, line(&key, ""));
    agent.kill();
    let agent = env.agent().start();
    let unknown = export(&agent, &[]).success();
    assert_eq!(unknown.stdout, key.public_line() + "\n");
    assert!(
        unknown.stderr.contains("is not known here") && unknown.stderr.contains("`agent-cli add FILE`"),
        "{}",
        unknown.stderr
    );
}
