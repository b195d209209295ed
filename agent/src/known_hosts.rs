//! OpenSSH's known_hosts: the names a host key goes by (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). What it says is reported,
//! not verified. ssh-key's reader of these files takes a `#` anywhere for a comment, knows one space between fields, gives
//! up at bytes that are not UTF-8, and matches nothing: so there is one here.

pub mod files;

use std::collections::HashMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_encoding::Decode;

use crate::certificate::plain_public_key;
use crate::pattern::wildcard;

/// What begins a name that is hashed (hostfile.c HASH_MAGIC).
const HASHED: &str = "|1|";

/// The lines of all known_hosts files, by their keys.
#[derive(Debug, Default)]
pub struct KnownHosts {
    lines: HashMap<Vec<u8>, Vec<Line>>,
}

#[derive(Debug)]
struct Line {
    marker: Marker,
    hosts: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Marker {
    None,
    CertAuthority,
    Revoked,
}

impl KnownHosts {
    /// Adds the lines of a file. Those that are no entries are passed over, as ssh does.
    pub fn add(&mut self, text: &[u8]) {
        for (key, line) in text.split(|byte| *byte == b'\n').filter_map(parse) {
            self.lines.entry(key).or_default().push(line);
        }
    }

    /// Whether this host key, as a host sent it, is known as the one of `name`: a host's name, or `[name]:port`.
    #[must_use]
    pub fn is_host(&self, host_key: &[u8], name: &str) -> bool {
        self.lines_of(host_key).iter().any(|line| line.is_for(name))
    }

    /// The names that known_hosts gives this host key. Where it has patterns, these are among them; hashed names are not.
    #[must_use]
    pub fn names(&self, host_key: &[u8]) -> Vec<&str> {
        let mut names = Vec::new();
        for line in self.lines_of(host_key).iter().filter(|line| !line.hosts.starts_with(HASHED)) {
            for name in line.hosts.split(',').filter(|name| !name.is_empty() && !name.starts_with('!')) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// The lines that say whose this key is. A revoked key is nobody's.
    fn lines_of(&self, host_key: &[u8]) -> Vec<&Line> {
        let plain = plain_public_key(host_key).and_then(|key| ssh_key::PublicKey::from(key).to_bytes().ok());
        let lines: &[Line] = plain.and_then(|key| self.lines.get(&key)).map_or(&[], Vec::as_slice);
        if lines.iter().any(|line| line.marker == Marker::Revoked) {
            return Vec::new();
        }
        lines.iter().filter(|line| line.marker == Marker::None).collect()
    }
}

impl Line {
    fn is_for(&self, name: &str) -> bool {
        match self.hosts.strip_prefix(HASHED) {
            Some(hashed) => is_hash_of(hashed, name),
            None => matches(&self.hosts, name),
        }
    }
}

/// Whether a name is among these patterns, which stand as in known_hosts: with commas between them, `*` and `?`, and `!`
/// before those that are excluded (match.c, `match_hostname`).
#[must_use]
pub fn matches(patterns: &str, name: &str) -> bool {
    let (patterns, name) = (patterns.to_lowercase(), name.to_lowercase());
    let (excluded, included): (Vec<_>, Vec<_>) = patterns.split(',').partition(|pattern| pattern.starts_with('!'));
    included.iter().any(|pattern| wildcard(pattern, &name))
        && !excluded.iter().any(|pattern| wildcard(&pattern[1..], &name))
}

/// Whether a name is more than one: a pattern, or some.
#[must_use]
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '!', ','])
}

/// The hash is an HMAC-SHA1 with the salt as its key (hostfile.c, `host_hash`). ssh hashes names in lower case, but for a
/// HostKeyAlias.
fn is_hash_of(hashed: &str, name: &str) -> bool {
    let decode = |field: &str| STANDARD.decode(field).ok();
    let Some((salt, hash)) = hashed.split_once('|').and_then(|(salt, hash)| Some((decode(salt)?, decode(hash)?)))
    else {
        return false;
    };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    [name, &name.to_lowercase()].iter().any(|name| hmac::verify(&key, name.as_bytes(), &hash).is_ok())
}

