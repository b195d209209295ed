//! What a person reads before they agree, byte for byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::path::Path;

use agent::denial::Code;
use soft_token::Touch;
use ssh_key::rand_core::OsRng;
use ssh_key::{HashAlg, PrivateKey};
use tests::{
    Agent, Answer, Client, Env, FAILURE, Host, KeyFile, Kind, PIN, Program, Recipe, SIGN_RESPONSE, SUCCESS, Scene,
    TokenKind, login, login_as, session_bind,
};

/// A scene whose token is touched when a test says so, and whose hosts the agent finds in the person's known_hosts.
struct Reader(Scene);

impl Reader {
    fn new() -> Self {
        Self::with(&Recipe::ed25519())
    }

    fn with(recipe: &Recipe) -> Self {
        let scene = Scene::ready(TokenKind::PinOnly, recipe);
        std::os::unix::fs::symlink(scene.env.path("known_hosts"), scene.env.path("home/.ssh/known_hosts")).unwrap();
        Self(scene)
    }

    fn env(&self) -> &Env {
        &self.0.env
    }

    /// A host where the key may log in.
    fn host(&self, name: &str) -> Host {
        let host = self.env().host(name);
        host.authorize(&self.0.key);
        host
    }

    /// Runs a program that logs in so often, and returns what the person read each time.
    fn read(&self, program: Program, times: usize) -> Vec<String> {
        let running = program.start();
        let read = (0..times).map(|_| varying(&self.0.env.person().approve(&self.0.token))).collect();
        running.wait().success();
        read
    }

    /// The lines about key and token, which the same scene always has.
    fn key_and_token(&self) -> String {
        format!("{}\n{}", key_line(&self.0.key, "\"by ssh-keygen\""), self.token_line())
    }

    fn token_line(&self) -> String {
        let (serial, path) = (self.0.token.serial(), self.0.token.path().display());
        format!("  token: Soft FIDO token serial {serial} at {path}")
    }
}

fn key_line(key: &KeyFile, comment: &str) -> String {
    format!("  key: {} {comment}", key.fingerprint())
}

/// The line about a client that this test has started.
fn asked_by(program: &str) -> String {
    let test = std::env::current_exe().unwrap();
    let test = test.file_name().unwrap().to_str().unwrap();
    format!("  asked by: {program} (PID), started by {test} (PID) [reported]")
}

/// The text, with what no test can know left out: the numbers of processes.
fn varying(text: &str) -> String {
    let mut parts = text.split(" (");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let behind = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = behind.len() < part.len() && behind.starts_with(')');
        out += if number { " (PID" } else { " (" };
        out += if number { behind } else { part };
    }
    out
}

fn text(lines: &[&str]) -> String {
    lines.join("\n")
}

#[test]
fn a_local_login() {
    let reader = Reader::new();
    let expected = [
        &format!("Log in as {}", reader.env().user()),
        "  on device [verified]",
        &reader.key_and_token(),
        &asked_by("ssh"),
        "Touch the token.",
    ];
    assert_eq!(reader.read(reader.0.agent.ssh(["device", "true"]), 1), [text(&expected)]);
}

/// The question is about the same as the notice. Which of both comes first, and what it costs to be wrong, stands in the last
/// line.
#[test]
fn a_local_login_by_pin() {
    let reader = Reader::with(&Recipe::ed25519().verify_required());
    let Scene { agent, env, token, .. } = &reader.0;
    let login = agent.ssh(["device", "true"]).start();
    let question = env.person().wait_until_asked(Kind::Secret).text;
    env.person().answer(&Answer::Type(PIN.into()));
    let notice = env.person().approve(token);
    login.wait().success();

    // A token keeps it to itself whether it has such a key.
    let token_line = format!("{} [not proven to hold the key]", reader.token_line());
    let key_line = key_line(&reader.0.key, "\"by ssh-keygen\"");
    let user = format!("Log in as {}", env.user());
    let about = text(&[&user, "  on device [verified]", &key_line, &token_line, &asked_by("ssh")]);
    assert_eq!(varying(&question), format!("{about}\nPIN (8 tries left): "));
    assert_eq!(varying(&notice), format!("{about}\nTouch the token."));
}

