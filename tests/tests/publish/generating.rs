//! `gen-keys --publish`.

use agent::denial::Code;
use soft_token::Touch;
use tests::Ended;
use tests::graph::refusal;

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
