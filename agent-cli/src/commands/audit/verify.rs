//! `agent-cli audit verify`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent::audit::anchor;
use agent::audit::chain::Head;
use agent::audit::checkpoint::Checkpoint;
use agent::audit::verify::{Counting, Kind, Report, verify};
use serde::Serialize;

use super::reading::counted;
use super::sign::sign_head;
use crate::output::{aligned, print, print_json};
use crate::problem::Problem;
use crate::progress::Progress;
use crate::safe::safe;

/// What to hold it against.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// A file with heads that were kept elsewhere: lines of syslog or the journal, records that were sent on, or a checkpoint
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// Take a checkpoint as anchor only where this key has signed it
    #[arg(long, value_name = "SHA256:…", requires = "anchor")]
    signer: Option<String>,
    /// Have a token sign the head now, and tell by how much its counter went on since its last record
    #[arg(long)]
    token: bool,
    /// The key whose token signs, by its fingerprint; by default the only one in the log
    #[arg(long, value_name = "SHA256:…", requires = "token")]
    key: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const EXIT_CODES: &str = "Exit codes: 0 clean, 10 tampered with, 11 the last record is torn, 12 not the log that was \
    anchored, 13 a token's counter may tell of signatures that are not on record; of several the gravest, in the order 10, \
    12, 11, 13. 1 the log can't be read, 64 wrong usage";

/// A fresh signature.
#[derive(Debug, Serialize)]
struct Fresh {
    key: String,
    counter_before: u32,
    counter: u32,
}

#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    report: Report,
    /// Who has signed the checkpoint.
    checkpoint_by: Option<String>,
    token: Option<Fresh>,
}

/// Verifies the log that is written to `log`.
pub(crate) fn run(options: &Options, log: &Path) -> Result<ExitCode, Problem> {
    let (anchors, checkpoint_by) = options
        .anchor
        .as_deref()
        .map_or_else(|| Ok((Vec::new(), None)), |file| anchors(file, options.signer.as_deref()))?;
    let read = |anchors| {
        let _progress = Progress::of("Verifying the record");
        verify(log, anchors).map_err(|error| super::unreadable(log, &error))
    };
    // What the agent writes of the fresh signature is looked at as all the rest.
    let token = options.token.then(|| fresh(&read(vec![])?, options.key.as_deref())).transpose()?;
    let answer = Answer { report: read(anchors)?, checkpoint_by, token };
    if options.json {
        print_json(&answer)?;
    } else {
        print(&describe(&answer, options.anchor.is_some()))?;
    }
    Ok(answer.report.gravest().map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code())))
}

/// Has the head signed by a key that the log has a counter of.
fn fresh(report: &Report, key: Option<&str>) -> Result<Fresh, Problem> {
    let mut known = report.counters.iter().filter(|(name, _)| key.is_none_or(|key| key == *name));
    let (Some((key, counter)), None) = (known.next(), known.next()) else {
        let next = "Name the key with --key SHA256:…, one that `agent-cli audit verify` shows a counter of.";
        return Err(Problem::failed("the log has signatures of no such key on a token, or of several").next(next));
    };
    let (Checkpoint { signature, .. }, _) = sign_head(report.head, Some(key))?;
    // The signature ends with flags and counter (OpenSSH PROTOCOL.u2f).
    let now = signature.last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    Ok(Fresh { key: key.clone(), counter_before: counter.last, counter: now })
}

