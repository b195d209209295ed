//! Why a login failed, and what else is worth a look: by what ssh said, and by what is on record.

use agent::denial::Code;

use super::recorded::Request;
use super::result::{Finding, VerifyRequired};
use super::road::Road;
use super::words::{Hop, Words};

/// What was seen of a login.
pub(super) struct Evidence<'a> {
    pub(super) road: &'a Road,
    pub(super) words: &'a Words,
    pub(super) requests: &'a [Request],
    /// What ssh ended with.
    pub(super) code: Option<i32>,
    /// Why nobody could be asked without this terminal.
    pub(super) unreachable: Option<&'a str>,
}

/// What a login fails by, beside the agent's refusals. These never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    NameUnknown,
    HostUnreachable,
    ConnectTimeout,
    TcpForwardingRefused,
    HostKeyUnknown,
    HostKeyChanged,
    AgentForwardingRefused,
    PublickeyNotOffered,
    NoKeyOffered,
    KeyRefused,
    SignatureRefused,
    AgentNotUsed,
    Unclear,
}

#[cfg(test)]
impl Cause {
    const ALL: [Self; 13] = [
        Self::NameUnknown,
        Self::HostUnreachable,
        Self::ConnectTimeout,
        Self::TcpForwardingRefused,
        Self::HostKeyUnknown,
        Self::HostKeyChanged,
        Self::AgentForwardingRefused,
        Self::PublickeyNotOffered,
        Self::NoKeyOffered,
        Self::KeyRefused,
        Self::SignatureRefused,
        Self::AgentNotUsed,
        Self::Unclear,
    ];
}

impl Cause {
    fn code(self) -> &'static str {
        match self {
            Self::NameUnknown => "name-unknown",
            Self::HostUnreachable => "host-unreachable",
            Self::ConnectTimeout => "connect-timeout",
            Self::TcpForwardingRefused => "tcp-forwarding-refused",
            Self::HostKeyUnknown => "host-key-unknown",
            Self::HostKeyChanged => "host-key-changed",
            Self::AgentForwardingRefused => "agent-forwarding-refused",
            Self::PublickeyNotOffered => "publickey-not-offered",
            Self::NoKeyOffered => "no-key-offered",
            Self::KeyRefused => "key-refused",
            Self::SignatureRefused => "signature-refused",
            Self::AgentNotUsed => "agent-not-used",
            Self::Unclear => "unclear",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::NameUnknown => "its name has no address",
            Self::HostUnreachable => "it can't be reached",
            Self::ConnectTimeout => {
                "ssh gave up before it had let you in: the time that you take there counts for the ConnectTimeout of the hosts \
                 behind it"
            }
            Self::TcpForwardingRefused => "the host before it opens no connection to it",
            Self::HostKeyUnknown => "its host key is not in known_hosts",
            Self::HostKeyChanged => "it has another host key than known_hosts says",
            Self::AgentForwardingRefused => "the agent can't be asked from the host before it, which was to forward it",
            Self::PublickeyNotOffered => "it takes no keys",
            Self::NoKeyOffered => "it was offered no key",
            Self::KeyRefused => "it takes none of the keys that it was offered",
            Self::SignatureRefused => "it knows the key, and did not take its signature",
            Self::AgentNotUsed => "it let you in, but not by a key of this agent's",
            Self::Unclear => "why, ssh does not say in words that are known here",
        }
    }

    /// The words of ssh's that mean it.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::NameUnknown => &["Could not resolve hostname"],
            Self::HostUnreachable => {
                &["connect to host", "stdio forwarding failed", "timed out", "Connection closed by", "open failed"]
            }
            Self::ConnectTimeout => &["timed out during banner exchange"],
            Self::TcpForwardingRefused => &["administratively prohibited"],
            Self::HostKeyUnknown => &["host key is known for", "Host key verification failed"],
            Self::HostKeyChanged => &["HOST IDENTIFICATION HAS CHANGED", "has changed and you have requested strict"],
            _ => &[],
        }
    }

    fn next(self) -> &'static str {
        match self {
            Self::NameUnknown => {
                "Write it as your name servers know it, or give it a HostName in ~/.ssh/config. Behind -A these are the jump host's."
            }
            Self::HostUnreachable => {
                "See whether it runs, and whether address, port and the way there are right: one behind a jump host wants -J or -A."
            }
            Self::ConnectTimeout => "Give the hosts behind it a ConnectTimeout of minutes in ~/.ssh/config, or none.",
            Self::TcpForwardingRefused => {
                "Have its administrator allow it (AllowTcpForwarding, PermitOpen); or go by the forwarded agent: -A."
            }
            Self::HostKeyUnknown => {
                "Have its key given to you, by its administrator or with a known_hosts file; with -A, on the host before it."
            }
            Self::HostKeyChanged => {
                "Do not log in there. Ask its administrator whether the key was changed, and what its fingerprint is."
            }
            Self::AgentForwardingRefused => {
                "Have the administrator of the host before it allow it (AllowAgentForwarding, and no `no-agent-forwarding` \
                 or `restrict` at your key); or go through it: -J."
            }
            Self::PublickeyNotOffered => {
                "Have its administrator allow it (PubkeyAuthentication, AuthenticationMethods)."
            }
            Self::NoKeyOffered => {
                "`agent-cli doctor HOST` says whether the agent holds a key, and what keeps ssh from it."
            }
            Self::KeyRefused => {
                "See with `agent-cli published` whether your key is registered, and whether the user is right. Hosts may learn \
                 of a new key hours later."
            }
            Self::SignatureRefused => {
                "It may demand that the token verifies you (verify-required): `agent-cli doctor --sign` says whether yours does."
            }
            Self::AgentNotUsed => {
                "`agent-cli doctor HOST` says which agent ssh asks; take other keys for that host out of ~/.ssh/config."
            }
            Self::Unclear => "See what ssh said last, above; `ssh -v` says all of it.",
        }
    }
}