/// The jump host's login says where it leads, and the device's through which host it goes: ssh says so of itself, and no
/// host's signature.
#[test]
fn through_a_jump_host() {
    let reader = Reader::new();
    let _jump = reader.host("jump");
    let config = reader.env().path("config_with_jump");
    let plain = fs::read_to_string(reader.env().ssh_config()).unwrap();
    fs::write(&config, format!("Host device\n  ProxyJump jump\n{plain}")).unwrap();
    let agent = &reader.0.agent;
    for program in [
        agent.ssh(["-J", "jump", "device", "true"]),
        agent.ssh(["-oProxyJump=jump", "device", "true"]),
        agent.program("ssh").arg("-F").arg(&config).args(["device", "true"]),
    ] {
        let [jump, device] = reader.read(program, 2).try_into().unwrap();
        let what = format!("Log in as {}", reader.env().user());
        let to_jump = [
            &what,
            "  on jump [verified]",
            &reader.key_and_token(),
            "  on the way to: device [reported]",
            &asked_by("ssh"),
            "Touch the token.",
        ];
        assert_eq!(jump, text(&to_jump));
        let to_device = [
            &what,
            "  on device [verified]",
            &reader.key_and_token(),
            "  jump hosts: jump [reported]",
            &asked_by("ssh"),
            "Touch the token.",
        ];
        assert_eq!(device, text(&to_device));
    }
}

#[test]
fn through_two_jump_hosts() {
    let reader = Reader::new();
    let _hosts = ["a", "b"].map(|name| reader.host(name));
    let read = reader.read(reader.0.agent.ssh(["-J", "a,b", "device", "true"]), 3);
    let expected = [
        ("a", &["  on the way to: b, then device [reported]"][..]),
        ("b", &["  jump hosts: a [reported]", "  on the way to: device [reported]"]),
        ("device", &["  jump hosts: a, then b [reported]"]),
    ];
    for (read, (host, reported)) in read.iter().zip(expected) {
        let lines = [
            &format!("Log in as {}", reader.env().user()),
            &format!("  on {host} [verified]"),
            &reader.key_and_token(),
            &text(reported),
            &asked_by("ssh"),
            "Touch the token.",
        ];
        assert_eq!(*read, text(&lines));
    }
}

#[test]
fn forwarded_once_and_twice() {
    let reader = Reader::new();
    let _hosts = ["a", "b"].map(|name| reader.host(name));
    let config = reader.env().ssh_config();
    let ssh = reader.0.agent.ssh(["-A", "a", "ssh", "-F"]).arg(&config).args(["-A", "b", "ssh", "-F"]);
    let read = reader.read(ssh.arg(&config).args(["device", "true"]), 3);
    let through_a = "  forwarded through a [verified]";
    let expected = [("a", ""), ("b", through_a), ("device", &format!("{through_a}\n  then through b [verified]"))];
    for (read, (host, hops)) in read.iter().zip(expected) {
        let (what, place) = (format!("Log in as {}", reader.env().user()), format!("  on {host} [verified]"));
        let (key_and_token, asked_by) = (reader.key_and_token(), asked_by("ssh"));
        let lines = [&what, &place, hops, &key_and_token, &asked_by, "Touch the token."];
        let lines: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(*read, text(&lines));
    }
}

#[test]
fn a_git_commit() {
    let reader = Reader::new();
    let folder = reader.env().path("repository");
    fs::create_dir(&folder).unwrap();
    let git = |arguments: &[&str]| {
        let key = format!("user.signingKey={}", reader.0.key.public_path().display());
        let settings = ["-c", "user.name=Me", "-c", "user.email=me@here", "-c", "gpg.format=ssh", "-c", &key];
        let git = reader.0.agent.program("git").env("GIT_CONFIG_NOSYSTEM", "1").current_dir(&folder);
        git.args(settings).args(arguments)
    };
    git(&["init", "--quiet"]).run().success();
    let commit = git(&["commit", "--quiet", "--allow-empty", "--gpg-sign", "--message", "A word"]);
    let expected = [
        "Sign a git commit or tag",
        "  asked on this machine [reported]",
        &reader.key_and_token(),
        "  asked by: ssh-keygen (PID), started by git (PID) [reported]",
        "Touch the token.",
    ];
    assert_eq!(reader.read(commit, 1), [text(&expected)]);
}

#[test]
fn a_file() {
    let reader = Reader::new();
    let letter = reader.env().path("letter");
    fs::write(&letter, "Dear all,\n").unwrap();
    let sign = |namespace| {
        let sign = reader.0.agent.program("ssh-keygen").args(["-q", "-Y", "sign", "-n", namespace, "-f"]);
        let read = reader.read(sign.arg(reader.0.key.public_path()).arg(&letter), 1);
        fs::remove_file(reader.env().path("letter.sig")).unwrap();
        read
    };
    for (namespace, shown) in [("file", "file"), ("git [verified]", "\"git [verified]\"")] {
        let expected = [
            &format!("Sign a message or file (namespace {shown})"),
            "  asked on this machine [reported]",
            &reader.key_and_token(),
            &asked_by("ssh-keygen"),
            "Touch the token.",
        ];
        assert_eq!(sign(namespace), [text(&expected)]);
    }
}

