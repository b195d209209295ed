//! Which identities are offered on which host, and in what order: the configuration's `[[host]]`.
//!
//! sshd counts each key it does not know as a failed try, and ends the login after six (MaxAuthTries). ssh offers an agent's
//! keys in the order they are listed, and binds the connection before it asks for the list: so the host is known by then. A
//! rule is about what is listed, never about what may be signed.

pub mod rules;

use serde::Deserialize;
use ssh_key::Fingerprint;

use crate::known_hosts::{self, KnownHosts};

/// What fingerprints begin with.
const FINGERPRINT: &str = "SHA256:";

/// An entry `[[host]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Entry")]
pub struct HostRule {
    host: Host,
    offer: Vec<Wanted>,
    others: bool,
}

/// The entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The host's name, or a pattern, as in known_hosts.
    name: Option<String>,
    /// The fingerprint of the host's key.
    key: Option<String>,
    /// These identities first.
    offer: Vec<String>,
    /// And the others behind them.
    #[serde(default = "yes")]
    others: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Name(String),
    Key(Fingerprint),
}

/// An identity as an entry names it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Key(Fingerprint),
    Comment(String),
}

/// Why an entry is refused. Each says what to look for in the file, since the parser points at the first entry.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// There has to be one of them.
    #[error("[[host]] offer = {0:?}: say which host by `name` or by `key`, and by one of them only")]
    NameOrKey(Vec<String>),
    /// Nothing could ever match it.
    #[error("[[host]] name = \"{0}\": this is no host's name or pattern as in known_hosts, without blanks and hashes")]
    Name(String),
    /// It can't be read.
    #[error("[[host]] {0} \"{1}\": this is no SHA-256 fingerprint; `ssh-keygen -l` prints them")]
    Fingerprint(&'static str, String),
}

/// What an identity is known by, to those who write `offer`.
#[derive(Debug)]
pub struct KnownBy<'a> {
    /// The SHA-256 fingerprint of its key; for a certificate, that of the key in it, as `ssh-add -l` shows it.
    pub fingerprint: Option<Fingerprint>,
    /// Its comment.
    pub comment: &'a [u8],
}

fn yes() -> bool {
    true
}

impl TryFrom<Entry> for HostRule {
    type Error = RuleError;

    fn try_from(entry: Entry) -> Result<Self, RuleError> {
        let host = match (entry.name, entry.key) {
            (Some(name), None) if name.is_empty() || name.contains([' ', '\t', '|']) => {
                return Err(RuleError::Name(name));
            }
            (Some(name), None) => Host::Name(name),
            (None, Some(key)) => Host::Key(fingerprint("key =", key)?),
            _ => return Err(RuleError::NameOrKey(entry.offer)),
        };
        let wanted = |name: String| match name.starts_with(FINGERPRINT) {
            true => fingerprint("offers", name).map(Wanted::Key),
            false => Ok(Wanted::Comment(name)),
        };
        let offer = entry.offer.into_iter().map(wanted).collect::<Result<_, _>>()?;
        Ok(Self { host, offer, others: entry.others })
    }
}

fn fingerprint(place: &'static str, text: String) -> Result<Fingerprint, RuleError> {
    let parsed = text.starts_with(FINGERPRINT).then(|| text.parse().ok()).flatten();
    parsed.ok_or(RuleError::Fingerprint(place, text))
}

impl HostRule {
    /// Whether this rule is for the host with this key, or certificate, as the host sent it.
    fn is_for(&self, host_key: &[u8], host_fingerprint: &Fingerprint, known: &KnownHosts) -> bool {
        match &self.host {
            Host::Key(fingerprint) => fingerprint == host_fingerprint,
            // What a pattern stands for is not hashed, so that only names that can be read are held against it.
            Host::Name(name) if known_hosts::is_pattern(name) => {
                known.names(host_key).iter().any(|known| known_hosts::matches(name, known))
            }
            Host::Name(name) => known.is_host(host_key, name),
        }
    }

    /// The identities this rule offers, in its order. Those it does not name keep theirs.
    #[must_use]
    pub fn select<T>(&self, identities: Vec<T>, known_by: impl for<'a> Fn(&'a T) -> KnownBy<'a>) -> Vec<T> {
        let place = |identity: &T| {
            let known_by = known_by(identity);
            let named = self.offer.iter().position(|wanted| wanted.is(&known_by));
            named.or(self.others.then_some(self.offer.len()))
        };
        let placed = identities.into_iter().filter_map(|identity| Some((place(&identity)?, identity)));
        let mut placed: Vec<_> = placed.collect();
        placed.sort_by_key(|(place, _)| *place);
        placed.into_iter().map(|(_, identity)| identity).collect()
    }
}

