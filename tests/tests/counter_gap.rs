//! A log whose records don't explain what a token's counter says. OpenSK's counts by chance, so the token here is one key that
//! signs as a token does (OpenSSH PROTOCOL.u2f) and counts by one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::path::Path;

use agent::audit::AuditLog;
use agent::audit::chain::Hash;
use agent::audit::log::FileLog;
use agent::audit::record::{
    Assertion, Course, Evidence, Intent, Kept, Meaning, Outcome, Peer, RequestId, Signer, Subject, Token, Verification,
};
use agent::audit::run;
use agent::identity::{fingerprint, key_blob};
use agent::policy::Ground;
use agent::token::protocol::Bytes;
use serde_json::{Value, json};
use signature::Signer as _;
use ssh_encoding::Encode;
use ssh_key::public::{KeyData, SkEd25519};
use ssh_key::rand_core::OsRng;
use ssh_key::sha2::{Digest, Sha256};
use ssh_key::{Algorithm, PrivateKey, Signature};
use tests::{Env, sshsig};

const APPLICATION: &str = "ssh:";
const UP_AND_UV: u8 = 5;

/// A token's key, and what it is called.
struct Counting {
    key: PrivateKey,
    public: KeyData,
}

impl Counting {
    fn new() -> Self {
        let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
        let point = *key.public_key().key_data().ed25519().unwrap();
        Self { key, public: KeyData::SkEd25519(SkEd25519::new(point, APPLICATION)) }
    }

    /// Signs for a file, and says this counter.
    fn sign(&self, data: &[u8], counter: u32) -> Bytes {
        let trailer = [&[UP_AND_UV][..], &counter.to_be_bytes()].concat();
        let message = [&Sha256::digest(APPLICATION)[..], &trailer, &Sha256::digest(data)].concat();
        let signature: Signature = self.key.try_sign(&message).unwrap();
        let mut encoded = Vec::new();
        "sk-ssh-ed25519@openssh.com".encode(&mut encoded).unwrap();
        signature.as_bytes().encode(&mut encoded).unwrap();
        Bytes([encoded, trailer].concat())
    }

    /// Writes the log of an agent that had these counters of it, each by one assertion.
    fn logged(&self, path: &Path, counters: &[u32]) {
        let log = FileLog::open(path, run::begin("default", Hash::of(b""))).unwrap();
        let data = sshsig("file");
        let named = |text: &str| text.to_owned();
        let intent = Intent {
            subject: Subject {
                peer: Peer { pid: 1, uid: 1000, pinned: true, programs: vec![] },
                key: fingerprint(&self.public),
                application: Some(named(APPLICATION)),
                certificate: None,
                meaning: Meaning::Signature { namespace: named("file") },
                bindings: vec![],
            },
            evidence: Evidence {
                key: Kept::Whole(Bytes(key_blob(&self.public))),
                data: Kept::Whole(Bytes(data.clone())),
                bindings: vec![],
            },
            destination: named("asked on this machine [reported]"),
            rule: Ground::ThisMachine,
            signer: Signer::Token {
                token: Token {
                    product: named("token"),
                    serial: named("1"),
                    path: named("-"),
                    name: None,
                    aaguid: None,
                },
                user_verification: Verification::Pin,
            },
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (assertions, counter) in (1..).zip(counters) {
            let user_verification = Verification::Pin;
            let (flags, counter) = (UP_AND_UV, *counter);
            let assertion = Assertion { flags, counter, counter_step: None, assertions, user_verification };
            let outcome = Outcome::Signed { assertion: Some(assertion), signature: self.sign(&data, counter) };
            let written = log.intent_and_outcome(RequestId(assertions), intent.clone(), outcome, Course::default());
            runtime.block_on(written).unwrap();
        }
    }
}

#[test]
fn a_use_that_is_on_no_record_is_told_of() {
    let env = Env::new();
    for (counters, code, words) in [
        (&[1, 2, 3, 4, 5][..], 0, ""),
        (&[1, 2, 3, 4, 6], 13, "goes from 4 to 6, and the agent had 1 assertions for that"),
        (&[1, 2, 3, 4, 4], 13, "goes from 4 to 4, and no token's does"),
    ] {
        let log = env.path(&format!("{}.jsonl", counters.last().unwrap() + code));
        Counting::new().logged(&log, counters);
        let verify = env.program(tests::built("agent-cli")).args(["audit", "verify", "--json", "--log"]).arg(&log);
        let report: Value = serde_json::from_str(&verify.run().code(code.cast_signed()).stdout).unwrap();
        assert_eq!(report["signatures"], counters.len());
        match report["findings"].as_array().unwrap().as_slice() {
            [] => assert_eq!(code, 0),
            [finding] => {
                assert_eq!((&finding["kind"], &finding["line"]), (&json!("counter_gap"), &json!(10)));
                assert!(finding["what"].as_str().unwrap().contains(words), "{finding}");
            }
            findings => panic!("{findings:?}"),
        }
    }
}
