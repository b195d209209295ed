//! The agent's own life: started, killed, started again, and beside others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

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

/// What a handed-over socket is to its agent: bound and listening before it starts, as its descriptor 3 (sd_listen_fds(3)).
const LAUNCHER: &str = r#"
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="agent")
os.execv(sys.argv[2], sys.argv[2:])
"#;

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

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
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

#[test]
fn a_second_agent_on_the_same_socket_says_so_and_ends() {
    let Scene { env, agent, key, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let second = env.agent().program(["-D", "-a"]).arg(agent.socket()).run().code(1);
    assert!(second.stderr.contains("is running already"), "{}", second.stderr);
    assert_eq!(second.stdout, "");
    assert!(agent.list().contains(&key.fingerprint()), "the first one is not disturbed");
}

#[test]
fn a_socket_that_another_program_serves_is_left_to_it() {
    let env = Env::new();
    let socket = env.path("agent.sock");
    let other = env.program("ssh-agent").args(["-D", "-a"]).arg(&socket).start();
    other.stdout().wait_for("SSH_AUTH_SOCK=");
    let ours = env.agent().program(["-D", "-a"]).arg(&socket).run().code(1);
    assert!(ours.stderr.contains("an agent is serving this socket already"), "{}", ours.stderr);
    let list = env.program("ssh-add").env("SSH_AUTH_SOCK", &socket).arg("-l").run().code(1);
    assert_eq!(list.stdout, "The agent has no identities.\n");
}

#[test]
fn a_file_in_the_place_of_the_socket_is_not_removed() {
    let env = Env::new();
    let socket = env.path("agent.sock");
    fs::write(&socket, "mine").unwrap();
    let refused = env.agent().program(["-D", "-a"]).arg(&socket).run().code(1);
    assert!(refused.stderr.contains("it is no socket"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&socket).unwrap(), "mine");
}

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

/// The agent serves it, is named by it, and leaves it where it is.
#[test]
fn a_socket_that_is_handed_over() {
    let env = Env::new();
    let socket = env.path("handed.sock");
    let launch = |arguments: &str, socket: &Path| {
        let script = format!(r#"exec python3 -c "$LAUNCHER" "$SOCKET" "$AGENT" {arguments}"#);
        env.agent().shell(&script).env("LAUNCHER", LAUNCHER).env("SOCKET", socket)
    };
    let mut agent = launch("-D", &socket).start();
    let (client, end) = (|| UnixStream::connect(&socket).is_ok(), Instant::now() + PATIENCE);
    while !client() {
        assert!(Instant::now() < end && agent.is_running(), "{}", agent.stderr());
    }
    assert_eq!(Client::connect(&socket).number_of_keys(), 0);
    let status = env.program(built("agent-cli")).env("SSH_AUTH_SOCK", &socket).arg("status").run().success();
    assert!(status.stdout.contains(&format!("process {}", agent.pid())), "{}", status.stdout);

    agent.signal(Signal::TERM);
    let ended = agent.wait().success();
    assert_eq!(ended.stdout, "", "whoever made it knows where it is");
    assert!(socket.exists());

    let command = launch("env", &env.path("third.sock")).run().success();
    let has = |name: &str| command.stdout.lines().any(|line| line.starts_with(name));
    assert!(has("SSH_AUTH_SOCK=") && !has("LISTEN_"), "it is the agent's, and not COMMAND's: {}", command.stdout);
}

/// As where a shell stands between, and has not become the agent.
#[test]
fn a_socket_that_is_handed_to_another_process_is_not_taken() {
    let env = Env::new();
    let agent = env.agent().program(["-D"]).env("LISTEN_PID", "1").env("LISTEN_FDS", "1").start();
    agent.stderr().wait_for("LISTEN_PID names another process");
    agent.stdout().wait_for("run/fido-ssh-agent/default/agent.sock");
}

#[test]
fn a_socket_that_another_put_in_the_place_of_ours_stays() {
    let env = Env::new();
    let agent = env.agent().start();
    let socket = agent.socket().to_owned();
    fs::remove_file(&socket).unwrap();
    let other = env.program("ssh-agent").args(["-D", "-a"]).arg(&socket).start();
    other.stdout().wait_for("SSH_AUTH_SOCK=");
    agent.terminate();
    let list = env.program("ssh-add").env("SSH_AUTH_SOCK", &socket).arg("-l").run().code(1);
    assert_eq!(list.stdout, "The agent has no identities.\n");
}

#[test]
fn a_socket_s_path_has_to_be_short() {
    let env = Env::new();
    let long = env.path(&"x".repeat(108));
    let refused = env.agent().program(["-D", "-a"]).arg(&long).run().code(1);
    assert!(refused.stderr.contains("a socket's path has at most 107 bytes"), "{}", refused.stderr);
}

#[test]
fn without_a_runtime_folder_sockets_are_below_the_state() {
    let env = Env::new();
    let _killed = Background::of(&env);
    let script = r#"
        set -e
        eval "$("$AGENT" -s)" >/dev/null
        echo "socket $SSH_AUTH_SOCK"
        ssh-add -l || true
    "#;
    let ended = env.agent().shell(script).env_remove("XDG_RUNTIME_DIR").run().success();
    let socket = value(&ended.stdout, "socket");
    assert_eq!(Path::new(&socket), env.path("state/fido-ssh-agent/run/default/agent.sock"));
    assert!(ended.stdout.contains("The agent has no identities."), "{}", ended.stdout);
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

#[test]
fn sockets_folders_and_files_are_for_their_owner_only() {
    let env = Env::new();
    let agent = env.agent().start();
    let (control, audit) = (agent.control_socket(), agent.audit());
    for (path, expected) in [
        (agent.socket(), 0o600),
        (&control, 0o600),
        (control.parent().unwrap(), 0o700),
        (audit.path(), 0o600),
        (audit.path().parent().unwrap(), 0o700),
        (&env.path("state/fido-ssh-agent"), 0o700),
    ] {
        assert_eq!(mode(path), expected, "{}", path.display());
    }
    // One that others may enter is not used.
    agent.terminate();
    fs::set_permissions(audit.path().parent().unwrap(), fs::Permissions::from_mode(0o750)).unwrap();
    let refused = env.agent().program(["-D", "-a"]).arg(env.path("agent.sock")).run().code(1);
    assert!(refused.stderr.contains("has to be a folder that only you may enter (chmod 700)"), "{}", refused.stderr);
}

/// The sockets' modes keep others out; and where somebody has opened them, the agent does.
#[test]
fn another_user_is_turned_away() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: it takes root to be somebody else");
        return;
    }
    let Scene { env, agent, key, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let as_nobody =
        |program: &str| agent.program("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
    // Everybody may look here, so that the sockets themselves have to keep them out.
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    open(&env.path(""));
    let refused = as_nobody("ssh-add").arg("-l").run().code(2);
    assert!(refused.stderr.contains("Permission denied"), "{}", refused.stderr);

    open(agent.socket());
    let closed = as_nobody("ssh-add").arg("-l").run();
    assert!(!closed.status.success() && !closed.stdout.contains("SHA256"), "{closed:?}");
    agent.messages().wait_for("a connection of another user was closed");
    assert!(agent.list().contains(&key.fingerprint()));
}
