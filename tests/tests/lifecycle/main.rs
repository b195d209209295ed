//! The agent's own life: started, killed, started again, and beside others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

mod command_line;
mod sockets;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use agent::audit::record::{Act, Event};
use agent::denial::Code;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tests::{Audit, Client, Env, FAILURE, Kind, PATIENCE, Recipe, Scene, TokenKind, built, for_each_token};

/// Agents that a shell or a command started are not the test's children. At the end of the scenario they are killed,
/// however it ends.
struct Background(Env);

impl Background {
    /// Those that are started here from now on.
    fn of(env: &Env) -> Self {
        Self(env.clone())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let agent = built("agent").display().to_string();
        let instances = fs::read_dir(self.0.path("state/fido-ssh-agent")).into_iter().flatten().flatten();
        for log in instances.map(|instance| instance.path().join("audit.jsonl")).filter(|log| log.exists()) {
            for record in Audit::at(log).records() {
                let pid = record.agent.pid;
                // Those that have ended may have left their number to others.
                if fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(&agent)) {
                    let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
                }
            }
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// A process that is watched from here on.
struct Watched(OwnedFd);

impl Watched {
    fn process(pid: &str) -> Self {
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        Self(pidfd_open(pid, PidfdFlags::empty()).unwrap())
    }

    /// Waits for its end.
    fn ends(&self) {
        let limit = Timespec::try_from(PATIENCE).unwrap();
        assert_eq!(poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&limit)), Ok(1), "it goes on");
    }
}

/// The value that a line of a program's output gives to `name`: `NAME VALUE`.
fn value(output: &str, name: &str) -> String {
    let value = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {output}")).to_owned()
}

for_each_token! {
    /// What `kill -9` leaves behind is no obstacle, and keys that were added from files are there again; the one under a
    /// passphrase asks for it once, when it is first used.
    fn killed_and_started_again(kind: TokenKind) {
        let Scene { env, token, key, agent, device } = Scene::ready(kind, &Recipe::ed25519());
        token.set_touch(soft_token::Touch::Always);
        let protected = env.ssh_keygen(&Recipe::ecdsa().passphrase("correct horse"));
        token.set_touch(soft_token::Touch::Manual);
        device.authorize(&protected);
        agent.cli(["-S", "add"]).arg(protected.path()).input("correct horse\n").run().success();
        let socket = agent.socket().to_owned();
        agent.kill();
        assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket(), "nobody took it away");

        let agent = env.agent().start();
        let list = agent.list();
        assert!(list.contains(&key.fingerprint()) && list.contains(&protected.fingerprint()), "{list}");
        let login = |key: &tests::KeyFile| {
            let login = agent.ssh(["-o", "IdentitiesOnly=yes", "-i"]).arg(key.public_path()).args(["device", "true"]);
            let login = login.start();
            env.person().approve(&token);
            login.wait().success();
        };
        login(&key);
        assert_eq!(env.person().texts(Kind::Secret), Vec::<String>::new());
        env.person().types(["correct horse"]);
        login(&protected);
        login(&protected);
        let questions = env.person().texts(Kind::Secret);
        assert_eq!(questions.len(), 1, "{questions:#?}");
        assert!(questions[0].contains(&format!("Passphrase for {}", protected.path().display())), "{questions:#?}");
        assert!(questions[0].contains(&device.fingerprint()), "it says what it is for: {questions:#?}");
    }
}

