//! The head of the audit log, signed by a person's own token, and the log as it is followed while it is written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::{Ended, Env, Recipe, SIGN_RESPONSE, Scene, TokenKind, sshsig};

fn verify(env: &Env, log: &Path, more: &[&str]) -> Ended {
    env.program(tests::built("agent-cli")).args(["audit", "verify", "--json", "--log"]).arg(log).args(more).run()
}

fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error} in {ended:?}"))
}

#[test]
fn a_checkpoint_is_signed_by_the_token_and_verified_by_anybody() {
    let Scene { agent, token, key, env, device: _device } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let log = agent.audit().path().to_owned();
    let checkpoint = agent.cli(["audit", "checkpoint"]).start();
    let shown = env.person().approve(&token);
    assert!(shown.contains("audit-head@fido-ssh-agent"), "{shown}");
    let ended = checkpoint.wait().success();
    let file = ended.stdout.trim();
    assert!(file.starts_with(log.parent().unwrap().to_str().unwrap()) && file.ends_with(".checkpoint"), "{file}");

    // By ssh-keygen alone.
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().last().unwrap();
    let allowed = env.path("allowed");
    fs::write(&allowed, format!("me {}\n", key.public_line())).unwrap();
    let keygen = |line: &str| {
        let namespace = "audit-head@fido-ssh-agent";
        let keygen = env.program("ssh-keygen").args(["-Y", "verify", "-I", "me", "-n", namespace, "-s", file, "-f"]);
        keygen.arg(&allowed).input(format!("{line}\n")).run()
    };
    keygen(line).success();
    keygen(&line.replace("head 2", "head 3")).code(255);

    // By agent-cli, with the log that it was made of and with another one.
    let found = report(&verify(&env, &log, &["--anchor", file, "--signer", &key.fingerprint()]).success());
    assert_eq!((&found["anchored"], &found["checkpoint_by"]), (&1.into(), &key.fingerprint().into()));
    let other = verify(&env, &log, &["--anchor", file, "--signer", "SHA256:another"]).code(1);
    assert!(other.stderr.contains(&key.fingerprint()), "{}", other.stderr);
    let forged = env.path("forged");
    let number = line.split(' ').nth(2).unwrap();
    fs::write(&forged, text.replace(&format!("audit head {number} "), "audit head 1 ")).unwrap();
    let refused = verify(&env, &log, &["--anchor", forged.to_str().unwrap()]).code(1);
    assert!(refused.stderr.contains("does not verify"), "{}", refused.stderr);
    drop(agent);
    let whole = fs::read_to_string(&log).unwrap();
    fs::write(&log, whole.lines().take(1).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    verify(&env, &log, &["--anchor", file]).code(12);
}

#[test]
fn a_fresh_signature_tells_the_step_of_the_counter() {
    let Scene { agent, token, key, env, device: _device } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let log = agent.audit().path().to_owned();
    let nothing = agent.cli(["audit", "verify", "--token"]).run().code(1);
    assert!(nothing.stderr.contains("no such key"), "{}", nothing.stderr);
    // The software token counts by chance, so that its steps raise no alarm, however many they are.
    for _ in 0..6 {
        let login = agent.ssh(["device", "true"]).start();
        env.person().approve(&token);
        login.wait().success();
    }
    let before = report(&verify(&env, &log, &[]).success())["counters"][key.fingerprint()]["last"].as_u64().unwrap();
    let fresh = agent.cli(["audit", "verify", "--json", "--token"]).start();
    env.person().approve(&token);
    let found = report(&fresh.wait().success());
    let counter = found["token"]["counter"].as_u64().unwrap();
    assert_eq!(found["token"]["counter_before"], before);
    assert!(counter > before, "{found}");
    assert_eq!(found["counters"][key.fingerprint()]["last"], counter, "the log has it, too");
    assert_eq!(found["signatures"], 7);
}

#[test]
fn a_log_is_followed_while_it_is_written_and_with_no_agent() {
    let env = Env::new();
    let agent = env.agent().start();
    let log = agent.audit().path().to_owned();
    let follow = |arguments: &[&str]| {
        env.program(tests::built("agent-cli")).args(["audit", "follow", "--log"]).arg(&log).args(arguments).start()
    };
    let (mut all, signed) = (follow(&["--json"]), follow(&["--decision", "signed"]));
    all.stdout().wait_for("\"act\":\"start\"");
    let key = env.plain_key();
    agent.ssh_add(&key);
    all.stdout().wait_for("\"act\":\"add\"");
    assert_eq!(agent.connect().sign(&key.blob(), &sshsig("file"))[0], SIGN_RESPONSE);
    signed.stdout().wait_for("sign for file");
    agent.terminate();
    all.stdout().wait_for("\"act\":\"stop\"");
    assert!(all.is_running() && !signed.stdout().text().contains("stop"), "{signed:?}");
    // Another agent goes on with the same log.
    let agent = env.agent().start();
    agent.ssh_add(&key);
    agent.program("ssh-add").arg("-D").run().success();
    all.stdout().wait_for("remove_all");
    // Nobody has to end it whose reader is gone.
    let script = format!("{} audit follow --log {} | head -n 1", tests::built("agent-cli").display(), log.display());
    let head = env.program("sh").args(["-c", &script]).run().success();
    assert_eq!(head.stdout.lines().count(), 1, "{head:?}");
}
