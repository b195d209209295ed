//! What the agent's record says of a rehearsal: the requests of this program's own children, and nobody else's.

use std::collections::BTreeMap;
use std::path::Path;

use agent::assertion::USER_VERIFIED;
use agent::audit::backwards::Backwards;
use agent::audit::record::{
    Binding, Course, Event, Intent, Meaning, Outcome, Record, RecordId, RequestId, Signer, Subject, Token,
};
use agent::denial::Code;
use serde::{Deserialize, Serialize};

use crate::commands::audit::reading::verified_by;
use crate::problem::Problem;

/// A request for a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The number of the record that says how it ended.
    pub(crate) record: u64,
    pub(crate) signed: bool,
    /// Why it was refused.
    pub(crate) code: Option<String>,
    pub(crate) reason: Option<String>,
    /// What to do about that.
    pub(crate) next: Option<String>,
    pub(crate) key: String,
    /// The token that was to sign; None for a key on none, and for what was refused before one was looked for.
    pub(crate) token: Option<UsedToken>,
    pub(crate) user: Option<String>,
    /// The host that it is for: the one that the login names, else the one that the connection is bound to.
    pub(crate) host_key: Option<String>,
    /// Whether the login names the host itself, so that no other host can use it.
    pub(crate) hostbound: bool,
    pub(crate) bindings: Vec<Bound>,
    /// Whether the token has verified its user, by the signature's own flags.
    pub(crate) user_verified: Option<bool>,
    /// How.
    pub(crate) verified_by: Option<String>,
    /// Where the person was asked.
    pub(crate) prompts: Vec<String>,
    pub(crate) total_ms: u64,
    pub(crate) person_ms: u64,
    pub(crate) token_ms: u64,
}

/// A host that the agent's connection was bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) host_key: String,
    pub(crate) forwarding: bool,
}

/// A token, as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UsedToken {
    pub(crate) name: Option<String>,
    pub(crate) product: String,
    pub(crate) serial: String,
}

/// The requests that programs which this process has started have made since this record, as it is now.
pub(super) fn since(log: &Path, RecordId(begun): RecordId, pid: u32) -> Result<Vec<Request>, Problem> {
    let unreadable = |error| Problem::failed(format!("{}: {error}", log.display()));
    let mut records = Vec::new();
    let mut backwards = Backwards::open(log).map_err(unreadable)?;
    while let Some(record) = backwards.next_record().map_err(unreadable)?.filter(|record| record.sequence > begun) {
        records.push(record);
    }
    records.reverse();
    Ok(requests(records, i32::try_from(pid).ok()))
}

fn requests(records: Vec<Record>, pid: Option<i32>) -> Vec<Request> {
    let mut intents: BTreeMap<RequestId, Intent> = BTreeMap::new();
    let mut requests = Vec::new();
    for Record { sequence, event, .. } in records {
        match event {
            Event::Intent { request, intent } => drop(intents.insert(request, intent)),
            Event::Outcome { request, outcome, course } => {
                let intent = intents.remove(&request);
                let subject = match (&intent, &outcome) {
                    (Some(intent), _) => Some(&intent.subject),
                    (None, Outcome::Refused { subject, .. }) => subject.as_deref(),
                    (None, _) => None,
                };
                let ours = |subject: &&Subject| subject.peer.programs.iter().any(|program| Some(program.pid) == pid);
                if let Some(subject) = subject.filter(ours) {
                    let signer = intent.as_ref().map(|intent| &intent.signer);
                    requests.push(read(sequence, subject, signer, &outcome, course.unwrap_or_default()));
                }
            }
            Event::Attempt { .. } | Event::Delivery { .. } | Event::Act { .. } => {}
        }
    }
    requests
}

fn read(record: u64, subject: &Subject, signer: Option<&Signer>, outcome: &Outcome, course: Course) -> Request {
    let (user, named) = match &subject.meaning {
        Meaning::Login { user, host_key, .. } => (Some(user.clone()), host_key.clone()),
        Meaning::Signature { .. } | Meaning::Certificate { .. } | Meaning::Opaque => (None, None),
    };
    let bound = || subject.bindings.iter().rev().find(|binding| !binding.forwarding);
    let denial = match outcome {
        Outcome::Refused { denial, .. } => Some(denial),
        Outcome::Signed { .. } | Outcome::Unknown { .. } => None,
    };
    let assertion = match outcome {
        Outcome::Signed { assertion, .. } => *assertion,
        Outcome::Refused { .. } | Outcome::Unknown { .. } => None,
    };
    let token = signer.and_then(|signer| match signer {
        Signer::Token { token: Token { name, product, serial, .. }, .. } => {
            Some(UsedToken { name: name.clone(), product: product.clone(), serial: serial.clone() })
        }
        Signer::Software | Signer::Upstream { .. } => None,
    });
    let mut prompts: Vec<_> = course.prompts.into_iter().map(|prompt| prompt.channel).collect();
    prompts.dedup();
    Request {
        record,
        signed: matches!(outcome, Outcome::Signed { .. }),
        code: denial.map(|denial| denial.code.to_string()),
        reason: denial.map(|denial| denial.reason.clone()),
        next: denial.map(|denial| Code::next(denial.code).to_owned()),
        key: subject.key.clone(),
        token,
        user,
        hostbound: named.is_some(),
        host_key: named.or_else(|| bound().map(|binding| binding.host_key.clone())),
        bindings: subject.bindings.iter().map(Bound::of).collect(),
        user_verified: assertion.map(|assertion| assertion.flags & USER_VERIFIED != 0),
        verified_by: assertion.map(|assertion| verified_by(assertion.user_verification).to_owned()),
        prompts,
        total_ms: course.times.total,
        person_ms: course.times.person,
        token_ms: course.times.token,
    }
}

impl Bound {
    fn of(binding: &Binding) -> Self {
        Self { host_key: binding.host_key.clone(), forwarding: binding.forwarding }
    }
}
