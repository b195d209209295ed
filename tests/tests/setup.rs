//! What sets the agent up for a user: systemd's socket, its units, and the lines for ssh_config.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on ends")]

use std::fs;

use tests::{Env, built};

/// A command that needs the agent is as good a first use as `ssh` is.
#[test]
fn agent_cli_wakes_an_agent_that_a_socket_waits_for() {
    let env = Env::new();
    let socket = env.path("run/fido-ssh-agent/default/agent.sock");
    let activate = r#"umask 077; mkdir -p "${SOCKET%/*}"
        exec systemd-socket-activate -E XDG_RUNTIME_DIR -E XDG_STATE_HOME -E XDG_CONFIG_HOME -l "$SOCKET" "$AGENT" -D"#;
    let systemd = env.agent().shell(activate).env("SOCKET", &socket).start();
    systemd.stderr().wait_for("Listening on");
    let status = env.program(built("agent-cli")).arg("status").run().success();
    assert!(status.stdout.contains(&format!("process {}", systemd.pid())), "{}", status.stdout);
}

#[test]
fn the_units_are_ones_that_systemd_can_read() {
    let env = Env::new();
    let first = env.agent().program(["--install-user-units"]).run().success();
    assert!(first.stdout.contains("systemctl --user enable --now fido-ssh-agent.socket"), "{}", first.stdout);
    let folder = env.path("config/systemd/user");
    let units = ["fido-ssh-agent.socket", "fido-ssh-agent.service"].map(|unit| folder.join(unit));
    let service = fs::read_to_string(&units[1]).unwrap();
    assert!(service.contains(&format!("\nExecStart={} -D\n", built("agent").display())), "{service}");
    let verified = env.program("systemd-analyze").args(["--user", "--man=no", "verify"]).args(&units).run().success();
    assert_eq!(verified.stderr, "");

    let second = env.agent().program(["--install-user-units"]).run().success();
    assert_eq!(second.stdout.matches("up to date").count(), 2, "{}", second.stdout);
    fs::write(&units[0], "[Socket]\n").unwrap();
    let refused = env.agent().program(["--install-user-units"]).run().code(1);
    assert!(refused.stderr.contains("stays as it is"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&units[0]).unwrap(), "[Socket]\n");
}

/// As ssh itself reads them, for a jump host and for another.
#[test]
fn ssh_config_forwards_the_agent_to_jump_hosts_only() {
    let env = Env::new();
    let agent = env.agent().start();
    let lines = agent.cli(["ssh-config", "--jump", "jump-*", "--jump", "bastion"]).run().success().stdout;
    let file = env.path("lines");
    fs::write(&file, lines).unwrap();
    let settings = |host: &str| env.program("ssh").args(["-G", "-F"]).arg(&file).arg(host).run().success().stdout;
    let socket = format!("identityagent {}\n", agent.socket().display());
    for (host, forward) in [("jump-1", "yes"), ("bastion", "yes"), ("device", "no")] {
        let settings = settings(host);
        assert!(settings.contains(&format!("forwardagent {forward}\n")) && settings.contains(&socket), "{settings}");
        assert!(settings.contains("controlmaster false\n"), "{settings}");
    }

    let default = env.program(built("agent-cli")).env("SSH_AUTH_SOCK", "/nowhere").arg("ssh-config").run().success();
    assert!(default.stdout.contains("run/fido-ssh-agent/default/agent.sock"), "{}", default.stdout);
    let refused = agent.cli(["ssh-config", "--jump", "*"]).run().code(64);
    assert!(refused.stderr.contains("forward the agent to every host"), "{}", refused.stderr);
}
