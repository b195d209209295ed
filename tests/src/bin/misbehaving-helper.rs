//! A token helper that is broken, or in the hands of somebody else: `misbehaving-helper WAY SK-HELPER`.
//!
//! Where a lie needs some truth around it, the real helper is asked, and what it is told or says is changed on the way.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper that misbehaves by mistake has to be noticed")]

use std::io::{self, BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio, exit};
use std::thread;

use agent::token::protocol::{
    Bytes, Command, Device, Hello, Message, Progress, RawAssertion, Reply, VERSION, Verification,
};
use rustix::process::{Pid, Signal, kill_process};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, way, real] = arguments.as_slice() else { panic!("misbehaving-helper WAY SK-HELPER") };
    match way.as_str() {
        "hangs-before-hello" => hang(),
        "dies-before-hello" => exit(1),
        "speaks-another-version" => say(&Hello { version: VERSION + 1 }),
        "says-rubbish-for-hello" => say_bytes(b"{\"version\": 1\n"),
        _ => say(&Hello { version: VERSION }),
    }
    let mut real = Real::start(real);
    for line in io::stdin().lock().lines() {
        let line = line.expect("the agent writes UTF-8");
        let command = serde_json::from_str(&line).expect("the agent gives commands");
        serve(way, &mut real, command);
    }
}

fn serve(way: &str, real: &mut Real, command: Command) {
    let is_assertion = matches!(command, Command::GetAssertion { .. });
    match (way, is_assertion) {
        ("hangs", _) => hang(),
        ("dies", _) => exit(0),
        ("talks-rubbish", _) => say_bytes(b"Touch the device when it blinks!\n"),
        ("talks-no-text", _) => say_bytes(b"\xff\xfe\xfd\n"),
        ("talks-without-end", _) => loop {
            say_bytes(&[b'x'; 4096]);
        },
        ("answers-something-else", true) => say(&Message::Reply(Reply::Devices(vec![]))),
        ("shouts-for-a-touch", true) => loop {
            say(&Message::Progress(Progress::PresenceNeeded));
        },
        ("names-a-file-as-device", _) if matches!(command, Command::List) => {
            say(&Message::Reply(Reply::Devices(vec![device("/etc/passwd")])));
        }
        _ => {
            real.tell(&change_command(way, command));
            loop {
                let message = real.next();
                let more = matches!(message, Message::Progress(_));
                let at_touch = is_assertion && matches!(message, Message::Progress(Progress::PresenceNeeded));
                say(&if is_assertion { change_message(way, message) } else { message });
                match way {
                    "dies-at-the-touch" if at_touch => {
                        real.stop();
                        exit(0)
                    }
                    "hangs-at-the-touch" if at_touch => {
                        real.stop();
                        hang()
                    }
                    _ => {}
                }
                if !more {
                    break;
                }
            }
        }
    }
}

/// What the token is asked in place of what the agent asked for.
fn change_command(way: &str, command: Command) -> Command {
    match (way, command) {
        ("asks-without-verification", Command::GetAssertion { path, application, key_handle, data, .. }) => {
            Command::GetAssertion { path, application, key_handle, data, verification: Verification::None }
        }
        ("asks-without-touch", Command::GetAssertion { path, application, key_handle, data, .. }) => {
            Command::Probe { path, application, key_handle, data }
        }
        (
            "asks-for-another-signature",
            Command::GetAssertion { path, application, key_handle, mut data, verification },
        ) => {
            flip_last_bit(&mut data);
            Command::GetAssertion { path, application, key_handle, data, verification }
        }
        (_, command) => command,
    }
}

/// What the agent is told in place of what the token said to a request for a signature.
fn change_message(way: &str, message: Message) -> Message {
    match (way, message) {
        ("opens-another-device", Message::Progress(Progress::Channel { channel, .. })) => {
            Message::Progress(Progress::Channel { path: "/dev/hidraw999".into(), channel })
        }
        (way, Message::Reply(Reply::Assertion(assertion))) => {
            Message::Reply(Reply::Assertion(change_assertion(way, assertion)))
        }
        (_, message) => message,
    }
}

fn change_assertion(way: &str, mut assertion: RawAssertion) -> RawAssertion {
    const FLAGS: usize = 32;
    const BOTH: u8 = 0x05;
    match way {
        "changes-the-signature" => flip_last_bit(&mut assertion.signature),
        "leaves-the-signature-out" => assertion.signature = Bytes(vec![]),
        "names-another-credential" => flip_last_bit(&mut assertion.credential_id),
        "cuts-the-data" => assertion.auth_data.0.truncate(FLAGS),
        // What the token was not asked, is claimed of it: its signature is over the true flags.
        "claims-both-flags" => assertion.auth_data.0[FLAGS] |= BOTH,
        "hides-both-flags" => assertion.auth_data.0[FLAGS] &= !BOTH,
        _ => {}
    }
    assertion
}

fn flip_last_bit(bytes: &mut Bytes) {
    if let Some(last) = bytes.0.last_mut() {
        *last ^= 1;
    }
}

fn device(path: &str) -> Device {
    Device { path: path.into(), product: "Token".into(), serial: String::new(), vendor_id: 0, product_id: 0 }
}

fn say(message: &impl serde::Serialize) {
    let mut line = serde_json::to_vec(message).expect("a message is JSON");
    line.push(b'\n');
    say_bytes(&line);
}

/// Ends where nobody listens any more.
fn say_bytes(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    if stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err() {
        exit(0);
    }
}

/// Does nothing any more, whatever is said to it.
fn hang() -> ! {
    loop {
        thread::park();
    }
}

/// The real helper. It is killed when this process ends, so that it can put nothing right.
struct Real {
    child: Child,
    commands: ChildStdin,
    messages: Lines<BufReader<ChildStdout>>,
}

impl Real {
    fn start(program: &str) -> Self {
        let mut child = Process::new("/usr/bin/setpriv")
            .args(["--pdeathsig", "KILL", "--", program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sk-helper starts");
        let commands = child.stdin.take().expect("a pipe was asked for");
        let mut messages = BufReader::new(child.stdout.take().expect("a pipe was asked for")).lines();
        drop(messages.next());
        Self { child, commands, messages }
    }

    fn tell(&mut self, command: &Command) {
        let mut line = serde_json::to_vec(command).expect("a command is JSON");
        line.push(b'\n');
        self.commands.write_all(&line).expect("sk-helper takes commands");
    }

    fn next(&mut self) -> Message {
        let line = self.messages.next().expect("sk-helper answers").expect("sk-helper writes UTF-8");
        serde_json::from_str(&line).expect("sk-helper sends messages")
    }

    /// It does nothing any more, and so does not cancel what the token waits for when it is left alone.
    fn stop(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).expect("sk-helper is there");
    }
}