impl Evidence<'_> {
    /// Why it failed; None where it did not.
    pub(super) fn cause(&self) -> Option<Finding> {
        let hops = &self.words.hops;
        let place = hops.iter().position(|hop| hop.let_in.is_none()).unwrap_or(hops.len());
        if self.arrived() {
            let by_agent = hops.last().is_some_and(|hop| self.requests_of(hop).any(|request| request.signed));
            return (!by_agent).then(|| self.found(Cause::AgentNotUsed, place.saturating_sub(1)));
        }
        // A host behind this one did not speak in time, and the agent says no more than that ssh is gone.
        let spoke = hops.get(place).is_some_and(|hop| hop.software.is_some());
        let refused = self.requests.last().and_then(|request| request.code.as_deref());
        if spoke
            && refused.is_none_or(|code| code == Code::ClientGone.as_str())
            && self.complaint(Cause::ConnectTimeout).is_some()
        {
            return Some(self.found(Cause::ConnectTimeout, place));
        }
        // The agent's own word goes before what ssh makes of it.
        if let Some(Request { code: Some(code), reason, next, .. }) = self.requests.last() {
            return Some(Finding {
                code: code.clone(),
                host: Some(self.name(place)),
                what: format!("the agent refused: {}", reason.as_deref().unwrap_or_default()),
                next: next.clone().unwrap_or_default(),
            });
        }
        Some(self.found(self.cause_at(place), place))
    }

    /// As many hosts as there are on the way, at least: those that were named, or those that ssh says it has to pass.
    fn expected(&self) -> usize {
        let ends = if self.road.forwards() { 2 } else { 1 };
        self.road.hosts().len().max(self.words.behind + ends)
    }

    /// Whether each of them has let in.
    fn arrived(&self) -> bool {
        let hops = &self.words.hops;
        hops.len() >= self.expected() && hops.iter().all(|hop| hop.let_in.is_some())
    }

    fn cause_at(&self, place: usize) -> Cause {
        let hop = self.words.hops.get(place);
        let said = |cause| self.complaint(cause).is_some();
        if hop.is_none_or(|hop| hop.software.is_none()) {
            let causes = [Cause::TcpForwardingRefused, Cause::NameUnknown, Cause::HostUnreachable];
            return causes.into_iter().find(|cause| said(*cause)).unwrap_or(Cause::Unclear);
        }
        let Some(hop) = hop else { return Cause::Unclear };
        let is_forwarded_to = |before: &Hop| before.forwards && !before.forwarded;
        match () {
            () if said(Cause::HostKeyChanged) => Cause::HostKeyChanged,
            () if said(Cause::HostKeyUnknown) => Cause::HostKeyUnknown,
            () if self.words.hops[..place].iter().any(is_forwarded_to) => Cause::AgentForwardingRefused,
            () if self.words.fell_silent() => Cause::HostUnreachable,
            () if !hop.methods.is_empty() && !hop.methods.iter().any(|method| method == "publickey") => {
                Cause::PublickeyNotOffered
            }
            () if hop.methods.is_empty() => Cause::Unclear,
            () if hop.offered.is_empty() => Cause::NoKeyOffered,
            () if hop.accepted.is_none() => Cause::KeyRefused,
            () if self.requests_of(hop).any(|request| request.signed) => Cause::SignatureRefused,
            () => Cause::Unclear,
        }
    }

    /// The first that ssh said of this: what it goes on with says less.
    fn complaint(&self, cause: Cause) -> Option<&String> {
        self.words.complaints.iter().find(|line| cause.words().iter().any(|word| line.contains(word)))
    }

    fn found(&self, cause: Cause, place: usize) -> Finding {
        let said = match cause {
            Cause::Unclear => self.words.complaints.last(),
            Cause::HostUnreachable | Cause::NameUnknown => self.complaint(cause),
            _ => None,
        };
        let what = said.map_or_else(
            || cause.what().to_owned(),
            |said| format!("{} (ssh: {})", cause.what(), said.trim_start_matches("ssh: ")),
        );
        finding(cause.code(), Some(self.name(place)), what, cause.next())
    }

    /// What the host at a place on the way is called: as on the command line, where that says it.
    pub(super) fn name(&self, place: usize) -> String {
        let (given, hops) = (self.road.hosts(), &self.words.hops);
        // The hosts that the person's settings put between come before those that were named.
        let between = hops.len().max(self.expected()).saturating_sub(given.len());
        let name = place.checked_sub(between).and_then(|place| given.get(place).cloned());
        let seen = hops.get(place).and_then(|hop| hop.name.clone().or_else(|| hop.address.clone()));
        name.or(seen).unwrap_or_else(|| self.road.destination.clone())
    }

    /// The requests that were for this host. A client that binds nothing does not say for which one its request is.
    pub(super) fn requests_of<'a>(&'a self, hop: &'a Hop) -> impl Iterator<Item = &'a Request> {
        self.requests.iter().filter(|request| match &request.host_key {
            Some(key) => hop.host_key.as_ref() == Some(key),
            None => request.user == hop.user && hop.accepted.as_ref() == Some(&request.key),
        })
    }

    pub(super) fn verify_required(&self) -> VerifyRequired {
        match self.words.hops.last().filter(|_| self.arrived()).is_some_and(|hop| self.let_in_without(hop)) {
            true => VerifyRequired::NotEnforced,
            false => VerifyRequired::NotTested,
        }
    }

    /// Whether it let in by a signature for which the token has verified nobody. That is the last one alone: those before it
    /// may have been refused for that, and another key than theirs may have let in.
    fn let_in_without(&self, hop: &Hop) -> bool {
        let last = self.requests_of(hop).filter(|request| request.signed).last();
        hop.let_in.is_some()
            && last.is_some_and(|last| last.user_verified == Some(false) && hop.accepted.as_ref() == Some(&last.key))
    }

    /// What is worth a look, though it let in.
    pub(super) fn remarks(&self) -> Vec<Finding> {
        let mut remarks = Vec::new();
        for (place, hop) in self.words.hops.iter().enumerate().filter(|(_, hop)| hop.let_in.is_some()) {
            let mut remark =
                |code, what: &str, next| remarks.push(finding(code, Some(self.name(place)), what.into(), next));
            if !hop.hostbound {
                remark(
                    "no-hostbound",
                    "it is too old for logins that name the host (publickey-hostbound-v00@openssh.com)",
                    "Have it updated (OpenSSH 8.9): keys that are held to their destinations (`ssh-add -h`) do not log in there.",
                );
            }
            if !self.requests_of(hop).any(|request| request.signed) && place + 1 < self.words.hops.len() {
                remark(Cause::AgentNotUsed.code(), Cause::AgentNotUsed.what(), Cause::AgentNotUsed.next());
            }
            if self.let_in_without(hop) {
                remarks.push(not_enforced(self.name(place)));
            }
        }
        if self.cause().is_none() && self.code != Some(0) {
            remarks.push(finding(
                "command-failed",
                Some(self.road.destination.clone()),
                "it let you in, and then `true` did not end as everywhere".into(),
                "That is of no account where it takes no such commands, as devices do.",
            ));
        }
        remarks
    }

    /// What would differ in earnest.
    pub(super) fn emergency(&self) -> Vec<Finding> {
        let mut differs = Vec::new();
        if self.arrived() {
            differs.push(finding(
                "nothing-was-done",
                Some(self.road.destination.clone()),
                "only `true` was run there, so what your role lets you do is not known".into(),
                "Ask whoever gave you the role, or try what changes nothing.",
            ));
        }
        for (place, hop) in self.words.hops.iter().enumerate() {
            if let (Some(name), Some(address)) = (&hop.name, &hop.looked_up) {
                differs.push(finding(
                    "name-looked-up",
                    Some(self.name(place)),
                    format!("{name} was found to be {address}, which takes a name server that answers"),
                    "Write its address into ~/.ssh/config (HostName), should it not change.",
                ));
            }
        }
        if let Some(token) = self.requests.iter().rev().find_map(|request| request.token.as_ref()) {
            let name = token.name.as_deref().unwrap_or(&token.product);
            differs.push(finding(
                "one-token",
                None,
                format!("only the token {name} was tried, and no backup of it"),
                "Rehearse with your backup as well.",
            ));
        }
        if let Some(reason) = self.unreachable {
            differs.push(finding(
                "asked-nowhere",
                None,
                format!("you were asked at this terminal; without this program you would be asked nowhere: {reason}"),
                "Run `agent-cli attach` in another terminal before you log in.",
            ));
        }
        differs
    }
}

