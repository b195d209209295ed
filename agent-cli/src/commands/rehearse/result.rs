//! What a rehearsal came to: what is told, and what is kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::recorded::Request;

/// What a rehearsal came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rehearsal {
    /// When it ended.
    pub(crate) time: Timestamp,
    pub(crate) destination: String,
    /// The jump hosts that were named.
    pub(crate) jumps: Vec<String>,
    /// Whether the agent was forwarded to the last of them.
    pub(crate) forwarded: bool,
    pub(crate) passed: bool,
    /// Why it did not.
    pub(crate) cause: Option<Finding>,
    pub(crate) hops: Vec<Hop>,
    pub(crate) times: Times,
    /// Whether the host demands that the token verifies its user.
    pub(crate) verify_required: VerifyRequired,
    /// Why that was not tested; None where it was.
    pub(crate) not_tested: Option<Finding>,
    /// What was seen, and is worth a look.
    pub(crate) remarks: Vec<Finding>,
    /// What would differ in earnest.
    pub(crate) emergency: Vec<Finding>,
    pub(crate) record: Recorded,
}

/// Something that was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// What it is. These never change their meaning: docs/guide.md has them, and docs/troubleshooting.md the agent's refusals.
    pub(crate) code: String,
    /// The host that it is about.
    pub(crate) host: Option<String>,
    pub(crate) what: String,
    pub(crate) next: String,
}

/// A host on the way, by what ssh says and what the record says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hop {
    /// As it was named on the command line, or as ssh names it.
    pub(crate) host: String,
    pub(crate) address: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) software: Option<String>,
    pub(crate) host_key: Option<String>,
    pub(crate) known: bool,
    pub(crate) let_in: bool,
    /// How long it took, from where the host before it had let in; null where it did not let in.
    pub(crate) ms: Option<u64>,
    pub(crate) methods: Vec<String>,
    /// The key that it took.
    pub(crate) key: Option<String>,
    /// Whether it offers logins that name the host.
    pub(crate) hostbound: bool,
    /// Whether the agent was asked from there; null where it was not forwarded there.
    pub(crate) agent_forwarding: Option<bool>,
    /// The records of the requests that were for it.
    pub(crate) requests: Vec<u64>,
}

/// What took how long, in milliseconds. The parts are all of the total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) total_ms: u64,
    /// The network, the hosts and ssh.
    pub(crate) network_ms: u64,
    pub(crate) person_ms: u64,
    /// The touch included.
    pub(crate) token_ms: u64,
    /// The agent itself, its disk, and the wait for other requests.
    pub(crate) agent_ms: u64,
}

/// Whether a login without a verified user is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum VerifyRequired {
    /// Nothing is known of it.
    NotTested,
    /// It let in without.
    NotEnforced,
    /// It refused a login without.
    Enforced,
}

/// Where it stands in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) log: String,
    /// The record that says that it began.
    pub(crate) begun: u64,
    pub(crate) requests: Vec<Request>,
}

/// The way to a host, as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way<'a> {
    pub(crate) destination: &'a str,
    pub(crate) jumps: &'a [String],
    pub(crate) forwarded: bool,
}

impl Times {
    /// Those of a login that took so long, with these requests in it.
    pub(super) fn of(total_ms: u64, requests: &[Request]) -> Self {
        let sum = |part: fn(&Request) -> u64| requests.iter().map(part).sum::<u64>();
        let (asked, person_ms, token_ms) = (sum(|one| one.total_ms), sum(|one| one.person_ms), sum(|one| one.token_ms));
        Self {
            total_ms,
            network_ms: total_ms.saturating_sub(asked),
            person_ms,
            token_ms,
            agent_ms: asked.saturating_sub(person_ms + token_ms),
        }
    }
}

impl Rehearsal {
    /// The request by which the host itself let in.
    pub(crate) fn login(&self) -> Option<&Request> {
        let hop = self.hops.last().filter(|hop| hop.let_in)?;
        self.record.requests.iter().rev().find(|request| request.signed && hop.requests.contains(&request.record))
    }

    /// The way that it was of.
    pub(crate) fn way(&self) -> Way<'_> {
        Way { destination: &self.destination, jumps: &self.jumps, forwarded: self.forwarded }
    }

    /// The command that goes it again.
    pub(crate) fn command(&self) -> String {
        let option = if self.forwarded { "-A" } else { "-J" };
        match self.jumps.join(",") {
            jumps if jumps.is_empty() => format!("agent-cli rehearse {}", self.destination),
            jumps => format!("agent-cli rehearse {option} {jumps} {}", self.destination),
        }
    }

    /// The way, in words.
    pub(crate) fn road(&self) -> String {
        match (self.jumps.join(", "), self.forwarded) {
            (jumps, _) if jumps.is_empty() => self.destination.clone(),
            (jumps, true) => format!("{} from {jumps}, by the forwarded agent", self.destination),
            (jumps, false) => format!("{} through {jumps}", self.destination),
        }
    }
}
