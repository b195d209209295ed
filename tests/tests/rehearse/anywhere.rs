//! What is the same on any network. Each `make test` has it natively alone, and `make soak` in the virtual machine as well.

mod kept;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use serde_json::{Value, json};
use tests::{Recipe, TokenKind};

use super::causes::{told, way};
use super::{Way, codes, rehearsals};

/// People get the same as programs.
#[test]
fn it_is_told_in_words() {
    let way = Way::ready(TokenKind::Fingerprint, &Recipe::ed25519().verify_required());
    let program = way.agent.cli(["rehearse", "-F"]).arg(way.env.ssh_config()).args(["-J", "jump", "device"]).start();
    way.approve(2);
    let told = program.wait().success().stdout;
    for line in [
        "passed: device through jump",
        "1. jump",
        "2. device",
        &format!("   host key  {}, known", way.device.fingerprint()),
        "   bound     for a login at device",
        "verify-required  not tested",
        "In an emergency:",
    ] {
        assert!(told.lines().any(|told| told.starts_with(line)), "{line} is not in {told}");
    }
}

/// Where a host demands it, a login without fails.
#[test]
fn verify_required_that_is_enforced() {
    let way = Way::ready(TokenKind::Fingerprint, &Recipe::ed25519());
    way.jump.setting("PubkeyAuthOptions verify-required");
    let (code, told) = told(way.fails(&["-J", "jump", "device"], 1));
    assert_eq!(
        (code.as_str(), &told["verify_required"]),
        ("signature-refused of jump", &json!("not-tested")),
        "{told:#}"
    );
}