impl Wanted {
    fn is(&self, identity: &KnownBy) -> bool {
        match self {
            Self::Key(fingerprint) => identity.fingerprint.as_ref() == Some(fingerprint),
            Self::Comment(comment) => identity.comment == comment.as_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKPybCjAYuYudl2ZLwqZbDBXp90M8xGMALv5dHkOgpQ";
    const PRINT: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

    fn rule(text: &str) -> HostRule {
        toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The comments of what is offered; the key with the comment "b" has the fingerprint.
    fn offered(rule: &str, held: &[&'static str]) -> Vec<&'static str> {
        self::rule(rule).select(held.to_vec(), |comment| KnownBy {
            fingerprint: (*comment == "b").then(|| PRINT.parse().unwrap()),
            comment: comment.as_bytes(),
        })
    }

    #[test]
    fn named_identities_are_first_and_the_rest_as_they_were() {
        let held = ["a", "b", "c", "d", "c"];
        for (offer, others, expected) in [
            (r#"["d", "a"]"#, true, &["d", "a", "b", "c", "c"][..]),
            (r#"["d", "a"]"#, false, &["d", "a"]),
            (r#"["c"]"#, true, &["c", "c", "a", "b", "d"]),
            (r#"["c", "c"]"#, false, &["c", "c"]),
            (r#"["e", "d"]"#, false, &["d"]),
            (r#"["e"]"#, true, &held),
            (r#"["e"]"#, false, &[]),
            (r#"[]"#, true, &held),
            (r#"[]"#, false, &[]),
            (&format!("[\"d\", \"{PRINT}\"]"), false, &["d", "b"]),
            (&format!("[\"{PRINT}\", \"b\"]"), true, &["b", "a", "c", "d", "c"]),
        ] {
            let rule = format!("name = \"leaf\"\noffer = {offer}\nothers = {others}");
            assert_eq!(offered(&rule, &held), expected, "{rule}");
        }
        assert_eq!(offered("name = \"leaf\"\noffer = [\"b\"]", &["a", "b"]), ["b", "a"], "others by default");
        assert_eq!(offered("name = \"leaf\"\noffer = [\"b\"]", &[]), [""; 0]);
    }

    #[test]
    fn a_host_is_told_by_its_key_or_by_what_known_hosts_calls_it() {
        let key = ssh_key::PublicKey::from_openssh(HOST_KEY).unwrap();
        let (blob, print) = (key.to_bytes().unwrap(), key.fingerprint(ssh_key::HashAlg::Sha256));
        let mut known = KnownHosts::default();
        known.add(format!("leaf-1.example,[leaf-1]:2222 {HOST_KEY}\n*.lab {HOST_KEY}\n").as_bytes());
        let hashed = "|1|FM3l8fR3OKGhxi6zSLU+5Q/WeWA=|D0ZHhnvGcPh+VSzaGV1plh38w9o=";
        known.add(format!("{hashed} {HOST_KEY}\n").as_bytes());
        for (host, expected) in [
            ("name = \"leaf-1.example\"", true),
            ("name = \"[leaf-1]:2222\"", true),
            ("name = \"leaf-1\"", false),
            ("name = \"leaf-*\"", true),
            ("name = \"spine-*\"", false),
            ("name = \"spine-*,leaf-?.example\"", true),
            ("name = \"leaf-*,!leaf-1.*\"", false),
            ("name = \"[*]:2222\"", true),
            ("name = \"printer.lab\"", true),
            ("name = \"*.lab\"", true),
            ("name = \"leaf-1.fabric.example\"", true),
            ("name = \"*.fabric.example\"", false),
            (&format!("key = \"{print}\""), true),
            (&format!("key = \"{PRINT}\""), false),
        ] {
            let rule = rule(&format!("{host}\noffer = []"));
            assert_eq!(rule.is_for(&blob, &print, &known), expected, "{host}");
        }
    }

    #[test]
    fn an_entry_that_can_not_be_meant_is_refused_with_its_name() {
        let long = "SHA512:z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg";
        for (text, expected) in [
            ("offer = [\"work\"]", "[\"work\"]: say which host by `name` or by `key`"),
            (&format!("name = \"leaf\"\nkey = \"{PRINT}\"\noffer = []"), "by one of them only"),
            ("name = \"\"\noffer = []", "no host's name"),
            ("name = \"leaf 1\"\noffer = []", "\"leaf 1\""),
            ("name = \"|1|abc|def\"\noffer = []", "\"|1|abc|def\""),
            ("key = \"leaf\"\noffer = []", "\"leaf\": this is no SHA-256 fingerprint"),
            ("key = \"SHA256:abc\"\noffer = []", "\"SHA256:abc\""),
            (&format!("key = \"{long}\"\noffer = []"), "SHA512"),
            ("name = \"leaf\"\noffer = [\"SHA256:abc\"]", "offers \"SHA256:abc\""),
            ("name = \"leaf\"\nothers = false", "missing field `offer`"),
            ("name = \"leaf\"\noffers = []", "unknown field `offers`"),
            ("name = \"leaf\"\noffer = \"work\"", "expected a sequence"),
        ] {
            let refused = toml::from_str::<HostRule>(text).unwrap_err().to_string();
            assert!(refused.contains(expected), "{text}: {refused}");
        }
    }
}
