//! The agent's sockets and folders: whose they are, and who may use them.

use super::*;

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
