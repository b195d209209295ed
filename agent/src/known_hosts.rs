//! OpenSSH's known_hosts: the names a host key goes by (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). What it says is reported,
//! not verified. ssh-key's reader of these files takes a `#` anywhere for a comment, knows one space between fields, gives
//! up at bytes that are not UTF-8, and matches nothing: so there is one here.

pub mod files;
pub mod look_up;
mod naming;

use std::collections::HashMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_encoding::Decode;
use ssh_key::public::KeyData;

use crate::certificate::{Certificate, plain_public_key};
use crate::identity::key_blob;
use crate::pattern::wildcard;
pub use look_up::LookUp;
pub use naming::Naming;

/// What begins a name that is hashed (hostfile.c HASH_MAGIC).
const HASHED: &str = "|1|";

/// The lines of all known_hosts files, by their keys.
#[derive(Debug, Default)]
pub struct KnownHosts {
    lines: HashMap<Vec<u8>, Vec<Line>>,
}

/// What known_hosts says of one host key. A revoked one is nobody's.
#[derive(Debug, Default)]
pub struct Known<'a> {
    own: Vec<&'a Line>,
    certificate: Option<Certificate>,
    authority: Vec<&'a Line>,
    wall_clock: u64,
    revoked: bool,
}

#[derive(Debug)]
struct Line {
    marker: Marker,
    hosts: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// What they say of a host key or host certificate, as a host sent it, at `wall_clock` (seconds since 1970).
    #[must_use]
    pub fn of(&self, host_key: &[u8], wall_clock: u64) -> Known<'_> {
        let certificate = Certificate::parse(host_key);
        let authority = certificate.as_ref().map_or(&[][..], |certificate| self.lines(&certificate.authority));
        let own = plain_public_key(host_key).map_or(&[][..], |key| self.lines(&key));
        if own.iter().chain(authority).any(|line| line.marker == Marker::Revoked) {
            return Known { revoked: true, ..Known::default() };
        }
        Known {
            own: marked(own, Marker::None),
            certificate,
            authority: marked(authority, Marker::CertAuthority),
            wall_clock,
            revoked: false,
        }
    }

    fn lines(&self, key: &KeyData) -> &[Line] {
        self.lines.get(&key_blob(key)).map_or(&[], Vec::as_slice)
    }
}

fn marked(lines: &[Line], marker: Marker) -> Vec<&Line> {
    lines.iter().filter(|line| line.marker == marker).collect()
}

