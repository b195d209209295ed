//! `agent-cli audit report` and `audit export`: what is in a log is on the page and in the events, as it is, and text that
//! strangers chose is text there and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

mod browser;
mod export;
mod in_a_browser;
mod long_log;
mod page;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agent::audit::record::{Event, Meaning};
use serde_json::Value;
use soft_token::Touch;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, PrivateKey};
use tests::{
    Agent, Env, FAILURE, PIN, Recipe, SIGN_RESPONSE, SUCCESS, Scene, TokenKind, built, login, login_as, session_bind,
};

/// What strangers may call users, and what hosts may be called.
const HOSTILE: [&str; 7] = [
    "<script>alert(1)</script>",
    "</pre></details><script>alert(2)</script>",
    "\"><img src=x onerror=alert(3)>",
    "' onmouseover='alert(4)",
    "javascript:alert(5)",
    "gnp.\u{202e}resu",
    "a\n\tResult\tsigned\u{1b}[2J&lt;b&gt;<!--rows-->",
];

/// The page of this log.
fn report(env: &Env, log: &Path, options: &[&str]) -> PathBuf {
    let page = env.path("report.html");
    let cli = env.program(built("agent-cli")).args(["audit", "report", "--log"]).arg(log).arg("--output").arg(&page);
    assert_eq!(cli.args(options).run().success().stdout, "");
    page
}

/// An agent that has signed for each of these users, on hosts that are called the same.
fn asked_by_strangers() -> (Env, Agent) {
    let env = Env::new();
    let agent = env.agent().mutes_nobody().start();
    let key = env.plain_key();
    agent.ssh_add(&key);
    let mut known_hosts = String::new();
    for name in HOSTILE {
        let host = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
        // A line of known_hosts has no spaces in its names.
        let called = name.replace([' ', '\n', '\t'], "_");
        known_hosts += &format!("{called} {}\n", host.public_key().to_openssh().unwrap());
        let mut stranger = agent.connect();
        let session = name.as_bytes();
        assert_eq!(stranger.extension("session-bind@openssh.com", &session_bind(&host, session, false)), [SUCCESS]);
        let host_key = host.public_key().to_bytes().unwrap();
        let data = login_as(name.as_bytes(), session, &key, Some(&host_key));
        assert_eq!(stranger.sign(&key.blob(), &data)[0], SIGN_RESPONSE);
        let elsewhere = login_as(name.as_bytes(), b"another session", &key, Some(&host_key));
        assert_eq!(stranger.sign(&key.blob(), &elsewhere), [FAILURE]);
    }
    fs::write(env.path("home/.ssh/known_hosts"), known_hosts).unwrap();
    (env, agent)
}

#[test]
fn what_strangers_call_themselves_is_text_and_nothing_else() {
    let (env, agent) = asked_by_strangers();
    let page = page::read(&report(&env, agent.audit().path(), &[]));
    page::is_closed(&page);
    let text = page.to_string();
    assert!(!text.contains('\u{202e}') && !text.contains("\\u001b"), "what deceives the eye is spelt out");
    let rows = page["rows"].as_array().unwrap();
    for name in HOSTILE {
        let shown = name
            .replace('\u{202e}', "\\u{202e}")
            .replace('\n', "\\u{a}")
            .replace('\t', "\\u{9}")
            .replace('\u{1b}', "\\u{1b}");
        let asked = format!("log in as {shown} at ");
        let of = |class| {
            rows.iter().filter(|row| row["class"] == class && row["summary"].as_str().unwrap().contains(&asked)).count()
        };
        assert_eq!((of("row signed"), of("row refused")), (1, 1), "{asked}");
    }
    // No text makes a line of its own among the facts.
    let signed = |row: &&Value| row["facts"].as_str().unwrap().lines().any(|line| line == "\tResult\tsigned");
    assert_eq!(rows.iter().filter(signed).count(), HOSTILE.len());
}

