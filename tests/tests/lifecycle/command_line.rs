//! The agent as shells and commands start and end it: ssh-agent's options and lines.

use super::*;

/// As in a shell's start-up file, with the default socket.
#[test]
fn eval_starts_it_and_k_ends_it() {
    let env = Env::new();
    let script = r#"
        set -e
        eval "$("$AGENT" -s)"
        echo "socket $SSH_AUTH_SOCK"
        echo "pid $SSH_AGENT_PID"
        ssh-add -l || true
        read -r _
        eval "$("$AGENT" -k)"
        echo "left ${SSH_AUTH_SOCK-nothing} ${SSH_AGENT_PID-nothing}"
    "#;
    let _killed = Background::of(&env);
    let mut shell = env.agent().shell(script).interactive().start();
    shell.stdout().wait_for("The agent has no identities.");
    let (pid, socket) = (value(&shell.stdout().text(), "pid"), value(&shell.stdout().text(), "socket"));
    assert_eq!(Path::new(&socket), env.path("run/fido-ssh-agent/default/agent.sock"));
    assert_eq!(mode(Path::new(&socket)), 0o600);
    let daemon = Watched::process(&pid);

    shell.type_line("");
    let ended = shell.wait().success();
    assert!(ended.stdout.contains(&format!("Agent pid {pid}\n")), "{}", ended.stdout);
    assert!(ended.stdout.contains(&format!("Agent pid {pid} killed\n")), "{}", ended.stdout);
    assert!(ended.stdout.ends_with("left nothing nothing\n"), "{}", ended.stdout);
    daemon.ends();
    assert!(!Path::new(&socket).exists());
}

#[test]
fn the_lines_for_a_c_shell() {
    let env = Env::new();
    let _killed = Background::of(&env);
    let started = env.agent().program(["-c"]).run().success();
    let lines: Vec<_> = started.stdout.lines().collect();
    let [socket, pid, echo] = lines.as_slice() else { panic!("three lines, not {lines:?}") };
    assert_eq!(
        *socket,
        format!("setenv SSH_AUTH_SOCK {};", env.path("run/fido-ssh-agent/default/agent.sock").display())
    );
    let number = pid.strip_prefix("setenv SSH_AGENT_PID ").and_then(|rest| rest.strip_suffix(';')).unwrap();
    assert_eq!(*echo, format!("echo Agent pid {number};"));
    let ended = env.agent().program(["-c", "-k"]).env("SSH_AGENT_PID", number).run().success();
    assert!(ended.stdout.starts_with("unsetenv SSH_AUTH_SOCK;\nunsetenv SSH_AGENT_PID;\n"), "{}", ended.stdout);
}

#[test]
fn k_ends_only_what_could_be_an_agent() {
    let env = Env::new();
    let unset = env.agent().program(["-k"]).run().code(1);
    assert!(unset.stderr.contains("SSH_AGENT_PID is not set"), "{}", unset.stderr);
    assert_eq!(unset.stdout, "", "there is nothing to evaluate");
    for wrong in ["1", "0", "-5", "agent", "99999999999"] {
        let refused = env.agent().program(["-k"]).env("SSH_AGENT_PID", wrong).run().code(1);
        assert!(refused.stderr.contains("which is no process id"), "{}", refused.stderr);
        assert_eq!(refused.stdout, "");
    }
}

#[test]
fn options_are_those_of_ssh_agent() {
    let env = Env::new();
    for (arguments, reason) in [
        (&["-t", "1y"][..], "Invalid lifetime"),
        (&["-E", "sha1"], "Invalid hash algorithm"),
        (&["-O", "unknown"], "Unknown -O option"),
        (&["-c", "-s"], "cannot be used with"),
        (&["-D", "true"], "cannot be used with"),
    ] {
        let refused = env.agent().program(arguments).run().code(64);
        assert!(refused.stderr.contains(reason), "{arguments:?}: {}", refused.stderr);
        assert_eq!(refused.stdout, "");
    }
    let version = env.agent().program(["-V"]).run().success();
    assert_eq!(
        (version.stdout.as_str(), version.stderr),
        ("", format!("fido-ssh-agent {}\n", env!("CARGO_PKG_VERSION")))
    );
    let without_effect =
        ["-E", "md5", "-O", "no-restrict-websafe", "-O", "allow-remote-pkcs11", "-P", "/usr/lib/*", "-TU"];
    env.agent().program(without_effect).arg("true").run().success();
}

