//! An agent under attack: Debian's, or ours. What ends or spoils ssh-agent makes room for a new one; ours has to outlast
//! everything.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tests::{Agent, Env, PATIENCE, Program, Rival};

use crate::keys::Keys;
use crate::line::{Answer, Line};
use crate::message::{IDENTITIES_ANSWER, Message, REQUEST_IDENTITIES};

/// How long ssh-agent is waited for. What takes longer hangs.
const RIVALS_PATIENCE: Duration = Duration::from_secs(1);

/// An agent under attack.
pub(crate) struct Target<'e> {
    env: &'e Env,
    keys: &'e Keys,
    agent: Either,
    socket: PathBuf,
    /// The answer to a list of its keys, before anything happened.
    list: Vec<u8>,
}

enum Either {
    Ours(Agent),
    Rival(Rival),
}

impl<'e> Target<'e> {
    /// Our agent.
    pub(crate) fn ours(env: &'e Env, keys: &'e Keys) -> Self {
        let agent = env.agent().quiet().mutes_nobody().start();
        agent.ssh_add(&keys.token);
        let socket = agent.socket().to_owned();
        Self::ready(env, keys, Either::Ours(agent), socket)
    }

    /// Debian's ssh-agent, whose person answers nothing.
    pub(crate) fn rival(env: &'e Env, keys: &'e Keys) -> Self {
        let rival = Rival::asking(env, env.somebody());
        rival.ssh_add(&keys.token);
        let socket = rival.socket().to_owned();
        Self::ready(env, keys, Either::Rival(rival), socket)
    }

    fn ready(env: &'e Env, keys: &'e Keys, agent: Either, socket: PathBuf) -> Self {
        let mut target = Self { env, keys, agent, socket, list: Vec::new() };
        let mut line = target.connect().expect("it serves");
        keys.add_to(&mut line).unwrap_or_else(|error| panic!("{}: {error}", target.socket.display()));
        target.list = target.list_now().expect("it lists its keys");
        target
    }

    /// Another one takes its place, as new.
    pub(crate) fn replace(self) -> Self {
        let Self { env, keys, agent, .. } = self;
        match agent {
            Either::Ours(agent) => {
                agent.kill();
                Self::ours(env, keys)
            }
            Either::Rival(rival) => {
                drop(rival);
                Self::rival(env, keys)
            }
        }
    }

    /// Its keys.
    pub(crate) fn keys(&self) -> &'e Keys {
        self.keys
    }

    /// Our agent, where it is ours.
    pub(crate) fn as_ours(&self) -> Option<&Agent> {
        match &self.agent {
            Either::Ours(agent) => Some(agent),
            Either::Rival(_) => None,
        }
    }

    /// How long it is waited for.
    pub(crate) fn patience(&self) -> Duration {
        match self.agent {
            Either::Ours(_) => PATIENCE,
            Either::Rival(_) => RIVALS_PATIENCE,
        }
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// A connection, if there is one to be had.
    pub(crate) fn connect(&self) -> Option<Line> {
        Line::connect(&self.socket, self.patience())
    }

    /// A program that knows this agent.
    pub(crate) fn program(&self, program: impl AsRef<Path>) -> Program {
        self.env.program(program).env("SSH_AUTH_SOCK", &self.socket)
    }

    /// Whether it runs still.
    pub(crate) fn is_running(&mut self) -> bool {
        match &mut self.agent {
            Either::Ours(agent) => agent.is_running(),
            Either::Rival(rival) => rival.is_running(),
        }
    }

    /// Whether it holds the same keys as ever, as it says to a client that comes now. The connections of an attack count until
    /// the agent has seen that they are gone, so that is waited for. None where it says nothing.
    pub(crate) fn holds_its_keys(&mut self) -> Option<bool> {
        let end = Instant::now() + self.patience();
        while self.is_running() && Instant::now() < end {
            if let Some(list) = self.list_now() {
                return Some(list == self.list);
            }
        }
        None
    }

    fn list_now(&self) -> Option<Vec<u8>> {
        match self.connect()?.ask(Message::new(REQUEST_IDENTITIES)) {
            Answer::Message(list) if list.first() == Some(&IDENTITIES_ANSWER) => Some(list),
            _ => None,
        }
    }

    /// The most memory it has ever had, in KiB; nothing where it has ended.
    pub(crate) fn peak_memory(&self) -> u64 {
        tests::peak_memory(self.pid()).unwrap_or_default()
    }

    /// The processor time it has used, its threads' included.
    pub(crate) fn processor_time(&self) -> Duration {
        /// What /proc counts in, on every platform that Linux still runs on (proc_pid_stat(5)).
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // Behind the program's name, which may hold anything, utime and stime are the 12th and 13th field.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u32 = fields.skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
        TICK * ticks
    }

    /// How many descriptors it may have; the limit that was there before is returned.
    pub(crate) fn limit_descriptors(&self, most: Option<u64>) -> Option<u64> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let before = rustix::process::getrlimit(Resource::Nofile);
        let limit = Rlimit { current: most, maximum: before.maximum };
        prlimit(pid, Resource::Nofile, limit).map(|limit| limit.current).expect("the agent is ours")
    }

    /// How many descriptors it has.
    pub(crate) fn descriptors(&self) -> Option<u64> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid())).ok()?;
        u64::try_from(entries.count()).ok()
    }

    fn pid(&self) -> u32 {
        match &self.agent {
            Either::Ours(agent) => agent.pid(),
            Either::Rival(rival) => rival.pid(),
        }
    }
}
