//! `agent-cli audit verify`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent::audit::anchor;
use agent::audit::chain::Head;
use agent::audit::verify::{Counting, Kind, Report, verify};

use crate::output::{aligned, print, print_json};
use crate::problem::Problem;
use crate::safe::safe;

/// What to hold it against.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// A file with heads that were kept elsewhere: lines of syslog or the journal, or records that were sent on
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const EXIT_CODES: &str = "Exit codes: 0 clean, 10 tampered with, 11 the last record is torn, 12 not the log that was anchored, 13 a \
    token's counter tells of signatures that are not on record; the gravest wins, in the order 10, 12, 11, 13. 1 the log can't be read, 64 wrong usage";

/// Verifies the log that is written to `log`.
pub(crate) fn run(options: &Options, log: &Path) -> Result<ExitCode, Problem> {
    let anchors = options.anchor.as_deref().map_or_else(|| Ok(Vec::new()), anchors)?;
    let report = verify(log, anchors).map_err(|error| super::unreadable(log, &error))?;
    if options.json {
        print_json(&report)?;
    } else {
        print(&describe(&report))?;
    }
    Ok(report.gravest().map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code())))
}

fn anchors(path: &Path) -> Result<Vec<Head>, Problem> {
    let failed = |error: std::io::Error| Problem::failed(format!("{}: {error}", path.display()));
    let heads = anchor::heads(BufReader::new(File::open(path).map_err(failed)?)).map_err(failed)?;
    if heads.is_empty() {
        return Err(Problem::failed(format!("{} names no head of an audit log", path.display()))
            .next("Its lines have to end with \"audit head NUMBER HASH\", or to be records."));
    }
    Ok(heads)
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
        Counting::Zero => "always 0, so that it tells nothing",
        Counting::Shared => "shared by the token's keys, so that its steps tell nothing",
        Counting::ByUse => "goes by the token's use",
        Counting::Untold => "its steps tell nothing, being irregular or too few",
    }
}

fn describe(report: &Report) -> String {
    let Head { sequence, hash } = report.head;
    let mut rows = vec![
        ("records", format!("{} to {sequence}, in {} files", report.first, report.segments)),
        ("head", format!("{sequence} {hash}")),
        ("signatures", signatures(report)),
        ("anchors", format!("{} agree", report.anchored)),
    ];
    rows.extend(report.counters.iter().map(|(key, counting)| ("counter", format!("{key}: {}", words(*counting)))));
    if report.first > 1 {
        rows.push(("removed", format!("the records before {}: what they were only a copy can say", report.first)));
    }
    let verdict = match report.gravest() {
        None => "clean: the chain is whole",
        Some(Kind::CounterGap) => "COUNTER GAP: a token may have been used elsewhere, or records may be gone",
        Some(Kind::TornTail) => "torn: the last record was not written to its end",
        Some(Kind::NotAnchored) => {
            "NOT ANCHORED: this is not the log whose head was kept elsewhere, or its end is missing"
        }
        Some(Kind::Tampered) => "TAMPERED WITH: records were changed, added or taken away",
    };
    let findings = report.findings.iter().map(|finding| {
        format!("\n{}:{}: {}", safe(&finding.segment.display().to_string()), finding.line, safe(&finding.what))
    });
    format!("{verdict}\n{}{}", aligned("  ", rows), findings.collect::<String>())
}
