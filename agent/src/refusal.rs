//! A refusal as a person reads it, in the agent's messages, in an attached terminal, and by `agent-cli why`: one text, made
//! of what is on record.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::audit::record::{Binding, Meaning, Peer, RecordId, Subject};
use crate::denial::Denial;
use crate::prompt::{name, visible};

/// A refusal, and what was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The record that says so; None where it could not be written.
    pub id: Option<RecordId>,
    /// What was asked: "log in as alice, with key SHA256:…".
    pub asked: String,
    /// By whom: "ssh (1234)", and through which hosts.
    pub by: String,
    /// Why it was refused.
    pub denial: Denial,
}

impl Refusal {
    /// A signature that was refused.
    #[must_use]
    pub fn of_signature(id: Option<RecordId>, subject: &Subject, denial: Denial) -> Self {
        Self { id, asked: asked(subject), by: by(&subject.peer, &subject.bindings), denial }
    }

    /// Something else that was refused, in the words in which it is on record.
    #[must_use]
    pub fn of_act(id: Option<RecordId>, request: &str, peer: &Peer, bindings: &[Binding], denial: Denial) -> Self {
        Self { id, asked: visible(request), by: by(peer, bindings), denial }
    }

    /// How to be told again: "`agent-cli why 12`".
    #[must_use]
    pub fn again(&self) -> Option<String> {
        self.id.map(|RecordId(id)| format!("`agent-cli why {id}`"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, asked, by, denial } = self;
        f.write_str("refused")?;
        if let Some(id) = id {
            write!(f, " {id}")?;
        }
        write!(f, ": {asked}, asked by {by}: {denial}")?;
        match self.again() {
            Some(again) => write!(f, " [{again}]"),
            None => Ok(()),
        }
    }
}

/// What was to be signed, and with which key.
#[must_use]
pub fn asked(subject: &Subject) -> String {
    let what = match &subject.meaning {
        Meaning::Login { user, .. } => format!("log in as {}", name(user)),
        Meaning::Signature { namespace } => format!("sign a message or file (namespace {})", name(namespace)),
        Meaning::Certificate { certificate, .. } => format!("issue a certificate ({})", name(certificate)),
        Meaning::Opaque => "sign unknown data".into(),
    };
    let host = match (&subject.meaning, subject.bindings.last()) {
        (_, Some(last)) if !last.forwarding => format!(" on the host with key {}", visible(&last.host_key)),
        (Meaning::Login { host_key: Some(key), .. }, _) => {
            format!(" on a host that is said to have key {}", visible(key))
        }
        _ => String::new(),
    };
    format!("{what}{host}, with key {}", visible(&subject.key))
}

/// Who asked.
fn by(peer: &Peer, bindings: &[Binding]) -> String {
    let program = match peer.programs.first() {
        Some(program) => format!("{} ({})", name(&program.name), peer.pid),
        None => format!("process {}", peer.pid),
    };
    let hops: Vec<_> = bindings.iter().filter(|hop| hop.forwarding).map(|hop| visible(&hop.host_key)).collect();
    if hops.is_empty() { program } else { format!("{program} for the host with key {}", hops.join(", then ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::samples;
    use crate::denial::Code;

    fn peer() -> Peer {
        samples::peer(&["ssh", "bash"])
    }

    fn binding(host_key: &str, forwarding: bool) -> Binding {
        Binding { host_key: host_key.into(), forwarding }
    }

    fn subject(meaning: Meaning, bindings: Vec<Binding>) -> Subject {
        Subject { peer: peer(), meaning, bindings, ..samples::subject("SHA256:k") }
    }

    fn login(user: &str, host_key: Option<&str>) -> Meaning {
        let (service, method) = ("ssh-connection".into(), "publickey".into());
        Meaning::Login { user: user.into(), service, method, host_key: host_key.map(Into::into) }
    }

    #[test]
    fn what_was_asked_and_by_whom() {
        for (subject, expected) in [
            (
                subject(login("alice", None), vec![binding("SHA256:d", false)]),
                "log in as alice on the host with key SHA256:d, with key SHA256:k, asked by ssh (7)",
            ),
            (
                subject(login("a\u{1b}b", Some("SHA256:e")), vec![binding("SHA256:j", true)]),
                "log in as \"a\\u{1b}b\" on a host that is said to have key SHA256:e, with key SHA256:k, asked by ssh (7) for \
                 the host with key SHA256:j",
            ),
            (
                subject(Meaning::Signature { namespace: "git".into() }, vec![]),
                "sign a message or file (namespace git), with key SHA256:k, asked by ssh (7)",
            ),
            (subject(Meaning::Opaque, vec![]), "sign unknown data, with key SHA256:k, asked by ssh (7)"),
        ] {
            let denial = Denial::plain(Code::UnknownKey);
            let told = Refusal::of_signature(Some(RecordId(12)), &subject, denial.clone()).to_string();
            assert_eq!(told, format!("refused #12: {expected}: {denial} [`agent-cli why 12`]"));
        }
    }

    #[test]
    fn without_a_record_there_is_no_name() {
        let denial = Denial::plain(Code::AuditUnwritable);
        let unknown = Peer { programs: vec![], ..peer() };
        let told = Refusal::of_act(None, "add", &unknown, &[], denial.clone()).to_string();
        assert_eq!(told, format!("refused: add, asked by process 7: {denial}"));
    }
}
