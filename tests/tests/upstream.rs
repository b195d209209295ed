//! Other agents behind this one: their keys log in as its own do, under the same rules and on the same record, and nothing
//! they do harms it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use agent::audit::record::{Act, Signer};
use agent::denial::Code;
use signature::Signer as _;
use soft_token::Touch;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, HashAlg, PrivateKey, Signature};
use tests::{
    Agent, Audit, Env, FAILURE, KeyFile, PATIENCE, Recipe, Rival, SIGN_RESPONSE, SUCCESS, TokenKind, login,
    session_bind, sshsig, string,
};

const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;
const SESSION_BIND: &str = "session-bind@openssh.com";

/// The fingerprints `ssh-add -l` prints, in its order.
fn fingerprints(agent: &Agent) -> Vec<String> {
    agent.list().lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

fn host_key() -> PrivateKey {
    PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap()
}

#[test]
fn its_keys_come_after_ours_and_each_once() {
    let env = Env::new();
    let (ours, both, theirs) = (env.plain_key(), env.plain_key(), env.plain_key());
    let rival = Rival::start(&env);
    rival.ssh_add(&both);
    rival.ssh_add(&theirs);
    let agent = env.agent().upstream(rival.socket()).start();
    agent.ssh_add(&ours);
    agent.ssh_add(&both);
    assert_eq!(fingerprints(&agent), [ours.fingerprint(), both.fingerprint(), theirs.fingerprint()]);
    let status = agent.cli(["status"]).run().success().stdout;
    assert!(status.contains("\nkeys       2\n"), "{status}");
    assert!(status.contains(&format!("\nupstream   {}: 2 keys\n", rival.socket().display())), "{status}");
}

#[test]
fn its_key_logs_in_by_every_road_and_that_is_on_record() {
    let env = Env::new();
    let key = env.plain_key();
    let rival = Rival::start(&env);
    rival.ssh_add(&key);
    let agent = env.agent().upstream(rival.socket()).start();
    let hosts = [env.host("jump"), env.host("device")];
    hosts.iter().for_each(|host| host.authorize(&key));
    let [jump, device] = &hosts;
    let config = env.ssh_config();
    for road in [
        agent.ssh(["device", "echo", "hello"]),
        agent.ssh(["-J", "jump", "device", "echo", "hello"]),
        agent.ssh(["-A", "jump", "ssh", "-F"]).arg(&config).args(["device", "echo", "hello"]),
    ] {
        assert_eq!(road.run().success().stdout, "hello\n");
    }

    let at = |host: &tests::Host| format!("on the host with key {} [verified]", host.fingerprint());
    let behind = format!("{}, forwarded through {} [verified]", at(device), jump.fingerprint());
    let signatures = agent.audit().signatures();
    let destinations: Vec<_> = signatures.iter().map(|(intent, _)| intent.destination.as_str()).collect();
    assert_eq!(destinations, [&at(device), &at(jump), &at(device), &at(jump), &behind]);
    for (intent, _) in &signatures {
        assert_eq!(intent.signer, Signer::Upstream { socket: rival.socket().display().to_string() });
        assert_eq!(intent.subject.key, key.fingerprint());
        assert_eq!(intent.subject.peer.programs[0].name, "ssh");
    }
}

/// Each is a signature of another form to verify.
#[test]
fn its_keys_may_be_of_any_kind() {
    let env = Env::new();
    let rival = Rival::start(&env);
    let agent = env.agent().upstream(rival.socket()).start();
    let device = env.host("device");
    let logs_in = || assert_eq!(agent.ssh(["device", "echo", "hello"]).run().success().stdout, "hello\n");
    let new = |kind: &[&str]| {
        let path = env.path(&kind.concat());
        env.program("ssh-keygen").args(["-q", "-N", "", "-t"]).args(kind).arg("-f").arg(&path).run().success();
        path
    };
    let line = |path: &Path| fs::read_to_string(path.with_extension("pub")).unwrap();
    let kinds: [&[&str]; 5] = [
        &["rsa", "-b", "2048"],
        &["rsa", "-b", "1024"],
        &["ecdsa", "-b", "256"],
        &["ecdsa", "-b", "384"],
        &["ecdsa", "-b", "521"],
    ];
    for kind in kinds {
        let path = new(kind);
        // Debian's sshd takes no RSA key of 1024 bits: that one signs a file.
        let logs_in_with_it = kind[2] != "1024";
        rival.program("ssh-add").arg("-q").arg(&path).run().success();
        if logs_in_with_it {
            device.authorize_line(&line(&path));
            logs_in();
        }
        let sign = agent.program("ssh-keygen").args(["-q", "-Y", "sign", "-n", "letters", "-f"]);
        sign.arg(path.with_extension("pub")).input("Dear all,\n").run().success();
        rival.program("ssh-add").args(["-q", "-D"]).run().success();
    }

    let (authority, certified) = (new(&["ed25519"]), new(&["ed25519", "-C", "certified"]));
    let issue = env.program("ssh-keygen").args(["-q", "-I", "me", "-n", env.user(), "-s"]).arg(&authority);
    issue.arg(certified.with_extension("pub")).run().success();
    rival.program("ssh-add").arg("-q").arg(&certified).run().success();
    device.authorize_line(&format!("cert-authority {}", line(&authority)));
    logs_in();
    assert!(agent.list().contains("(ED25519-CERT)"));
    assert_eq!(agent.audit().signatures().len(), 10);
}

#[test]
fn it_holds_its_keys_to_their_destinations() {
    let env = Env::new();
    let hosts = ["jump", "device", "elsewhere"].map(|name| env.host(name));
    let key = env.plain_key();
    hosts.iter().for_each(|host| host.authorize(&key));
    let rival = Rival::start(&env);
    let restricted = rival.program("ssh-add").args(["-q", "-h", "jump", "-h", "jump>device", "-H"]);
    restricted.arg(env.path("known_hosts")).arg(key.path()).run().success();
    let agent = env.agent().upstream(rival.socket()).start();

    let config = env.ssh_config();
    let behind_jump = |host| agent.ssh(["-A", "jump", "ssh", "-F"]).arg(&config).args([host, "echo", "hello"]);
    assert_eq!(agent.ssh(["jump", "echo", "hello"]).run().success().stdout, "hello\n");
    assert_eq!(behind_jump("device").run().success().stdout, "hello\n");
    let permitted = agent.audit().signatures().len();
    assert_eq!(permitted, 3);
    behind_jump("elsewhere").run().code(255);
    agent.ssh(["device", "true"]).run().code(255);
    agent.ssh(["elsewhere", "true"]).run().code(255);
    assert_eq!(agent.audit().signatures().len(), permitted + 1, "the login on the jump host, and no other");

    // Nor for a client that knows the key without being shown it.
    let mut client = agent.connect();
    let elsewhere = host_key();
    let host_blob = elsewhere.public_key().to_bytes().unwrap();
    assert_eq!(client.extension(SESSION_BIND, &session_bind(&elsewhere, b"session", false)), [SUCCESS]);
    assert_eq!(client.number_of_keys(), 0);
    assert_eq!(client.sign(&key.blob(), &login(b"session", &key, Some(&host_blob))), [FAILURE]);
    assert_eq!(agent.audit().wait_for_refusal().code, Code::UnknownKey);
}

/// OpenSSH's agent would take the one host that was bound for the only one on the way.
#[test]
fn a_path_with_a_gap_is_not_told_as_one_without() {
    let env = Env::new();
    let (key, host) = (env.plain_key(), host_key());
    let known_hosts = env.path("made_known_hosts");
    fs::write(&known_hosts, format!("made {}\n", host.public_key().to_openssh().unwrap())).unwrap();
    let rival = Rival::start(&env);
    let restricted = rival.program("ssh-add").args(["-q", "-h", "made", "-H"]).arg(known_hosts);
    restricted.arg(key.path()).run().success();
    let agent = env.agent().upstream(rival.socket()).start();

    let data = login(b"session", &key, Some(&host.public_key().to_bytes().unwrap()));
    let [mut whole, mut with_a_gap] = [agent.connect(), agent.connect()];
    assert_ne!(with_a_gap.extension(SESSION_BIND, b"rubbish"), [SUCCESS]);
    for client in [&mut whole, &mut with_a_gap] {
        assert_eq!(client.extension(SESSION_BIND, &session_bind(&host, b"session", false)), [SUCCESS]);
    }
    assert_eq!(whole.sign(&key.blob(), &data)[0], SIGN_RESPONSE);
    assert_eq!(with_a_gap.sign(&key.blob(), &data), [FAILURE]);
}

/// What is refused for our keys is refused for its keys, and it is not even asked.
#[test]
fn its_keys_are_policed_as_ours_are() {
    let env = Env::new();
    let token = env.plug(TokenKind::PinOnly.options());
    let (plain, sk) = (env.plain_key(), env.ssh_keygen(&Recipe::ed25519()));
    token.set_touch(Touch::Always);
    let rival = Rival::start(&env);
    rival.ssh_add(&plain);
    rival.ssh_add(&sk);
    let agent = env.agent().upstream(rival.socket()).start();

    let mut client = agent.connect();
    assert_eq!(client.sign(&sk.blob(), b"a challenge"), [FAILURE]);
    assert_eq!(client.sign(&sk.blob(), &sshsig("file"))[0], SIGN_RESPONSE);
    let host = host_key();
    let host_blob = host.public_key().to_bytes().unwrap();
    assert_eq!(client.extension(SESSION_BIND, &session_bind(&host, b"session", false)), [SUCCESS]);
    for (what, data) in [
        ("another session", login(b"another", &plain, None)),
        ("another host", login(b"session", &plain, Some(b"key"))),
        ("no login", sshsig("file")),
    ] {
        assert_eq!(client.sign(&plain.blob(), &data), [FAILURE], "{what}");
    }
    assert_eq!(client.sign(&plain.blob(), &login(b"session", &plain, Some(&host_blob)))[0], SIGN_RESPONSE);
    let expected = [Code::OpaqueData, Code::SessionMismatch, Code::HostKeyMismatch, Code::SessionMismatch];
    assert_eq!(agent.audit().refusal_codes(), expected);
    assert_eq!(agent.audit().intents().len(), 2, "it was asked for what was signed, and for nothing else");
}

/// `[[host]]` is about all keys that are offered.
#[test]
fn its_keys_are_offered_where_they_are_wanted() {
    let env = Env::new();
    let (ours, theirs, host) = (env.plain_key(), env.plain_key(), host_key());
    let rival = Rival::start(&env);
    rival.ssh_add(&theirs);
    let host_fingerprint = host.public_key().fingerprint(HashAlg::Sha256);
    let rule = |others| {
        let offer = theirs.fingerprint();
        format!("[[host]]\nkey = \"{host_fingerprint}\"\noffer = [\"{offer}\"]\nothers = {others}\n")
    };
    for (others, expected) in [(true, vec![theirs.blob(), ours.blob()]), (false, vec![theirs.blob()])] {
        let agent = env.agent().setting(&rule(others)).upstream(rival.socket()).start();
        agent.ssh_add(&ours);
        let mut client = agent.connect();
        assert_eq!(client.keys(), [ours.blob(), theirs.blob()]);
        assert_eq!(client.extension(SESSION_BIND, &session_bind(&host, b"session", false)), [SUCCESS]);
        assert_eq!(client.keys(), expected);
        agent.terminate();
    }
}

#[test]
fn while_we_are_locked_its_keys_are_neither_listed_nor_used() {
    let env = Env::new();
    let key = env.plain_key();
    let rival = Rival::start(&env);
    rival.ssh_add(&key);
    let agent = env.agent().upstream(rival.socket()).start();
    let mut client = agent.connect();
    assert_eq!(client.number_of_keys(), 1);
    assert_eq!(client.ask(&[&[22], &string(b"password")[..]].concat()), [SUCCESS]);
    assert_eq!(client.number_of_keys(), 0);
    assert_eq!(client.sign(&key.blob(), &sshsig("file")), [FAILURE]);
    assert_eq!(agent.audit().refusal_codes(), [Code::Locked]);
    assert_eq!(client.ask(&[&[23], &string(b"password")[..]].concat()), [SUCCESS]);
    assert_eq!(client.sign(&key.blob(), &sshsig("file"))[0], SIGN_RESPONSE);
}

/// They are its own to remove.
#[test]
fn removing_keys_leaves_it_alone() {
    let env = Env::new();
    let (ours, theirs) = (env.plain_key(), env.plain_key());
    let rival = Rival::start(&env);
    rival.ssh_add(&theirs);
    let agent = env.agent().upstream(rival.socket()).start();
    agent.ssh_add(&ours);
    agent.program("ssh-add").arg("-d").arg(theirs.path()).run().code(1);
    agent.messages().wait_for("remove it there");
    agent.program("ssh-add").args(["-q", "-D"]).run().success();
    assert_eq!(fingerprints(&agent), [theirs.fingerprint()]);
    assert!(!agent.audit().acts().iter().any(|act| matches!(act, Act::Remove { .. })));
}

/// A dead one costs nothing, a silent one the first who asks a second, and the status says which is which.
#[test]
fn dead_and_silent_ones_are_left_out() {
    let env = Env::new();
    let key = env.plain_key();
    let (dead, silent) = (env.path("dead.sock"), env.path("silent.sock"));
    drop(UnixListener::bind(&dead).unwrap());
    let _listener = UnixListener::bind(&silent).unwrap();
    let agent = env.agent().upstream(&dead).upstream(&silent).start();
    agent.ssh_add(&key);
    let start = Instant::now();
    assert_eq!(fingerprints(&agent), [key.fingerprint()]);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let device = env.host("device");
    device.authorize(&key);
    agent.ssh(["device", "true"]).run().success();

    let status = agent.cli(["status"]).run().success().stdout;
    let line = |socket: &Path, what: &str| format!("upstream   {}: left out: {what}", socket.display());
    assert!(status.contains(&line(&dead, "no agent can be reached there: Connection refused")), "{status}");
    assert!(status.contains(&line(&silent, "it did not answer within 1 s")), "{status}");
}

/// While one list waits for a silent upstream, nobody else does who has nothing to do with it.
#[test]
fn a_silent_one_holds_up_nobody_else() {
    let env = Env::new();
    let key = env.plain_key();
    let silent = UnixListener::bind(env.path("silent.sock")).unwrap();
    let agent = env.agent().upstream(&env.path("silent.sock")).start();
    agent.ssh_add(&key);
    let mut waiting = agent.connect();
    waiting.send_message(&[REQUEST_IDENTITIES]);
    let (_asked, _) = silent.accept().unwrap();
    let start = Instant::now();
    assert_eq!(agent.connect().sign(&key.blob(), &sshsig("file"))[0], SIGN_RESPONSE);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(waiting.answer().unwrap()[..5], [12, 0, 0, 0, 1]);
}

/// Two agents of ours, each the other's upstream.
#[test]
fn a_circle_of_agents_is_none() {
    let places = [Env::new(), Env::new()];
    let keys = [places[0].plain_key(), places[1].plain_key()];
    let sockets = [places[0].path("agent.sock"), places[1].path("agent.sock")];
    let one = places[0].agent().upstream(&sockets[1]).start();
    let other = places[1].agent().upstream(&sockets[0]).start();
    one.ssh_add(&keys[0]);
    other.ssh_add(&keys[1]);
    assert_eq!(fingerprints(&one), [keys[0].fingerprint(), keys[1].fingerprint()]);
    assert_eq!(fingerprints(&other), [keys[1].fingerprint(), keys[0].fingerprint()]);
    assert_eq!(one.connect().sign(&keys[1].blob(), &sshsig("file"))[0], SIGN_RESPONSE);
    // A key that neither holds.
    assert_eq!(one.connect().sign(&places[0].plain_key().blob(), &sshsig("file")), [FAILURE]);
    for agent in [&one, &other] {
        let status = agent.cli(["status"]).run().success().stdout;
        assert!(status.contains(": 1 key\n") && !status.contains("left out"), "there is no trouble: {status}");
    }
}

#[test]
fn an_agent_that_is_its_own_upstream_does_not_start() {
    let env = Env::new();
    let socket = env.path("agent.sock");
    let started = env.agent().program(["-D", "--upstream"]).arg(&socket).arg("-a").arg(&socket).run().code(1);
    assert!(started.stderr.contains("this is the agent's own socket"), "{}", started.stderr);
    assert!(!socket.exists());
}

#[test]
fn the_command_line_names_upstreams_too() {
    let env = Env::new();
    let (one, two) = (env.path("one.sock"), env.path("two.sock"));
    serve_as_agent(&one, |_| Some(vec![FAILURE]));
    let agent = env.agent().upstream(&one).option("--upstream", "two.sock").start();
    let status = agent.cli(["status"]).run().success().stdout;
    let lines: Vec<_> = status.lines().filter(|line| line.starts_with("upstream ")).collect();
    assert!(lines[0].contains(&one.display().to_string()) && lines[0].contains("it refused"), "{status}");
    assert!(lines[1].contains(&two.display().to_string()), "{status}");
}

/// What it sends is no signature before it was verified.
#[test]
fn what_does_not_verify_does_not_leave() {
    let env = Env::new();
    let (key, other) = (env.plain_key(), PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap());
    let wrong: Signature = other.try_sign(&sshsig("file")).unwrap();
    let wrong = Vec::try_from(wrong).unwrap();
    let upstream = env.path("liar.sock");
    let answers = [vec![FAILURE], signed(&wrong), signed(b"rubbish"), signed(b""), vec![SIGN_RESPONSE]];
    let (give, given) = mpsc::channel();
    answers.iter().for_each(|answer| give.send(answer.clone()).unwrap());
    let given = std::sync::Mutex::new(given);
    offer(&upstream, &key, move |_| Some(given.lock().unwrap().recv().unwrap()));
    let agent = env.agent().upstream(&upstream).start();
    let mut client = agent.connect();
    for answer in &answers {
        assert_eq!(client.sign(&key.blob(), &sshsig("file")), [FAILURE], "{answer:?}");
    }
    let unproven = Code::UpstreamUnproven;
    let refused = Code::UpstreamRefused;
    assert_eq!(agent.audit().refusal_codes(), [refused, unproven, unproven, unproven, refused]);
}

#[test]
fn it_is_asked_after_that_is_on_record() {
    let env = Env::new();
    let key = env.plain_key();
    let upstream = env.path("other.sock");
    let (tell, told) = mpsc::channel::<Audit>();
    let (count, counted) = mpsc::channel();
    let told = std::sync::Mutex::new(told);
    offer(&upstream, &key, move |_| {
        let audit = told.lock().unwrap().recv().unwrap();
        count.send((audit.intents().len(), audit.outcomes().len())).unwrap();
        Some(vec![FAILURE])
    });
    let agent = env.agent().upstream(&upstream).start();
    tell.send(agent.audit()).unwrap();
    assert_eq!(agent.connect().sign(&key.blob(), &sshsig("file")), [FAILURE]);
    assert_eq!(counted.recv_timeout(PATIENCE).unwrap(), (1, 0));
    assert_eq!(agent.audit().refusal_codes(), [Code::UpstreamRefused]);
}

/// ssh that is interrupted while the other agent asks its person, say.
#[test]
fn a_client_that_hangs_up_ends_the_request_there_too() {
    let env = Env::new();
    let key = env.plain_key();
    let upstream = env.path("slow.sock");
    let (say, said) = mpsc::channel();
    let listener = UnixListener::bind(&upstream).unwrap();
    let list = list_of(&key);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            while let Some(message) = read_message(&mut stream) {
                match message[0] {
                    SIGN_REQUEST => say.send("asked").unwrap(),
                    REQUEST_IDENTITIES => stream.write_all(&string(&list)).unwrap(),
                    _ => stream.write_all(&string(&[FAILURE])).unwrap(),
                }
            }
            say.send("closed").unwrap();
        }
    });
    let agent = env.agent().upstream(&upstream).start();
    let mut client = agent.connect();
    client.begin_to_sign(&key.blob(), &sshsig("file"));
    let next = || said.recv_timeout(PATIENCE).unwrap();
    assert_eq!([next(), next()], ["closed", "asked"], "the list, then the request");
    drop(client);
    assert_eq!(next(), "closed");
    assert_eq!(agent.audit().wait_for_refusal().code, Code::ClientGone);
}