/// Who goes through the jump host leaves no agent there.
#[test]
fn through_a_jump_host_that_forwards_no_agent() {
    let way = way();
    way.jump.setting("AllowAgentForwarding no");
    way.passes(&["-J", "jump", "device"], 2);
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

/// It says that it is an ssh server, and nothing from then on.
#[test]
fn a_host_that_falls_silent() {
    let way = way();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap();
    let host = thread::spawn(move || {
        [(); 2].map(|()| {
            let (mut connection, _) = listener.accept().unwrap();
            connection.write_all(b"SSH-2.0-silent\r\n").unwrap();
            connection
        })
    });
    let device = way.device.address();
    way.reconfigure(
        &format!("HostName {}\n  Port {}\n", device.ip(), device.port()),
        &format!(
            "HostName {}\n  Port {}\n  ServerAliveInterval 1\n  ServerAliveCountMax 1\n",
            silent.ip(),
            silent.port()
        ),
    );
    for (road, approvals) in [(&["device"][..], 0), (&["-J", "jump", "device"], 1)] {
        let (code, told) = told(way.fails(road, approvals));
        assert_eq!(code, "host-unreachable of device", "{told:#}");
        assert!(told["cause"]["what"].as_str().unwrap().ends_with(" timed out)"), "{told:#}");
        assert_eq!(told["hops"].as_array().unwrap().last().unwrap()["software"], "silent", "{told:#}");
    }
    drop(host.join().unwrap());
}

#[test]
fn the_jump_host_opens_no_connections() {
    let way = way();
    way.jump.setting("AllowTcpForwarding no");
    assert_eq!(told(way.fails(&["-J", "jump", "device"], 1)).0, "tcp-forwarding-refused of device");
}

/// Where it stands in the person's settings, it is no host that was named: what it lets in, the device does not.
#[test]
fn a_jump_host_of_the_person_s_settings() {
    let way = Way::ready(TokenKind::Fingerprint, &Recipe::ed25519());
    let verified = way.adds(&Recipe::ed25519().verify_required());
    fs::write(way.env.path("device/authorized_keys"), verified.authorized_line()).unwrap();
    way.reconfigure("Host device\n", "Host device\n  ProxyJump jump\n");
    let passed = way.passes(&["device"], 2);
    assert_eq!(passed["verify_required"], "not-tested", "{passed:#}");
    assert_eq!(codes(&passed["remarks"]), ["verify-required-not-enforced"], "{passed:#}");
    // As ssh names it.
    let jump = json!(way.jump.address().ip());
    assert_eq!(passed["remarks"][0]["host"], jump, "{passed:#}");

    way.jump.setting("AllowTcpForwarding no");
    let (code, told) = told(way.fails(&["device"], 1));
    assert_eq!(code, "tcp-forwarding-refused of device", "{told:#}");
    assert_eq!((&told["hops"][0]["host"], &told["verify_required"]), (&jump, &json!("not-tested")), "{told:#}");
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

/// ssh's clock for the device runs while the person logs in on the jump host.
#[test]
fn a_person_who_takes_longer_than_ssh_waits() {
    let way = way();
    let mut before = "Host device\n".to_owned();
    for seconds in [2, 8, 32] {
        let with_limit = format!("Host device\n  ConnectTimeout {seconds}\n");
        way.reconfigure(&before, &with_limit);
        before = with_limit;
        let (code, told) = told(way.fails(&["-J", "jump", "device"], 0));
        if told["hops"][0]["software"].is_null() {
            // Nor did the jump host speak in that time.
            assert_eq!(code, "host-unreachable of jump", "{told:#}");
            continue;
        }
        assert_eq!(code, "connect-timeout of jump", "{told:#}");
        return;
    }
    panic!("the jump host speaks in half a minute");
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

/// The report and all else that reads the record tell it from a use in earnest, also where the two come at the same time.
#[test]
fn who_reads_the_record_has_rehearsals_apart() {
    let way = Way::ready(TokenKind::Fingerprint, &Recipe::ed25519().verify_required());
    let plain = way.env.plain_key();
    way.agent.ssh_add(&plain);
    way.jump.authorize(&plain);
    let rehearsal = way.rehearse(&["-A", "jump", "device"]).start();
    way.env.person().wait_until_asked(tests::Kind::Notice);
    // A login in earnest, while the other one waits for its token.
    let earnest = ["-o", "IdentitiesOnly=yes", "-i"];
    way.agent.ssh(earnest).arg(plain.public_path()).args(["jump", "true"]).run().success();
    way.approve(1);
    way.approve(1);
    way.told(rehearsal, 0);
    rehearsals(&way.agent);
    way.agent.ssh(earnest).arg(plain.public_path()).args(["jump", "true"]).run().success();

    let page = way.env.path("report.html");
    way.agent.cli(["audit", "report", "--output"]).arg(&page).run().success();
    let page = fs::read_to_string(page).unwrap();
    for (class, times) in [("rehearsed", 2), ("signed", 2)] {
        assert_eq!(page.matches(&format!("<details class=\"row {class}\"")).count(), times, "{class}");
    }
    for tile in [
        "<b>2</b> <span>rehearsed</span>",
        "<b>2</b> <span>logins signed</span> <small>2 with proof of the host</small>",
    ] {
        assert!(page.contains(tile), "{tile}");
    }

    let audit = |arguments: &[&str]| way.agent.cli(["audit"]).args(arguments).run().success().stdout;
    let shown = audit(&["show"]);
    let words = shown.lines().filter_map(|row| row.split_whitespace().nth(3));
    let ends: Vec<_> = words.filter(|word| ["signed", "rehearsed"].contains(word)).collect();
    assert_eq!(ends, ["signed", "rehearsed", "rehearsed", "signed"], "{shown}");
    for (decision, rows) in [("rehearsed", 2), ("signed", 4), ("refused", 0)] {
        let shown = audit(&["show", "--decision", decision]);
        assert_eq!(shown.lines().count(), rows, "{decision}: {shown}");
    }
    // Programs are told, too.
    for (command, member) in [
        (&["show", "--json", "--decision", "signed"][..], "/rehearsed"),
        (&["export", "--format", "ocsf"][..], "/unmapped/rehearsed"),
    ] {
        let lines = audit(command);
        let marked = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap().pointer(member).cloned());
        assert_eq!(marked.collect::<Vec<_>>(), [false, true, true, false].map(|so| Some(json!(so))), "{lines}");
    }
    assert_eq!(audit(&["export", "--format", "ocsf"]).matches(", in a rehearsal\"").count(), 2);
}
