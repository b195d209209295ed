//! Which identities are offered on which host, and in what order: the configuration's `[[host]]`.
//!
//! sshd counts each key it does not know as a failed try, and ends the login after six (MaxAuthTries). ssh offers an agent's
//! keys in the order they are listed, and binds the connection before it asks for the list: so the host is known by then. A
//! rule is about what is listed, never about what may be signed.

mod rules;

use serde::Deserialize;
use ssh_key::{Fingerprint, HashAlg};

pub use rules::Rules;

use crate::certificate::plain_public_key;
use crate::identity::parse_fingerprint;
use crate::known_hosts::{self, Known};

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
    parse_fingerprint(&text).ok_or(RuleError::Fingerprint(place, text))
}

impl HostRule {
    /// Whether this rule is for the host whose key has this fingerprint, and of which this is known.
    fn is_for(&self, host_fingerprint: &Fingerprint, known: &Known) -> bool {
        match &self.host {
            Host::Key(fingerprint) => fingerprint == host_fingerprint,
            // What a pattern stands for is not hashed, so that only names that can be read are held against it.
            Host::Name(name) if known_hosts::is_pattern(name) => {
                known.names().iter().any(|known| known_hosts::matches(name, known))
            }
            Host::Name(name) => known.is(name),
        }
    }

    /// The identities this rule offers, in its order: their keys or certificates, and their comments. Those it does not
    /// name keep their order.
    #[must_use]
    pub fn select<'a>(&self, identities: impl Iterator<Item = (&'a [u8], &'a str)>) -> Vec<(&'a [u8], &'a str)> {
        let place = |(blob, comment): (&[u8], &str)| {
            // A certificate has the fingerprint of the key in it, as `ssh-add -l` shows it.
            let fingerprint = plain_public_key(blob).map(|key| key.fingerprint(HashAlg::Sha256));
            let named = self.offer.iter().position(|wanted| match wanted {
                Wanted::Key(wanted) => fingerprint.as_ref() == Some(wanted),
                Wanted::Comment(wanted) => comment == wanted,
            });
            named.or(self.others.then_some(self.offer.len()))
        };
        let mut placed: Vec<_> = identities.filter_map(|identity| Some((place(identity)?, identity))).collect();
        placed.sort_by_key(|(place, _)| *place);
        placed.into_iter().map(|(_, identity)| identity).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known_hosts::KnownHosts;

    const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKPybCjAYuYudl2ZLwqZbDBXp90M8xGMALv5dHkOgpQ";
    const PRINT: &str = "SHA256:eSvfdZ68G9z84liwk+a8A3mDE6afBbVx9I2Mz3ZuogA";
    const OTHER_PRINT: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

    fn rule(text: &str) -> HostRule {
        toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The comments of what is offered. All keys differ, and HOST_KEY has the comment "b".
    fn offered(rule: &str, held: &[&str]) -> Vec<String> {
        let b = ssh_key::PublicKey::from_openssh(HOST_KEY).unwrap().to_bytes().unwrap();
        let blob = |comment: &str| if comment == "b" { &b } else { b"unheard of".as_slice() };
        let offered = self::rule(rule).select(held.iter().map(|comment| (blob(comment), *comment)));
        offered.into_iter().map(|(_, comment)| comment.to_owned()).collect()
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
            (&format!("key = \"{PRINT}\""), true),
            (&format!("key = \"{OTHER_PRINT}\""), false),
        ] {
            let rule = rule(&format!("{host}\noffer = []"));
            assert_eq!(rule.is_for(&print, &known.of(&blob, 0)), expected, "{host}");
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
