//! `agent-cli audit report`: the log as a page for people, in one file that needs nothing else.
//!
//! The log is read twice: once to verify it and to count, once to write its rows. What is kept of it meanwhile is a byte for
//! each line and what is counted of hosts and keys, each up to a limit.

mod attention;
mod facts;
mod headline;
pub(crate) mod inert;
mod page;
mod row;
mod summary;
mod timeline;
mod verified;

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{BufWriter, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent::audit::chain::Head;
use agent::audit::history::History;
use agent::audit::reader::Lines;
use askama::Template;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use self::page::{Material, around_rows};
use self::row::Row;
use self::summary::Summary;
use self::verified::{Content, Verified, Verifying};
use super::filter::Filter;
use super::names::Names;
use super::reading::Rehearsals;
use super::verify::anchors;
use crate::places::find;
use crate::problem::Problem;

/// What to report.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Write the page into this file, and not to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    filter: Filter,
    /// A file with heads that were kept elsewhere, as for `agent-cli audit verify`
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// Take a checkpoint as anchor only where this key has signed it
    #[arg(long, value_name = "SHA256:…", requires = "anchor")]
    signer: Option<String>,
}

/// Makes the page from the log of `log`.
pub(crate) fn run(options: &Options, log: &Path) -> Result<ExitCode, Problem> {
    let Some(path) = &options.output else {
        let output = std::io::stdout().lock();
        if output.is_terminal() {
            return Err(Problem::usage("a page of HTML is not for a terminal").next("Name a file with --output FILE."));
        }
        return match write(options, log, output) {
            // A reader that has seen enough is no problem.
            Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            ended => ended.map_err(|failure| failure.problem("standard output")),
        };
    };
    if let (Ok(page), Ok(log)) = (path.canonicalize(), log.canonicalize())
        && page == log
    {
        return Err(Problem::usage("the page would take the log's place").next("Name another file with --output FILE."));
    }
    let name = path.display().to_string();
    let unwritable = |error| Failure::Output(error).problem(&name);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // What is there stays until the new one is whole. It says of persons what the log does, so it is as private.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(unwritable)?;
    let code = write(options, log, file.as_file_mut()).map_err(|failure| failure.problem(&name))?;
    file.as_file().set_permissions(Permissions::from_mode(0o600)).map_err(unwritable)?;
    file.persist(path).map_err(|error| unwritable(error.error))?;
    Ok(code)
}

enum Failure {
    Problem(Problem),
    Output(std::io::Error),
}

impl Failure {
    fn problem(self, output: &str) -> Problem {
        match self {
            Self::Problem(problem) => problem,
            Self::Output(error) => Problem::failed(format!("{output}: {error}")),
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<askama::Error> for Failure {
    fn from(error: askama::Error) -> Self {
        Self::Problem(Problem::failed(format!("the page can't be made: {error}")))
    }
}

fn write(options: &Options, log: &Path, output: impl Write) -> Result<ExitCode, Failure> {
    let (anchors, checkpoint_by) = options
        .anchor
        .as_deref()
        .map_or_else(|| Ok((Vec::new(), None)), |file| anchors(file, options.signer.as_deref()))?;
    let anchors_given = options.anchor.is_some();
    let mut names = Names::of(find(None).ok().map(|paths| paths.home).as_deref());
    let (verified, summary) = count(options, log, anchors, &mut names)?;
    let material = Material {
        verified: &verified,
        summary: &summary,
        names: &names,
        filters: options.filter.words(),
        log,
        anchors_given,
        checkpoint_by,
        made: jiff::Timestamp::now(),
    };
    let (before, behind) = around_rows(material)?;
    let mut output = BufWriter::new(output);
    output.write_all(before.as_bytes()).map_err(Failure::Output)?;
    write_rows(options, log, &verified, &names, &mut output)?;
    output.write_all(behind.as_bytes()).and_then(|()| output.flush()).map_err(Failure::Output)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the log once, to verify and to count.
fn count(options: &Options, log: &Path, anchors: Vec<Head>, names: &mut Names) -> Result<(Verified, Summary), Problem> {
    let unreadable = |error: std::io::Error| super::unreadable(log, &error);
    let (mut history, mut rehearsals, mut summary) = (History::default(), Rehearsals::default(), Summary::default());
    let lines = Lines::of(log).map_err(unreadable)?;
    let mut verifying = Verifying::of(log, anchors).map_err(unreadable)?;
    for line in lines {
        let line = line.map_err(unreadable)?;
        let checked = verifying.read(&line);
        let Some(entry) = history.read(&line) else { continue };
        let kind = rehearsals.kind(&entry);
        if options.filter.wants(&entry, kind) {
            names.learn(&entry);
            summary.add(&entry, kind, checked, names);
        }
    }
    Ok((verifying.end(), summary))
}

/// Reads it again, as far as it was verified, and writes what happened as it goes.
fn write_rows(
    options: &Options,
    log: &Path,
    verified: &Verified,
    names: &Names,
    output: &mut impl Write,
) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| super::unreadable(log, &error);
    let (mut history, mut rehearsals) = (History::default(), Rehearsals::default());
    let (mut day, mut content) = (None, Content::default());
    // What is wrong with records whose request has not ended yet, by their numbers.
    let mut wrong: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (number, line) in Lines::of(log).map_err(unreadable)?.take(verified.lines()).enumerate() {
        let line = line.map_err(unreadable)?;
        content.read(&line);
        let findings: Vec<_> = verified.findings(number).map(|finding| finding.what.clone()).collect();
        if !findings.is_empty() {
            wrong.entry(sequence(&line.text)).or_default().extend(findings);
        }
        let Some(entry) = history.read(&line) else { continue };
        let kind = rehearsals.kind(&entry);
        let findings: Vec<_> = entry.records.iter().filter_map(|record| wrong.remove(record)).flatten().collect();
        if !options.filter.wants(&entry, kind) {
            continue;
        }
        let date = entry.time.to_zoned(TimeZone::UTC).date();
        begin_day(day.replace(date), date, output)?;
        let row = Row::of(&entry, kind, verified.signature(number), &findings, verified.has_too_many(), names);
        writeln!(output, "{}", row.render()?).map_err(Failure::Output)?;
    }
    // Old segments may have been removed: then what was found belongs to other lines.
    if content.end() != verified.content {
        return Err(Problem::failed("the log was changed while it was read").next("Repeat the command.").into());
    }
    if day.is_some() {
        output.write_all(b"</section>\n").map_err(Failure::Output)?;
    }
    Ok(())
}

/// Ends the day before, and begins another one, where it is another.
fn begin_day(before: Option<Date>, day: Date, output: &mut impl Write) -> Result<(), Failure> {
    if before == Some(day) {
        return Ok(());
    }
    let end = if before.is_some() { "</section>\n" } else { "" };
    let title = day.strftime("%A, %-d %B %Y");
    writeln!(output, "{end}<section class=\"day\" id=\"d{day}\"><h3>{title}</h3>").map_err(Failure::Output)
}

/// The number that a line says to have, where it is a record.
fn sequence(line: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Numbered {
        sequence: u64,
    }
    serde_json::from_slice(line).map_or(0, |Numbered { sequence }| sequence)
}
