//! What status and doctor say of the last rehearsal.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use soft_token::TokenOptions;
use tests::{PIN, Recipe, TokenKind};

use super::Way;

impl Way {
    fn doubts(&self) -> Vec<String> {
        let status = self.agent.cli(["status", "--json"]).run().success().stdout;
        let status: Value = serde_json::from_str(&status).unwrap();
        let doubts = status["rehearsal"]["doubts"].as_array().unwrap_or_else(|| panic!("{status:#}"));
        let doubts: Vec<_> = doubts.iter().map(|doubt| doubt.as_str().unwrap().to_owned()).collect();
        // doctor says the same.
        let (verdict, reason) = self.doctor();
        assert_eq!(verdict, if doubts.is_empty() { "good" } else { "warning" }, "{reason}");
        assert!(reason.ends_with(&doubts.join("; ")), "{reason}");
        doubts
    }

    fn doctor(&self) -> (String, String) {
        let doctor = self.agent.cli(["doctor", "--json", "-F"]).arg(self.env.ssh_config()).run().stdout;
        let doctor: Value = serde_json::from_str(&doctor).unwrap();
        let findings = doctor["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["check"] == "rehearsal").unwrap();
        (finding["verdict"].as_str().unwrap().into(), finding["reason"].as_str().unwrap().into())
    }
}

#[test]
fn a_rehearsal_says_something_of_today_or_not() {
    let way = Way::ready(TokenKind::Fingerprint, &Recipe::ed25519());
    assert_eq!(way.doctor(), ("not-checked".into(), "no login was rehearsed yet".into()));
    let status = way.agent.cli(["status"]).run().success().stdout;
    assert!(status.contains("\nrehearsal  none yet: "), "{status}");

    way.passes(&["device"], 1);
    assert!(way.doubts().is_empty());
    let status = way.agent.cli(["status"]).run().success().stdout;
    assert!(status.contains("\nrehearsal  of device, 2"), "{status}");

    way.fails(&["nowhere..invalid"], 0);
    let doubts = way.doubts();
    assert!(doubts.len() == 1 && doubts[0].starts_with("it failed: its name has no address"), "{doubts:?}");

    // As if the last one that passed were of another day.
    let file = way.env.path("state/fido-ssh-agent/rehearsals.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut all: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 2);
    let ago = |days: i64| json!(Timestamp::now().checked_sub(SignedDuration::from_hours(24 * days)).unwrap());
    let mut keep = |days: i64| {
        all[0]["time"] = ago(days);
        fs::write(&file, json!([all[0]]).to_string()).unwrap();
    };
    keep(89);
    assert!(way.doubts().is_empty());
    keep(91);
    assert_eq!(way.doubts(), ["it was 91 days ago"]);
    let settings = way.env.path("config/fido-ssh-agent/config.toml");
    let before = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{before}\n[rehearse]\nevery_days = 92\n")).unwrap();
    assert!(way.doubts().is_empty());

    keep(0);
    way.agent.program("ssh-add").arg("-D").run().success();
    assert_eq!(way.doubts(), [format!("it was with another key than the agent has today, {}", way.key.fingerprint())]);
    way.agent.ssh_add(&way.key);
    let Way { agent, token, key, jump, device, env } = way;
    drop(token);
    let way = Way { token: env.plug(TokenOptions::pin_only().pin(PIN)), agent, key, jump, device, env };
    let doubts = way.doubts();
    assert!(
        doubts.len() == 1 && doubts[0].starts_with("it was with another token than is plugged in today, "),
        "{doubts:?}"
    );

    fs::write(&file, "[{}]").unwrap();
    let (verdict, reason) = way.doctor();
    assert!(verdict == "warning" && reason.starts_with("the last one can't be read"), "{reason}");
    assert!(way.agent.cli(["status"]).run().success().stdout.contains("\nrehearsal  rehearse again: it can't be read"));
    way.fails(&["nowhere..invalid"], 0);
    assert_eq!(way.doubts().len(), 1, "it is kept all the same");
}