/// As many keys as an upstream may have are more than fit into one answer, if they are long ones.
#[test]
fn a_list_that_would_be_too_long_ends_early() {
    let env = Env::new();
    let key = env.plain_key();
    let rsa = env.path("rsa");
    env.program("ssh-keygen").args(["-q", "-t", "rsa", "-b", "1024", "-N", "", "-f"]).arg(&rsa).run().success();
    let agent = {
        let blob = PrivateKey::read_openssh_file(&rsa).unwrap().public_key().to_bytes().unwrap();
        let upstream = env.path("long.sock");
        // The same key with other numbers in it: nobody asks whether they are any key's.
        let variant = move |n: u16| {
            let mut blob = blob.clone();
            let end = blob.len() - 2;
            blob[end..].copy_from_slice(&n.to_be_bytes());
            [string(&blob), string(&[b'x'; 500])].concat()
        };
        let list = [&[12][..], &1000_u32.to_be_bytes(), &(0..1000).flat_map(variant).collect::<Vec<_>>()].concat();
        // Too long by itself is what is left out whole, so that two of half the length are asked.
        let half = [&[12][..], &350_u32.to_be_bytes(), &list[5..5 + (list.len() - 5) / 1000 * 350]].concat();
        let other = [&[12][..], &350_u32.to_be_bytes(), &list[list.len() - (list.len() - 5) / 1000 * 350..]].concat();
        serve_as_agent(&upstream, move |message| Some(if message == [11] { half.clone() } else { vec![FAILURE] }));
        let second = env.path("long2.sock");
        serve_as_agent(&second, move |message| Some(if message == [11] { other.clone() } else { vec![FAILURE] }));
        env.agent().upstream(&upstream).upstream(&second).start()
    };
    agent.ssh_add(&key);
    let listed = fingerprints(&agent);
    assert_eq!(listed[0], key.fingerprint(), "ours come first");
    assert!(listed.len() > 350 && listed.len() < 700, "{}", listed.len());
}

/// An agent that offers this key, and answers sign requests so.
fn offer(socket: &Path, key: &KeyFile, sign: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) {
    let list = list_of(key);
    serve_as_agent(socket, move |message| match message[0] {
        REQUEST_IDENTITIES => Some(list.clone()),
        SIGN_REQUEST => sign(message),
        _ => Some(vec![FAILURE]),
    });
}

fn list_of(key: &KeyFile) -> Vec<u8> {
    [&[12, 0, 0, 0, 1][..], &string(&key.blob()), &string(b"offered")].concat()
}

fn signed(signature: &[u8]) -> Vec<u8> {
    [&[SIGN_RESPONSE], &string(signature)[..]].concat()
}

/// An agent of the test's own making, one connection after the other. No answer closes the connection.
fn serve_as_agent(socket: &Path, answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            while let Some(message) = read_message(&mut stream) {
                let Some(answer) = answer(&message) else { break };
                if stream.write_all(&string(&answer)).is_err() {
                    break;
                }
            }
        }
    });
}

fn read_message(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}
