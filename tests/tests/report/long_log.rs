//! A log of three months and many uses, which no test could wait for: its records are the library's own, chained and written as
//! an agent writes them, its signatures are good, and its times are in the past.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use agent::audit::canonical;
use agent::audit::chain::{Hash, Head};
use agent::audit::record::{
    Act, Assertion, Attempt, Binding, BindingEvidence, Course, Event, Evidence, Intent, Kept, Meaning, Outcome, Peer,
    Program, PromptKind, Prompted, Record, RequestId, SettingChange, Signer, Subject, Times, Token, VERSION,
    Verification,
};
use agent::audit::run;
use agent::denial::{Code, Denial};
use agent::identity::{fingerprint, key_blob};
use agent::policy::Ground;
use agent::token::protocol::Bytes;
use jiff::{SignedDuration, Timestamp};
use signature::Signer as _;
use ssh_encoding::Encode;
use ssh_key::public::{KeyData, SkEd25519};
use ssh_key::rand_core::OsRng;
use ssh_key::sha2::{Digest, Sha256};
use ssh_key::{Algorithm, HashAlg, PrivateKey, Signature};
use tests::string;

const APPLICATION: &str = "ssh:";
const METHOD: &str = "publickey-hostbound-v00@openssh.com";
const UP_AND_UV: u8 = 5;
const USERS: [&str; 4] = ["admin", "netops", "emergency", "root"];
const HOSTS: [&str; 7] =
    ["jump-1", "leaf-1.fabric.example", "leaf-2.fabric.example", "spine-1", "spine-2", "console", "pdu"];

/// What is in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) signed: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    pub(crate) wrong_pins: u64,
    pub(crate) acts: u64,
}

struct Log {
    file: BufWriter<File>,
    head: Head,
    time: Timestamp,
    request: u64,
    keys: Vec<Key>,
    hosts: Vec<PrivateKey>,
    written: Written,
    agent: agent::audit::record::AgentRun,
}

/// A key on a token that counts by one.
struct Key {
    private: PrivateKey,
    public: KeyData,
    counter: u32,
    token: &'static str,
}

impl Key {
    fn new(token: &'static str) -> Self {
        let private = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
        let point = *private.public_key().key_data().ed25519().unwrap();
        Self { private, public: KeyData::SkEd25519(SkEd25519::new(point, APPLICATION)), counter: 0, token }
    }

    /// As a token signs (OpenSSH PROTOCOL.u2f).
    fn sign(&mut self, data: &[u8]) -> Bytes {
        self.counter += 1;
        let trailer = [&[UP_AND_UV][..], &self.counter.to_be_bytes()].concat();
        let message = [&Sha256::digest(APPLICATION)[..], &trailer, &Sha256::digest(data)].concat();
        let signature: Signature = self.private.try_sign(&message).unwrap();
        let mut encoded = Vec::new();
        "sk-ssh-ed25519@openssh.com".encode(&mut encoded).unwrap();
        signature.as_bytes().encode(&mut encoded).unwrap();
        Bytes([encoded, trailer].concat())
    }
}

/// Writes a log with so many uses to `path`, and the names of its hosts to `known_hosts`.
pub(crate) fn write(path: &Path, known_hosts: &Path, uses: u64) -> Written {
    let hosts: Vec<_> = HOSTS.map(|_| PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap()).into();
    // One has no name.
    let lines = hosts
        .iter()
        .zip(HOSTS)
        .skip(1)
        .map(|(key, name)| format!("{name} {}\n", key.public_key().to_openssh().unwrap()));
    std::fs::write(known_hosts, lines.collect::<String>()).unwrap();
    let mut log = Log {
        file: BufWriter::new(File::create(path).unwrap()),
        head: Head::default(),
        time: "2026-08-24T05:30:00Z".parse().unwrap(),
        request: 0,
        keys: ["desk", "safe"].map(Key::new).into(),
        hosts,
        written: Written::default(),
        agent: run::begin("default", Hash::of(b"")),
    };
    log.act(Act::Start);
    for number in 0..uses {
        log.pass(number, uses);
        log.use_key(number);
    }
    log.file.flush().unwrap();
    log.written
}