#[test]
fn each_row_opens_to_its_evidence_and_to_what_verification_says_of_it() {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ecdsa().verify_required());
    scene.token.set_touch(Touch::Always);
    scene.env.person().types(["0000", PIN]);
    scene.agent.ssh(["device", "true"]).run().success();
    let mut stranger = scene.agent.connect();
    let host = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
    assert_eq!(stranger.extension("session-bind@openssh.com", &session_bind(&host, b"session", false)), [SUCCESS]);
    assert_eq!(stranger.sign(&scene.key.blob(), &login(b"another", &scene.key, None)), [FAILURE]);
    let audit = scene.agent.audit();
    scene.agent.terminate();

    let written = report(&scene.env, audit.path(), &[]);
    assert_eq!(fs::metadata(&written).unwrap().permissions().mode() & 0o777, 0o600, "it says what the log says");
    let page = page::read(&written);
    page::is_closed(&page);
    let records = audit.records();
    let number =
        |wanted: &dyn Fn(&Event) -> bool| records.iter().find(|record| wanted(&record.event)).unwrap().sequence;
    let outcome = number(&|event| matches!(event, Event::Outcome { .. }));
    let row = page::row(&page, outcome);
    assert_eq!(row["class"], "row signed pin");
    let (says, facts) = (row["says"].as_str().unwrap(), row["facts"].as_str().unwrap());
    for sentence in ["The signature is what the record says", "The host is proven.", "The records stand in the chain"] {
        assert!(says.contains(sentence), "{says}");
    }
    let record = serde_json::to_value(records.iter().find(|record| record.sequence == outcome).unwrap()).unwrap();
    let intent = number(&|event| matches!(event, Event::Intent { .. }));
    let intent = serde_json::to_value(records.iter().find(|record| record.sequence == intent).unwrap()).unwrap();
    let binding = &intent["evidence"]["bindings"][0];
    for (name, value) in [
        ("Signature", &record["signature"]),
        ("Signed data", &intent["evidence"]["data"]),
        ("Public key", &intent["evidence"]["key"]),
        ("Host 1: key", &binding["host_key"]),
        ("Host 1: session", &binding["session_id"]),
        ("Host 1: signature", &binding["signature"]),
        ("User", &intent["subject"]["meaning"]["user"]),
        ("AAGUID", &intent["signer"]["token"]["aaguid"]),
    ] {
        let line = format!("\t{name}\t{}", value.as_str().unwrap());
        assert!(facts.lines().any(|found| found == line), "{line}\n{facts}");
    }
    let counter = format!("\tToken’s counter\t{} [verified]", record["assertion"]["counter"]);
    for part in [
        "\tToken’s flags\t0x05: touched, user verified [verified]",
        &counter,
        "\tTry 1\tby PIN: the token did not accept the PIN, CTAP status 0x31, 7 tries left",
        "\tPIN or passphrase\tin askpass, ",
        "\tProgram\tssh (",
    ] {
        assert!(facts.contains(part), "{part}\n{facts}");
    }
    let refused = records.iter().rev().find(|record| matches!(record.event, Event::Outcome { .. })).unwrap();
    let row = page::row(&page, refused.sequence);
    assert_eq!(row["class"], "row refused");
    assert!(row["facts"].as_str().unwrap().contains("\tCode\tsession-mismatch\n"), "{row}");
    let text = page["text"].as_str().unwrap();
    for part in [
        "Verified: the record is whole",
        "1 logins signed 1 with proof of the host",
        "1 wrong PINs",
        "A host or token was not what it was said to be 1",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_row_that_is_not_as_recorded_says_so() {
    let (env, agent) = asked_by_strangers();
    let audit = agent.audit();
    agent.terminate();
    let is_fifth = |event: &Event| match event {
        Event::Intent { intent, .. } => {
            matches!(&intent.subject.meaning, Meaning::Login { user, .. } if user == HOSTILE[4])
        }
        _ => false,
    };
    let records = audit.records();
    let changed = records.iter().find(|record| is_fifth(&record.event)).unwrap().sequence;
    let log = fs::read_to_string(audit.path()).unwrap();
    let lines = log.lines().enumerate().map(|(number, line)| match number as u64 + 1 == changed {
        true => format!("{}\n", line.replace(&format!("\"user\":\"{}\"", HOSTILE[4]), "\"user\":\"root\"")),
        false => format!("{line}\n"),
    });
    fs::write(env.path("changed.jsonl"), lines.collect::<String>()).unwrap();
    let page = page::read(&report(&env, &env.path("changed.jsonl"), &[]));
    page::is_closed(&page);
    assert!(page["text"].as_str().unwrap().contains("Tampered with"));
    let bad: Vec<_> = page["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["class"].as_str().unwrap().ends_with(" bad"))
        .collect();
    let [row] = bad.as_slice() else { panic!("{bad:#?}") };
    assert!(row["summary"].as_str().unwrap().contains("log in as root"), "{row}");
    let says = row["says"].as_str().unwrap();
    assert!(says.contains("over something else than the record says") && says.contains("does not follow"), "{says}");
}

#[test]
fn a_part_of_a_log_says_that_it_is_one() {
    let (env, agent) = asked_by_strangers();
    let log = agent.audit().path().to_owned();
    let page = page::read(&report(&env, &log, &["--decision", "refused", "--user", HOSTILE[4]]));
    page::is_closed(&page);
    assert_eq!(page["rows"].as_array().unwrap().len(), 1);
    let text = page["text"].as_str().unwrap();
    assert!(
        text.contains(&format!("Not all of the log: --user {} --decision refused were asked for", HOSTILE[4])),
        "{text}"
    );
    let none = page::read(&report(&env, &log, &["--since", "2100-01-01T00:00:00Z"]));
    assert!(none["text"].as_str().unwrap().contains("Nothing on record"), "{none}");
}

#[test]
fn a_page_that_can_not_be_written_leaves_the_one_before() {
    let (env, agent) = asked_by_strangers();
    let page = report(&env, agent.audit().path(), &[]);
    let before = fs::read(&page).unwrap();
    let missing = env.path("no-log.jsonl");
    let cli =
        env.program(built("agent-cli")).args(["audit", "report", "--log"]).arg(&missing).arg("--output").arg(&page);
    assert!(cli.run().code(1).stderr.contains("there is no audit log"));
    assert_eq!(fs::read(&page).unwrap(), before);
    let log = agent.audit().path().to_owned();
    let cli = env.program(built("agent-cli")).args(["audit", "report", "--log"]).arg(&log).arg("--output").arg(&log);
    assert!(cli.run().code(64).stderr.contains("the page would take the log's place"));
    assert!(!agent.audit().records().is_empty());
    let left = fs::read_dir(page.parent().unwrap())
        .unwrap()
        .flatten()
        .filter(|file| file.file_name().to_string_lossy().starts_with(".tmp"));
    assert_eq!(left.count(), 0);
}
