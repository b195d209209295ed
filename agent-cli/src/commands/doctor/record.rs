//! The record: whether it is whole, has room, and is kept elsewhere too; and the clock that it is dated by.

use std::path::Path;
use std::process::{Command, Stdio};

use agent::audit::Unwritable;
use agent::audit::backwards::Backwards;
use agent::audit::verify::{Kind, verify};
use agent::config::Loaded;
use agent::paths::Paths;
use jiff::{SignedDuration, Timestamp};
use rustix::fs::{Access, access, statvfs};

use super::finding::Finding;
use crate::commands::status::when_unwritable;

/// So much room there should be, in bytes: that of a full file of the log, and more.
const ROOM: u64 = 64 * 1024 * 1024;

/// A record's time may be that far ahead of the clock: the clock is set in small steps, too.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// Verifies the log; nothing is asked of a token.
pub(super) fn whole(log: &Path) -> Finding {
    const CHECK: &str = "record";
    if !log.exists() {
        return Finding::not_checked(CHECK, format!("there is no record yet ({})", log.display()));
    }
    let report = match verify(log, vec![]) {
        Ok(report) => report,
        Err(error) => {
            let next = format!("See that {} and its folder are yours and can be read.", log.display());
            return Finding::bad(CHECK, format!("it can't be read: {error}"), next);
        }
    };
    let next = "Run `agent-cli audit verify`, and show the result to whoever answers for the log.";
    match report.findings.iter().min_by_key(|finding| finding.kind) {
        None => Finding::good(CHECK, format!("whole: records {} to {}", report.first, report.head.sequence)),
        Some(finding) if finding.kind == Kind::Tampered => {
            Finding::bad(CHECK, format!("it is not whole: {}", finding.what), next)
        }
        Some(finding) => Finding::warning(CHECK, finding.what.clone(), next),
    }
}

/// An agent that can't write its record gives out no signature.
pub(super) fn writable(log: &Path, trouble: Option<&Unwritable>) -> Finding {
    const CHECK: &str = "room";
    if let Some(trouble) = trouble {
        let reason = format!("the agent could not write its last record: {}", trouble.why);
        return Finding::bad(CHECK, reason, when_unwritable(trouble));
    }
    let Some(folder) = log.parent().filter(|folder| folder.exists()) else {
        return Finding::not_checked(CHECK, "the record's folder is made when the agent starts");
    };
    if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        let next =
            format!("Make {} your own, and writable: without a record the agent signs nothing.", folder.display());
        return Finding::bad(CHECK, format!("the record's folder can't be written: {error}"), next);
    }
    let free = match statvfs(folder) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            return Finding::not_checked(CHECK, format!("the disk does not say how much room it has: {error}"));
        }
    };
    let mib = free / 1024 / 1024;
    if free < ROOM {
        return Finding::bad(
            CHECK,
            format!("the disk of the record has {mib} MiB left"),
            "Make room: without a record the agent signs nothing.",
        );
    }
    Finding::good(CHECK, format!("the disk of the record has {mib} MiB left"))
}

/// Whether its heads go to somebody else.
pub(super) fn anchored(paths: &Paths) -> Finding {
    const CHECK: &str = "anchor";
    match Loaded::of(paths) {
        Err(_) => Finding::not_checked(CHECK, "the settings can't be read"),
        Ok(loaded) if loaded.config.audit.anchor.is_none() => Finding::warning(
            CHECK,
            "nobody else keeps the record's heads, so an end that is cut off would not be seen",
            "Set `[audit] anchor = \"journald\"` or \"syslog\", or keep checkpoints: `agent-cli audit checkpoint`.",
        ),
        Ok(_) => Finding::good(CHECK, "the record's heads go to the machine's own log"),
    }
}

/// What the record is dated by, and what certificates are held against.
pub(super) fn clock(log: &Path, now: Timestamp) -> Finding {
    const CHECK: &str = "clock";
    let last = Backwards::open(log).and_then(|mut records| records.next_record()).ok().flatten();
    if let Some(record) = last.filter(|record| record.time.duration_since(now) > TOLERANCE) {
        return Finding::bad(
            CHECK,
            format!("it says {now}, and the last record is of {}", record.time),
            "Set the clock: `sudo timedatectl set-ntp true`. Records and certificates go by it.",
        );
    }
    match synchronized().as_deref() {
        Some("yes") => Finding::good(CHECK, "it is synchronized"),
        Some("no") => Finding::warning(
            CHECK,
            "the system does not synchronize it",
            "Have it set by the network: `sudo timedatectl set-ntp true`. Records and certificates go by it.",
        ),
        _ => Finding::good(CHECK, "it is not behind the record; whether it is synchronized the system does not say"),
    }
}

/// What systemd says of it, where there is one.
fn synchronized() -> Option<String> {
    let mut asked = Command::new("timedatectl");
    asked.args(["show", "--property=NTPSynchronized", "--value"]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = asked.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