/// What some number says: the same each time, and without a pattern that the eye sees.
fn dice(number: u64, sides: u64) -> u64 {
    let hash = Sha256::digest(number.to_be_bytes());
    u64::from_be_bytes(hash[..8].try_into().unwrap()) % sides
}

impl Log {
    fn record(&mut self, event: Event) {
        let Head { sequence, hash } = self.head;
        let (agent, boot_ms) = (self.agent.clone(), u64::try_from(self.time.as_millisecond()).unwrap() / 1000);
        let record =
            Record { version: VERSION, sequence: sequence + 1, previous: hash, time: self.time, boot_ms, agent, event };
        let line = canonical::to_vec(&record).unwrap();
        self.file.write_all(&line).and_then(|()| self.file.write_all(b"\n")).unwrap();
        self.head = self.head.after(&line);
    }

    fn act(&mut self, act: Act) {
        self.record(Event::Act { act });
        self.written.acts += 1;
    }

    /// Time passes: by day most, by night little.
    fn pass(&mut self, number: u64, uses: u64) {
        let mean = 90 * 24 * 3600 / uses.max(1);
        let by_night = !(5..17).contains(&(self.time.as_second() / 3600 % 24));
        let step = dice(number, mean.max(1) + 1) * if by_night { 3 } else { 1 };
        self.time += SignedDuration::from_secs(i64::try_from(step).unwrap());
        match dice(number + 1_000_000, 900) {
            0 => self.act(Act::Attach { peer: peer("agent-cli"), handed_over: None }),
            1 => self.act(Act::Leave { reason: agent::audit::record::LeaveReason::ScreenLock }),
            2 => self.act(Act::Muted { peer: peer("ssh"), refusals: 20, seconds: 60 }),
            3 => self.act(Act::ConfigChanged {
                config: Hash::of(b"new"),
                settings: vec![SettingChange {
                    name: "unbound_hop".into(),
                    from: None,
                    to: Some("\"deny\"".into()),
                    at_next_start: false,
                }],
            }),
            _ => {}
        }
    }

    fn use_key(&mut self, number: u64) {
        let request = RequestId(self.request);
        self.request += 1;
        let (subject, evidence, destination) = self.asked(number);
        let key = usize::try_from(dice(number + 3, 10) / 9).unwrap();
        let refused = |code| Outcome::Refused { denial: Denial::plain(code), subject: None };
        let kind = dice(number + 2_000_000, 1000);
        if kind < 35 {
            let code = [Code::SessionMismatch, Code::TouchTimeout, Code::PromptRefused, Code::UnboundHop]
                [dice(number, 4) as usize];
            let outcome = Outcome::Refused { denial: Denial::plain(code), subject: Some(Box::new(subject)) };
            self.record(Event::Outcome { request, outcome, course: Some(Course::default()) });
            self.written.refused += 1;
            return;
        }
        let data = evidence.data.bytes().unwrap().to_vec();
        let intent = Intent {
            subject,
            evidence,
            destination,
            rule: Ground::ProvenRoute,
            signer: Signer::Token { token: token(self.keys[key].token), user_verification: Verification::Pin },
        };
        self.record(Event::Intent { request, intent });
        self.time += SignedDuration::from_secs(2);
        if kind < 50 {
            let attempt = Attempt {
                user_verification: Verification::Pin,
                error: "the token did not accept the PIN".into(),
                ctap_status: Some(0x31),
                tries_left: Some(7),
            };
            self.record(Event::Attempt { request, attempt });
            self.written.wrong_pins += 1;
        }
        self.time += SignedDuration::from_secs(3);
        if kind < 40 {
            self.record(Event::Outcome { request, outcome: refused(Code::PinWrong), course: Some(course(2)) });
            self.written.wrong_pins += 1;
            self.written.refused += 1;
        } else if kind == 999 {
            let intent_by = self.agent.run;
            self.record(Event::Outcome { request, outcome: Outcome::Unknown { intent_by }, course: None });
            self.written.unknown += 1;
        } else {
            let signature = self.keys[key].sign(&data);
            let assertion = Assertion {
                flags: UP_AND_UV,
                counter: self.keys[key].counter,
                counter_step: (self.keys[key].counter > 1).then_some(1),
                assertions: self.request,
                user_verification: Verification::Pin,
            };
            let outcome = Outcome::Signed { assertion: Some(assertion), signature };
            self.record(Event::Outcome { request, outcome, course: Some(course(1)) });
            self.written.signed += 1;
        }
    }

