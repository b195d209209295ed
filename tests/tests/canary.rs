//! A PIN is found nowhere but where it is typed and where it is meant to go: it is looked for in all that the agent says,
//! writes and holds, and in what the process table shows of everybody who takes part. So that nobody looks in vain, the same
//! search finds what was planted in each of these places.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufRead;
use std::os::unix::fs::FileExt;
use std::path::Path;

use agent::audit::record::Act;
use soft_token::{Device, Touch};
use ssh_key::rand_core::{OsRng, RngCore};
use tests::{Agent, AgentOptions, Answer, Env, FAILURE, Host, KeyFile, Kind, Recipe, Terminal, TokenKind, sshsig};

/// How much of a text is a find: a piece of a PIN is one too.
const PIECE: usize = 9;

/// Programs whose arguments and environment are looked at.
const PROGRAMS: [&str; 4] = ["agent", "sk-helper", "agent-cli", "scripted-askpass"];

/// What is looked for. Each is unheard of before.
struct Canary(String);

impl Canary {
    /// One of so many letters, for places that take no other characters.
    fn letters(length: usize) -> Self {
        let mut random = [0; 32];
        OsRng.fill_bytes(&mut random);
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(hex[..length].into())
    }

    fn plain() -> Self {
        Self::letters(32)
    }

    /// A PIN of so many characters. One that is no letter is written otherwise in JSON, and takes a way of its own through a
    /// parser's memory.
    fn pin(length: usize) -> Self {
        Self(format!("{}\"{}", Self::letters(4).0, Self::letters(length - 5).0))
    }

    fn is_in(&self, place: &[u8]) -> bool {
        let pieces = self.0.as_bytes().windows(PIECE);
        // As it is, and nothing of what it is written as elsewhere.
        let mut pieces = pieces.filter(|piece| piece.iter().all(u8::is_ascii_alphanumeric));
        pieces.any(|piece| memchr::memmem::find(place, piece).is_some())
    }
}

/// Where something may be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Messages,
    Record,
    Files,
    Memory(&'static str),
    Arguments(&'static str),
    Environment(&'static str),
    Screen,
}
use Place::{Arguments, Environment, Files, Memory, Messages, Record, Screen};

/// Looks into all places that there are at this moment.
fn search(agent: &Agent, terminal: Option<&Terminal>, canary: &Canary) -> BTreeSet<Place> {
    let mut found = BTreeSet::new();
    let mut look = |place, bytes: &[u8]| {
        if canary.is_in(bytes) {
            found.insert(place);
        }
    };
    look(Messages, agent.messages().text().as_bytes());
    look(Record, &fs::read(agent.audit().path()).unwrap());
    look(Screen, terminal.map(|terminal| terminal.screen().text()).unwrap_or_default().as_bytes());
    for file in files(&agent.env().path("")) {
        if file != agent.audit().path() {
            look(Files, &fs::read(file).unwrap_or_default());
        }
    }
    for (program, pid) in processes() {
        look(Arguments(program), &fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default());
        look(Environment(program), &fs::read(format!("/proc/{pid}/environ")).unwrap_or_default());
    }
    found
}

/// Looks into the memory that a process has now, which is what a core of it would hold. It takes root, since neither the agent
/// nor its helpers let anybody else.
fn search_memory(program: &'static str, pid: u32, canary: &Canary) -> BTreeSet<Place> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: it takes root to see the agent's memory");
        return BTreeSet::new();
    }
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = std::io::BufReader::new(File::open(format!("/proc/{pid}/maps")).unwrap());
    let mut searched = 0;
    let mut found = BTreeSet::new();
    for line in maps.lines().map(Result::unwrap) {
        let (range, rest) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|address| u64::from_str_radix(address, 16).unwrap());
        if !rest.starts_with("rw") {
            continue;
        }
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            searched += bytes.len();
            if canary.is_in(&bytes) {
                found.insert(Memory(program));
            }
        }
    }
    assert!(searched > 100_000, "{searched} bytes are no program's memory");
    found
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            // Sockets and pipes hold nothing.
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// The processes of our programs, whoever has started them.
fn processes() -> Vec<(&'static str, u32)> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let program = |pid: u32| {
        let file = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let name = file.file_name()?.to_str()?.to_owned();
        Some((*PROGRAMS.iter().find(|program| **program == name)?, pid))
    };
    pids.filter_map(program).collect()
}

