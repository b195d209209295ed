//! Whether the keys' tokens are at hand, and whether there is a key for the day on which one is lost.

use serde_json::Value;
use soft_token::TokenOptions;
use tests::{Doctor, Env, Examination, KeyFile, PIN, Recipe};

use crate::Ready;

/// The verdicts and reasons of a check.
fn of_check(examination: &Examination, check: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found = examination.0.iter().filter(|finding| finding["check"] == check);
    found.map(|finding| (text(&finding["verdict"]), text(&finding["reason"]))).collect()
}

/// Another token than the one that holds the key: it is told without a PIN, and mended by what the person is told to do.
#[test]
fn another_token_is_plugged_in() {
    let Ready { agent, token, key, env, .. } = Ready::new();
    let doctor = || Doctor(agent.cli(["doctor", "--json"]));
    let first = token.unplug();
    let second = env.plug(TokenOptions::pin_only().pin(PIN));
    agent.cli(["-S", "tokens", "name", "other"]).run().success();
    let (reason, next) = doctor().finds_bad("at-hand");
    assert!(reason.ends_with(&format!(": {} (on token mine)", key.fingerprint())), "{reason}");
    assert!(next.contains("Plug in the token") && next.contains("agent-cli add FILE"), "{next}");
    assert_eq!(second.pin_retries(), 8);

    // Either piece of advice helps; and a token too many is worth a look.
    let first = env.bus().plug_again(first);
    let (reason, next) = doctor().finds_worth_a_look("at-hand");
    assert_eq!(reason, "token other holds none of the agent's keys");
    assert!(next.contains("agent-cli gen-keys"), "{next}");
    drop(second);
    doctor().finds_all_ready();
    first.unplug();
    let _second = env.plug(TokenOptions::pin_only().pin(PIN));
    agent.cli(["-S", "tokens", "name", "new"]).run().success();
    agent.gen_keys(&Recipe::ed25519());
    let (reason, next) = doctor().finds_worth_a_look("at-hand");
    assert_eq!(reason, format!("the token of {} (on token mine) is not plugged in", key.fingerprint()));
    assert!(next.contains(&format!("agent-cli remove {}", key.fingerprint())), "{next}");
    agent.cli(["remove", &key.fingerprint()]).run().success();
    doctor().finds_all_ready();
}

/// A token hides verify-required resident keys; what nobody knows is not called bad. With a test signature it is known.
#[test]
fn a_key_that_its_token_hides() {
    let env = Env::new();
    let _token = env.plug(TokenOptions::pin_only().pin(PIN));
    let key = env.ssh_keygen(&Recipe::ed25519().resident().verify_required());
    let agent = env.agent().start();
    agent.ssh_add(&key);
    let name = key.fingerprint();
    let hidden = Doctor(agent.cli(["doctor", "--json"])).examine(0);
    let told = format!(
        "{name}: whether its token is plugged in is not known without a PIN; `agent-cli doctor --sign` tries it"
    );
    assert_eq!(of_check(&hidden, "at-hand"), [("not-checked".into(), told)]);
    assert!(env.person().asked().is_empty(), "nobody is asked anything");

    env.person().always_types(PIN);
    // The token has no name, so the person is asked first whether it is theirs.
    let signed = Doctor(agent.cli(["doctor", "--json", "--sign"])).examine(0);
    let found = of_check(&signed, "at-hand");
    assert!(found.len() == 1 && found[0].0 == "good" && found[0].1.starts_with(&name), "{found:?}");
}

/// The way from no backup to one that is known to work, by what the person is told.
#[test]
fn a_backup_is_made_held_and_tried() {
    let Ready { agent, token, key, device, env } = Ready::new();
    let doctor = || Doctor(agent.cli(["doctor", "--json"]));
    let original = key.fingerprint();
    let (reason, next) = doctor().finds_worth_a_look("backup");
    assert!(reason.starts_with(&format!("there is no backup of {original}")), "{reason}");
    assert_eq!(next, format!("Make one on a second token: `agent-cli gen-keys --backup-of {original}`."));

    let _first = token.unplug();
    let _second = env.plug(TokenOptions::pin_only().pin(PIN));
    let path = env.path("backup");
    let made = agent.cli(["-S", "gen-keys", "--no-passphrase", "--backup-of", &original, "--file"]).arg(&path);
    made.input(format!("{PIN}\nblue\n")).run().success();
    let backup = KeyFile::new(path, true);
    let (reason, next) = doctor().finds_worth_a_look("backup");
    let what = format!("{} on token blue, the backup of {original},", backup.fingerprint());
    assert_eq!(reason, format!("{what} was never used, by the record"));
    assert!(next.starts_with("Log in with it once"), "{next}");

    agent.cli(["remove", &backup.fingerprint()]).run().success();
    let other = agent.gen_keys(&Recipe::ed25519());
    let examination = doctor().examine(0);
    let not_held =
        examination.of("warning").into_iter().find(|told| told["reason"] == format!("{what} is not held by the agent"));
    assert_eq!(not_held.unwrap()["next"], "Add its file: `agent-cli add FILE`.", "{:#?}", examination.0);
    agent.cli(["remove", &other.fingerprint()]).run().success();
    agent.cli(["-S", "add"]).arg(backup.path()).run().success();

    device.authorize(&backup);
    env.person().always_types(PIN);
    let only = ["-o", "IdentitiesOnly=yes", "-i"];
    agent.ssh(only).arg(backup.public_path()).args(["device", "true"]).run().success();
    let tried = doctor().examine(0);
    let found = of_check(&tried, "backup");
    assert!(
        found.len() == 1 && found[0].0 == "good" && found[0].1.starts_with(&format!("{what} was used last at ")),
        "{found:?}"
    );
    // The token of the original is away, as it would be when it is lost.
    let at_hand = of_check(&tried, "at-hand");
    assert!(at_hand.len() == 2 && at_hand.iter().all(|(verdict, _)| verdict == "good"), "{at_hand:?}");
}
