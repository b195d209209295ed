//! Logins as OCSF Authentication events (class 3002, schema.ocsf.io 1.8.0). What OCSF has no attribute for is in `unmapped`.

use agent::assertion::USER_VERIFIED;
use agent::audit::history::{Entry, What};
use agent::audit::record::{Assertion, Certified, Meaning, Outcome, Peer, Signer, Verification};
use serde::Serialize;

use super::super::reading::{self, is_deceit};

const VERSION: &str = "1.8.0";
const CLASS: u32 = 3002;
const LOGON: u32 = 1;
/// What is on no list of OCSF's.
const OTHER: u32 = 99;

/// An event.
#[derive(Debug, Serialize)]
pub(super) struct Authentication<'a> {
    activity_id: u32,
    activity_name: &'static str,
    category_uid: u32,
    category_name: &'static str,
    class_uid: u32,
    class_name: &'static str,
    type_uid: u32,
    type_name: &'static str,
    time: i64,
    severity_id: u32,
    severity: &'static str,
    status_id: u32,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<&'static str>,
    status_detail: String,
    message: String,
    metadata: Metadata<'a>,
    user: Named<'a>,
    service: Named<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst_endpoint: Option<Endpoint<'a>>,
    actor: Actor<'a>,
    auth_protocol_id: u32,
    auth_protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_mfa: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    auth_factors: Vec<Factor>,
    is_remote: bool,
    logon_type_id: u32,
    logon_type: &'static str,
    unmapped: Unmapped<'a>,
}

#[derive(Debug, Serialize)]
struct Metadata<'a> {
    version: &'static str,
    product: Product<'a>,
    uid: String,
    sequence: u64,
    log_name: &'static str,
    log_version: String,
    original_time: String,
}

#[derive(Debug, Serialize)]
struct Product<'a> {
    name: &'static str,
    vendor_name: &'static str,
    version: &'a str,
}

#[derive(Debug, Serialize)]
struct Named<'a> {
    name: &'a str,
}

/// A host is known by the fingerprint of its key.
#[derive(Debug, Serialize)]
struct Endpoint<'a> {
    uid: &'a str,
}

#[derive(Debug, Serialize)]
struct Actor<'a> {
    process: Process<'a>,
    user: Uid,
}

#[derive(Debug, Serialize)]
struct Uid {
    uid: String,
}

#[derive(Debug, Serialize)]
struct Process<'a> {
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Factor {
    factor_type_id: u32,
    factor_type: &'static str,
}

const TOUCH: Factor = Factor { factor_type_id: 9, factor_type: "U2F" };
const FINGER: Factor = Factor { factor_type_id: 4, factor_type: "Biometric" };
const PIN: Factor = Factor { factor_type_id: OTHER, factor_type: "PIN" };
const KEY: Factor = Factor { factor_type_id: OTHER, factor_type: "Public key" };

/// In the record's own words: docs/audit.md.
#[derive(Debug, Serialize)]
struct Unmapped<'a> {
    instance: &'a str,
    run: u64,
    records: &'a [u64],
    key: &'a str,
    method: &'a str,
    application: Option<&'a str>,
    certificate: Option<&'a Certified>,
    /// The hosts on the way, the nearest first.
    through: Vec<&'a str>,
    signer: Option<&'a Signer>,
    assertion: Option<Assertion>,
    wrong_pins: u64,
    failed_attempts: usize,
    /// As `agent-cli rehearse` has said: no use in earnest.
    rehearsed: bool,
}