/// The heads of a file, and who has signed them where it is a checkpoint.
pub(super) fn anchors(path: &Path, signer: Option<&str>) -> Result<(Vec<Head>, Option<String>), Problem> {
    let failed = |what: String| Problem::failed(format!("{}: {what}", path.display()));
    let file = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let checkpoint = std::str::from_utf8(&file).ok().and_then(Checkpoint::of_text).transpose();
    if let Some(checkpoint) = checkpoint.map_err(|error| failed(format!("this is no checkpoint: {error}")))? {
        let by = checkpoint.verified().map_err(|error| failed(format!("this is no checkpoint: {error}")))?;
        if signer.is_some_and(|signer| signer != by) {
            return Err(failed(format!("this checkpoint is signed by {by}")).next("Nobody else's word is taken."));
        }
        return Ok((vec![checkpoint.head], Some(by)));
    }
    let heads = anchor::heads(file.as_slice()).map_err(|error| failed(error.to_string()))?;
    if heads.is_empty() {
        return Err(failed("this names no head of an audit log".into()).next(
            "Its lines have to end with \"audit head NUMBER HASH\", or to be records, or it has to be a checkpoint.",
        ));
    }
    if signer.is_some() {
        return Err(failed("this is no checkpoint, and nobody has signed it".into()).next("Leave --signer away."));
    }
    Ok((heads, None))
}

fn signatures(Report { signatures, unchecked, hosts_proven, .. }: &Report) -> String {
    let checked = match unchecked {
        0 => "all checked".into(),
        _ => format!("{unchecked} not checked, since what they sign was too long to be kept, the others checked"),
    };
    format!("{signatures}, {checked}; of {hosts_proven} the host is proven")
}

fn words(counting: Counting) -> &'static str {
    match counting {
        Counting::Zero => "always 0, so that it does not show whether it was used elsewhere",
        Counting::Shared => "shared by the token's keys, so that it does not show whether it was used elsewhere",
        Counting::ByUse => "goes by the token's use",
        Counting::Untold => "uses too few, or steps too irregular, to show whether it was used elsewhere",
    }
}

/// What was found, in a line.
pub(super) fn verdict(report: &Report) -> &'static str {
    match report.gravest() {
        None => "clean: the chain is whole",
        Some(Kind::CounterGap) => "COUNTER GAP: a token may have been used elsewhere, or records may be gone",
        Some(Kind::TornTail) => "torn: the last record was not written to its end",
        Some(Kind::NotAnchored) => {
            "NOT ANCHORED: this is not the log whose head was kept elsewhere, or its end is missing"
        }
        Some(Kind::Tampered) => "TAMPERED WITH: records were changed, added or taken away",
    }
}

fn describe(Answer { report, checkpoint_by, token }: &Answer, anchors_given: bool) -> String {
    let Head { sequence, hash } = report.head;
    let anchors = match (anchors_given, report.anchored) {
        (false, _) => "none was given (--anchor), so an end that is cut off would not be seen".into(),
        (true, agree) => counted(agree, "agrees", "agree"),
    };
    let mut rows = vec![
        ("records", format!("{} to {sequence}, in {}", report.first, counted(report.segments as u64, "file", "files"))),
        ("head", format!("{sequence} {hash}")),
        ("signatures", signatures(report)),
        ("anchors", anchors),
    ];
    rows.extend(
        report
            .counters
            .iter()
            .map(|(key, counter)| ("counter", format!("{key}: {}, {}", counter.last, words(counter.counting)))),
    );
    rows.extend(checkpoint_by.iter().map(|by| ("checkpoint", format!("signed by {by}: is that your key?"))));
    if let Some(Fresh { key, counter_before, counter }) = token {
        let step = match counter.checked_sub(*counter_before) {
            _ if *counter == 0 => "which tells nothing".to_owned(),
            Some(step) => format!("a step of {step} since its last record"),
            None => "which is backwards".to_owned(),
        };
        rows.push(("token", format!("{key} signs; its counter is {counter} after {counter_before}, {step}")));
    }
    if report.first > 1 {
        rows.push(("removed", format!("the records before {}: what they were only a copy can say", report.first)));
    }
    let verdict = verdict(report);
    let findings = report.findings.iter().map(|finding| {
        format!("\n{}:{}: {}", safe(&finding.segment.display().to_string()), finding.line, safe(&finding.what))
    });
    format!("{verdict}\n{}{}", aligned("  ", rows), findings.collect::<String>())
}
