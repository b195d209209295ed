//! Where the agent is killed, and started again.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use agent::audit::chain::Hash;
use agent::audit::log::FileLog;
use agent::audit::log::segments::Segments;
use agent::audit::record::Act;
use agent::audit::{AuditLog, run};
use soft_token::{Device, What};
use tests::{Agent, Client, Env, KeyFile, REQUEST_IDENTITIES, Recipe, Thread, TokenKind, built, sshsig};

use crate::calls::{Call, Recorder};
use crate::judge::{all_settled, events};

/// What `agent-cli audit verify` ends with.
const CLEAN: Option<i32> = Some(0);
const TORN: Option<i32> = Some(11);

/// A record that is long, and soon read.
const BIG: u64 = 256 * 1024;

/// What is asked of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Software,
    Token,
    /// A token's signature, whose intent begins another segment of the log.
    Rotation,
    Refusal,
}

/// What a disk has lost that loses power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgotten {
    /// All that was not synced.
    All,
    /// Half of that.
    Half,
    Nothing,
}

impl Forgotten {
    pub(crate) const ALL: [Self; 3] = [Self::All, Self::Half, Self::Nothing];
}

/// An agent that died, and what is known of its last request.
pub(crate) struct Crash {
    /// What the threads did, up to its end.
    pub(crate) calls: Vec<Call>,
    /// Whether it came to the call at which it was to be killed.
    pub(crate) killed: bool,
    /// What its client got.
    pub(crate) reply: Option<Vec<u8>>,
    /// Whether the token waited for its person.
    pub(crate) token_was_asked: bool,
    /// The log.
    log: Vec<u8>,
    /// How long it was before, and how much of it is on the disk for certain.
    before: usize,
    certain: usize,
}

impl Crash {
    /// What the request left on the disk for certain.
    pub(crate) fn synced(&self) -> &[u8] {
        &self.log[self.before..self.certain]
    }

    fn what_is_left(&self, forgotten: Forgotten) -> usize {
        match forgotten {
            Forgotten::All => self.certain,
            Forgotten::Half => self.certain.midpoint(self.log.len()),
            Forgotten::Nothing => self.log.len(),
        }
    }
}

impl fmt::Debug for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { killed, reply, token_was_asked, log, before, certain, .. } = self;
        writeln!(f, "killed {killed}, reply {reply:?}, token asked {token_was_asked}")?;
        write!(f, "synced {}, not synced {}", certain - before, String::from_utf8_lossy(&log[*certain..]))
    }
}

/// A token that is touched at once, its key, and an agent that holds it.
pub(crate) struct Place {
    env: Env,
    token: Device,
    token_key: KeyFile,
    software_key: KeyFile,
    log: PathBuf,
    way: Way,
    /// The log before each request; empty where the next one goes on in that of the last.
    template: Vec<u8>,
    /// None while it is dead.
    agent: Option<Agent>,
}

impl Place {
    pub(crate) fn new(way: Way) -> Self {
        let env = Env::new();
        let token = env.plug(TokenKind::PinOnly.options());
        let (token_key, software_key) = (env.ssh_keygen(&Recipe::ed25519()), env.plain_key());
        let agent = env.agent().quiet().start();
        agent.ssh_add(&token_key);
        let log = agent.audit().path().to_owned();
        let mut place = Self { env, token, token_key, software_key, log, way, template: Vec::new(), agent: None };
        if way == Way::Rotation {
            agent.kill();
            fill_segment(&place.log);
            place.template = fs::read(&place.log).unwrap();
            place.begin_again();
        } else {
            place.serves(agent);
        }
        place
    }