impl Known<'_> {
    /// Whether the key is known as the one of `name`: a host's name, or `[name]:port`.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.own.iter().any(|line| line.is_for(name)) || self.is_certified_as(name)
    }

    /// The names that the key is known by. Where known_hosts or the certificate have patterns, these are among them; hashed
    /// names are not.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let own = self.own.iter().filter(|line| !line.hosts.starts_with(HASHED));
        let own = own.flat_map(|line| line.hosts.split(','));
        let own = own.filter(|name| !name.is_empty() && !name.starts_with('!'));
        let principals = self.certificate.iter().flat_map(Certificate::principals).map(String::as_str);
        let mut names = Vec::new();
        for name in own.chain(principals.filter(|name| self.is_certified_as(name))) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// An authority is good for some names, and its certificate for some of those. Certificates know no ports, and ssh
    /// looks for an authority without the port too.
    fn is_certified_as(&self, name: &str) -> bool {
        let host = name.strip_prefix('[').and_then(|name| name.rsplit_once("]:")).map_or(name, |(host, _)| host);
        self.certificate.as_ref().is_some_and(|certificate| certificate.names_host(host, self.wall_clock))
            && self.authority.iter().any(|line| line.is_for(name) || line.is_for(host))
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
    use ssh_key::certificate::{Builder, CertType};
    use ssh_key::rand_core::OsRng;
    use ssh_key::{Algorithm, PrivateKey};

    const NOW: u64 = 1_800_000_000;

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
            assert_eq!(known.of(&blob, NOW).is(name), expected, "{hosts} for {name}");
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
        assert!(leaf.of(&blob, NOW).is("leaf-1.fabric.example") && leaf.of(&blob, NOW).is("Leaf-1.fabric.example"));
        assert!(!leaf.of(&blob, NOW).is("leaf-2.fabric.example") && !leaf.of(&blob, NOW).is(LEAF));
        assert!(port.of(&blob, NOW).is("[leaf-1]:2222") && !port.of(&blob, NOW).is("leaf-1"));
        assert_eq!(leaf.of(&blob, NOW).names(), [""; 0], "what is hashed can't be told");
        for broken in ["|1|", "|1||", "|1|x|y", "|2|AAAA|AAAA", "|1|AAAA|", "|1|AAAA"] {
            assert!(!known(format!("{broken} {KEY}")).of(&blob, NOW).is("leaf-1"), "{broken}");
        }
    }

    #[test]
    fn another_key_s_names_are_not_this_one_s() {
        let ((key, blob), (other_key, other_blob)) = (host(), host());
        let known = known(format!("leaf-1,!spine {key}\nleaf-2 {other_key}\nleaf-* {key}\n[leaf-1]:22,leaf-1 {key}"));
        assert!(known.of(&blob, NOW).is("leaf-1") && !known.of(&other_blob, NOW).is("leaf-1"));
        assert_eq!(known.of(&blob, NOW).names(), ["leaf-1", "leaf-*", "[leaf-1]:22"]);
        assert_eq!(known.of(&other_blob, NOW).names(), ["leaf-2"]);
        assert_eq!(known.of(&host().1, NOW).names(), [""; 0]);
        assert_eq!(known.of(b"rubbish", NOW).names(), [""; 0]);
    }

    #[test]
    fn markers() {
        let (key, blob) = host();
        assert!(
            !known(format!("@cert-authority leaf-1 {key}")).of(&blob, NOW).is("leaf-1"),
            "it is not the host's own"
        );
        assert!(!known(format!("@unheard-of leaf-1 {key}")).of(&blob, NOW).is("leaf-1"));
        let revoked = known(format!("leaf-1 {key}\n@revoked * {key}\n"));
        assert!(!revoked.of(&blob, NOW).is("leaf-1"));
        assert_eq!(revoked.of(&blob, NOW).names(), [""; 0]);
    }

    #[test]
    fn host_certificates() {
        let (authority, key) = (PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap(), host());
        let authority_line = authority.public_key().to_openssh().unwrap();
        let certificate = |kind, principals: &[&str], until| {
            let public = ssh_key::PublicKey::from_openssh(&key.0).unwrap();
            let mut builder = Builder::new_with_random_nonce(&mut OsRng, public, NOW - 10, until).unwrap();
            builder.cert_type(kind).unwrap();
            for name in principals {
                builder.valid_principal(*name).unwrap();
            }
            builder.sign(&authority).unwrap().to_bytes().unwrap()
        };
        let good = certificate(CertType::Host, &["leaf-1.example", "leaf-1.lab"], NOW + 10);
        for (hosts, certificate, name, expected) in [
            ("*.example", &good, "leaf-1.example", true),
            ("*.example", &good, "[leaf-1.example]:2222", true),
            ("[*.example]:2222", &good, "[leaf-1.example]:2222", true),
            ("[*.example]:2222", &good, "leaf-1.example", false),
            ("*.example", &good, "leaf-2.example", false),
            ("*.example", &good, "leaf-1.lab", false),
            ("*.example", &certificate(CertType::User, &["leaf-1.example"], NOW + 10), "leaf-1.example", false),
            ("*.example", &certificate(CertType::Host, &["leaf-1.example"], NOW - 1), "leaf-1.example", false),
            ("*.example", &certificate(CertType::Host, &["leaf-?.example"], NOW + 10), "leaf-1.example", true),
        ] {
            let known = known(format!("@cert-authority {hosts} {authority_line}"));
            assert_eq!(known.of(certificate, NOW).is(name), expected, "{hosts} for {name}");
            let plain = self::known(format!("{hosts} {authority_line}"));
            assert!(!plain.of(certificate, NOW).is(name), "an authority has to be marked as one");
        }
        let line = format!("@cert-authority *.example {authority_line}\nalias {}\n", key.0);
        assert_eq!(
            known(&line).of(&good, NOW).names(),
            ["alias", "leaf-1.example"],
            "the key in it has names of its own"
        );
        for revoked in [&key.0, &authority_line] {
            assert_eq!(known(format!("{line}@revoked * {revoked}")).of(&good, NOW).names(), [""; 0]);
        }
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
            assert!(!known(line).of(&blob, NOW).is("leaf-1"), "{line}");
            assert!(known(format!("{line}\nleaf-1 {key}")).of(&blob, NOW).is("leaf-1"), "after {line}");
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
            assert!(known(&line).of(&blob, NOW).is("leaf-1"), "{line}");
        }
        let latin_1 = [format!("leaf-1 {key} ").as_bytes(), b"M\xfcnchen\n"].concat();
        assert!(known(latin_1).of(&blob, NOW).is("leaf-1"));
        let latin_1 = [b"M\xfcnchen ", key.as_bytes(), b"\nleaf-1 ", key.as_bytes()].concat();
        assert!(known(latin_1).of(&blob, NOW).is("leaf-1"));
    }
}
