//! What is wrong on the way, and that this is what is told.

use std::fs;

use serde_json::{Value, json};
use tests::{Answer, Recipe, TokenKind};

use super::{Way, bindings, bound, codes};

pub(super) fn way() -> Way {
    Way::on_a_network(TokenKind::Fingerprint, &Recipe::ed25519().verify_required())
}

/// The cause, where it is, and all of it.
pub(super) fn told(cause: (String, String, Value)) -> (String, Value) {
    let (code, host, told) = cause;
    (format!("{code} of {host}"), told)
}

/// A key whose token verifies nobody lets in: that is worth knowing.
#[test]
fn verify_required_that_is_not_enforced() {
    let way = Way::on_a_network(TokenKind::Fingerprint, &Recipe::ed25519());
    let told = way.passes(&["-J", "jump", "device"], 2);
    assert_eq!(told["verify_required"], "not-enforced");
    assert_eq!(codes(&told["remarks"]), ["verify-required-not-enforced"; 2], "at each of them: {told:#}");
}

/// What let in is the second key, whose token has verified its user: the host may well have refused the first one for that.
#[test]
fn a_key_that_is_refused_before_another_lets_in_proves_nothing() {
    let way = Way::on_a_network(TokenKind::Fingerprint, &Recipe::ed25519());
    let verified = way.adds(&Recipe::ed25519().verify_required());
    way.device.authorize(&verified);
    way.device.setting("PubkeyAuthOptions verify-required");
    let told = way.passes(&["-J", "jump", "device"], 3);
    let requests = told["record"]["requests"].as_array().unwrap().iter();
    let verifications: Vec<_> = requests.map(|request| (&request["signed"], &request["user_verified"])).collect();
    let signed = json!(true);
    assert_eq!(
        verifications,
        [(&signed, &json!(false)), (&signed, &json!(false)), (&signed, &json!(true))],
        "{told:#}"
    );
    assert_eq!(told["verify_required"], "not-tested", "{told:#}");
    assert_eq!(told["not_tested"]["code"], "not-asked-for", "{told:#}");
    assert_eq!(codes(&told["remarks"]), ["verify-required-not-enforced"], "{told:#}");
    assert_eq!(told["remarks"][0]["host"], "jump", "{told:#}");
}

#[test]
fn the_jump_host_forwards_no_agent() {
    let way = way();
    way.jump.setting("AllowAgentForwarding no");
    let (code, told) = told(way.fails(&["-A", "jump", "device"], 1));
    assert_eq!(code, "agent-forwarding-refused of device", "{told:#}");
    assert_eq!(told["hops"][0]["agent_forwarding"], false);
    assert!(told["cause"]["next"].as_str().unwrap().contains("AllowAgentForwarding"));
}

#[test]
fn hosts_too_old_for_logins_that_name_them() {
    let way = way();
    way.device.forgets_hostbound();
    for road in ["-J", "-A"] {
        let told = way.passes(&[road, "jump", "device"], 2);
        assert_eq!(codes(&told["remarks"]), ["no-hostbound"], "{told:#}");
        assert_eq!((&told["remarks"][0]["host"], &told["hops"][1]["hostbound"]), (&json!("device"), &json!(false)));
        let login = &told["record"]["requests"][1];
        assert_eq!(
            (&login["hostbound"], &login["host_key"]),
            (&json!(false), &json!(way.device.fingerprint())),
            "{told:#}"
        );
        assert!(bindings(&told)[1].as_array().unwrap().contains(&bound(&way.device, false)), "{told:#}");
    }
}

#[test]
fn hosts_that_are_not_those_of_known_hosts() {
    let way = way();
    let file = way.env.path("known_hosts");
    let known = fs::read_to_string(&file).unwrap();
    let others = known.lines().filter(|line| !line.starts_with("device ")).map(|line| format!("{line}\n"));
    let without: String = others.collect();
    let jump_s_key = without.strip_prefix("jump ").unwrap();
    for (known_hosts, road, approvals, expected) in [
        (without.clone(), "-J", 1, "host-key-unknown of device"),
        (format!("{without}device {jump_s_key}"), "-J", 1, "host-key-changed of device"),
        (format!("{without}device {jump_s_key}"), "-A", 1, "host-key-changed of device"),
        (known.replace("jump ", "other "), "-J", 0, "host-key-unknown of jump"),
    ] {
        fs::write(&file, known_hosts).unwrap();
        let (code, told) = told(way.fails(&[road, "jump", "device"], approvals));
        assert_eq!(code, expected, "{told:#}");
    }
}

#[test]
fn no_token_is_there() {
    let Way { agent, token, jump, device, env, key } = way();
    let unplugged = token.unplug();
    let rehearsal =
        agent.cli(["rehearse", "--json", "-F"]).arg(env.ssh_config()).args(["-J", "jump", "device"]).start();
    env.person().wait_until_a_token_is_wanted();
    env.person().answer(&Answer::Refuse);
    let way = Way { token: env.bus().plug_again(unplugged), agent, jump, device, env, key };
    let told = way.told(rehearsal, 1);
    assert_eq!((&told["cause"]["code"], &told["cause"]["host"]), (&json!("token-absent"), &json!("jump")), "{told:#}");
    assert_eq!(told["emergency"], json!([]), "nothing was tried that could differ");
}