#[test]
fn keys_that_were_removed_or_restricted_do_not_come_back() {
    let Scene { env, token, key, agent, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    token.set_touch(soft_token::Touch::Always);
    let restricted = env.ssh_keygen(&Recipe::ecdsa());
    agent.program("ssh-add").args(["-q", "-t", "3600"]).arg(restricted.path()).run().success();
    agent.program("ssh-add").args(["-q", "-d"]).arg(key.path()).run().success();
    assert!(agent.list().contains(&restricted.fingerprint()));
    agent.kill();
    let agent = env.agent().start();
    assert_eq!(agent.list(), "The agent has no identities.\n");
}

/// While somebody is asked for a touch, for good, and on record.
#[test]
fn sigusr1_drops_all_keys() {
    let Scene { env, token, agent, device: _device, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    agent.ssh_add(&env.plain_key());
    let login = agent.ssh(["device", "true"]).start();
    token.wait_until_waiting();
    let mut client = agent.connect();
    assert_eq!(client.number_of_keys(), 2);
    agent.signal(Signal::USR1);
    let audit = agent.audit();
    audit.wait_for(|event| matches!(event, Event::Act { act: Act::RemoveAll }));
    let end = Instant::now() + PATIENCE;
    while client.number_of_keys() > 0 {
        assert!(Instant::now() < end, "the keys are there still");
    }
    drop(login);
    agent.terminate();
    assert_eq!(env.agent().start().list(), "The agent has no identities.\n");
}

/// No core dump, and nothing to see for other programs of the same user, however it was started.
#[test]
fn an_agent_s_memory_is_its_own() {
    let env = Env::new();
    let _killed = Background::of(&env);
    let script = format!(
        r#"
        set -e
        eval "$({LESS} "$AGENT" -s)" >/dev/null
        echo "background $SSH_AGENT_PID"
        {LESS} "$AGENT" -D -a "$FOREGROUND" &
        foreground=$!
        echo "foreground $foreground"
        {LESS} "$AGENT" sh -c 'echo "command $$"; echo "agent $SSH_AGENT_PID"; read -r _'
        kill "$foreground"
        "#
    );
    let mut shell = env.agent().shell(&script).env("FOREGROUND", env.path("agent.sock")).interactive().start();
    shell.stdout().wait_for("\nSSH_AUTH_SOCK=");
    shell.stdout().wait_for("\nagent ");
    let said = shell.stdout().text();
    for agent in ["background", "foreground", "agent"] {
        let pid = value(&said, agent);
        assert!(!can_be_looked_into(&env, &pid), "{agent}");
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "{agent}");
    }
    assert!(can_be_looked_into(&env, &value(&said, "command")), "COMMAND is no agent, and as open as any program");
    shell.type_line("");
    let _ = shell.wait();
}

/// Runs a program of root's as one of any user's: root may look into everything, and so may nobody look into root.
const LESS: &str = r#"$(test "$(id -u)" != 0 || echo setpriv --bounding-set=-sys_ptrace)"#;

/// Whether another program of this user sees what is the process's own.
fn can_be_looked_into(env: &Env, pid: &str) -> bool {
    let script = format!("{LESS} readlink /proc/{pid}/fd/0");
    env.program("sh").args(["-c", &script]).run().status.success()
}

/// Nobody reads what it says any more, and that must not end it.
#[test]
fn in_the_background_it_outlives_its_starter() {
    let env = Env::new();
    let _token = env.plug(TokenKind::PinOnly.options());
    let key = env.ssh_keygen(&Recipe::ed25519());
    let script = r#"
        set -e
        eval "$("$AGENT" -s)"
        ssh-add -q "$KEY"
    "#;
    let _killed = Background::of(&env);
    env.agent().shell(script).env("KEY", key.path()).run().success();
    let mut client = Client::connect(&env.path("run/fido-ssh-agent/default/agent.sock"));
    let state = env.path("state/fido-ssh-agent/default");
    let audit = Audit::at(state.join("audit.jsonl"));
    for refused in 1..=3 {
        assert_eq!(client.sign(&key.blob(), b"opaque"), [FAILURE]);
        assert_eq!(audit.refusal_codes(), vec![Code::OpaqueData; refused]);
    }
    assert_eq!(client.number_of_keys(), 1);
    let messages = fs::read_to_string(state.join("agent.log")).unwrap();
    assert_eq!(messages.matches("(opaque-data)").count(), 3, "{messages}");
}

#[test]
fn sigterm_ends_it_in_order() {
    let env = Env::new();
    let agent = env.agent().start();
    let (socket, control, audit) = (agent.socket().to_owned(), agent.control_socket(), agent.audit());
    agent.terminate();
    assert!(!socket.exists() && !control.exists());
    assert_eq!(audit.acts().last(), Some(&Act::Stop { assertions: 0 }));
}

/// A request that is under way is ended too, and is on record.
#[test]
fn sigterm_during_a_touch_leaves_nothing_open() {
    let Scene { env: _env, token, agent, device: _device, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let login = agent.ssh(["device", "true"]).start();
    token.wait_for(|what| what == soft_token::What::Waiting, PATIENCE);
    let audit = agent.audit();
    agent.terminate();
    login.wait().code(255);
    token.wait_for(|what| what == soft_token::What::Cancelled, PATIENCE);
    assert_eq!(audit.refusal_codes(), [Code::AgentStopped]);
    assert_eq!(audit.acts().last(), Some(&Act::Stop { assertions: 1 }));
}

/// The question goes away with the agent.
#[test]
fn sigterm_during_a_pin_prompt_takes_it_away() {
    let Scene { env, token, agent, device: _device, .. } =
        Scene::ready(TokenKind::PinOnly, &Recipe::ed25519().verify_required());
    let login = agent.ssh(["device", "true"]).start();
    env.person().wait_until_asked(Kind::Secret);
    let audit = agent.audit();
    agent.terminate();
    env.person().wait_until_nothing_is_shown();
    let refused = login.wait().code(255);
    assert!(refused.stderr.contains("agent refused operation"), "{}", refused.stderr);
    assert_eq!(audit.refusal_codes(), [Code::AgentStopped]);
    assert_eq!(audit.acts().last(), Some(&Act::Stop { assertions: 0 }));
    assert_eq!(token.pin_retries(), 8);
}
