//! The settings: read at the start and at each SIGHUP, checked and shown by `agent-cli config`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on ends")]

use std::fs;
use std::path::PathBuf;

use agent::audit::record::{Act, Event, SettingChange};
use rustix::process::{Pid, Signal, kill_process};
use tests::{Agent, Env, built};

/// The user's configuration file.
fn config(env: &Env) -> PathBuf {
    env.path("config/fido-ssh-agent/config.toml")
}

/// Puts this before all that the file says, and has the agent read it again.
fn change(agent: &Agent, text: &str) {
    let path = config(agent.env());
    let before = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}{before}")).unwrap();
    agent.signal(Signal::HUP);
}

fn status(agent: &Agent) -> serde_json::Value {
    serde_json::from_str(&agent.cli(["status", "--json"]).run().success().stdout).unwrap()
}

/// The agent is told, and what it was told is on record before it holds.
#[test]
fn settings_are_read_again_at_sighup() {
    let env = Env::new();
    let agent = env.agent().start();
    let (before, after) = (env.plain_key(), env.plain_key());
    agent.ssh_add(&before);

    change(&agent, "software_keys = \"deny\"\nallow_root = true\n");
    let is_change = |event: &Event| matches!(event, Event::Act { act: Act::ConfigChanged { .. } });
    agent.audit().wait_for(is_change);
    agent.messages().wait_for("the settings were read again");
    let refused = agent.program("ssh-add").arg(after.path()).run().code(1);
    assert!(refused.stderr.contains("agent refused operation"), "{}", refused.stderr);
    assert!(agent.list().contains(&before.fingerprint()), "what is held stays");

    let acts = agent.audit().acts();
    let Some(Act::ConfigChanged { config: hash, settings }) =
        acts.into_iter().find(|act| matches!(act, Act::ConfigChanged { .. }))
    else {
        panic!("it is on record")
    };
    let change = |name: &str, to: &str, at_next_start| SettingChange {
        name: name.into(),
        from: None,
        to: Some(to.into()),
        at_next_start,
    };
    assert_eq!(settings, [change("allow_root", "true", true), change("software_keys", "\"deny\"", false)]);
    let sum = env.program("sha256sum").arg(config(&env)).run().success().stdout;
    assert!(sum.starts_with(&hash.to_string()), "{sum}");
    let status = status(&agent);
    assert_eq!(status["config"]["hash"], hash.to_string());
    assert_eq!(status["config"]["at_next_start"], serde_json::json!(["allow_root"]));
}

#[test]
fn a_broken_file_changes_nothing_and_is_told() {
    let env = Env::new();
    let agent = env.agent().setting("software_keys = \"deny\"").start();
    let (good, hash) = (fs::read_to_string(config(&env)).unwrap(), status(&agent)["config"]["hash"].clone());
    fs::write(config(&env), good.replace("software_keys = \"deny\"", "opake = \"deny\"")).unwrap();
    agent.signal(Signal::HUP);
    agent.messages().wait_for("the settings stay as they were");
    let told = format!("{}:2: there is no setting `opake`: did you mean `opaque`?", config(&env).display());
    assert!(agent.messages().text().contains(&told), "{}", agent.messages());
    let text = agent.cli(["status"]).run().success().stdout;
    assert!(text.contains(&format!("not read again, so those above still hold: {told}")), "{text}");
    assert_eq!(status(&agent)["config"]["hash"], hash);
    agent.program("ssh-add").arg(env.plain_key().path()).run().code(1);

    fs::write(config(&env), good).unwrap();
    agent.signal(Signal::HUP);
    agent.messages().wait_for("the settings were read again");
    assert_eq!(status(&agent)["config"]["trouble"], serde_json::Value::Null);
    assert!(!agent.audit().acts().iter().any(|act| matches!(act, Act::ConfigChanged { .. })), "nothing has changed");
}

/// A terminal of its own for the agent, whose messages go elsewhere. At a line of input it is hung up.
const TERMINAL: &str = r#"
import os, pty, sys
os.dup2(2, 9)
pid, terminal = pty.fork()
if pid == 0:
    os.execv("/bin/sh", ["sh", "-c", 'exec "$AGENT" -D 2>&9 9>&-'])
printed = b""
while b"Agent pid" not in printed:
    printed += os.read(terminal, 1024)
print("pid", pid, flush=True)
sys.stdin.readline()
os.close(terminal)
print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"#;

/// As ssh-agent does; while the terminal is there, SIGHUP is about the settings.
#[test]
fn an_agent_in_a_terminal_ends_with_it() {
    let env = Env::new();
    let script = r#"exec python3 -c "$TERMINAL""#;
    let mut terminal = env.agent().shell(script).env("TERMINAL", TERMINAL).interactive().start();
    terminal.stdout().wait_for("pid ");
    let pid = terminal.stdout().text().trim().trim_start_matches("pid ").parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::HUP).unwrap();
    terminal.stderr().wait_for("the settings were read again");

    terminal.type_line("");
    let ended = terminal.wait().success();
    assert!(ended.stdout.contains("ended 0"), "in order: {}", ended.stdout);
    assert!(!env.path("run/fido-ssh-agent/default/agent.sock").exists());
}

#[test]
fn an_agent_with_a_broken_file_says_what_to_do() {
    let env = Env::new();
    let refused = env.agent().setting("[limit]\ntouch_seconds = 40").program(["-D"]).run().code(1);
    assert!(refused.stderr.contains(":2: there is no setting `limit`: did you mean [limits]?"), "{}", refused.stderr);
    assert!(refused.stderr.contains("`agent-cli config check`"), "{}", refused.stderr);
}

#[test]
fn the_files_are_checked_and_shown_without_an_agent() {
    let env = Env::new();
    let cli = |arguments: &[&str]| env.program(built("agent-cli")).args(arguments);
    let path = cli(&["config", "path"]).run().success().stdout;
    assert_eq!(path, format!("{}\n", config(&env).display()));
    assert_eq!(cli(&["config", "path", "--system"]).run().success().stdout, "/etc/fido-ssh-agent/config.toml\n");

    fs::write(config(&env), "\n[limits]\ntouch_seconds = 12\n").unwrap();
    let good = cli(&["config", "check"]).run().success().stdout;
    assert_eq!(good, format!("{}: all settings can be used\n", config(&env).display()));
    let shown = cli(&["config", "show"]).run().success().stdout;
    assert!(shown.contains(&format!("\ntouch_seconds = 12  # {}:3\n", config(&env).display())), "{shown}");
    assert!(shown.contains("\nprompt_seconds = 60  # by default\n"), "{shown}");

    let other = env.path("other.toml");
    fs::write(&other, "opake = 1\n[limits]\ntouch_seconds = 50\n").unwrap();
    let bad = cli(&["config", "check"]).arg(&other).run().code(1);
    assert!(bad.stderr.contains("other.toml:1: there is no setting `opake`"), "{}", bad.stderr);
    fs::write(&other, "[limits]\ntouch_seconds = 50\nprompt_seconds = 0\n").unwrap();
    let bad = cli(&["config", "check"]).arg(&other).run().code(1);
    assert!(bad.stderr.contains("other.toml:2: limits.touch_seconds has to be between 1 and 44"), "{}", bad.stderr);
    assert!(bad.stderr.contains("the configuration has 2 mistakes"), "{}", bad.stderr);
    cli(&["config", "check", "no-such-file"]).run().code(1);
}
