//! Records for tests.

use super::chain::Hash;
use super::record::{
    AgentRun, Assertion, Event, Evidence, Intent, Kept, Meaning, Outcome, Peer, Program, Record, RunId, Signer,
    Subject, Token, VERSION, Verification,
};
use crate::policy::Ground;
use crate::token::protocol::Bytes;

/// The run of the agent that writes them.
pub(crate) fn run() -> AgentRun {
    AgentRun {
        instance: "default".into(),
        run: RunId(1),
        pid: 1,
        version: "1".into(),
        boot_id: "boot".into(),
        config: Hash::of(b""),
    }
}

/// A client: this program, which that one has started, and so on.
pub(crate) fn peer(programs: &[&str]) -> Peer {
    let program = |(name, pid): (&&str, i32)| Program { pid, name: (*name).into(), executable: None };
    Peer { pid: 7, uid: 1000, pinned: true, programs: programs.iter().zip(7..).map(program).collect() }
}

/// An ssh asks for this key, for what nobody can read.
pub(crate) fn subject(key: &str) -> Subject {
    Subject {
        peer: peer(&["ssh"]),
        key: key.into(),
        application: None,
        certificate: None,
        meaning: Meaning::Opaque,
        bindings: vec![],
    }
}

/// A key and data that are none.
pub(crate) fn evidence() -> Evidence {
    Evidence { key: Kept::Whole(Bytes(vec![1])), data: Kept::Whole(Bytes(vec![2])), bindings: vec![] }
}

/// The key is going to be used so.
pub(crate) fn intent(key: &str, signer: Signer) -> Intent {
    Intent {
        subject: subject(key),
        evidence: evidence(),
        destination: "there".into(),
        rule: Ground::ThisMachine,
        signer,
    }
}

/// A token that verifies its user by PIN.
pub(crate) fn token() -> Signer {
    let token =
        Token { product: "token".into(), serial: "1".into(), path: "/dev/hidraw0".into(), name: None, aaguid: None };
    Signer::Token { token, user_verification: Verification::Pin }
}

/// A signature that is none, of a token that was touched and verified its user, or of a software key.
pub(crate) fn signed(by_token: bool) -> Outcome {
    let assertion =
        Assertion { flags: 5, counter: 1, counter_step: None, assertions: 1, user_verification: Verification::Pin };
    Outcome::Signed { assertion: by_token.then_some(assertion), signature: Bytes(vec![3; 64]) }
}

/// A record as it stands in a log, without its line's end. Its chain is not whole.
pub(crate) fn line(sequence: u64, run: u64, event: Event) -> String {
    let (time, previous) = (jiff::Timestamp::UNIX_EPOCH, Hash::of(b""));
    let agent = AgentRun { run: RunId(run), ..self::run() };
    serde_json::to_string(&Record { version: VERSION, sequence, previous, time, boot_ms: 0, agent, event }).unwrap()
}
