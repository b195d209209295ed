//! The two agents, with software keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use signature::Signer;
use ssh_encoding::Encode;
use ssh_key::{Algorithm, PrivateKey, Signature, rand_core::OsRng};
use tests::{Client, Env, Person, Program, Running, SUCCESS, built, string};

const ADD_IDENTITY: u8 = 17;
const ADD_ID_CONSTRAINED: u8 = 25;
const CONSTRAIN_CONFIRM: u8 = 1 << 1;

/// Which agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    SshAgent,
    Ours,
}

/// The two, in the order of the table's columns.
pub(crate) const BOTH: [Which; 2] = [Which::SshAgent, Which::Ours];

/// An agent that runs on a processor of its own.
pub(crate) struct Contender {
    process: Running,
    socket: PathBuf,
    pub(crate) person: Person,
}

impl Contender {
    /// Starts it, and waits until it serves.
    pub(crate) fn start(env: &Env, which: Which) -> Self {
        Self::serve(Self::prepare(env, which))
    }

    /// Ours, with its state, and so its audit log, in this folder.
    pub(crate) fn start_with_state_in(env: &Env, folder: &Path) -> Self {
        let (program, socket, person) = Self::prepare(env, Which::Ours);
        Self::serve((program.env("XDG_STATE_HOME", folder), socket, person))
    }

    fn serve((program, socket, person): (Program, PathBuf, Person)) -> Self {
        let process = program.start();
        process.stdout().wait_for("SSH_AUTH_SOCK=");
        pin(process.pid(), 0);
        Self { process, socket, person }
    }

    /// What starts it, where its socket will be, and whom it will ask.
    pub(crate) fn prepare(env: &Env, which: Which) -> (Program, PathBuf, Person) {
        let person = env.somebody();
        let (program, socket) = match which {
            Which::SshAgent => (installed(env), env.path("rival.sock")),
            Which::Ours => (built("agent"), env.path("agent.sock")),
        };
        let program = env.program(program).args(["-D", "-a"]).arg(&socket).asking(&person);
        (program, socket, person)
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.socket)
    }

    /// The memory it has in use, in KiB.
    pub(crate) fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel says so");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

/// A copy of the installed agent, whose setgid bit keeps the system from telling us of its memory.
fn installed(env: &Env) -> PathBuf {
    let program = env.path("ssh-agent");
    if !program.exists() {
        fs::copy("/usr/bin/ssh-agent", &program).expect("Debian has an ssh-agent");
    }
    program
}

/// Has a process run on one processor; where there is only one, nothing changes.
pub(crate) fn pin(pid: u32, processor: usize) {
    let _ = Command::new("taskset").args(["-a", "-p", "-c", &processor.to_string(), &pid.to_string()]).output();
}

/// A software key that both agents get.
pub(crate) struct Key(PrivateKey);

impl Key {
    pub(crate) fn new() -> Self {
        Self(PrivateKey::random(&mut OsRng, Algorithm::Ed25519).expect("randomness"))
    }

    pub(crate) fn blob(&self) -> Vec<u8> {
        self.0.public_key().to_bytes().expect("a public key has bytes")
    }

    pub(crate) fn add(&self, client: &mut Client, confirm: bool) {
        let mut message = vec![if confirm { ADD_ID_CONSTRAINED } else { ADD_IDENTITY }];
        self.0.key_data().encode(&mut message).expect("a private key has bytes");
        message.extend(string(b"operator@laptop"));
        message.extend(confirm.then_some(CONSTRAIN_CONFIRM));
        assert_eq!(client.ask(&message), [SUCCESS], "a key was refused");
    }

    /// What a login signs.
    pub(crate) fn login(&self) -> Vec<u8> {
        let text = |text: &str| string(text.as_bytes());
        let session: Signature = self.0.try_sign(b"session").expect("a key can sign");
        [
            string(&session.as_bytes()[..32]),
            vec![50],
            text("operator"),
            text("ssh-connection"),
            text("publickey"),
            vec![1],
            text("ssh-ed25519"),
            string(&self.blob()),
        ]
        .concat()
    }
}
