//! `agent-cli audit checkpoint`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent::audit::chain::Head;
use agent::audit::verify::{Kind, verify};
use serde::Serialize;

use super::sign::sign_head;
use crate::output::{print, print_json};
use crate::problem::Problem;
use crate::progress::Progress;

/// What to sign with, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The key that signs, by its fingerprint; by default the only one on a token
    #[arg(long, value_name = "SHA256:…")]
    key: Option<String>,
    /// The file to write; by default audit.NUMBER.checkpoint beside the log
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was signed, by whom.
#[derive(Debug, Serialize)]
struct Written<'a> {
    file: &'a Path,
    key: String,
    head: Head,
}

/// Has the head of the log that is written to `log` signed, once the log is verified.
pub(crate) fn run(options: &Options, log: &Path) -> Result<ExitCode, Problem> {
    let progress = Progress::of("Verifying the record");
    let report = verify(log, vec![]).map_err(|error| super::unreadable(log, &error))?;
    drop(progress);
    // A step of a counter says nothing against the log's text.
    if report.gravest().is_some_and(|kind| kind != Kind::CounterGap) {
        return Err(Problem::failed("the log does not verify, and is not signed")
            .next("See what is wrong with `agent-cli audit verify`."));
    }
    let head = report.head;
    let (checkpoint, key) = sign_head(head, options.key.as_deref())?;
    let file = options.output.clone().unwrap_or_else(|| {
        let name = format!("audit.{:016}.checkpoint", head.sequence);
        log.with_file_name(name)
    });
    std::fs::write(&file, checkpoint.to_text())
        .map_err(|error| Problem::failed(format!("{} can't be written: {error}", file.display())))?;
    if options.json {
        print_json(&Written { file: &file, key, head })?;
    } else {
        print(&crate::safe::safe(&file.display().to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}
