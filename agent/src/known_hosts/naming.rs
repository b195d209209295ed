//! What a person calls a host: its names in known_hosts, those that are hashed there among them where somebody says them.

use super::{HASHED, Known};

/// What known_hosts calls a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// By these names, one at least.
    Names(Vec<String>),
    /// By a hashed name, which nobody has said.
    Hashed,
    /// Its key is said to be nobody's any more.
    Revoked,
    /// Its key is not there.
    Unknown,
}

impl Known<'_> {
    /// What the host is called. `said` are names that the client was given: one that is the host's comes first, and that is
    /// how a hashed one can be told. A name that only fits a pattern is not among them, since any name might.
    #[must_use]
    pub fn naming(&self, said: &[String]) -> Naming {
        if self.revoked {
            return Naming::Revoked;
        }
        let hashed = || self.own.iter().filter(|line| line.hosts.starts_with(HASHED));
        let written = self.names();
        let is = |name: &&String| {
            written.iter().any(|known| known.eq_ignore_ascii_case(name)) || hashed().any(|line| line.is_for(name))
        };
        let mut names: Vec<String> = Vec::new();
        for name in said.iter().filter(is).map(String::as_str).chain(written.iter().copied()) {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name.into());
            }
        }
        match names.is_empty() {
            false => Naming::Names(names),
            true if hashed().next().is_some() => Naming::Hashed,
            true => Naming::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::KnownHosts;
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKPybCjAYuYudl2ZLwqZbDBXp90M8xGMALv5dHkOgpQ";
    /// `leaf-1.fabric.example`, hashed by `ssh-keygen -H` of OpenSSH 9.2.
    const LEAF: &str = "|1|FM3l8fR3OKGhxi6zSLU+5Q/WeWA=|D0ZHhnvGcPh+VSzaGV1plh38w9o=";

    #[test]
    fn what_is_said_comes_first_and_tells_what_is_hashed() {
        let names = |names: &[&str]| Naming::Names(names.iter().map(|name| (*name).to_owned()).collect());
        let key = ssh_key::PublicKey::from_openssh(KEY).unwrap().to_bytes().unwrap();
        for (hosts, said, expected) in [
            ("leaf-1,192.0.2.1", &[][..], names(&["leaf-1", "192.0.2.1"])),
            ("leaf-1,192.0.2.1", &["192.0.2.1"], names(&["192.0.2.1", "leaf-1"])),
            ("leaf-1", &["leaf-2"], names(&["leaf-1"])),
            ("leaf-1", &["LEAF-1"], names(&["LEAF-1"])),
            (LEAF, &["leaf-2", "leaf-1.fabric.example"], names(&["leaf-1.fabric.example"])),
            (LEAF, &["leaf-2"], Naming::Hashed),
            (LEAF, &[], Naming::Hashed),
            ("*.lab", &["printer.lab"], names(&["*.lab"])),
            ("@revoked leaf-1", &["leaf-1"], Naming::Revoked),
            ("@cert-authority leaf-1", &["leaf-1"], Naming::Unknown),
        ] {
            let said: Vec<_> = said.iter().map(|name| (*name).to_owned()).collect();
            let mut known = KnownHosts::default();
            known.add(format!("{hosts} {KEY}").as_bytes());
            assert_eq!(known.of(&key, 0).naming(&said), expected, "{hosts} where {said:?} are said");
            assert_eq!(KnownHosts::default().of(&key, 0).naming(&said), Naming::Unknown);
        }
    }
}
