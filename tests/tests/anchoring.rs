//! Heads of the audit log that are kept elsewhere: they are handed over as configured, and hold nobody up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread;

use agent::audit::anchor;
use agent::audit::chain::{Hash, Head};
use agent::audit::record::Act;
use tests::{Agent, Audit, Env, KeyFile, PATIENCE, SIGN_RESPONSE, sshsig};

/// Who keeps heads, in the place of the system's journal or syslog.
struct Keeper(UnixDatagram);

impl Keeper {
    fn listen(env: &Env) -> Self {
        let socket = UnixDatagram::bind(env.path("keeper")).expect("the folder can be written");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time limit");
        Self(socket)
    }

    /// The next message. Panics when none comes.
    fn message(&self) -> String {
        let mut message = [0; 4096];
        let length = self.0.recv(&mut message).expect("a head is handed over");
        String::from_utf8(message[..length].to_vec()).expect("a message is text")
    }

    /// Reads what waits.
    fn forget_all(&self) {
        self.0.set_nonblocking(true).expect("a socket need not block");
        while self.0.recv(&mut [0; 4096]).is_ok() {}
        self.0.set_nonblocking(false).expect("a socket may block");
    }

    /// All messages up to the one of the agent's end.
    fn messages_to_the_end(&self, log: &Audit) -> Vec<String> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.message());
            if log.acts().last() == Some(&Act::Stop { assertions: 0 })
                && head(messages.last().unwrap()) == head_of(log.path())
            {
                return messages;
            }
        }
    }
}

fn head(message: &str) -> Head {
    let heads = anchor::heads(message.as_bytes()).unwrap();
    assert_eq!(heads.len(), 1, "{message}");
    heads[0]
}

fn start(env: &Env, settings: &[&str]) -> (Agent, KeyFile) {
    let socket = format!("audit.anchor_socket = \"{}\"", env.path("keeper").display());
    let options = settings.iter().fold(env.agent().setting(&socket), |options, line| options.setting(line));
    let (agent, key) = (options.start(), env.plain_key());
    agent.ssh_add(&key);
    (agent, key)
}

fn sign(agent: &Agent, key: &KeyFile) {
    assert_eq!(agent.connect().sign(&key.blob(), &sshsig("file"))[0], SIGN_RESPONSE);
}

/// The head of the log by its lines.
fn head_of(log: &Path) -> Head {
    let text = fs::read(log).unwrap();
    text.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').fold(Head::default(), Head::after)
}

/// Ends the agent, and holds its log against what the keeper has.
fn verified(env: &Env, agent: Agent, keeper: &Keeper) -> Vec<String> {
    let log = agent.audit();
    // The keeper reads while the agent ends.
    let end = thread::spawn(|| agent.terminate());
    let messages = keeper.messages_to_the_end(&log);
    end.join().unwrap();
    let kept = env.path("kept");
    fs::write(&kept, messages.concat().replace('<', "\n<")).unwrap();
    let cli = env.program(tests::built("agent-cli")).args(["audit", "verify", "--json", "--log"]).arg(log.path());
    let report = cli.arg("--anchor").arg(&kept).run().success().stdout;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["anchored"], messages.len(), "{report}");
    messages
}

#[test]
fn syslog_gets_each_head_once_its_record_is_on_disk() {
    let env = Env::new();
    let keeper = Keeper::listen(&env);
    let (agent, key) = start(&env, &["audit.anchor = \"syslog\""]);
    let log = agent.audit();
    for _ in 0..3 {
        sign(&agent, &key);
    }
    let first = keeper.message();
    assert_eq!(head(&first).sequence, 1);
    let line = fs::read(log.path()).unwrap().split(|byte| *byte == b'\n').next().unwrap().to_vec();
    assert_eq!(head(&first).hash, Hash::of(&line), "it is on disk");
    // RFC 5424 § 6: priority, version, time, host, program, process, kind of message, structured data.
    let words: Vec<_> = first.split(' ').collect();
    let pid = agent.pid().to_string();
    assert_eq!((words[0], words[3], words[4], words[5]), ("<85>1", "fido-ssh-agent", &*pid, "audit-head"), "{first}");
    assert_eq!(words[6], "[fido-ssh-agent@32473", "{first}");
    verified(&env, agent, &keeper);
}

#[test]
fn the_journal_gets_each_tenth_head_and_the_last() {
    let env = Env::new();
    let keeper = Keeper::listen(&env);
    let (agent, key) = start(&env, &["audit.anchor = \"journald\"", "audit.anchor_every = 10"]);
    for _ in 0..12 {
        sign(&agent, &key);
    }
    let messages = verified(&env, agent, &keeper);
    let sequence: Vec<_> = messages.iter().map(|message| head(message).sequence).collect();
    let (last, tenths) = sequence.split_last().unwrap();
    assert!(tenths.len() > 1 && tenths.windows(2).all(|pair| pair[1] >= pair[0] + 10), "{sequence:?}");
    assert!(tenths[0] >= 10 && last > tenths.last().unwrap(), "{sequence:?}");
    // systemd's native protocol: a field a line.
    let tenth = format!("FIDO_SSH_AGENT_SEQUENCE={}", tenths[0]);
    for field in ["MESSAGE=audit head ", &tenth, "SYSLOG_IDENTIFIER=fido-ssh-agent"] {
        assert!(messages[0].lines().any(|line| line.starts_with(field)), "{messages:?}");
    }
}

#[test]
fn a_keeper_that_is_away_or_does_not_read_holds_nobody_up() {
    let env = Env::new();
    let (agent, key) = start(&env, &["audit.anchor = \"syslog\""]);
    sign(&agent, &key);
    agent.messages().wait_for("the audit log's head can't be handed over");
    let keeper = Keeper::listen(&env);
    // A socket's queue holds less than that (net.unix.max_dgram_qlen).
    let queue = fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap();
    for _ in 0..queue.trim().parse::<usize>().unwrap() + 10 {
        sign(&agent, &key);
    }
    // Each time it takes as many of those that wait as its queue holds.
    for _ in 0..3 {
        keeper.forget_all();
        sign(&agent, &key);
    }
    verified(&env, agent, &keeper);
}
