//! What is wrong on the way, and that this is what is told.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::{Answer, Recipe, TokenKind};

use super::{Way, bindings, bound, codes};

fn way() -> Way {
    Way::ready(TokenKind::Fingerprint, &Recipe::ed25519().verify_required())
}

/// The cause, where it is, and all of it.
fn told(cause: (String, String, Value)) -> (String, Value) {
    let (code, host, told) = cause;
    (format!("{code} of {host}"), told)
}

/// A key whose token verifies nobody lets in: that is worth knowing.
#[test]
fn verify_required_that_is_not_enforced() {
    let way = Way::ready(TokenKind::Fingerprint, &Recipe::ed25519());
    let told = way.passes(&["-J", "jump", "device"], 2);
    assert_eq!(told["verify_required"], "not-enforced");
    assert_eq!(codes(&told["remarks"]), ["verify-required-not-enforced"; 2], "at each of them: {told:#}");
    // Where it is, the login fails.
    way.device.setting("PubkeyAuthOptions verify-required");
    let (code, told) = self::told(way.fails(&["-J", "jump", "device"], 2));
    assert_eq!(
        (code.as_str(), &told["verify_required"]),
        ("signature-refused of device", &json!("not-tested")),
        "{told:#}"
    );
}

#[test]
fn the_jump_host_forwards_no_agent() {
    let way = way();
    way.jump.setting("AllowAgentForwarding no");
    let (code, told) = told(way.fails(&["-A", "jump", "device"], 1));
    assert_eq!(code, "agent-forwarding-refused of device", "{told:#}");
    assert_eq!(told["hops"][0]["agent_forwarding"], false);
    assert!(told["cause"]["next"].as_str().unwrap().contains("AllowAgentForwarding"));
    // Through it, that is of no account.
    way.passes(&["-J", "jump", "device"], 2);
}

#[test]
fn the_jump_host_opens_no_connections() {
    let way = way();
    way.jump.setting("AllowTcpForwarding no");
    assert_eq!(told(way.fails(&["-J", "jump", "device"], 1)).0, "tcp-forwarding-refused of device");
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
fn hosts_that_do_not_answer() {
    let way = way();
    let settings = |address: SocketAddr| format!("HostName {}\n  Port {}\n", address.ip(), address.port());
    for (name, road, approvals) in [("device", "-J", 1), ("device", "-A", 1), ("jump", "-J", 0), ("jump", "-A", 0)] {
        let address = if name == "jump" { way.jump.address() } else { way.device.address() };
        // Nobody listens there.
        let (up, down) = (settings(address), settings(SocketAddr::new(address.ip(), 1)));
        way.reconfigure(&up, &down);
        let (code, told) = told(way.fails(&[road, "jump", "device"], approvals));
        assert_eq!(code, format!("host-unreachable of {name}"), "{told:#}");
        assert!(told["cause"]["what"].as_str().unwrap().contains("refused"), "{told:#}");
        way.reconfigure(&down, &up);
    }
    // No name server is asked for what can be no name.
    way.reconfigure(&settings(way.device.address()), "HostName nowhere..invalid\n");
    assert_eq!(told(way.fails(&["device"], 0)).0, "name-unknown of device");
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
}

#[test]
fn the_host_does_not_know_the_key() {
    let way = way();
    fs::write(way.env.path("device/authorized_keys"), "").unwrap();
    assert_eq!(told(way.fails(&["-J", "jump", "device"], 1)).0, "key-refused of device");
    way.device.authorize(&way.key);
    way.device.setting("PubkeyAuthentication no");
    way.device.setting("PasswordAuthentication yes");
    assert_eq!(told(way.fails(&["-J", "jump", "device"], 1)).0, "publickey-not-offered of device");
}

#[test]
fn there_is_no_key_or_none_of_the_agent_s_is_used() {
    let way = way();
    let plain = way.env.plain_key();
    way.jump.authorize(&plain);
    way.reconfigure("IdentityFile none", &format!("IdentityFile {}\n  IdentityAgent none", plain.path().display()));
    assert_eq!(told(way.fails(&["jump"], 0)).0, "agent-not-used of jump");
    way.reconfigure("IdentityAgent none", "IdentityAgent SSH_AUTH_SOCK");
    way.reconfigure(&plain.path().display().to_string(), "none");
    way.agent.program("ssh-add").arg("-D").run().success();
    assert_eq!(told(way.fails(&["jump"], 0)).0, "no-key-offered of jump");
}

/// What a host says stands between ssh's own words. It is believed nothing that matters, and does no harm on a terminal.
#[test]
fn a_host_that_says_what_ssh_would() {
    let way = way();
    let banner = way.env.path("banner");
    let forged = format!(
        "debug1: Server accepts key: me ED25519-SK {} agent\nAuthenticated to jump ([127.0.0.1]:22) using \"publickey\".\n\
         \u{1b}[2J\u{202e}no\n",
        way.key.fingerprint()
    );
    fs::write(&banner, forged).unwrap();
    way.jump.setting(&format!("Banner {}", banner.display()));
    fs::write(way.env.path("jump/authorized_keys"), "").unwrap();
    assert_eq!(told(way.fails(&["jump"], 0)).0, "agent-not-used of jump");
    let text = way.agent.cli(["rehearse", "-F"]).arg(way.env.ssh_config()).arg("jump").run().code(1).stdout;
    assert!(text.starts_with("FAILED: jump\njump: it let you in, but not by a key of this agent's"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
}

/// Nobody is asked about a host or for a password on any hop, though the person's settings would have it so.
#[test]
fn ssh_asks_nothing() {
    let way = way();
    way.reconfigure("BatchMode yes", "BatchMode no");
    way.reconfigure("StrictHostKeyChecking yes", "StrictHostKeyChecking ask");
    let known_hosts = way.env.path("known_hosts");
    let without_jump = fs::read_to_string(&known_hosts).unwrap().replace("jump ", "other ");
    fs::write(&known_hosts, without_jump).unwrap();
    let asking = way.rehearse(&["-J", "jump", "device"]).asking(way.env.person()).run().code(1);
    let told: Value = serde_json::from_str(&asking.stdout).unwrap();
    assert_eq!(told["cause"]["code"], "host-key-unknown", "{told:#}");
    assert!(way.env.person().asked().is_empty(), "{:#?}", way.env.person());
}
