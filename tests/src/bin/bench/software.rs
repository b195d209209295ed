//! Software keys: what both agents do by themselves.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use tests::{Answer, Client, Env, Kind, SIGN_RESPONSE};

use crate::connections::Held;
use crate::contender::{BOTH, Contender, Key, pin};
use crate::table::{head, mebibytes, median, milliseconds, per_second};

/// How long the prompt is left open while another client lists the keys.
const PROMPT: Duration = Duration::from_secs(2);

const TURNS: usize = 1000;
const SIGNATURES: usize = 4000;

pub(crate) fn run() {
    // ssh-agent takes as many connections as it may have open files.
    let limit = Rlimit { current: Some(4096), maximum: Some(4096) };
    setrlimit(Resource::Nofile, limit).expect("a thousand connections need as many open files");
    pin(std::process::id(), 1);
    println!("Software keys; ratios of times and memory: less is better, of speeds: more is better.\n");
    head();
    start();
    let env = Env::new();
    let agents = BOTH.map(|which| Contender::start(&env, which));
    mebibytes("memory, no keys", agents.each_ref().map(Contender::resident), "1");
    lists(&agents);
    mebibytes("memory, 1000 keys", agents.each_ref().map(Contender::resident), "0.5");
    connections(&agents);
    signatures();
    beside_a_prompt();
}

/// From nothing to the first answer.
fn start() {
    const TURNS: usize = 25;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for (which, times) in BOTH.into_iter().zip(&mut times) {
            let env = Env::new();
            let (program, socket, _person) = Contender::prepare(&env, which);
            let began = Instant::now();
            let _process = program.start();
            while std::os::unix::net::UnixStream::connect(&socket).is_err() {
                std::thread::sleep(Duration::from_micros(50));
            }
            assert_eq!(Client::connect(&socket).number_of_keys(), 0);
            times.push(began.elapsed());
        }
    }
    milliseconds("start to first answer", times.map(median), "1");
}

fn lists(agents: &[Contender; 2]) {
    let mut clients = agents.each_ref().map(Contender::connect);
    let mut held = 0;
    for (number, aim) in [(1, "0.83"), (100, "0.2"), (1000, "0.1")] {
        while held < number {
            let key = Key::new();
            clients.iter_mut().for_each(|client| key.add(client, false));
            held += 1;
        }
        let times = in_turns(TURNS, &mut clients, |client| {
            client.number_of_keys();
        });
        milliseconds(&format!("list of {number}"), times, aim);
    }
    let mut sockets = agents.each_ref().map(Contender::socket);
    let times = in_turns(TURNS, &mut sockets, |socket| {
        Client::connect(socket).number_of_keys();
    });
    milliseconds("connect, list of 1000, close", times, "1");
}

fn connections(agents: &[Contender; 2]) {
    const NUMBER: usize = 1000;
    let held = agents.each_ref().map(|agent| {
        let before = agent.resident();
        let held = Held::open(agent.socket(), NUMBER);
        (held, agent.resident() - before)
    });
    let mut clients = agents.each_ref().map(Contender::connect);
    let times = in_turns(TURNS, &mut clients, |client| {
        client.number_of_keys();
    });
    milliseconds(&format!("list of 1000 beside {NUMBER} connections"), times, "");
    mebibytes(&format!("memory for {NUMBER} connections"), held.map(|(_, memory)| memory), "32 MiB");
}

fn signatures() {
    let env = Env::new();
    let agents = BOTH.map(|which| Contender::start(&env, which));
    let key = Key::new();
    let (blob, data) = (key.blob(), key.login());
    for agent in &agents {
        key.add(&mut agent.connect(), false);
    }
    for (connections, aim) in [(1, "1.2"), (8, "3")] {
        let speeds = agents.each_ref().map(|agent| speed(agent, connections, &blob, &data));
        per_second(&format!("Ed25519 logins signed, {connections} connection(s)"), speeds, aim);
    }
}

/// How many signatures a second there are over so many connections.
pub(crate) fn speed(agent: &Contender, connections: usize, blob: &[u8], data: &[u8]) -> f64 {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut client = agent.connect();
                for _ in 0..SIGNATURES / connections {
                    assert_eq!(client.sign(blob, data)[0], SIGN_RESPONSE, "a signature was refused");
                }
            });
        }
    });
    SIGNATURES as f64 / began.elapsed().as_secs_f64()
}

fn beside_a_prompt() {
    let env = Env::new();
    let key = Key::new();
    let times = BOTH.map(|which| {
        let agent = Contender::start(&env, which);
        key.add(&mut agent.connect(), true);
        let (mut signer, mut other) = (agent.connect(), agent.connect());
        signer.begin_to_sign(&key.blob(), &key.login());
        let asked = agent.person.wait_until_asked(Kind::Confirm);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(PROMPT);
                agent.person.answer(&Answer::Type("yes".into()));
            });
            let began = Instant::now();
            assert_eq!(other.number_of_keys(), 1);
            let listed = began.elapsed();
            assert!(signer.answer().is_some_and(|answer| answer[0] == SIGN_RESPONSE), "{asked:?}");
            listed
        })
    });
    milliseconds(&format!("list beside a prompt of {} s", PROMPT.as_secs()), times, "5 ms");
}

/// The median for each of the two, which take turns.
fn in_turns<T>(turns: usize, of: &mut [T; 2], mut act: impl FnMut(&mut T)) -> [Duration; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..turns {
        for (one, times) in of.iter_mut().zip(&mut times) {
            let began = Instant::now();
            act(one);
            times.push(began.elapsed());
        }
    }
    times.map(median)
}
