//! What verification says of a log, kept so that it can be said again beside each record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent::audit::chain::{Hash, Head};
use agent::audit::reader::Line;
use agent::audit::verify::{Checked, Finding, MOST_FINDINGS, Report, Verifier};
use ssh_key::sha2::{Digest, Sha256};

/// A log is being verified.
pub(super) struct Verifying {
    verifier: Verifier,
    signatures: Vec<Option<Checked>>,
    /// How many lines there were before each file.
    files: BTreeMap<PathBuf, usize>,
    content: Content,
}

/// All that was read: who reads it again can tell whether it is the same.
#[derive(Debug, Default)]
pub(super) struct Content(Sha256);

impl Content {
    pub(super) fn read(&mut self, line: &Line) {
        self.0.update((line.text.len() as u64).to_be_bytes());
        self.0.update(&line.text);
    }

    pub(super) fn end(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

/// A log that was verified. It takes a byte for each of its lines.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) report: Report,
    signatures: Vec<Option<Checked>>,
    /// Which findings are about which line, counted from 0 over all files.
    findings: BTreeMap<usize, Vec<usize>>,
    /// What was verified.
    pub(super) content: Hash,
}

impl Verifying {
    pub(super) fn of(log: &Path, anchors: Vec<Head>) -> std::io::Result<Self> {
        Ok(Self {
            verifier: Verifier::of(log, anchors)?,
            signatures: Vec::new(),
            files: BTreeMap::new(),
            content: Content::default(),
        })
    }

    pub(super) fn read(&mut self, line: &Line) -> Option<Checked> {
        if line.number == 1 {
            self.files.insert(line.segment.clone(), self.signatures.len());
        }
        self.content.read(line);
        let checked = self.verifier.read(line);
        self.signatures.push(checked);
        checked
    }

    pub(super) fn end(self) -> Verified {
        let report = self.verifier.end();
        let mut findings: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (number, finding) in report.findings.iter().enumerate() {
            let line = usize::try_from(finding.line).ok().and_then(|line| line.checked_sub(1));
            if let (Some(before), Some(line)) = (self.files.get(&finding.segment), line) {
                findings.entry(before + line).or_default().push(number);
            }
        }
        Verified { report, signatures: self.signatures, findings, content: self.content.end() }
    }
}

impl Verified {
    /// How many lines were read. What is written meanwhile is in no report.
    pub(super) fn lines(&self) -> usize {
        self.signatures.len()
    }

    /// What was found of the signature in this line.
    pub(super) fn signature(&self, line: usize) -> Option<Checked> {
        self.signatures.get(line).copied().flatten()
    }

    /// What is wrong with this line.
    pub(super) fn findings(&self, line: usize) -> impl Iterator<Item = &Finding> {
        self.findings.get(&line).into_iter().flatten().filter_map(|number| self.report.findings.get(*number))
    }

    /// Whether there may be more findings than are told.
    pub(super) fn has_too_many(&self) -> bool {
        self.report.findings.len() >= MOST_FINDINGS
    }
}
