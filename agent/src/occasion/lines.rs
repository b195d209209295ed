//! The lines of a prompt: what is verified first, then what is only reported, and nothing where there is nothing to say. Each
//! name that somebody else chose goes through [`name`], and there is room for a bounded number of them.

use super::{Occasion, describe_device, host_fingerprint};
use crate::identity;
use crate::known_hosts::Naming;
use crate::payload::Payload;
use crate::peer::Process;
use crate::policy::{Path, Route};
use crate::prompt::{cut, name};

/// The most names of one host, and of the hosts of one list. They share the room for one name.
const MOST_NAMES: usize = 3;
const ROOM_FOR_NAMES: usize = 100;

/// The most forwarding hosts that are shown: of a longer way, its first host and its last.
const MOST_HOPS: usize = 3;

/// The most bytes of a token's description.
const LONGEST_TOKEN: usize = 200;

impl Occasion<'_> {
    /// The lines of a prompt.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let verified = [self.place(), self.hops(), self.key(), self.token()];
        let reported = [self.told(), self.jumps(), self.way(), self.client()];
        let below = verified.into_iter().chain(reported).flatten().map(|line| format!("  {line}"));
        std::iter::once(self.what()).chain(below).collect()
    }

    fn what(&self) -> String {
        match self.payload {
            Payload::Userauth(login) => format!("Log in as {}", name(&login.user_name())),
            Payload::SshSig { namespace } if namespace == "git" => "Sign a git commit or tag".into(),
            Payload::SshSig { namespace } => format!("Sign a message or file (namespace {})", name(namespace)),
            Payload::Certificate { kind, .. } => format!("Issue a certificate ({})", name(kind)),
            Payload::Opaque => "Sign unknown data".into(),
        }
    }

    /// Where the signature goes.
    fn place(&self) -> Vec<String> {
        let place = match (self.host(), self.route) {
            (Some(host_key), _) => format!("on {}", self.call(host_key)),
            (None, Route::Unbound) => self.destination(),
            (None, _) if matches!(self.payload, Payload::Userauth(_)) => "destination not proven".into(),
            (None, _) => return Vec::new(),
        };
        vec![place]
    }

    /// The forwarding hosts it came through.
    fn hops(&self) -> Vec<String> {
        let (Route::Proven { through, .. } | Route::NotProven { through }) = self.route else { return Vec::new() };
        let Path { hosts, unverified } = through;
        let mut hops: Vec<_> = match hosts.as_slice() {
            [first, between @ .., last] if hosts.len() > MOST_HOPS => {
                let between = format!("{} more hosts [verified]", between.len());
                vec![self.call(first), between, self.call(last)]
            }
            few => few.iter().map(|host_key| self.call(host_key)).collect(),
        };
        if *unverified {
            hops.push("a host whose key could not be verified".into());
        }
        let numbered = hops.iter().enumerate();
        numbered
            .map(|(n, hop)| format!("{} {hop}", if n == 0 { "forwarded through" } else { "then through" }))
            .collect()
    }

    /// A host whose key is proven, as known_hosts calls it.
    fn call(&self, host_key: &[u8]) -> String {
        let doubt = match self.surroundings.and_then(|surroundings| surroundings.naming(host_key)) {
            Some(Naming::Names(names)) => return format!("{} [verified]", list(names, ", ", host_name)),
            Some(Naming::Hashed) => ", known under a hashed name",
            Some(Naming::Revoked) => ", REVOKED in known_hosts",
            Some(Naming::Unknown) => ", not in known_hosts",
            None => "",
        };
        format!("the host with key {} [verified]{doubt}", host_fingerprint(host_key))
    }

    fn key(&self) -> Vec<String> {
        let fingerprint = identity::fingerprint(&self.identity.public_key);
        match self.identity.comment.as_str() {
            "" => vec![format!("key: {fingerprint}")],
            comment => vec![format!("key: {fingerprint} {}", name(comment))],
        }
    }

    fn token(&self) -> Vec<String> {
        let doubt = if self.token_proven { "" } else { " [not proven to hold the key]" };
        let Some(device) = self.token.map(describe_device) else {
            return Vec::new();
        };
        let token = match self.token_name {
            Some(name) => format!("{name}, {device}"),
            None => device,
        };
        vec![format!("token: {}{doubt}", cut(&token, LONGEST_TOKEN))]
    }

    /// The host that the client was told, where the one it is at has no other name. What is forwarded is about another host.
    fn told(&self) -> Vec<String> {
        let Some(surroundings) = self.surroundings.filter(|_| !self.is_forwarded()) else { return Vec::new() };
        let has_a_name = |key| matches!(surroundings.naming(key), Some(Naming::Names(_)));
        if self.host().is_some_and(has_a_name) {
            return Vec::new();
        }
        surroundings.told.iter().map(|host| format!("ssh was told: {} [reported]", name(host))).collect()
    }

    /// The jump hosts of `-J`, which know nothing of the login behind them.
    fn jumps(&self) -> Vec<String> {
        self.reported("jump hosts", |surroundings| &surroundings.jumps)
    }

    /// Where a login to a jump host leads.
    fn way(&self) -> Vec<String> {
        self.reported("on the way to", |surroundings| &surroundings.way_to)
    }

    fn reported(&self, what: &str, hosts: impl Fn(&super::Surroundings) -> &Vec<String>) -> Vec<String> {
        let hosts = self.surroundings.map(hosts).filter(|hosts| !hosts.is_empty());
        hosts.map(|hosts| format!("{what}: {} [reported]", list(hosts, ", then ", name))).into_iter().collect()
    }

    fn client(&self) -> Vec<String> {
        let describe = |process: &Process| format!("{} ({})", name(&process.name()), process.pid);
        let client = self.peer.processes.first().map_or_else(|| self.peer.describe(), describe);
        let started = self.surroundings.and_then(|surroundings| surroundings.started_by.as_ref());
        let started = started.map(|process| format!(", started by {}", describe(process))).unwrap_or_default();
        vec![format!("asked by: {client}{started} [reported]")]
    }

    fn is_forwarded(&self) -> bool {
        match self.route {
            Route::Unbound => false,
            Route::Proven { through, .. } => !through.is_empty(),
            Route::NotProven { .. } => true,
        }
    }
}

/// As many as there is room for, one at least.
fn list(names: &[String], between: &str, show: impl Fn(&str) -> String) -> String {
    let mut shown: Vec<String> = Vec::new();
    let mut room = ROOM_FOR_NAMES;
    for each in names.iter().take(MOST_NAMES).map(|each| show(each)) {
        match room.checked_sub(each.len()) {
            Some(left) => room = left,
            None if shown.is_empty() => room = 0,
            None => break,
        }
        shown.push(each);
    }
    let left_out = names.len() - shown.len();
    let more = if left_out == 0 { String::new() } else { format!(" and {left_out} more") };
    shown.join(between) + &more
}

/// A name of known_hosts, where another port than 22 stands behind brackets.
fn host_name(known: &str) -> String {
    let with_port = known.strip_prefix('[').and_then(|rest| rest.rsplit_once("]:"));
    match with_port.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?))) {
        Some((host, port)) => format!("{} port {port}", name(host)),
        None => name(known),
    }
}

#[cfg(test)]
mod tests;
