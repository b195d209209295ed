//! A client of an agent in a process of its own, for what agents tell processes by. It does one thing until its standard
//! input ends, or until the agent does not answer any more:
//!
//!     another-client list SOCKET SECONDS          lists the keys, and says in the end how long that took
//!     another-client hold SOCKET NUMBER BYTES     holds so many connections, each with so much of a message begun

#![allow(clippy::expect_used, clippy::panic, reason = "a test program that cannot go on ends")]

use std::io::{Read, Write, stdin, stdout};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::net::sockopt::socket_peercred;

/// Between two lists.
const PAUSE: Duration = Duration::from_millis(3);
/// So many lists are taken at least.
const LEAST: u32 = 3;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &str| text.parse::<u32>().expect("a number");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list", socket, seconds] => list(socket, Duration::from_secs(number(seconds).into())),
        ["hold", socket, connections, bytes] => hold(socket, number(connections), number(bytes)),
        _ => panic!("{arguments:?}"),
    }
}

/// Disconnected once standard input has ended.
fn end_of_input() -> Receiver<()> {
    let (ended, end) = channel();
    std::thread::spawn(move || {
        let _ended = ended;
        let _ = std::io::copy(&mut stdin(), &mut std::io::sink());
    });
    end
}

/// Prints the longest time that a list took, in microseconds, the longest without what other programs kept the processor
/// busy with, and how it ended.
fn list(socket: &str, patience: Duration) {
    let end = end_of_input();
    let mut agent = UnixStream::connect(socket).expect("the agent listens");
    agent.set_read_timeout(Some(patience)).expect("a socket takes a time limit");
    let agent_pid = socket_peercred(&agent).expect("a socket knows its other end").pid;
    let waited = || waited_for_a_processor("self") + waited_for_a_processor(&agent_pid.to_string());
    let (mut lists, mut longest, mut longest_itself) = (0, Duration::ZERO, Duration::ZERO);
    let how = loop {
        let (began, waited_before) = (Instant::now(), waited());
        match list_once(&mut agent) {
            Ok(IDENTITIES_ANSWER) => {}
            Ok(other) => panic!("the agent answers with message {other}"),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break "left waiting",
            Err(_) => break "hung up on",
        }
        let took = began.elapsed();
        longest = longest.max(took);
        longest_itself = longest_itself.max(took.saturating_sub(waited() - waited_before));
        lists += 1;
        if lists == 1 {
            say("begun");
        }
        let ended = !matches!(end.recv_timeout(PAUSE), Err(RecvTimeoutError::Timeout));
        if ended && lists >= LEAST {
            break "served";
        }
    };
    say(&format!("{} {} {how}", longest.as_micros(), longest_itself.as_micros()));
}

/// How long a process could have run and did not, since others did (its first thread: the second number of schedstat).
fn waited_for_a_processor(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap_or_default();
    let nanoseconds = stat.split(' ').nth(1).and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn list_once(agent: &mut UnixStream) -> std::io::Result<u8> {
    agent.write_all(&[0, 0, 0, 1, REQUEST_IDENTITIES])?;
    let mut length = [0; 4];
    agent.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    agent.read_exact(&mut answer)?;
    Ok(answer.first().copied().unwrap_or_default())
}

fn hold(socket: &str, connections: u32, bytes: u32) {
    /// A socket's queue may be full for as long as the agent has no place for more.
    const PATIENCE: Duration = Duration::from_secs(1);
    let end = end_of_input();
    // One byte is missing, with the length in front.
    let begun = [&bytes.to_be_bytes()[..], &vec![REQUEST_IDENTITIES; bytes as usize]].concat();
    let begun = &begun[..begun.len() - 1];
    let mut held = Vec::new();
    for _ in 0..connections {
        let Ok(mut agent) = tests::connect_within(Path::new(socket), PATIENCE) else { break };
        // What the agent does not read at once stays where it is.
        agent.set_nonblocking(true).expect("a socket of ours");
        let _ = agent.write(begun);
        held.push(agent);
    }
    say("begun");
    let _ = end.recv();
}

fn say(line: &str) {
    let mut out = stdout();
    // Nobody need listen any more.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