/// A line's key, and the rest of what counts. The comment at its end may be anything.
fn parse(line: &[u8]) -> Option<(Vec<u8>, Line)> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let first = fields.next()?;
    let (marker, hosts) = match first {
        [b'#', ..] => return None,
        b"@cert-authority" => (Marker::CertAuthority, fields.next()?),
        b"@revoked" => (Marker::Revoked, fields.next()?),
        [b'@', ..] => return None,
        hosts => (Marker::None, hosts),
    };
    let (algorithm, key) = (fields.next()?, STANDARD.decode(fields.next()?).ok()?);
    let named = Vec::<u8>::decode(&mut key.as_slice()).ok()?;
    let hosts = String::from_utf8(hosts.to_vec()).ok()?;
    (named == algorithm).then_some((key, Line { marker, hosts }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssh_key::rand_core::OsRng;
    use ssh_key::{Algorithm, PrivateKey};

    /// A key's line without names, and its bytes.
    fn host() -> (String, Vec<u8>) {
        let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap().public_key().clone();
        (key.to_openssh().unwrap(), key.to_bytes().unwrap())
    }

    fn known(text: impl AsRef<[u8]>) -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add(text.as_ref());
        known
    }

    #[test]
    fn names_patterns_and_ports() {
        let (key, blob) = host();
        for (hosts, name, expected) in [
            ("leaf-1", "leaf-1", true),
            ("leaf-1", "LEAF-1", true),
            ("Leaf-1", "leaf-1", true),
            ("leaf-1", "leaf-10", false),
            ("leaf-1,192.0.2.1", "192.0.2.1", true),
            ("leaf-?.example", "leaf-7.example", true),
            ("leaf-?.example", "leaf-17.example", false),
            ("*.example", "leaf-7.example", true),
            ("*.example", "example", false),
            ("*.example,!leaf-7.*", "leaf-7.example", false),
            ("!leaf-7.*,*.example", "leaf-7.example", false),
            ("!leaf-7.*,*.example", "leaf-8.example", true),
            ("!leaf-7.*", "leaf-8.example", false),
            ("[leaf-1]:2222", "[leaf-1]:2222", true),
            ("[leaf-1]:2222", "leaf-1", false),
            ("[leaf-1]:2222", "[leaf-1]:22", false),
            ("[*.example]:2222", "[leaf-1.example]:2222", true),
            ("*", "", true),
            ("", "leaf-1", false),
        ] {
            let known = known(format!("{hosts} {key}\n"));
            assert_eq!(known.is_host(&blob, name), expected, "{hosts} for {name}");
        }
    }

    /// Made by `ssh-keygen -H` of OpenSSH 9.2.
    #[test]
    fn hashed_names() {
        const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKPybCjAYuYudl2ZLwqZbDBXp90M8xGMALv5dHkOgpQ";
        const LEAF: &str = "|1|FM3l8fR3OKGhxi6zSLU+5Q/WeWA=|D0ZHhnvGcPh+VSzaGV1plh38w9o=";
        const PORT: &str = "|1|6f9ZVC4qmd/KyCq4u7iOczXLsGM=|HDpx2dPwHYhVBKs4B5KAbI1Ty50=";
        let blob = STANDARD.decode(KEY.split_once(' ').unwrap().1).unwrap();
        let (leaf, port) = (known(format!("{LEAF} {KEY}")), known(format!("{PORT} {KEY}")));
        assert!(leaf.is_host(&blob, "leaf-1.fabric.example") && leaf.is_host(&blob, "Leaf-1.fabric.example"));
        assert!(!leaf.is_host(&blob, "leaf-2.fabric.example") && !leaf.is_host(&blob, LEAF));
        assert!(port.is_host(&blob, "[leaf-1]:2222") && !port.is_host(&blob, "leaf-1"));
        assert_eq!(leaf.names(&blob), [""; 0], "what is hashed can't be told");
        for broken in ["|1|", "|1||", "|1|x|y", "|2|AAAA|AAAA", "|1|AAAA|", "|1|AAAA"] {
            assert!(!known(format!("{broken} {KEY}")).is_host(&blob, "leaf-1"), "{broken}");
        }
    }

    #[test]
    fn another_key_s_names_are_not_this_one_s() {
        let ((key, blob), (other_key, other_blob)) = (host(), host());
        let known = known(format!("leaf-1,!spine {key}\nleaf-2 {other_key}\nleaf-* {key}\n[leaf-1]:22,leaf-1 {key}"));
        assert!(known.is_host(&blob, "leaf-1") && !known.is_host(&other_blob, "leaf-1"));
        assert_eq!(known.names(&blob), ["leaf-1", "leaf-*", "[leaf-1]:22"]);
        assert_eq!(known.names(&other_blob), ["leaf-2"]);
        assert_eq!(known.names(&host().1), [""; 0]);
        assert_eq!(known.names(b"rubbish"), [""; 0]);
    }

    #[test]
    fn markers() {
        let (key, blob) = host();
        assert!(!known(format!("@cert-authority leaf-1 {key}")).is_host(&blob, "leaf-1"), "it is not the host's own");
        assert!(!known(format!("@unheard-of leaf-1 {key}")).is_host(&blob, "leaf-1"));
        let revoked = known(format!("leaf-1 {key}\n@revoked * {key}\n"));
        assert!(!revoked.is_host(&blob, "leaf-1"));
        assert_eq!(revoked.names(&blob), [""; 0]);
    }

    #[test]
    fn lines_that_are_no_entries_hide_none() {
        let (key, blob) = host();
        let base64 = key.split_once(' ').unwrap().1;
        for line in [
            "",
            "# leaf-1 is a host",
            "  # so it is",
            "leaf-1",
            "leaf-1 ssh-ed25519",
            "leaf-1 ssh-ed25519 ???",
            "leaf-1 ssh-ed25519 AAAA",
            "@revoked",
            "@cert-authority *",
            &format!("leaf-1 ssh-rsa {base64}"),
            &format!("leaf-1 2048 65537 {base64}"),
            &format!("#leaf-1 {key}"),
        ] {
            assert!(!known(line).is_host(&blob, "leaf-1"), "{line}");
            assert!(known(format!("{line}\nleaf-1 {key}")).is_host(&blob, "leaf-1"), "after {line}");
        }
    }

    #[test]
    fn fields_are_where_ssh_finds_them() {
        let (key, blob) = host();
        let tabs = key.replace(' ', "\t ");
        for line in [
            format!("leaf-1 {key} a # comment"),
            format!("\t leaf-1  {tabs}\r"),
            format!("le#f,leaf-1 {key}"),
            format!("@revoked leaf-1 {}\nleaf-1 {key}", host().0),
        ] {
            assert!(known(&line).is_host(&blob, "leaf-1"), "{line}");
        }
        let latin_1 = [format!("leaf-1 {key} ").as_bytes(), b"M\xfcnchen\n"].concat();
        assert!(known(latin_1).is_host(&blob, "leaf-1"));
        let latin_1 = [b"M\xfcnchen ", key.as_bytes(), b"\nleaf-1 ", key.as_bytes()].concat();
        assert!(known(latin_1).is_host(&blob, "leaf-1"));
    }
}