/// A software key that asks for consent.
fn asking_key(agent: &Agent) -> KeyFile {
    let key = agent.env().plain_key();
    agent.program("ssh-add").args(["-q", "-c"]).arg(key.path()).run().success();
    key
}

#[test]
fn a_certificate() {
    let env = Env::new();
    let agent = env.agent().start();
    let (authority, key) = (asking_key(&agent), env.plain_key());
    env.person().always_types("yes");
    let keygen = agent.program("ssh-keygen").args(["-q", "-Us"]).arg(authority.public_path());
    keygen.args(["-I", "alice's laptop", "-n", "alice"]).arg(key.public_path()).run().success();
    let expected = [
        "Issue a certificate (ssh-ed25519-cert-v01@openssh.com)",
        "  asked on this machine [reported]",
        &key_line(&authority, "plain"),
        &asked_by("ssh-keygen"),
        "Allow this? ",
    ];
    assert_eq!(
        env.person().texts(Kind::Confirm).iter().map(|text| varying(text)).collect::<Vec<_>>(),
        [text(&expected)]
    );
}

/// The person is told that nobody knows this key, and what the client says it is.
#[test]
fn an_unknown_host() {
    let reader = Reader::new();
    fs::remove_file(reader.env().path("home/.ssh/known_hosts")).unwrap();
    let options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "device", "true"];
    let expected = [
        &format!("Log in as {}", reader.env().user()),
        &format!("  on the host with key {} [verified], not in known_hosts", reader.0.device.fingerprint()),
        &reader.key_and_token(),
        "  ssh was told: device [reported]",
        &asked_by("ssh"),
        "Touch the token.",
    ];
    assert_eq!(reader.read(reader.0.agent.ssh(options), 1), [text(&expected)]);
}

/// A hashed name is told by what ssh was told, and by nothing else: on the other side of a jump host it stays hidden.
#[test]
fn hashed_known_hosts() {
    let reader = Reader::new();
    let jump = reader.host("jump");
    let keygen = reader.env().program("ssh-keygen").args(["-q", "-H", "-f"]);
    keygen.arg(reader.env().path("known_hosts")).run().success();
    let hashed = fs::read_to_string(reader.env().path("known_hosts")).unwrap();
    assert!(hashed.lines().all(|line| line.starts_with("|1|")), "{hashed}");
    let what = format!("Log in as {}", reader.env().user());

    let straight = reader.read(reader.0.agent.ssh(["device", "true"]), 1);
    let expected = [&what, "  on device [verified]", &reader.key_and_token(), &asked_by("ssh"), "Touch the token."];
    assert_eq!(straight, [text(&expected)]);

    let config = reader.env().ssh_config();
    let behind = reader.0.agent.ssh(["-A", "jump", "ssh", "-F"]).arg(config).args(["device", "true"]);
    let read = reader.read(behind, 2);
    let expected = [
        &what,
        &format!("  on the host with key {} [verified], known under a hashed name", reader.0.device.fingerprint()),
        "  forwarded through jump [verified]",
        &reader.key_and_token(),
        &asked_by("ssh"),
        "Touch the token.",
    ];
    assert_eq!(read[1], text(&expected));
    drop(jump);
}

/// Debian's python3-paramiko, which knows nothing of session-bind.
const OLD_CLIENT: &str = r#"
import sys, paramiko
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", int(sys.argv[1]), sys.argv[2], look_for_keys=False, timeout=60, banner_timeout=60, auth_timeout=60)
client.close()
"#;

#[test]
fn a_host_that_is_not_proven() {
    let reader = Reader::new();
    let _jump = reader.host("jump");
    let script = reader.env().script("client.py", OLD_CLIENT);
    let (port, user) = (reader.0.device.port().to_string(), reader.env().user());
    let what = format!("Log in as {user}");

    let here = reader.0.agent.program("/usr/bin/python3").arg(&script).args([&port, user]);
    let python = fs::canonicalize("/usr/bin/python3").unwrap();
    let expected = [
        &what,
        "  asked on this machine [reported], destination not proven",
        &reader.key_and_token(),
        &asked_by(name_of(&python)),
        "Touch the token.",
    ];
    assert_eq!(reader.read(here, 1), [text(&expected)]);

    let there = reader.0.agent.ssh(["-A", "jump", "/usr/bin/python3"]).arg(&script).args([&port, user]);
    let expected = [
        &what,
        "  destination not proven",
        "  forwarded through jump [verified]",
        &reader.key_and_token(),
        &asked_by("ssh"),
        "Touch the token.",
    ];
    assert_eq!(reader.read(there, 2)[1], text(&expected));
}

