//! The agent's own life: started, killed, started again, and beside others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use agent::audit::record::Act;
use agent::denial::Code;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tests::{Audit, Client, Env, FAILURE, Kind, PATIENCE, Recipe, Scene, TokenKind, for_each_token};

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
    let (mut pid, mut socket) = (None, None);
    let mut shell = env.agent().shell(script).interactive().start();
    shell.stdout().wait_for("The agent has no identities.");
    for line in shell.stdout().text().lines() {
        match line.split_once(' ') {
            Some(("socket", path)) => socket = Some(path.to_owned()),
            Some(("pid", number)) => pid = Pid::from_raw(number.parse().unwrap()),
            _ => {}
        }
    }
    let (pid, socket) = (pid.unwrap(), socket.unwrap());
    assert_eq!(Path::new(&socket), env.path("run/fido-ssh-agent/default/agent.sock"));
    assert_eq!(mode(Path::new(&socket)), 0o600);
    let daemon = pidfd_open(pid, PidfdFlags::empty()).unwrap();

    shell.type_line("");
    let ended = shell.wait().success();
    assert!(ended.stdout.contains(&format!("Agent pid {}\n", pid.as_raw_nonzero())), "{}", ended.stdout);
    assert!(ended.stdout.contains(&format!("Agent pid {} killed\n", pid.as_raw_nonzero())), "{}", ended.stdout);
    assert!(ended.stdout.ends_with("left nothing nothing\n"), "{}", ended.stdout);
    let limit = Timespec::try_from(PATIENCE).unwrap();
    assert_eq!(poll(&mut [PollFd::new(&daemon, PollFlags::IN)], Some(&limit)), Ok(1), "the agent ends");
    assert!(!Path::new(&socket).exists());
}

#[test]
fn the_lines_for_a_c_shell() {
    let env = Env::new();
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
    env.agent().program(["-k"]).run().code(1);
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
        echo "$SSH_AGENT_PID"
    "#;
    let ended = env.agent().shell(script).env("KEY", key.path()).run().success();
    let pid = ended.stdout.lines().last().unwrap().parse().unwrap();
    let _ends_with_the_test = Background(Pid::from_raw(pid).unwrap());

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

/// A background agent, which is nobody's child.
struct Background(Pid);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[test]
fn sigterm_ends_it_in_order() {
    let env = Env::new();
    let agent = env.agent().start();
    let (socket, control, audit) = (agent.socket().to_owned(), agent.control_socket(), agent.audit());
    agent.terminate();
    assert!(!socket.exists() && !control.exists());
    assert_eq!(audit.acts().last(), Some(&Act::Stop));
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
    assert_eq!(audit.refusals().len(), 1);
    assert_eq!(audit.acts().last(), Some(&Act::Stop));
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