/// A token whose PIN is a canary, its key, an agent that says all it can, and a host.
struct Scene {
    token: Device,
    key: KeyFile,
    _device: Host,
    agent: Agent,
    pin: Canary,
    env: Env,
}

impl Scene {
    fn new(pin: Canary, options: impl FnOnce(AgentOptions) -> AgentOptions) -> Self {
        let env = Env::new();
        let token = env.plug(TokenKind::PinOnly.options().pin(&pin.0));
        let key = env.ssh_keygen_with_pin(&Recipe::ed25519().verify_required(), &pin.0);
        token.set_touch(Touch::Manual);
        let device = env.host("device");
        device.authorize(&key);
        let agent = options(env.agent().talkative()).start();
        agent.ssh_add(&key);
        Self { token, key, _device: device, agent, pin, env }
    }

    fn pid_of_agent(&self) -> u32 {
        self.agent.pid()
    }
}

/// Nothing is found of either PIN, now.
fn nothing_is_found(what: &str, agent: &Agent, terminal: Option<&Terminal>, pins: [&Canary; 2]) {
    for pin in pins {
        assert_eq!(search(agent, terminal, pin), BTreeSet::new(), "{what}");
    }
}

/// What is given back to the allocator lies about until somebody of the same size comes: so a few sizes are tried, up to the
/// longest PIN there is (CTAP 2.1 § 6.5.1).
const LENGTHS: [usize; 4] = [20, 31, 45, 63];

#[test]
fn a_pin_typed_into_askpass_is_found_nowhere() {
    LENGTHS.into_iter().for_each(typed_into_askpass);
}

fn typed_into_askpass(length: usize) {
    let scene = Scene::new(Canary::pin(length), |agent| agent);
    let wrong = Canary::pin(length);
    let Scene { token, agent, pin, env, .. } = &scene;
    let look = |what| nothing_is_found(what, agent, None, [pin, &wrong]);

    let login = agent.ssh(["device", "true"]).start();
    for (number, typed) in [(1, &wrong), (2, pin)] {
        env.person().wait_until_asked_for_the(number, Kind::Secret);
        look("while the question is open");
        env.person().answer(&Answer::Type(typed.0.clone()));
    }
    env.person().wait_until_asked(Kind::Notice);
    look("while the token waits");
    env.person().approve(token);
    login.wait().success();
    look("afterwards");
    in_memory_nothing_is_found(&[("agent", scene.pid_of_agent())], [pin, &wrong]);
}

#[test]
fn a_pin_typed_into_an_attached_terminal_is_found_nowhere() {
    LENGTHS.into_iter().for_each(typed_into_a_terminal);
}

fn typed_into_a_terminal(length: usize) {
    let scene = Scene::new(Canary::pin(length), AgentOptions::without_prompter);
    let wrong = Canary::pin(length);
    let Scene { token, agent, pin, .. } = &scene;
    let mut terminal = Terminal::run(agent.cli(["attach"]));
    terminal.screen().wait_for("Prompts appear here from now on.");

    let login = agent.ssh(["device", "true"]).start();
    terminal.screen().wait_for("Is it yours");
    terminal.type_line("y");
    for (question, typed) in [("PIN (8 tries left): ", &wrong), ("PIN (7 tries left): ", pin)] {
        terminal.screen().wait_for(question);
        nothing_is_found("while the question is open", agent, Some(&terminal), [pin, &wrong]);
        terminal.type_line(&typed.0);
    }
    terminal.screen().wait_for("Touch the token.");
    nothing_is_found("while the token waits", agent, Some(&terminal), [pin, &wrong]);
    token.touch();
    terminal.screen().wait_for("(done waiting)");
    login.wait().success();
    nothing_is_found("afterwards", agent, Some(&terminal), [pin, &wrong]);
    let attached = agent.audit().acts().into_iter().find_map(|act| match act {
        Act::Attach { peer, .. } => u32::try_from(peer.pid).ok(),
        _ => None,
    });
    let cli = ("agent-cli", attached.expect("whoever attached is on record"));
    in_memory_nothing_is_found(&[("agent", scene.pid_of_agent()), cli], [pin, &wrong]);
}

