//! Who gets in to the agent's socket, and how much of the agent one program can take away from others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use agent::audit::record::Act;
use tests::{Agent, Client, Env, FAILURE, Recipe, Scene, TokenKind, sshsig, string};

/// Messages of RFC 9987, by their numbers.
const REQUEST_IDENTITIES: u8 = 11;
const ADD_IDENTITY: u8 = 17;

/// What a process may have (agent/src/admission.rs).
const MOST_OF_A_PROCESS: usize = 256;

/// Connections that were let in, until one is not.
fn fill(agent: &Agent) -> Vec<Client> {
    let mut clients = Vec::new();
    loop {
        let mut client = agent.connect();
        client.send_message(&[REQUEST_IDENTITIES]);
        if client.answer().is_none() {
            return clients;
        }
        clients.push(client);
    }
}

/// An ssh that forwards the agent is one process, whatever the host at its other end opens.
#[test]
fn a_process_that_opens_all_it_can_takes_nothing_from_others() {
    let agent = Env::new().agent().start();
    let clients = fill(&agent);
    assert_eq!(clients.len(), MOST_OF_A_PROCESS);
    let message = format!("a connection was closed: process {} has {MOST_OF_A_PROCESS} already", std::process::id());
    agent.messages().wait_for(&message);

    agent.program("ssh-add").arg("-l").run().code(1);
    assert!(
        agent.cli(["status"]).run().stdout.contains(&agent.pid().to_string()),
        "the control socket has its own places"
    );
    for _ in 0..1000 {
        assert_eq!(agent.connect().answer(), None);
    }
    let messages = agent.messages().to_string();
    let lines = messages.lines().filter(|line| line.contains("a connection was closed")).count();
    assert!(lines < 100, "{lines} lines for 1001 connections would fill a disk");

    drop(clients);
    agent.messages().wait_for("unsaid=");
}

/// The longest frames there can be, on all connections there can be, none of them finished. What is promised is 64 MiB in
/// all.
#[test]
fn frames_that_are_begun_and_not_finished_take_little_memory() {
    let agent = Env::new().agent().start();
    let mut begun = vec![0, 4, 0, 0, ADD_IDENTITY];
    begun.resize(255 * 1024, 0);
    let mut streams = Vec::new();
    for _ in 0..MOST_OF_A_PROCESS {
        let stream = std::os::unix::net::UnixStream::connect(agent.socket()).unwrap();
        stream.set_nonblocking(true).unwrap();
        streams.push((stream, 0));
    }
    // Until nothing more is taken: the agent is asked in between, by another, so that it has had the time.
    loop {
        let mut taken = 0;
        for (stream, sent) in &mut streams {
            while let Ok(more @ 1..) = stream.write(&begun[*sent..]) {
                *sent += more;
                taken += more;
            }
        }
        agent.program("ssh-add").arg("-l").run().code(1);
        if taken == 0 {
            break;
        }
    }
    let peak = agent.peak_memory();
    assert!(peak < 64 * 1024, "{peak} KiB");
}

/// Each would wait for as long as a person takes.
#[test]
fn what_is_sent_ahead_is_bounded_in_bytes() {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let unknown = |length| string(&vec![200; length]);
    let mut client = scene.agent.connect();
    client.begin_to_sign(&scene.key.blob(), &sshsig("file"));
    client.send(&[unknown(8 * 1024), unknown(8 * 1024)].concat());
    scene.env.person().approve(&scene.token);
    assert_eq!(client.answer().unwrap()[0], tests::SIGN_RESPONSE);
    assert_eq!((client.answer(), client.answer()), (Some(vec![FAILURE]), Some(vec![FAILURE])));

    client.begin_to_sign(&scene.key.blob(), &sshsig("file"));
    client.send(&[unknown(8 * 1024), unknown(8 * 1024), unknown(1)].concat());
    assert_eq!(client.answer(), Some(vec![FAILURE]), "the request that was under way");
    assert_eq!(client.answer(), None);
}

/// A client that never reads its answers stops its own connection, and no other.
#[test]
fn answers_that_are_not_read_are_the_client_s_own_loss() {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let mut streams = Vec::new();
    let requests = string(&[REQUEST_IDENTITIES]).repeat(1000);
    for _ in 0..50 {
        let mut stream = std::os::unix::net::UnixStream::connect(scene.agent.socket()).unwrap();
        stream.set_nonblocking(true).unwrap();
        while let Ok(1..) = stream.write(&requests) {}
        streams.push(stream);
    }
    assert!(scene.agent.list().contains(&scene.key.fingerprint()));
    scene.agent.terminate();
}

/// Runs it only where somebody else can be played, and says so where not, past the test harness that would swallow it.
fn as_root(scenario: impl FnOnce()) {
    if rustix::process::geteuid().is_root() {
        scenario();
    } else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: it takes root to be another user than the agent's");
    }
}

/// Even where the sockets' modes let everybody connect.
fn open_to_all(agent: &Agent) {
    for socket in [agent.socket().to_owned(), agent.control_socket()] {
        fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).unwrap();
    }
}

fn list_as(agent: &Agent, user: u32) -> tests::Ended {
    let program = agent.program("setpriv").arg(format!("--reuid={user}")).arg(format!("--regid={user}"));
    program.args(["--clear-groups", "ssh-add", "-l"]).run()
}

#[test]
fn the_agent_serves_its_own_user_and_nobody_else() {
    as_root(|| {
        let agent = Env::new().agent().as_nobody().start();
        open_to_all(&agent);
        assert!(list_as(&agent, 65534).code(1).stdout.contains("no identities"));
        let refused = list_as(&agent, 65533);
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
        agent.messages().wait_for("a connection of another user was closed: user id 65533");
        assert_eq!(agent.connect().answer(), None, "not root either");
        assert!(agent.audit().acts().iter().all(|act| !matches!(act, Act::RootConnection { .. })));
    });
}

#[test]
fn root_is_served_and_put_on_record_where_so_configured() {
    as_root(|| {
        let agent = Env::new().agent().setting("allow_root = true").as_nobody().start();
        open_to_all(&agent);
        assert_eq!(agent.connect().number_of_keys(), 0);
        assert!(list_as(&agent, 65534).code(1).stdout.contains("no identities"));
        let refused = list_as(&agent, 65533);
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
        let roots = |act| match act {
            Act::RootConnection { peer } => Some((peer.uid, peer.pid, peer.programs.len() > 1)),
            _ => None,
        };
        let roots: Vec<_> = agent.audit().acts().into_iter().filter_map(roots).collect();
        assert_eq!(roots, [(0, i32::try_from(std::process::id()).unwrap(), true)]);

        let mut control = Client::connect(&agent.control_socket());
        assert_eq!(control.answer(), None, "root manages its own agent only");
    });
}
