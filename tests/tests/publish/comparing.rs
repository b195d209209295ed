//! `agent-cli published`.

use std::fs;

use serde_json::{Value, json};
use tests::graph::ACCOUNT;
use tests::{Ended, KeyFile, PIN, Recipe};

use crate::fabric::Fabric;

fn read_json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error} in {}", ended.stdout))
}

/// Puts a key's files where OpenSSH has them.
fn into_home(fabric: &Fabric, key: &KeyFile) -> KeyFile {
    let path = fabric.env.path("home/.ssh/id_ed25519_sk");
    fs::copy(key.path(), &path).unwrap();
    fs::copy(key.public_path(), path.with_extension("pub")).unwrap();
    KeyFile::new(path, true)
}

#[test]
fn all_agree_once_the_key_is_published() {
    let fabric = Fabric::ready();
    let key = into_home(&fabric, &fabric.key);
    let nothing = fabric.cli(&["published"], "").run().code(1);
    let next = format!("No key is published. `agent-cli publish {}`", key.public_path().display());
    assert!(nothing.stderr.contains(&next), "{}", nothing.stderr);

    fabric.cli(&["publish"], "y\n").run().success();
    let file = key.public_path();
    let all = fabric.cli(&["published"], "").run().success();
    let expected = format!(
        "place    Microsoft Graph\naccount  {ACCOUNT}\n256 {} by ssh-keygen (ED25519-SK)\n  published  yes\n  file       {}\n  agent      yes\n\
         All of them agree.\n",
        key.fingerprint(),
        file.display(),
    );
    assert_eq!((all.stdout.as_str(), all.stderr.as_str()), (expected.as_str(), ""));
    let with_token = fabric.cli(&["published", "--token", "--json"], &format!("{PIN}\n")).run().success();
    let expected = json!({
        "version": 1, "agree": true, "place": "Microsoft Graph", "account": ACCOUNT, "differences": [],
        "keys": [{
            "fingerprint": key.fingerprint(), "type": "ED25519-SK", "comment": "by ssh-keygen", "published": true,
            "files": [file], "agent": true, "token": true, "backup_of": null,
        }],
    });
    assert_eq!(read_json(&with_token), expected);
    assert!(fabric.graph.writes().len() == 1);
}

/// What does not agree, with what to do about it.
#[test]
fn what_does_not_agree_is_named() {
    let fabric = Fabric::ready();
    let key = into_home(&fabric, &fabric.key);
    let published = |told: &str, arguments: &[&str], typed: &str| {
        let ended = fabric.cli(&["published"], typed).args(arguments).run().code(1);
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
        let json = fabric.cli(&["published", "--json"], typed).args(arguments).run().code(1);
        let (json, stderr) = (read_json(&json), json.stderr);
        assert_eq!(json["agree"], json!(false));
        assert!(!json["differences"].as_array().unwrap().is_empty() && !stderr.contains("agree"), "{json}");
    };
    let store = |line: &str| fabric.graph.has(json!({"publicKey": format!("{line}\n")}));

    // Refreshed here, and not there.
    let other = fabric.env.ssh_keygen(&Recipe::ecdsa());
    store(&other.public_line());
    let publish = format!("`agent-cli publish {}`", key.public_path().display());
    published(&format!("The key that is published is none that is here. {publish}"), &[], "");
    let named = key.public_path();
    published(&format!("{} is not published. {publish}", key.fingerprint()), &[named.to_str().unwrap()], "");

    store("rubbish");
    published("What is published is no key: rubbish", &[], "");

    store(&key.public_line());
    fabric.agent.program("ssh-add").args(["-q", "-d"]).arg(fabric.key.path()).run().success();
    published(
        &format!("The agent does not hold {}. `agent-cli add {}`", key.fingerprint(), key.path().display()),
        &[],
        "",
    );

    // Not resident, so the token does not keep it.
    fabric.agent.ssh_add(&other);
    fs::copy(other.public_path(), fabric.env.path("home/.ssh/other.pub")).unwrap();
    store(&other.public_line());
    published(&format!("The token keeps no key {}", other.fingerprint()), &["--token"], &format!("{PIN}\n"));

    fs::remove_file(fabric.env.path("home/.ssh/other.pub")).unwrap();
    published(&format!("{} is in no file", other.fingerprint()), &[], "");
}
