//! `gen-keys --publish`.

use agent::denial::Code;
use serde_json::{Value, json};
use soft_token::Touch;
use tests::graph::refusal;
use tests::{Ended, KeyFile};

use crate::fabric::Fabric;

/// `gen-keys --publish` with no passphrase, by PIN, and what is typed afterwards.
fn gen_keys(fabric: &Fabric, typed: &str) -> Ended {
    let words = ["gen-keys", "--no-passphrase", "--application", "ssh:new", "--file", "new", "--publish"];
    fabric.cli(&words, &format!("{}\n{typed}", tests::PIN)).run()
}

#[test]
fn a_new_key_is_published() {
    let fabric = Fabric::ready();
    let made = gen_keys(&fabric, "y\n").success();
    let line = std::fs::read_to_string(fabric.env.path("new.pub")).unwrap();
    assert_eq!(fabric.graph.stored(), Some(line));
    assert!(made.stdout.contains("\nPublished: SHA256:"), "{}", made.stdout);
    let proofs = fabric.agent.audit().signatures();
    assert_eq!(proofs.len(), 1, "{proofs:?}");
}

/// What a program reads is alone on standard output; and a key that is made is told of, whatever comes of it then.
#[test]
fn a_new_key_in_json() {
    let fabric = Fabric::ready();
    let made = |words: &[&str], typed: &str| {
        let words =
            [&["gen-keys", "--no-passphrase", "--json", "--comment", "me here", "--publish", "--file"], words].concat();
        fabric.cli(&words, &format!("{}\n{typed}", tests::PIN)).run()
    };
    let read = |ended: &Ended| serde_json::from_str::<Value>(&ended.stdout).unwrap();
    let expected = |file: &str, application: &str, published: Value| {
        let file = fabric.env.path(file);
        json!({
            "version": 1, "fingerprint": KeyFile::new(file.clone(), true).fingerprint(), "type": "ED25519-SK",
            "application": application, "comment": "me here", "file": file, "public_file": file.with_extension("pub"),
            "resident": true, "verify_required": true, "token": null, "backup_of": null, "added": true,
            "published": published,
        })
    };
    let first = made(&["first", "--application", "ssh:first"], "y\n").success();
    let published = json!({"place": "Microsoft Graph", "outcome": "published"});
    assert_eq!(read(&first), expected("first", "ssh:first", published));
    assert!(first.stderr.contains("Your identification has been saved in "), "{}", first.stderr);

    fabric.graph.answers("PATCH", refusal(403, "insufficient_claims"));
    let second = made(&["second", "--application", "ssh:second"], "y\n").code(1);
    assert_eq!(read(&second), expected("second", "ssh:second", Value::Null));
    assert!(second.stderr.contains("Conditional Access"), "{}", second.stderr);

    // Where none is made, nothing is told.
    fabric.token.set_touch(Touch::Deny);
    assert_eq!(made(&["third", "--application", "ssh:third"], "y\n").code(1).stdout, "");
}

/// Neither the new one nor one that was there before.
#[test]
fn a_cancelled_generation_publishes_nothing() {
    let fabric = Fabric::ready();
    fabric.token.set_touch(Touch::Deny);
    let ended = gen_keys(&fabric, "y\n").code(1);
    assert!(ended.stderr.contains(&format!("({})", Code::DeclinedOnToken)), "{}", ended.stderr);
    assert!(!fabric.env.path("new").exists() && fabric.graph.stored().is_none());
    assert!(fabric.graph.writes().is_empty());
}

/// Its files are there, the agent has it, and the person is told how to go on.
#[test]
fn a_key_that_could_not_be_published_is_not_lost() {
    let fabric = Fabric::ready();
    fabric.graph.answers("POST", refusal(403, "Authorization_RequestDenied"));
    let ended = gen_keys(&fabric, "y\n").code(1);
    let next = format!("to publish it: `agent-cli publish {}`", fabric.env.path("new.pub").display());
    assert!(ended.stderr.contains(&next), "{}", ended.stderr);
    assert!(fabric.graph.stored().is_none());
    let published = fabric.publish_file(&fabric.env.path("new.pub")).success();
    assert!(published.stdout.starts_with("Published: "), "{}", published.stdout);
}

#[test]
fn who_can_not_sign_in_makes_no_key() {
    let fabric = Fabric::ready();
    fabric.az("echo 'Please run az login' >&2; exit 1");
    let ended = gen_keys(&fabric, "y\n").code(1);
    assert!(ended.stderr.contains("> Please run az login"), "{}", ended.stderr);
    assert!(!fabric.env.path("new").exists());
    fabric.cli(&["gen-keys", "--to", "graph"], "").run().code(64);
    fabric.cli(&["gen-keys", "--yes"], "").run().code(64);
}
