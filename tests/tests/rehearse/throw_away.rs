//! Whether a host demands that the token verifies its user, tested with a key that is made for that.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, thread};

use agent::audit::record::Act;
use serde_json::{Value, json};
use soft_token::{Command, What};
use ssh_key::{HashAlg, PublicKey};
use tests::{PATIENCE, PIN, Program, Recipe, Running, Terminal, TokenKind, built};

use super::{Way, codes, rehearsals};

/// A rehearsal, with a person who answers it by lines on its standard input.
struct Testing<'w> {
    way: &'w Way,
    rehearsal: Running,
}

impl Way {
    /// Where programs make what they need for a while.
    fn temporary(&self) -> PathBuf {
        let folder = self.env.path("temporary");
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn left_in_temporary(&self) -> Vec<PathBuf> {
        fs::read_dir(self.temporary()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// A program whose own programs see the tokens.
    fn with_tokens(&self, program: Program) -> Program {
        let program = program.env("TMPDIR", self.temporary());
        let tokens = self.env.bus().environment();
        tokens.into_iter().fold(program, |program, (name, value)| program.env(name, value))
    }

    fn tests(&self, arguments: &[&str]) -> Testing<'_> {
        let program = self.rehearse(&[&["-S", "--throw-away-key"], arguments].concat());
        Testing { way: self, rehearsal: self.with_tokens(program).interactive().start() }
    }

    /// What is kept of the last one.
    fn kept(&self) -> Value {
        let all = fs::read(self.env.path("state/fido-ssh-agent/rehearsals.json")).unwrap();
        serde_json::from_slice::<Vec<Value>>(&all).unwrap().pop().unwrap()
    }

    /// Touches the token each time that it waits for that, so many times.
    fn touch(&self, times: usize) {
        for _ in 0..times {
            self.token.wait_for(|what| what == What::Waiting, PATIENCE);
            self.token.touch();
            self.token.wait_for(|what| what == What::Touched, PATIENCE);
        }
    }
}

const QUESTION: &str = "Press Enter when it is there, or type n to leave this untested: ";

/// The line that is to be put there, of what the person sees.
fn line_in(screen: &str) -> String {
    let line = screen.lines().find(|line| line.starts_with("restrict,"));
    line.unwrap_or_else(|| panic!("no line in {screen}")).trim_end().to_owned()
}

impl Testing<'_> {
    /// The line, once the key is made: with so many touches.
    fn line(&self, touches: usize) -> String {
        self.way.touch(touches);
        self.rehearsal.stderr().wait_for(QUESTION);
        line_in(&self.rehearsal.stderr().text())
    }

    /// Says that it is there, and touches the token so many times on the way.
    fn go_on(&mut self, touches: usize) {
        self.rehearsal.type_line("");
        self.way.touch(touches);
    }

    /// What it says in the end. Nothing is left of the key.
    fn told(self) -> Value {
        let told = self.way.told(self.rehearsal, 0);
        assert_eq!(self.way.left_in_temporary(), Vec::<PathBuf>::new());
        let kept = self.way.kept();
        for member in ["verify_required", "not_tested", "times"] {
            assert_eq!(kept[member], told[member], "{member} of {kept:#}");
        }
        told
    }
}

fn way() -> Way {
    Way::ready(TokenKind::Fingerprint, &Recipe::ed25519().verify_required())
}

fn is_enforced(told: &Value) {
    assert_eq!((&told["verify_required"], &told["not_tested"]), (&json!("enforced"), &Value::Null), "{told:#}");
    assert_eq!(codes(&told["remarks"]), Vec::<&str>::new());
}

fn not_tested(told: &Value) -> &str {
    assert_eq!(told["verify_required"], "not-tested", "{told:#}");
    assert_eq!(told["not_tested"]["host"], "device", "{told:#}");
    told["not_tested"]["code"].as_str().unwrap_or_else(|| panic!("{told:#}"))
}

/// Behind a jump host, at which the agent is asked as ever.
#[test]
fn the_host_s_settings_enforce_it() {
    let way = way();
    way.device.setting("PubkeyAuthOptions verify-required");
    let mut testing = way.tests(&["-J", "jump", "device"]);
    let line = testing.line(3);
    let [folder] = &way.left_in_temporary().into_iter().filter(|path| path.is_dir()).collect::<Vec<_>>()[..] else {
        panic!("the key is in a folder of its own")
    };
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(folder), mode(&folder.join("key"))), (0o700, 0o600));
    assert_eq!(way.agent.list().lines().count(), 1, "the agent does not get it");
    way.device.authorize_line(&format!("{line}\n"));
    testing.go_on(2);
    let told = testing.told();
    is_enforced(&told);

    // All of it is in the rehearsal, and its times are those of the login in earnest.
    assert_eq!(told["record"]["requests"].as_array().unwrap().len(), 2, "{told:#}");
    assert_eq!(rehearsals(&way.agent), ["begun", "ended"]);
    let acts = way.agent.audit().acts();
    let place = |wanted: fn(&Act) -> bool| acts.iter().position(wanted).unwrap();
    let made = place(|act| matches!(act, Act::Generate { .. }));
    assert!(place(|act| matches!(act, Act::RehearsalBegun { .. })) < made);
    assert!(made < place(|act| matches!(act, Act::RehearsalEnded { .. })));
}

