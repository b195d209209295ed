//! What status and doctor say of the last rehearsal of each way.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use soft_token::TokenOptions;
use tests::{PIN, Recipe, TokenKind};

use crate::Way;

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

    /// The verdict, the reason and the next action for each way.
    fn of_each_way(&self) -> Vec<[String; 3]> {
        let doctor = self.agent.cli(["doctor", "--json", "-F"]).arg(self.env.ssh_config()).run().stdout;
        let doctor: Value = serde_json::from_str(&doctor).unwrap();
        let findings = doctor["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == "rehearsal");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        findings.map(|finding| ["verdict", "reason", "next"].map(|name| text(&finding[name]))).collect()
    }

    fn forget(&self, arguments: &[&str], code: i32) {
        drop(self.agent.cli(["rehearse", "--forget"]).args(arguments).run().code(code));
    }
}

/// One that passed does not hide one that failed on another way; each is told of until it passes or is given up.
#[test]
fn each_way_is_told_of() {
    let way = Way::ready(TokenKind::Fingerprint, &Recipe::ed25519());
    way.fails(&["-A", "nowhere..invalid", "device"], 0);
    way.fails(&["nowhere..invalid"], 0);
    way.passes(&["-J", "jump", "device"], 2);
    way.passes(&["-J", "jump", "device"], 2);

    let found = way.of_each_way();
    let begins = ["device through jump", "nowhere..invalid", "device from nowhere..invalid, by the forwarded agent"];
    assert_eq!(found.len(), begins.len(), "{found:#?}");
    for (([verdict, reason, next], begin), command) in found.iter().zip(begins).zip([
        "",
        "agent-cli rehearse nowhere..invalid",
        "agent-cli rehearse -A nowhere..invalid device",
    ]) {
        assert!(reason.starts_with(&format!("the last one of {begin} was at ")), "{reason}");
        let (expected, action) = match command {
            "" => ("good", String::new()),
            command => (
                "warning",
                format!("Rehearse it again: `{command}`. If you no longer go that way: `{command} --forget`."),
            ),
        };
        assert_eq!((verdict.as_str(), next), (expected, &action), "{reason}");
    }
    let status = way.agent.cli(["status"]).run().success().stdout;
    let lines: Vec<_> = status.lines().filter_map(|line| line.strip_prefix("rehearsal  of ")).collect();
    assert_eq!(lines.len(), begins.len(), "{status}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(&format!("{begin}, 2")), "{status}");
        assert_eq!(line.contains("; rehearse again: it failed: "), begin != begins[0], "{status}");
    }
    let status: Value = serde_json::from_str(&way.agent.cli(["status", "--json"]).run().success().stdout).unwrap();
    assert_eq!(status["rehearsal"], status["rehearsals"][0]);
    let told = status["rehearsals"].as_array().unwrap().iter();
    let told: Vec<_> = told.map(|one| (&one["jumps"], &one["forwarded"], one["passed"] == true)).collect();
    let (jump, forwarded) = (json!(["jump"]), json!(["nowhere..invalid"]));
    assert_eq!(
        told,
        [(&jump, &json!(false), true), (&json!([]), &json!(false), false), (&forwarded, &json!(true), false)]
    );

    way.forget(&["-A", "nowhere..invalid", "device"], 0);
    let written = || fs::metadata(way.env.path("state/fido-ssh-agent/rehearsals.json")).unwrap().ino();
    let before = written();
    way.forget(&["-A", "nowhere..invalid", "device"], 1);
    assert_eq!(written(), before, "it stays where nothing is found");
    // The way is another one without what was forwarded.
    way.forget(&["device"], 1);
    way.forget(&["nowhere..invalid"], 0);
    let left = way.of_each_way();
    assert!(left.len() == 1 && left[0][0] == "good", "{left:#?}");
}

#[test]
fn a_rehearsal_says_something_of_today_or_not() {
    let way = Way::ready(TokenKind::Fingerprint, &Recipe::ed25519());
    assert_eq!(way.doctor(), ("not-checked".into(), "no login was rehearsed yet".into()));
    let status = way.agent.cli(["status"]).run().success().stdout;
    assert!(status.contains("\nrehearsal  none yet: "), "{status}");

    way.passes(&["jump"], 1);
    assert!(way.doubts().is_empty());
    let status = way.agent.cli(["status"]).run().success().stdout;
    assert!(status.contains("\nrehearsal  of jump, 2"), "{status}");

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
    let status: Value = serde_json::from_str(&way.agent.cli(["status", "--json"]).run().success().stdout).unwrap();
    assert_eq!((&status["rehearsal"], &status["rehearsals"]), (&Value::Null, &Value::Null), "not that there was none");
    // Nothing can be found in it, nor is it known that there is nothing.
    let problem = way.agent.cli(["rehearse", "--forget", "jump"]).run().code(1).stderr;
    assert!(problem.contains("can't be read") && problem.contains(&file.display().to_string()), "{problem}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "[{}]", "it stays as it is");
    way.fails(&["nowhere..invalid"], 0);
    assert_eq!(way.doubts().len(), 1, "it is kept all the same");
}
