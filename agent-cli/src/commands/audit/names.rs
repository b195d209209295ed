//! What hosts are called, by the known_hosts of whoever reads the record: *reported*, and only there to be read.

use std::collections::HashMap;
use std::path::Path;

use agent::audit::history::{Entry, What};
use agent::known_hosts::Naming;
use agent::known_hosts::files::Files;

/// So many hosts are looked up. A stranger can have any number of them on record.
const MOST: usize = 10_000;

/// A host, as a page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) fingerprint: String,
    pub(crate) name: Option<String>,
}

impl Host {
    /// What a row calls it.
    pub(crate) fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.fingerprint)
    }

    /// The same where there is little room: enough to find it by.
    pub(crate) fn in_short(&self) -> String {
        const ENOUGH: usize = 15;
        self.name.clone().unwrap_or_else(|| format!("{}…", self.fingerprint.chars().take(ENOUGH).collect::<String>()))
    }
}

/// The names that were found.
#[derive(Debug)]
pub(crate) struct Names {
    files: Files,
    names: HashMap<String, Option<String>>,
}

impl Names {
    /// Without a home there are none.
    pub(crate) fn of(home: Option<&Path>) -> Self {
        Self { files: home.map(Files::of).unwrap_or_default(), names: HashMap::new() }
    }

    /// Looks up the hosts that this entry has the keys of.
    pub(crate) fn learn(&mut self, entry: &Entry) {
        let What::Request { intent: Some(intent), .. } = &entry.what else { return };
        for (evidence, binding) in intent.evidence.bindings.iter().zip(&intent.subject.bindings) {
            let Some(key) = evidence.host_key.bytes() else { continue };
            if self.names.len() >= MOST || self.names.contains_key(&binding.host_key) {
                continue;
            }
            // By its key alone: when a certificate was good is not the question here.
            let name = match self.files.current().of(key, 0).naming(&[]) {
                Naming::Names(names) => names.into_iter().next(),
                Naming::Revoked => Some("revoked key".into()),
                Naming::Hashed | Naming::Unknown => None,
            };
            self.names.insert(binding.host_key.clone(), name);
        }
    }

    pub(crate) fn host(&self, fingerprint: &str) -> Host {
        Host { fingerprint: fingerprint.to_owned(), name: self.names.get(fingerprint).cloned().flatten() }
    }

    /// Whether any host has a name.
    pub(crate) fn any(&self) -> bool {
        self.names.values().any(Option::is_some)
    }
}
