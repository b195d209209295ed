//! Events for those who collect them of many programs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use soft_token::Touch;
use tests::{Env, FAILURE, PIN, Recipe, SIGN_RESPONSE, Scene, TokenKind, built, login, sshsig};

use crate::{HOSTILE, asked_by_strangers, long_log};

/// The events of this log, each of which is as OCSF defines it.
fn events(env: &Env, log: &Path, options: &[&str]) -> Vec<Value> {
    let cli =
        env.program(built("agent-cli")).args(["audit", "export", "--format", "ocsf", "--log"]).arg(log).args(options);
    let lines = cli.run().success().stdout;
    assert!(lines.is_ascii(), "no line of it deceives the eye");
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut validator = Command::new("/usr/bin/python3")
        .arg(tests.join("second-verifier/jsonschema_takes.py"))
        .arg(tests.join("ocsf/authentication.schema.json"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading all, and has said why.
    let _ = validator.stdin.take().unwrap().write_all(lines.as_bytes());
    assert!(validator.wait().unwrap().success(), "{lines}");
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The same object, without what is not looked at here.
fn only(event: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), event[*name].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn each_login_is_an_authentication_event() {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ecdsa().verify_required());
    scene.token.set_touch(Touch::Always);
    scene.env.person().types(["0000", PIN]);
    scene.agent.ssh(["device", "true"]).run().success();
    let key = scene.env.plain_key();
    scene.agent.ssh_add(&key);
    let mut client = scene.agent.connect();
    assert_eq!(client.sign(&key.blob(), &login(b"session", &key, None))[0], SIGN_RESPONSE);
    // A file is no login.
    assert_eq!(client.sign(&key.blob(), &sshsig("file"))[0], SIGN_RESPONSE);
    let unknown = scene.env.plain_key();
    assert_eq!(client.sign(&unknown.blob(), &login(b"session", &unknown, None)), [FAILURE]);

    let found = events(&scene.env, scene.agent.audit().path(), &[]);
    let [by_token, by_software, refused] = found.as_slice() else { panic!("{found:#?}") };
    let names = ["user", "dst_endpoint", "status_id", "severity_id", "is_mfa", "auth_factors"];
    let token_factors =
        json!([{"factor_type_id": 9, "factor_type": "U2F"}, {"factor_type_id": 99, "factor_type": "PIN"}]);
    let host = json!({ "uid": scene.device.fingerprint() });
    let with_pin = json!({
        "user": {"name": scene.env.user()}, "dst_endpoint": host, "status_id": 1, "severity_id": 3, "is_mfa": true,
        "auth_factors": token_factors,
    });
    assert_eq!(only(by_token, &names), with_pin);
    assert_eq!(
        (&by_token["unmapped"]["wrong_pins"], &by_token["actor"]["process"]["name"]),
        (&json!(1), &json!("ssh"))
    );
    let without = json!({
        "user": {"name": "me"}, "dst_endpoint": null, "status_id": 1, "severity_id": 1, "is_mfa": false,
        "auth_factors": [{"factor_type_id": 99, "factor_type": "Public key"}],
    });
    assert_eq!(only(by_software, &names), without);
    assert_eq!(
        only(refused, &["status_id", "status_code", "severity_id"]),
        json!({"status_id": 2, "status_code": "unknown-key", "severity_id": 2})
    );
}

#[test]
fn what_strangers_call_themselves_is_data() {
    let (env, agent) = asked_by_strangers();
    let found = events(&env, agent.audit().path(), &["--decision", "refused"]);
    let users: Vec<_> = found.iter().map(|event| event["user"]["name"].as_str().unwrap()).collect();
    assert_eq!(users, HOSTILE);
    assert!(found.iter().all(|event| event["status_code"] == "session-mismatch" && event["severity_id"] == 4));
}

#[test]
fn a_long_log_has_an_event_for_each_login() {
    let env = Env::new();
    let log = env.path("audit.jsonl");
    let written = long_log::write(&log, &env.path("known_hosts"), 300);
    let found = events(&env, &log, &[]);
    let ended = |status: u64| found.iter().filter(|event| event["status_id"] == status).count() as u64;
    assert_eq!((ended(1), ended(2), ended(0)), (written.signed, written.refused, written.unknown));
    let uids: std::collections::BTreeSet<_> = found.iter().map(|event| event["metadata"]["uid"].to_string()).collect();
    assert_eq!(uids.len(), found.len(), "each has a name of its own");
}