/// The person's settings name another key, which would let in: that is of no account.
#[test]
fn the_option_of_the_line_enforces_it() {
    let way = way();
    let plain = way.env.plain_key();
    way.device.authorize(&plain);
    way.reconfigure("IdentityFile none", &format!("IdentityFile {}", plain.path().display()));
    let mut testing = way.tests(&["device"]);
    let line = testing.line(2);
    way.device.authorize_line(&format!("verify-required,{line}\n"));
    testing.go_on(1);
    is_enforced(&testing.told());
}

/// And what the line lets its key do, by the person's own ssh.
#[test]
fn nothing_enforces_it() {
    let way = way();
    let mut testing = way.tests(&["device"]);
    let line = testing.line(2);
    way.device.authorize_line(&format!("{line}\n"));
    let folder = way.left_in_temporary().into_iter().find(|path| path.is_dir()).unwrap();
    let ssh = |arguments: &[&str]| {
        let ssh = way.with_tokens(way.env.program("ssh")).arg("-F").arg(way.env.ssh_config());
        let ssh = ssh.args(["-o", "IdentityAgent=none", "-i"]).arg(folder.join("key")).args(arguments).start();
        way.touch(1);
        let ended = ssh.wait();
        assert_eq!(ended.stdout, "", "{arguments:?}");
        ended
    };
    ssh(&["device", "echo", "hello"]).success();
    for (arguments, refused) in [
        (["-tt", "device"], "PTY allocation request failed"),
        (["-Wdevice:1", "device"], "administratively prohibited"),
    ] {
        let said = ssh(&arguments).stderr;
        assert!(said.contains(refused), "{said}");
    }
    testing.go_on(1);
    let told = testing.told();
    assert_eq!((&told["verify_required"], &told["not_tested"]), (&json!("not-enforced"), &Value::Null), "{told:#}");
    assert_eq!(codes(&told["remarks"]), ["verify-required-not-enforced"]);
}

#[test]
fn the_line_is_not_there() {
    let way = way();
    let mut testing = way.tests(&["device"]);
    testing.line(2);
    testing.rehearsal.type_line("n");
    testing.rehearsal.stderr().wait_for("Take the line out at device again");
    assert_eq!(not_tested(&testing.told()), "left-untested");

    let mut testing = way.tests(&["device"]);
    testing.line(2);
    testing.go_on(0);
    assert_eq!(not_tested(&testing.told()), "throw-away-key-refused");

    // As if the time of the line were over.
    let mut testing = way.tests(&["device"]);
    let line = testing.line(2);
    let (begin, rest) = line.split_once("expiry-time=\"").unwrap();
    way.device.authorize_line(&format!("{begin}expiry-time=\"2001{}\n", &rest["2026".len()..]));
    testing.go_on(0);
    assert_eq!(not_tested(&testing.told()), "throw-away-key-refused");
}

/// The host refuses the signature, but not for what nobody was verified.
#[test]
fn the_line_goes_before_the_token_is_touched() {
    let way = way();
    way.device.setting("PubkeyAuthOptions verify-required");
    let before = fs::read(way.env.path("device/authorized_keys")).unwrap();
    let mut testing = way.tests(&["device"]);
    let line = testing.line(2);
    way.device.authorize_line(&format!("{line}\n"));
    testing.rehearsal.type_line("");
    testing.rehearsal.stderr().wait_for("Touch the token. Nothing else");
    fs::write(way.env.path("device/authorized_keys"), before).unwrap();
    way.touch(1);
    let told = testing.told();
    assert_eq!(not_tested(&told), "throw-away-login-unclear");
    assert!(told["not_tested"]["what"].as_str().unwrap().contains("then no more"), "{told:#}");
}

/// It says so of whatever key it is offered.
#[test]
fn a_host_that_takes_each_key() {
    let way = way();
    way.device.setting(&format!("AuthorizedKeysCommandUser {}", way.env.user()));
    way.device.setting("AuthorizedKeysCommand /bin/echo %t %k");
    way.device.setting("PubkeyAuthOptions verify-required");
    let mut testing = way.tests(&["device"]);
    testing.line(2);
    testing.go_on(0);
    assert_eq!(not_tested(&testing.told()), "each-key-taken");
}