fn in_memory_nothing_is_found(processes: &[(&'static str, u32)], pins: [&Canary; 2]) {
    for (program, pid) in processes {
        for (what, pin) in ["the right one", "a wrong one"].iter().zip(pins) {
            assert_eq!(search_memory(program, *pid, pin), BTreeSet::new(), "{what}");
        }
    }
}

/// What is looked for above would be found, wherever it is.
#[test]
fn what_was_planted_is_found_in_each_place() {
    let [in_agent, in_helper, in_askpass, in_file, in_record, in_memory, shown] = [(); 7].map(|()| Canary::plain());
    let scene = Scene::new(Canary::pin(20), |agent| {
        let agent = agent.variable("PLANTED", &in_agent.0).helper_variable("PLANTED", &in_helper.0);
        agent.option("--upstream", &format!("/{}", in_agent.0))
    });
    let Scene { token, agent, key, env, pin, .. } = &scene;
    let find = |canary: &Canary| search(agent, None, canary);
    let places = |places: &[Place]| places.iter().copied().collect::<BTreeSet<_>>();

    // Its upstream, which is not there, is among its messages.
    let found = find(&in_agent);
    assert!(found.is_superset(&places(&[Arguments("agent"), Environment("agent")])), "{found:?}");
    fs::write(env.path("state/planted"), &in_file.0).unwrap();
    assert_eq!(find(&in_file), places(&[Files]));

    // A library that is refused is among the messages, and on record.
    let said = Canary::plain();
    agent.program("ssh-add").args(["-q", "-S", &format!("/{}", said.0)]).arg(key.path()).run().code(1);
    assert_eq!(find(&said), places(&[Messages, Record]));
    assert_eq!(agent.connect().sign(&env.plain_key().blob(), &sshsig(&in_record.0)), [FAILURE]);
    assert_eq!(find(&in_record), places(&[Messages, Record]));

    // What a prompt says is an argument of askpass.
    let mut client = agent.connect();
    client.begin_to_sign(&key.blob(), &sshsig(&in_askpass.0));
    env.person().wait_until_asked(Kind::Secret);
    assert_eq!(find(&in_askpass), places(&[Arguments("scripted-askpass")]));
    assert!(find(&in_agent).contains(&Environment("scripted-askpass")));
    // The script that starts the helper is a file here.
    assert_eq!(find(&in_helper), places(&[Files, Environment("sk-helper")]));
    env.person().answer(&Answer::Type(pin.0.clone()));
    env.person().approve(token);
    assert!(client.answer().is_some());
    assert!(find(&in_askpass).is_superset(&places(&[Record])));

    // A program's messages, screen, arguments and environment.
    let mut terminal = Terminal::run(agent.cli(["attach"]).env("PLANTED", &shown.0));
    terminal.screen().wait_for("Prompts appear here from now on.");
    assert_eq!(search(agent, Some(&terminal), &shown), places(&[Environment("agent-cli")]));
    terminal.type_line(&shown.0);
    terminal.screen().wait_for(&shown.0);
    assert_eq!(search(agent, Some(&terminal), &shown), places(&[Environment("agent-cli"), Screen]));

    // A comment is in memory.
    let commented = env.plain_key();
    env.program("ssh-keygen").args(["-q", "-c", "-C", &in_memory.0, "-f"]).arg(commented.path()).run().success();
    agent.ssh_add(&commented);
    if rustix::process::geteuid().is_root() {
        assert_eq!(search_memory("agent", agent.pid(), &in_memory), places(&[Memory("agent")]));
    }
}
