//! Connections that are held open by processes of their own: our agent takes 256 of one process.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub(crate) const HOLD: &str = "hold";

/// How many connections one process holds.
const OF_ONE_PROCESS: usize = 200;

/// Connections that are open as long as this lives.
pub(crate) struct Held(Vec<Child>);

impl Held {
    pub(crate) fn open(socket: &Path, number: usize) -> Self {
        let own = std::env::current_exe().expect("this program has a file");
        let start = |_| {
            let mut command = Command::new(&own);
            command.arg(HOLD).arg(socket).arg(OF_ONE_PROCESS.to_string());
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this program can be started again")
        };
        let mut children: Vec<Child> = (0..number.div_ceil(OF_ONE_PROCESS)).map(start).collect();
        for child in &mut children {
            let mut ready = String::new();
            let stdout = child.stdout.as_mut().expect("a pipe");
            BufReader::new(stdout).read_line(&mut ready).expect("it says when it is ready");
            assert_eq!(ready, "ready\n", "not all connections were taken");
        }
        Self(children)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// Opens connections, has each answered once, and holds them until standard input ends.
pub(crate) fn hold(socket: &Path, number: &str) {
    let number: usize = number.parse().expect("a number");
    let mut connections = Vec::new();
    for _ in 0..number {
        let mut stream = UnixStream::connect(socket).expect("the agent takes a connection");
        stream.write_all(&[0, 0, 0, 1, 11]).expect("the agent reads");
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("the agent answers");
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer).expect("an answer is whole");
        connections.push(stream);
    }
    println!("ready");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