    fn asked(&self, number: u64) -> (Subject, Evidence, String) {
        let place = usize::try_from(dice(number + 1, 49)).unwrap().isqrt();
        let (host, user) = (&self.hosts[place], USERS[(dice(number + 2, 16) as usize).isqrt()]);
        let key = &self.keys[usize::try_from(dice(number + 3, 10) / 9).unwrap()];
        let session = Sha256::digest(number.to_be_bytes());
        let (blob, host_blob) = (key_blob(&key.public), host.public_key().to_bytes().unwrap());
        let data = [
            &string(&session)[..],
            &[50],
            &string(user.as_bytes()),
            &string(b"ssh-connection"),
            &string(METHOD.as_bytes()),
            &[1],
            &string(b"sk-ssh-ed25519@openssh.com"),
            &string(&blob),
            &string(&host_blob),
        ]
        .concat();
        let name = |host: &PrivateKey| host.public_key().fingerprint(HashAlg::Sha256).to_string();
        let mut way = vec![];
        if place != 0 && dice(number + 4, 3) == 0 {
            way.push((&self.hosts[0], Sha256::digest(data.as_slice()), true));
        }
        way.push((host, session, false));
        let bindings =
            way.iter().map(|(host, _, forwarding)| Binding { host_key: name(host), forwarding: *forwarding });
        let proofs = way.iter().map(|(host, session, forwarding)| {
            let signature: Signature = host.try_sign(session).unwrap();
            BindingEvidence {
                host_key: Kept::Whole(Bytes(host.public_key().to_bytes().unwrap())),
                session_id: Bytes(session.to_vec()),
                signature: Bytes(Vec::try_from(signature).unwrap()),
                forwarding: *forwarding,
            }
        });
        let through =
            if way.len() > 1 { format!(", forwarded through {} [verified]", name(way[0].0)) } else { String::new() };
        let subject = Subject {
            peer: peer("ssh"),
            key: fingerprint(&key.public),
            application: Some(APPLICATION.into()),
            certificate: None,
            meaning: Meaning::Login {
                user: user.into(),
                service: "ssh-connection".into(),
                method: METHOD.into(),
                host_key: Some(name(host)),
            },
            bindings: bindings.collect(),
        };
        let evidence =
            Evidence { key: Kept::Whole(Bytes(blob)), data: Kept::Whole(Bytes(data)), bindings: proofs.collect() };
        (subject, evidence, format!("on the host with key {} [verified]{through}", name(host)))
    }
}

fn peer(name: &str) -> Peer {
    let program = |pid, name: &str| Program { pid, name: name.into(), executable: Some(format!("/usr/bin/{name}")) };
    Peer {
        pid: 4711,
        uid: 1000,
        pinned: true,
        programs: vec![program(4711, name), program(4700, "bash"), program(1200, "tmux")],
    }
}

fn token(name: &str) -> Token {
    Token {
        product: "FIDO2 security key".into(),
        serial: "0012345".into(),
        path: "/dev/hidraw3".into(),
        name: Some(name.into()),
        aaguid: Some("2fc0579f811347eab116bb5a8db9202a".into()),
    }
}

fn course(pins: usize) -> Course {
    let secret =
        Prompted { kind: PromptKind::Secret, channel: "terminal".into(), hash: Hash::of(b"PIN"), ms: Some(2150) };
    let mut prompts = vec![secret; pins];
    prompts.push(Prompted { kind: PromptKind::Notice, channel: "terminal".into(), hash: Hash::of(b"Touch"), ms: None });
    Course { prompts, times: Times { total: 4321, person: 2150, token: 1700, disk: 12, ..Times::default() } }
}