impl<'a> Authentication<'a> {
    /// That of a login; all else in a log is none.
    pub(super) fn of(entry: &'a Entry, rehearsed: bool) -> Option<Self> {
        let What::Request { intent, attempts, outcome, .. } = &entry.what else { return None };
        let subject = entry.subject()?;
        let Meaning::Login { user, service, method, .. } = &subject.meaning else { return None };
        let assertion = match outcome.as_ref() {
            Outcome::Signed { assertion, .. } => *assertion,
            Outcome::Refused { .. } | Outcome::Unknown { .. } => None,
        };
        let is_signed = matches!(outcome.as_ref(), Outcome::Signed { .. });
        let (status_id, status, status_detail) = ended(outcome);
        let wrong_pins = reading::wrong_pins(entry);
        let (severity_id, severity) = severity(entry, outcome, wrong_pins);
        let host = reading::destination(subject);
        let at = host.map_or_else(String::new, |host| format!(" at the host with key {host}"));
        let signer = intent.as_ref().map(|intent| &intent.signer);
        Some(Self {
            activity_id: LOGON,
            activity_name: "Logon",
            category_uid: CLASS / 1000,
            category_name: "Identity & Access Management",
            class_uid: CLASS,
            class_name: "Authentication",
            type_uid: CLASS * 100 + LOGON,
            type_name: "Authentication: Logon",
            time: entry.time.as_millisecond(),
            severity_id,
            severity,
            status_id,
            status,
            status_code: reading::denial(entry).map(|denial| denial.code.as_str()),
            status_detail,
            message: format!("Log in as {user}{at}{}", if rehearsed { ", in a rehearsal" } else { "" }),
            metadata: metadata(entry),
            user: Named { name: user },
            service: Named { name: service },
            dst_endpoint: host.map(|uid| Endpoint { uid }),
            actor: actor(&subject.peer),
            auth_protocol_id: OTHER,
            auth_protocol: "SSH publickey",
            // What another agent's token has asked of its person is in the signature alone.
            is_mfa: (is_signed && !matches!(signer, Some(Signer::Upstream { .. })))
                .then(|| assertion.is_some_and(|assertion| assertion.flags & USER_VERIFIED != 0)),
            auth_factors: if is_signed { factors(assertion) } else { Vec::new() },
            is_remote: true,
            logon_type_id: 3,
            logon_type: "Network",
            unmapped: Unmapped {
                instance: &entry.agent.instance,
                run: entry.agent.run.0,
                records: &entry.records,
                key: &subject.key,
                method,
                application: subject.application.as_deref(),
                certificate: subject.certificate.as_ref(),
                through: reading::through(subject).collect(),
                signer,
                assertion,
                wrong_pins,
                failed_attempts: attempts.len(),
                rehearsed,
            },
        })
    }
}

fn ended(outcome: &Outcome) -> (u32, &'static str, String) {
    match outcome {
        Outcome::Signed { .. } => {
            (1, "Success", "signed; whether the host has let the user in is not known here".into())
        }
        Outcome::Refused { denial, .. } => (2, "Failure", denial.reason.clone()),
        Outcome::Unknown { .. } => (0, "Unknown", "the agent was killed: a signature may have left it".into()),
    }
}

fn severity(entry: &Entry, outcome: &Outcome, wrong_pins: u64) -> (u32, &'static str) {
    match outcome {
        _ if reading::denial(entry).is_some_and(|denial| is_deceit(denial.code)) => (4, "High"),
        Outcome::Unknown { .. } => (3, "Medium"),
        _ if wrong_pins > 0 => (3, "Medium"),
        Outcome::Refused { .. } => (2, "Low"),
        Outcome::Signed { .. } => (1, "Informational"),
    }
}

fn metadata(entry: &Entry) -> Metadata<'_> {
    Metadata {
        version: VERSION,
        product: Product { name: "fido-ssh-agent", vendor_name: "fido-ssh-agent", version: &entry.agent.version },
        // Of all logs: a run is in one, and numbers its records once.
        uid: format!("{}-{}", entry.agent.run.0, entry.sequence),
        sequence: entry.sequence,
        log_name: "audit",
        log_version: agent::audit::record::VERSION.to_string(),
        original_time: entry.time.to_string(),
    }
}

fn actor(peer: &Peer) -> Actor<'_> {
    let program = peer.programs.first();
    Actor {
        process: Process {
            pid: peer.pid,
            name: program.map(|program| program.name.as_str()),
            path: program.and_then(|program| program.executable.as_deref()),
        },
        user: Uid { uid: peer.uid.to_string() },
    }
}

fn factors(assertion: Option<Assertion>) -> Vec<Factor> {
    let Some(Assertion { user_verification, .. }) = assertion else { return vec![KEY] };
    match user_verification {
        Verification::None => vec![TOUCH],
        Verification::Pin => vec![TOUCH, PIN],
        Verification::BuiltIn => vec![TOUCH, FINGER],
        Verification::PinAndBuiltIn => vec![TOUCH, PIN, FINGER],
    }
}
