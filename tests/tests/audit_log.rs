//! The audit log as an investigator finds it: read and verified without an agent, by the programs a person has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;

use serde_json::{Value, json};
use tests::{Ended, Env, Recipe, Scene, TokenKind};

fn verify(env: &Env, scene_log: &str, more: &[&str]) -> Ended {
    env.program(tests::built("agent-cli")).args(["audit", "verify", "--json", "--log", scene_log]).args(more).run()
}

fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error} in {ended:?}"))
}

/// A login by token, one by software key, a refusal; then the agent ends.
fn investigated() -> (Env, String, soft_token::Device) {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let Scene { agent, token, key, device, env } = scene;
    let plain = env.plain_key();
    device.authorize(&plain);
    let login = agent.ssh(["device", "true"]).start();
    env.person().approve(&token);
    login.wait().success();
    agent.cli(["remove"]).arg(key.path()).run().success();
    agent.ssh_add(&plain);
    agent.ssh(["device", "true"]).run().success();
    agent.program("ssh-add").arg("-x").asking(&env.person_who_types("lock")).run().success();
    agent.program("ssh-add").arg("-d").arg(plain.path()).run().code(1);
    let log = agent.audit().path().display().to_string();
    drop(agent);
    (env, log, token)
}

#[test]
fn a_log_proves_each_signature_and_each_host_without_an_agent() {
    let (env, log, _token) = investigated();
    let clean = verify(&env, &log, &[]).code(0);
    let found = report(&clean);
    assert_eq!((&found["signatures"], &found["hosts_proven"], &found["findings"]), (&json!(2), &json!(2), &json!([])));

    let show = |filter: &[&str]| {
        let shown =
            env.program(tests::built("agent-cli")).args(["audit", "show", "--json", "--log", &log]).args(filter);
        let lines = shown.run().success().stdout;
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let signed = show(&["--decision", "signed"]);
    let meaning = |entry: &Value| entry["intent"]["subject"]["meaning"].clone();
    assert_eq!(signed.iter().map(meaning).map(|m| m["user"].clone()).collect::<Vec<_>>(), [env.user(), env.user()]);
    let acts: Vec<_> = show(&[]).iter().filter_map(|entry| entry["act"].as_str().map(ToOwned::to_owned)).collect();
    assert_eq!(acts.first().map(String::as_str), Some("start"));
    assert!(acts.ends_with(&["lock".into(), "refused".into()]), "{acts:?}");
    assert_eq!(show(&["--user", "nobody-of-that-name"]), [] as [Value; 0]);
}

/// Nothing is no sign of a fault, and yet it is said.
#[test]
fn a_filter_that_nothing_fits() {
    let env = Env::new();
    let agent = env.agent().without_prompter().start();
    for form in [&[][..], &["--json"]] {
        let show = |filter: &[&str]| agent.cli(["audit", "show"]).args(form).args(filter).run().success();
        let none = show(&["--user", "nobody-of-that-name"]);
        assert_eq!((none.stdout.as_str(), none.stderr.as_str()), ("", "No record fits.\n"));
        let all = show(&[]);
        assert!(!all.stdout.is_empty() && all.stderr.is_empty(), "{}", all.stderr);
    }
}

/// What a person reads has the names of that person's known_hosts, and no JSON.
#[test]
fn hosts_are_called_by_their_names() {
    let (env, log, _token) = investigated();
    let show = || env.program(tests::built("agent-cli")).args(["audit", "show", "--log", &log]).run().success().stdout;
    assert!(show().contains(", on the host with key SHA256:"), "{}", show());
    fs::copy(env.path("known_hosts"), env.path("home/.ssh/known_hosts")).unwrap();
    let shown = show();
    assert_eq!(shown.matches(", on device (SHA256:").count(), 2, "{shown}");
    assert!(shown.contains("REFUSED locked  remove, by ssh-add") && !shown.contains('{'), "{shown}");
}

#[test]
fn a_changed_log_is_told_from_a_torn_one_and_from_another_one() {
    let (env, log, _token) = investigated();
    let whole = fs::read_to_string(&log).unwrap();
    let head = report(&verify(&env, &log, &[]).code(0))["head"].clone();
    let anchor = env.path("anchor");
    let kept = format!(
        "<85>1 - host fido-ssh-agent - - - audit head {} {}\n",
        head["sequence"],
        head["hash"].as_str().unwrap()
    );
    fs::write(&anchor, kept).unwrap();
    let anchor = anchor.to_str().unwrap();
    assert_eq!(report(&verify(&env, &log, &["--anchor", anchor]).code(0))["anchored"], 1);

    fs::write(&log, whole.replacen("\"uid\":", "\"uid\":1", 1)).unwrap();
    verify(&env, &log, &[]).code(10);
    fs::write(&log, &whole[..whole.len() - 10]).unwrap();
    verify(&env, &log, &[]).code(11);
    let without_last = whole.trim_end().rsplit_once('\n').unwrap().0;
    fs::write(&log, format!("{without_last}\n")).unwrap();
    verify(&env, &log, &[]).code(0);
    verify(&env, &log, &["--anchor", anchor]).code(12);
    fs::remove_file(&log).unwrap();
    let gone = verify(&env, &log, &[]).code(1);
    assert!(gone.stderr.contains("there is no audit log") && gone.stderr.contains("--log FILE"), "{}", gone.stderr);
}