/// That a host lets in without.
pub(super) fn not_enforced(host: String) -> Finding {
    finding(
        "verify-required-not-enforced",
        Some(host),
        "it let you in, though the token has verified nobody".into(),
        "Have its administrator demand it: `PubkeyAuthOptions verify-required` in sshd_config, or `verify-required` at the key.",
    )
}

fn finding(code: &str, host: Option<String>, what: String, next: &str) -> Finding {
    Finding { code: code.into(), host, what, next: next.into() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::commands::rehearse::road::Jump;

    /// A host that has let in by this key, or has not.
    fn hop(name: &str, accepted: &str, let_in: bool) -> Hop {
        Hop {
            name: Some(name.into()),
            software: Some("OpenSSH_9.2".into()),
            host_key: Some(name.into()),
            accepted: Some(accepted.into()),
            let_in: let_in.then_some(Duration::ZERO),
            ..Hop::default()
        }
    }

    fn signed(host: &str, key: &str, user_verified: bool) -> Request {
        Request {
            record: 1,
            signed: true,
            code: None,
            reason: None,
            next: None,
            key: key.into(),
            token: None,
            user: None,
            host_key: Some(host.into()),
            hostbound: true,
            bindings: vec![],
            user_verified: Some(user_verified),
            verified_by: None,
            prompts: vec![],
            total_ms: 0,
            person_ms: 0,
            token_ms: 0,
        }
    }

    /// What is said of verify-required, and at which hosts; None where the rehearsal has failed.
    fn judged(
        jump: Jump,
        behind: usize,
        hops: Vec<Hop>,
        requests: &[Request],
    ) -> Option<(VerifyRequired, Vec<String>)> {
        let road = Road { destination: "leaf".into(), jump };
        let words = Words { hops, behind, complaints: vec![] };
        let evidence = Evidence { road: &road, words: &words, requests, code: Some(0), unreachable: None };
        let remarks = evidence.remarks().into_iter().filter(|remark| remark.code == "verify-required-not-enforced");
        let verdict = (evidence.verify_required(), remarks.filter_map(|remark| remark.host).collect());
        evidence.cause().is_none().then_some(verdict)
    }

    #[test]
    fn only_the_signature_that_let_in_says_what_the_host_itself_demands() {
        use VerifyRequired::{NotEnforced, NotTested};
        let (touch, pin) = ("touch", "pin");
        let leaf = |accepted| vec![hop("jump", touch, true), hop("leaf", accepted, true)];
        let login = |key, verified| vec![signed("jump", touch, false), signed("leaf", key, verified)];
        let at = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        // The jump host stands in the person's settings, or on the command line.
        for jump in [Jump::None, Jump::Through("jump".into())] {
            let judged = |hops, requests: &[Request]| judged(jump.clone(), 1, hops, requests);
            assert_eq!(judged(leaf(pin), &login(pin, true)), Some((NotTested, at(&["jump"]))));
            assert_eq!(judged(leaf(touch), &login(touch, false)), Some((NotEnforced, at(&["jump", "leaf"]))));
            let mut refused = login(touch, false);
            refused.push(signed("leaf", pin, true));
            assert_eq!(judged(leaf(pin), &refused), Some((NotTested, at(&["jump"]))));
            // A key of a file let in, of which the agent knows nothing.
            assert_eq!(judged(leaf("file"), &login(touch, false)), Some((NotTested, at(&["jump"]))));
            // It never came there.
            assert_eq!(judged(vec![hop("jump", touch, true)], &[signed("jump", touch, false)]), None);
        }
        let direct = judged(Jump::None, 0, vec![hop("leaf", touch, true)], &[signed("leaf", touch, false)]);
        assert_eq!(direct, Some((NotEnforced, at(&["leaf"]))));
        // The person's settings put a host before the one that the agent is forwarded to.
        let forward = Jump::Forward("jump".into());
        assert_eq!(judged(forward, 1, vec![hop("first", pin, true), hop("jump", touch, true)], &[]), None);
    }

    #[test]
    fn the_guide_has_each_code() {
        let guide = include_str!("../../../../docs/guide.md");
        let remarks = ["no-hostbound", "verify-required-not-enforced", "command-failed"];
        let emergency = ["nothing-was-done", "name-looked-up", "one-token", "asked-nowhere"];
        for code in Cause::ALL.map(Cause::code).into_iter().chain(remarks).chain(emergency) {
            assert!(guide.contains(&format!("| `{code}` |")), "{code}");
        }
    }
}