fn name_of(program: &Path) -> &str {
    program.file_name().unwrap().to_str().unwrap()
}

/// A host that the test plays.
struct FakeHost(PrivateKey);

impl FakeHost {
    fn new() -> Self {
        Self(PrivateKey::random(&mut OsRng, ssh_key::Algorithm::Ed25519).unwrap())
    }

    fn key(&self) -> Vec<u8> {
        self.0.public_key().to_bytes().unwrap()
    }

    fn fingerprint(&self) -> String {
        self.0.public_key().fingerprint(HashAlg::Sha256).to_string()
    }

    fn bind(&self, agent: &Agent, session: &[u8]) -> Client {
        let mut client = agent.connect();
        let bound = client.extension("session-bind@openssh.com", &session_bind(&self.0, session, false));
        assert_eq!(bound, [SUCCESS]);
        client
    }
}

/// Whoever chooses the name of a user, of a key or of a host in known_hosts writes nothing of their own into the prompt.
#[test]
fn names_of_escape_sequences() {
    let env = Env::new();
    let (agent, host) = (env.agent().start(), FakeHost::new());
    let key = asking_key(&agent);
    let line = host.0.public_key().to_openssh().unwrap();
    fs::write(env.path("home/.ssh/known_hosts"), format!("\u{1b}[2Jdevice\u{202e} {line}\n")).unwrap();
    let user = "\u{1b}]0;root\u{7}\u{1b}[1A\u{1b}[2K\rroot\n  on device [verified]\u{202e}\u{200b} \" x";
    let mut client = host.bind(&agent, b"session");
    env.person().always_types("yes");
    let answer = client.sign(&key.blob(), &login_as(user.as_bytes(), b"session", &key, Some(&host.key())));
    assert_eq!(answer[0], SIGN_RESPONSE);
    let test = std::env::current_exe().unwrap();
    let expected = [
        r#"Log in as "\u{1b}]0;root\u{7}\u{1b}[1A\u{1b}[2K\u{d}root\u{a} \u{20}on devi…""#,
        r#"  on "\u{1b}[2Jdevice\u{202e}" [verified]"#,
        &key_line(&key, "plain"),
        &format!("  asked by: {} (PID) [reported]", name_of(&test)),
        "Allow this? ",
    ];
    let asked = varying(&env.person().texts(Kind::Confirm)[0]);
    // What started the test is none of its business.
    let asked = match asked.split_once(", started by ") {
        Some((before, behind)) => format!("{before}{}", &behind[behind.find(" [reported]").unwrap()..]),
        None => asked,
    };
    assert_eq!(asked, text(&expected));
}

/// The login's own bytes say on which host it is of use, where the client does not bind its connection.
#[test]
fn a_login_that_names_its_host_itself() {
    let env = Env::new();
    let (agent, host) = (env.agent().start(), FakeHost::new());
    let key = asking_key(&agent);
    env.person().always_types("yes");
    let answer = agent.connect().sign(&key.blob(), &login(b"session", &key, Some(&host.key())));
    assert_eq!(answer[0], SIGN_RESPONSE);
    let asked = env.person().texts(Kind::Confirm).remove(0);
    let expected =
        format!("Log in as me\n  on the host with key {} [verified], not in known_hosts\n", host.fingerprint());
    assert!(asked.starts_with(&expected), "{asked}");
    assert_eq!(
        agent.audit().intents()[0].1.destination,
        format!("on the host with key {} [verified]", host.fingerprint())
    );
}

/// Nobody is asked about a login on another host than the one the connection is bound to.
#[test]
fn another_host_than_the_binding() {
    let reader = Reader::new();
    let (agent, key) = (&reader.0.agent, &reader.0.key);
    reader.0.token.set_touch(Touch::Never);
    let asking = asking_key(agent);
    let (host, other) = (FakeHost::new(), FakeHost::new());
    for key in [key, &asking] {
        let mut client = host.bind(agent, b"session");
        assert_eq!(client.sign(&key.blob(), &login(b"session", key, Some(&other.key()))), [FAILURE]);
        assert_eq!(client.sign(&key.blob(), &login(b"another session", key, Some(&host.key()))), [FAILURE]);
    }
    assert_eq!(reader.env().person().asked(), []);
    assert!(!reader.0.token.is_waiting());
    let [mismatch, session] = [Code::HostKeyMismatch, Code::SessionMismatch];
    assert_eq!(agent.audit().refusal_codes(), [mismatch, session, mismatch, session]);
}
