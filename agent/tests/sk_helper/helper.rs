//! A helper under test, and the questions that most tests ask it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use agent::token::TokenError;
use agent::token::protocol::{
    Algorithm, Bytes, Command, Failure, Hello, Message, NewCredential, Pin, Progress, RawAssertion, RawCredential,
    Reply, State, VERSION, Verification,
};
use soft_token::{Bus, Device};
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::sha2::{Digest, Sha256};

pub(crate) const PIN: &str = "1234";
pub(crate) const BOTH: [Algorithm; 2] = [Algorithm::Ed25519, Algorithm::EcdsaP256];

/// How long a test waits for a helper that should have answered.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running helper. Every line that it writes has to be a message.
pub(crate) struct Helper {
    pub(crate) child: Child,
    stdin: Option<ChildStdin>,
    messages: Receiver<Message>,
    stderr: Option<JoinHandle<String>>,
}

impl Helper {
    pub(crate) fn start(bus: &Bus) -> Self {
        let mut child = bus
            .command(env!("CARGO_BIN_EXE_sk-helper"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sk-helper starts");
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut hello = String::new();
        stdout.read_line(&mut hello).unwrap();
        assert_eq!(serde_json::from_str::<Hello>(&hello).expect("a hello"), Hello { version: VERSION });
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines() {
                let line = line.unwrap();
                let message = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a message: {line}"));
                let _ = sender.send(message);
            }
        });
        let mut errors = child.stderr.take().unwrap();
        let stderr = Some(thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            text
        }));
        Self { child, stdin, messages, stderr }
    }

    pub(crate) fn send_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line.as_bytes()).and_then(|()| stdin.write_all(b"\n")).expect("the helper reads");
    }

    pub(crate) fn send(&mut self, command: &Command) {
        self.send_line(&serde_json::to_string(command).unwrap());
    }

    pub(crate) fn next(&mut self) -> Message {
        self.messages.recv_timeout(PATIENCE).expect("the helper says something")
    }

    /// The rest of a command's messages: its progress, and its end.
    pub(crate) fn end(&mut self) -> (Vec<Progress>, Result<Reply, Failure>) {
        let mut progress = Vec::new();
        loop {
            match self.next() {
                Message::Progress(step) => progress.push(step),
                Message::Reply(reply) => return (progress, Ok(reply)),
                Message::Failed(failure) => return (progress, Err(failure)),
            }
        }
    }

    pub(crate) fn ask(&mut self, command: &Command) -> Result<Reply, Failure> {
        self.send(command);
        self.end().1
    }

    pub(crate) fn error(&mut self, command: &Command) -> TokenError {
        self.ask(command).expect_err("a failure").error
    }

    /// Reads on until the token waits for its person; returns the channel.
    pub(crate) fn wait_for_presence(&mut self) -> [u8; 4] {
        let mut opened = None;
        loop {
            match self.next() {
                Message::Progress(Progress::Channel { channel, .. }) => opened = Some(channel.0.try_into().unwrap()),
                Message::Progress(Progress::PresenceNeeded) => return opened.expect("a channel before it is used"),
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn make(
        &mut self,
        device: &Device,
        options: NewCredential,
        verification: Verification,
    ) -> RawCredential {
        match self.ask(&Command::MakeCredential { path: path(device), options, verification }) {
            Ok(Reply::Credential(credential)) => credential,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn sign(&mut self, command: &Command) -> RawAssertion {
        match self.ask(command) {
            Ok(Reply::Assertion(assertion)) => assertion,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn state(&mut self, device: &Device) -> State {
        match self.ask(&Command::GetState { path: path(device) }) {
            Ok(Reply::State(state)) => state,
            other => panic!("{other:?}"),
        }
    }

    /// Closes the helper's input and returns what it wrote to standard error.
    pub(crate) fn finish(mut self) -> String {
        self.hang_up();
        assert!(self.child.wait().unwrap().success());
        self.stderr.take().unwrap().join().unwrap()
    }

    pub(crate) fn hang_up(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn wait(&mut self) -> Duration {
        let since = Instant::now();
        self.child.wait().unwrap();
        since.elapsed()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn path(device: &Device) -> String {
    device.path().to_str().unwrap().to_owned()
}

pub(crate) fn with_pin(pin: &str) -> Verification {
    Verification::Pin(Pin(pin.into()))
}

pub(crate) fn new_credential(algorithm: Algorithm) -> NewCredential {
    NewCredential {
        application: "ssh:".into(),
        algorithm,
        resident: false,
        verify_required: false,
        user_id: Bytes(vec![7; 32]),
        user_name: "sk".into(),
        challenge: Bytes(b"challenge".to_vec()),
    }
}

pub(crate) fn get_assertion(device: &Device, key: &RawCredential, verification: Verification) -> Command {
    Command::GetAssertion {
        path: path(device),
        application: "ssh:".into(),
        key_handle: key.key_handle.clone(),
        data: Bytes(b"data".to_vec()),
        verification,
    }
}

pub(crate) fn probe(device: &Device, key_handle: &Bytes) -> Command {
    Command::Probe {
        path: path(device),
        application: "ssh:".into(),
        key_handle: key_handle.clone(),
        data: Bytes(b"data".to_vec()),
    }
}

/// Whether the assertion is by this key, over `data`, and has exactly these flags.
pub(crate) fn verify(assertion: &RawAssertion, key: &RawCredential, flags: u8) {
    assert_eq!(assertion.auth_data.0.len(), 37);
    assert_eq!(assertion.auth_data.0[..32], *Sha256::digest("ssh:"));
    assert_eq!(assertion.auth_data.0[32], flags, "flags");
    let message = [&assertion.auth_data.0, Sha256::digest("data").as_slice()].concat();
    if let Ok(key) = Ed25519PublicKey::try_from(key.public_key.0.as_slice()) {
        use signature::Verifier;
        let signature = ssh_key::Signature::new(ssh_key::Algorithm::Ed25519, assertion.signature.0.clone()).unwrap();
        KeyData::Ed25519(key).verify(&message, &signature).expect("the signature verifies");
    } else {
        use p256::ecdsa::signature::Verifier;
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&key.public_key.0).unwrap();
        let signature = p256::ecdsa::Signature::from_der(&assertion.signature.0).unwrap();
        key.verify(&message, &signature).expect("the signature verifies");
    }
}

/// Cancels as the daemon does: with a report of its own, by a process that knows no more than the channel.
pub(crate) fn cancel_from_outside(bus: &Bus, device: &Device, channel: [u8; 4]) {
    let mut report = [0; 65];
    report[1..5].copy_from_slice(&channel);
    report[5] = 0x91;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report");
    File::create(&file).and_then(|mut file| file.write_all(&report)).unwrap();
    let status = bus
        .command("dd")
        .arg(format!("if={}", file.display()))
        .arg(format!("of={}", device.path().display()))
        .args(["bs=65", "conv=notrunc,nocreat", "status=none"])
        .status()
        .unwrap();
    assert!(status.success());
}
