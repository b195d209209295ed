//! What ssh's configuration says, for all hosts and for those that are named.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agent::paths::Paths;

use super::finding::Finding;
use super::ssh_settings::{SshSettings, in_home};
use crate::agent_socket::Held;
use crate::public_key::PublicKey;

/// No host has this name (RFC 2606 § 2), so what holds for it holds for all that have no settings of their own.
pub(super) const ANY: &str = "any-host.invalid";

const CHECK: &str = "ssh-config";

/// What holds for all hosts.
pub(super) fn general(ssh: &Result<SshSettings, String>) -> Finding {
    let ssh = match ssh {
        Ok(ssh) => ssh,
        Err(error) => {
            return Finding::bad(
                CHECK,
                format!("ssh can't use its configuration: {error}"),
                "Mend it: `ssh -G HOST` reads it.",
            );
        }
    };
    // It may also be a socket or a variable (ssh_config(5), ForwardAgent).
    if ssh.one("forwardagent").is_some_and(|value| value != "no") {
        return Finding::bad(
            CHECK,
            "your agent is forwarded to every host that you log in to (ForwardAgent)",
            "Forward it to your jump hosts only: `agent-cli ssh-config --jump HOST` prints how.",
        );
    }
    if ssh.one("controlmaster").is_some_and(|value| !matches!(value, "no" | "false")) {
        return Finding::warning(
            CHECK,
            "connections are shared (ControlMaster): later logins ride on the first, and you are neither asked nor is there a record",
            "Take ControlMaster out for the hosts that matter.",
        );
    }
    Finding::good(CHECK, "nothing in it keeps the agent from its work")
}

/// What holds for these hosts, and for those on the way there, each once: what defeats the agent, and whether its key is known.
pub(super) fn named(hosts: &[String], file: Option<&Path>, paths: &Paths, keys: Option<&[Held]>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut to_do: Vec<_> = hosts.iter().rev().cloned().collect();
    let mut done = Vec::new();
    while let Some(host) = to_do.pop() {
        if done.contains(&host) {
            continue;
        }
        match SshSettings::of(&host, file) {
            Err(error) => findings.push(Finding::bad(CHECK, format!("{host}: {error}"), "Mend ssh's configuration.")),
            Ok(ssh) => {
                findings.push(for_host(&host, &ssh, paths, keys));
                findings.push(known(&host, &ssh, &paths.home));
                to_do.extend(ssh.jumps());
            }
        }
        done.push(host);
    }
    findings
}

fn for_host(host: &str, ssh: &SshSettings, paths: &Paths, keys: Option<&[Held]>) -> Finding {
    let bad = |what: String, next: &str| Finding::bad(CHECK, format!("{host}: {what}"), next);
    match ssh.one("identityagent") {
        Some("none") => return bad("IdentityAgent is none: no agent is asked".into(), "Take that out."),
        Some(path)
            if path != "SSH_AUTH_SOCK" && !path.starts_with('$') && in_home(path, &paths.home) != paths.socket =>
        {
            let next = format!("Let it name {}, or take it out.", paths.socket.display());
            return bad(format!("IdentityAgent names another socket, {path}"), &next);
        }
        _ => {}
    }
    if ssh.one("pubkeyauthentication").is_some_and(|value| matches!(value, "no" | "false")) {
        return bad("PubkeyAuthentication is off".into(), "Take that out.");
    }
    let Some(keys) = keys.filter(|_| ssh.is_on("identitiesonly")) else {
        return Finding::good(CHECK, format!("{host}: the agent is asked"));
    };
    let files = ssh.files("identityfile", &paths.home);
    match keys.iter().find(|held| files.iter().any(|file| is_of(file, &held.key))) {
        Some(held) => Finding::good(
            CHECK,
            format!("{host}: only keys that are named are offered, among them {}", held.key.fingerprint),
        ),
        None => bad(
            "only keys that are named are offered (IdentitiesOnly), and the agent holds none of them".into(),
            "Name your key's public part there (`IdentityFile ~/.ssh/id_ed25519_sk.pub`), or take IdentitiesOnly out.",
        ),
    }
}

/// Whether a file that IdentityFile names is this key's: its public part, or the one beside it (sshconnect2.c).
fn is_of(file: &Path, key: &PublicKey) -> bool {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".pub");
    [file, Path::new(&beside)].iter().any(|file| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().filter_map(PublicKey::read_line).any(|(found, _)| found.fingerprint == key.fingerprint)
    })
}

/// Whether ssh would know the host again; in an emergency nobody wants to be asked about a fingerprint.
fn known(host: &str, ssh: &SshSettings, home: &Path) -> Finding {
    const CHECK: &str = "known-hosts";
    let name = ssh.known_as(host);
    let files = [ssh.files("userknownhostsfile", home), ssh.files("globalknownhostsfile", home)].concat();
    if files.iter().any(|file| knows(file, &name)) {
        return Finding::good(CHECK, format!("{host} is known, as {name}"));
    }
    Finding::bad(
        CHECK,
        format!("{host} is not known (as {name}, in {})", list(&files)),
        "Log in there once now, and compare its fingerprint with the one that its administrator gives; or have known_hosts sent to you.",
    )
}

/// As `ssh-keygen -F` has it: hashed names, patterns and authorities are its own business.
fn knows(file: &Path, name: &str) -> bool {
    let mut asked = Command::new("ssh-keygen");
    asked.args(["-q", "-F", name, "-f"]).arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    file.exists() && asked.status().is_ok_and(|status| status.success())
}

fn list(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}
