//! Records for tests.

use super::chain::Hash;
use super::record::{
    Assertion, Event, Evidence, Intent, Kept, Meaning, Outcome, Peer, Record, Signer, Subject, VERSION, Verification,
};
use crate::token::protocol::Bytes;

/// An ssh asks for this key, for what nobody can read.
pub(crate) fn subject(key: &str) -> Subject {
    Subject {
        peer: Peer { pid: 7, uid: 1000, programs: vec!["ssh".into()] },
        key: key.into(),
        application: None,
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
    Intent { subject: subject(key), evidence: evidence(), destination: "there".into(), signer }
}

/// A signature that is none, of a token that was touched and verified its user, or of a software key.
pub(crate) fn signed(by_token: bool) -> Outcome {
    let assertion = Assertion { flags: 5, counter: 1, user_verification: Verification::Pin };
    Outcome::Signed { assertion: by_token.then_some(assertion), signature: Bytes(vec![3; 64]) }
}

/// A record as it stands in a log, without its line's end. Its chain is not whole.
pub(crate) fn line(sequence: u64, agent_pid: u32, event: Event) -> String {
    let (time, previous) = (jiff::Timestamp::UNIX_EPOCH, Hash::of(b""));
    serde_json::to_string(&Record { version: VERSION, sequence, previous, time, agent_pid, event }).unwrap()
}