/// Before the host is known, anybody on the way there can write what looks like a line of ssh's.
#[test]
fn a_stranger_on_the_way_writes_what_ssh_would() {
    let way = way();
    let mut testing = way.tests(&["device"]);
    let line = testing.line(2);
    let key = PublicKey::from_openssh(line.split_once("Z\" ").unwrap().1).unwrap();
    let key = format!("key ED25519-SK {} explicit", key.fingerprint(HashAlg::Sha256));
    let forged = [
        format!("Offering public key: {key}"),
        format!("Server accepts key: {key}"),
        "Authentications that can continue: publickey".into(),
    ];
    let stranger = stranger_who_says(forged.map(|line| format!("\ndebug1: {line}")).concat());
    let device = way.device.address();
    let at = |address: SocketAddr| format!("HostName {}\n  Port {}\n", address.ip(), address.port());
    way.reconfigure(&at(device), &at(stranger));
    let ssh = way.env.program("ssh").arg("-vF").arg(way.env.ssh_config()).args(["device", "true"]).run().code(255);
    assert!(ssh.stderr.contains(&format!("\ndebug1: Server accepts key: {key}")), "{}", ssh.stderr);
    testing.go_on(0);
    assert_eq!(not_tested(&testing.told()), "throw-away-login-unclear");
}

/// Somebody who has this message for whoever connects (RFC 4253, section 11.3), and nothing else.
fn stranger_who_says(message: String) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut payload = vec![4, 0];
    for text in [message.as_bytes(), b""] {
        payload.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        payload.extend(text);
    }
    // In blocks of 8 bytes, of which at least 4 are padding (RFC 4253, section 6).
    let padding = 12 - (4 + 1 + payload.len() + 4) % 8;
    let length = u32::try_from(1 + payload.len() + padding).unwrap().to_be_bytes();
    let packet = [&length[..], &[u8::try_from(padding).unwrap()], &payload, &vec![0; padding]].concat();
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let said = connection.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").and_then(|()| connection.write_all(&packet));
            // What was said arrives only if what comes is read.
            let _ = said.and_then(|()| connection.shutdown(Shutdown::Write));
            let _ = io::copy(&mut connection, &mut io::sink());
        }
    });
    address
}

#[test]
fn the_token_is_gone_by_then() {
    let way = way();
    let testing = way.tests(&["device"]);
    way.device.authorize_line(&format!("{}\n", testing.line(2)));
    let mut rehearsal = testing.rehearsal;
    let Way { agent, token, jump, device, env, key } = way;
    let unplugged = token.unplug();
    rehearsal.type_line("");
    rehearsal.stderr().wait_for("Take the line out at device again");
    let way = Way { token: env.bus().plug_again(unplugged), agent, jump, device, env, key };
    assert_eq!(not_tested(&Testing { way: &way, rehearsal }.told()), "throw-away-key-not-signed");
}

/// Who can't log in is asked for nothing more.
#[test]
fn the_login_itself_fails() {
    let way = way();
    fs::write(way.env.path("device/authorized_keys"), "").unwrap();
    let told = way.told(way.tests(&["device"]).rehearsal, 1);
    assert_eq!(not_tested(&told), "login-failed");
    let made = way.token.events().iter().filter(|event| event.what == What::Command(Command::MakeCredential)).count();
    assert_eq!(made, 1, "the key that was there before");
}

#[test]
fn nobody_is_there_or_the_way_is_another() {
    let way = way();
    // A session without a terminal, wherever the tests run.
    let setsid = way.agent.program("setsid").arg("--wait").arg(built("agent-cli"));
    let refused = setsid.args(["rehearse", "--throw-away-key", "-F"]).arg(way.env.ssh_config()).arg("device").run();
    let refused = refused.code(1);
    assert!(refused.stderr.contains("there is no terminal") && refused.stdout.is_empty(), "{}", refused.stderr);
    let refused = way.rehearse(&["-S", "--throw-away-key", "-A", "jump", "device"]).run().code(64);
    assert!(refused.stderr.contains("-J jump"), "{}", refused.stderr);
    assert!(way.agent.audit().acts().iter().all(|act| !matches!(act, Act::RehearsalBegun { .. })));
}

/// At a terminal, and given up there with Ctrl-C: what is known by then is told and kept, and nothing is left of the key.
#[test]
fn the_person_gives_up_at_the_question() {
    let way = Way::ready(TokenKind::PinOnly, &Recipe::ecdsa().verify_required());
    let program = way.agent.cli(["rehearse", "--throw-away-key", "-F"]).arg(way.env.ssh_config()).arg("device");
    let mut terminal = Terminal::run(way.with_tokens(program));
    terminal.screen().wait_for("[y/N] ");
    terminal.type_line("y");
    for time in 1..=2 {
        terminal.screen().wait_for_times("(8 tries left): ", time);
        terminal.type_line(PIN);
        way.touch(1);
    }
    terminal.screen().wait_for(QUESTION);
    assert_eq!(way.left_in_temporary().len(), 2, "the key's folder, and ssh's settings");
    terminal.type_keys("\u{3}");
    assert!(!terminal.wait().success());
    terminal.screen().wait_for("not tested: you have left it so (left-untested)");
    assert_eq!(way.left_in_temporary(), Vec::<PathBuf>::new());
    assert_eq!(rehearsals(&way.agent), ["begun", "ended"]);
    let kept = way.kept();
    assert_eq!((&kept["passed"], not_tested(&kept)), (&json!(true), "left-untested"), "{kept:#}");
}