/// As two shells' start-up files do it.
#[test]
fn a_second_agent_has_a_socket_of_its_own() {
    let env = Env::new();
    let _killed = Background::of(&env);
    let script = r#"
        set -e
        eval "$("$AGENT" -s)" >/dev/null
        first=$SSH_AUTH_SOCK
        ssh-add -q "$KEY"
        eval "$("$AGENT" -s)" >/dev/null
        echo "second $SSH_AUTH_SOCK"
        ssh-add -l || true
        SSH_AUTH_SOCK=$first ssh-add -l
    "#;
    let key = env.plain_key();
    let ended = env.agent().shell(script).env("KEY", key.path()).run().success();
    let second = env.path("run/fido-ssh-agent/default-2/agent.sock");
    assert_eq!(Path::new(&value(&ended.stdout, "second")), second);
    assert!(ended.stdout.contains("The agent has no identities."), "{}", ended.stdout);
    assert!(ended.stdout.contains(&key.fingerprint()), "{}", ended.stdout);
    let status = env.program(built("agent-cli")).env("SSH_AUTH_SOCK", &second).arg("status").run().success();
    assert!(status.stdout.contains(&second.display().to_string()), "agent-cli finds it: {}", status.stdout);
}

/// It does not matter how COMMAND ends.
#[test]
fn an_agent_for_a_command_ends_with_it() {
    let env = Env::new();
    let _killed = Background::of(&env);
    let script = r#"echo "socket $SSH_AUTH_SOCK"; echo "pid $SSH_AGENT_PID"; ssh-add -l; read -r _; exit 7"#;
    let start = || {
        let command = env.agent().program(["sh", "-c", script]).interactive().start();
        command.stdout().wait_for("The agent has no identities.");
        let text = command.stdout().text();
        (command, Watched::process(&value(&text, "pid")), PathBuf::from(value(&text, "socket")))
    };
    let socket = |number: u32| env.path(&format!("run/fido-ssh-agent/command-{number}/agent.sock"));
    let (mut orderly, its_agent, its_socket) = start();
    let (mut killed, other_agent, other_socket) = start();
    assert_eq!((&its_socket, &other_socket), (&socket(1), &socket(2)), "each has its own");

    orderly.type_line("");
    orderly.wait().code(7);
    its_agent.ends();
    assert!(!its_socket.exists());
    assert!(other_socket.exists());
    killed.kill();
    other_agent.ends();
    assert!(!other_socket.exists());
    let audit = |number: u32| Audit::at(env.path(&format!("state/fido-ssh-agent/command-{number}/audit.jsonl")));
    assert_eq!(audit(2).acts().last(), Some(&Act::Stop { assertions: 0 }));

    let (mut again, its_agent, its_socket) = start();
    assert_eq!(its_socket, socket(1), "a place that is free is taken again");
    again.type_line("");
    again.wait().code(7);
    its_agent.ends();
    assert_eq!(audit(1).acts().iter().filter(|act| matches!(act, Act::Start)).count(), 2);
}

#[test]
fn a_command_that_can_t_be_run_leaves_no_agent() {
    let env = Env::new();
    let _killed = Background::of(&env);
    let failed = env.agent().program(["no-such-command"]).run().code(1);
    assert!(failed.stderr.contains("no-such-command"), "{}", failed.stderr);
    let audit = Audit::at(env.path("state/fido-ssh-agent/command-1/audit.jsonl"));
    audit.wait_for(|event| matches!(event, Event::Act { act: Act::Stop { .. } }));

    let failed = env.agent().setting("no_such_setting = 1").program(["echo", "was run"]).run().code(1);
    assert!(failed.stderr.contains("no_such_setting"), "{}", failed.stderr);
    assert_eq!(failed.stdout, "", "no command without an agent");
}

#[test]
fn t_is_the_lifetime_of_keys_that_bring_none() {
    let env = Env::new();
    let agent = env.agent().option("-t", "1").start();
    let (brings_none, brings_one) = (env.plain_key(), env.plain_key());
    agent.program("ssh-add").args(["-q", "-t", "1w"]).arg(brings_one.path()).run().success();
    agent.ssh_add(&brings_none);
    let end = Instant::now() + PATIENCE;
    while agent.list().contains(&brings_none.fingerprint()) {
        assert!(Instant::now() < end, "it is held still");
    }
    assert!(agent.list().contains(&brings_one.fingerprint()));
}