    /// Another agent, and the log as it was.
    fn begin_again(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.kill();
        }
        for file in Segments::of(&self.log).all().unwrap() {
            fs::remove_file(file).unwrap();
        }
        fs::write(&self.log, &self.template).unwrap();
        let agent = self.env.agent().quiet().start();
        self.serves(agent);
    }

    /// Keys on tokens are kept, software keys are added anew.
    fn serves(&mut self, agent: Agent) {
        assert_eq!(agent.connect().keys(), [self.token_key.blob()], "no key is lost");
        if self.way == Way::Software {
            agent.ssh_add(&self.software_key);
        }
        self.agent = Some(agent);
    }

    /// Asks the agent once. It is dead afterwards.
    pub(crate) fn request(&mut self, last: Option<&Call>, without_sync: bool) -> Crash {
        let agent = self.agent.take().expect("it was started again");
        let before = self.read_log().len();
        let asked_before = self.times_asked();
        // The one that kills comes last: the other finds nothing to record once it has.
        let mut threads = [Thread::Main, Thread::Audit];
        threads.sort_by_key(|thread| last.is_some_and(|call| call.thread == *thread));
        let recorders = threads.map(|thread| Recorder::attach(&agent, thread, last, without_sync));
        let reply = ask(&agent, |client| self.begin(client));
        // What comes behind the answer has happened when another one is answered.
        let killed = ask(&agent, |client| client.send_message(&[REQUEST_IDENTITIES])).is_none();
        agent.kill();
        let recordings = recorders.map(Recorder::end);
        let log = self.read_log();
        let synced: usize = recordings.iter().map(|recording| recording.synced(&self.log)).sum();
        Crash {
            calls: recordings.iter().flat_map(|recording| recording.calls()).collect(),
            killed,
            reply,
            token_was_asked: self.times_asked() > asked_before,
            // A segment that is still to have its name is not in the log.
            certain: log.len().min(before + synced),
            before,
            log,
        }
    }

    fn begin(&self, client: &mut Client) {
        let by_token = matches!(self.way, Way::Token | Way::Rotation);
        let key = if by_token { &self.token_key } else { &self.software_key };
        client.begin_to_sign(&key.blob(), &sshsig("file"));
    }

    fn times_asked(&self) -> usize {
        self.token.events().iter().filter(|event| event.what == What::Waiting).count()
    }

    /// Starts another agent on what the disk has kept: it has its keys, and leaves a log without a fault. Whether the log was
    /// torn.
    pub(crate) fn start_again(&mut self, crash: &Crash, forgotten: Forgotten) -> bool {
        let lost = crash.log.len() - crash.what_is_left(forgotten);
        if lost > 0 {
            let log = OpenOptions::new().write(true).open(&self.log).unwrap();
            log.set_len(log.metadata().unwrap().len() - lost as u64).unwrap();
        }
        let found = self.verify();
        assert!([CLEAN, TORN].contains(&found), "{found:?}, {forgotten:?} forgotten: {crash:?}");
        let agent = self.env.agent().quiet().start();
        self.serves(agent);
        assert_eq!(self.verify(), CLEAN, "{forgotten:?} forgotten: {crash:?}");
        let settled = events(&self.read_log()[crash.before..]);
        assert!(all_settled(&settled), "{settled:#?}");
        if self.way == Way::Rotation {
            self.begin_again();
        }
        found == TORN
    }

    /// All segments, one behind the other.
    fn read_log(&self) -> Vec<u8> {
        let files = Segments::of(&self.log).all().unwrap();
        files.iter().flat_map(|file| fs::read(file).unwrap()).collect()
    }

    fn verify(&self) -> Option<i32> {
        let verify = self.env.program(built("agent-cli")).args(["audit", "verify", "--log"]).arg(&self.log);
        verify.run().status.code()
    }
}

/// What the agent answers; None where it dies before.
fn ask(agent: &Agent, request: impl FnOnce(&mut Client)) -> Option<Vec<u8>> {
    let mut client = Client::connect_if_there(agent.socket())?;
    request(&mut client);
    client.answer()
}

/// Writes to a log until the start of the next agent is the last that finds room in its first segment.
fn fill_segment(log: &Path) {
    const SEGMENT: u64 = 16 * 1024 * 1024;
    const LITTLE: u64 = 100;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let length = || fs::metadata(log).unwrap().len();
    let file = FileLog::open(log, run::begin("default", Hash::NONE)).unwrap();
    let write = |text: u64| {
        let act = Act::Remove { key: "x".repeat(usize::try_from(text).unwrap()) };
        runtime.block_on(file.act(act)).unwrap();
    };
    let before = length();
    write(0);
    let overhead = length() - before;
    while length() + 2 * BIG < SEGMENT {
        write(BIG);
    }
    write(SEGMENT - LITTLE - overhead - length());
}
