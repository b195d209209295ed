//! What sets the agent up for a user: systemd's socket, its units, and the lines for ssh_config.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on ends")]

use std::fs;
use std::path::Path;

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

/// With the programs of this build: `make install` builds others first, and asks for sudo where it has to.
#[test]
fn make_installs_all_of_it_below_its_prefix() {
    let env = Env::new();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (prefix, settings) in [("/usr/local", ""), ("/opt/agents", "/opt/agents")] {
        let destination = env.path(&format!("destination{}", prefix.len()));
        let mut make =
            env.program("make").arg("-C").arg(workspace).args(["install-files", &format!("PREFIX={prefix}")]);
        for (name, value) in [("DESTDIR", destination.as_path()), ("BUILT", built("agent").parent().unwrap())] {
            make = make.arg(format!("{name}={}", value.display()));
        }
        make.run().success();
        let below = |path: &str| destination.join(path.trim_start_matches('/'));
        let installed = |path: &str| below(&format!("{prefix}/{path}"));

        let mut found = fs::read_dir(&destination).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        found.sort();
        let expected: &[&str] = if settings.is_empty() { &["etc", "usr"] } else { &["opt"] };
        assert_eq!(found, expected);
        for file in [
            "lib/udev/rules.d/70-fido-ssh-agent.rules",
            "share/man/man1/fido-ssh-agent.1",
            "share/man/man1/agent-cli.1",
            "share/man/man5/fido-ssh-agent-config.5",
            "share/zsh/vendor-completions/_agent-cli",
            "share/fish/vendor_completions.d/agent-cli.fish",
            "libexec/fido-ssh-agent/sk-helper",
        ] {
            assert_ne!(fs::metadata(installed(file)).expect(file).len(), 0, "{file}");
        }
        assert!(below(&format!("{settings}/etc/profile.d/fido-ssh-agent.sh")).exists());
        env.program(installed("bin/fido-ssh-agent")).arg("-V").run().success();
        let service = fs::read_to_string(installed("lib/systemd/user/fido-ssh-agent.service")).unwrap();
        assert!(service.contains(&format!("\nExecStart={prefix}/bin/fido-ssh-agent -D\n")), "{service}");
        let complete = r#". "$1" && COMP_WORDS=(agent-cli gen-k) COMP_CWORD=1
            $(complete -p agent-cli | sed 's/.*-F \([^ ]*\).*/\1/') agent-cli gen-k agent-cli && echo "${COMPREPLY[@]}""#;
        let completions = installed("share/bash-completion/completions/agent-cli");
        let words = env.program("bash").args(["-c", complete, "bash"]).arg(completions).run().success();
        assert_eq!(words.stdout, "gen-keys\n");
    }
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
