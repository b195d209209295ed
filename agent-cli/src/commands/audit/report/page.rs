//! The page around the rows.

use std::path::Path;

use agent::audit::chain::Head;
use agent::audit::verify::{Counting, Kind, Report};
use agent::denial::Code;
use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::sha2::{Digest, Sha256};

use super::super::names::{Host, Names};
use super::super::reading::{counted, grouped};
use super::attention::Group;
use super::summary::{OfHost, OfKey, Summary};
use super::timeline::Picture;
use super::verified::Verified;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Where the rows go. No text of a log can be it: its `<` would be escaped.
const ROWS: &str = "<!--rows-->";

/// All but the rows.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    policy: String,
    style: &'static str,
    script: &'static str,
    span: String,
    of: String,
    filters: Vec<String>,
    verdict: Verdict,
    tiles: Vec<Tile>,
    groups: Vec<Group<'a>>,
    picture: Option<Picture>,
    hosts: Vec<(Host, &'a OfHost)>,
    hosts_counted: String,
    hosts_note: String,
    keys: Vec<(&'a str, &'a OfKey)>,
    keys_counted: String,
    keys_note: String,
    codes: Vec<(Code, u64)>,
    is_empty: bool,
    has_names: bool,
    version: &'static str,
    made: String,
    log: String,
    head: String,
}

struct Verdict {
    class: &'static str,
    sign: &'static str,
    title: &'static str,
    text: &'static str,
    wants_anchor: bool,
    facts: Vec<(&'static str, String)>,
    findings: Vec<Found>,
    more: bool,
}

struct Found {
    place: String,
    what: String,
}

struct Tile {
    class: &'static str,
    number: String,
    what: &'static str,
    note: String,
}

/// What a report is made of.
pub(super) struct Material<'a> {
    pub(super) verified: &'a Verified,
    pub(super) summary: &'a Summary,
    pub(super) names: &'a Names,
    pub(super) filters: Vec<String>,
    pub(super) log: &'a Path,
    pub(super) anchors_given: bool,
    pub(super) checkpoint_by: Option<String>,
    pub(super) made: jiff::Timestamp,
}

/// What stands before the rows and what behind them.
pub(super) fn around_rows(material: Material<'_>) -> Result<(String, String), askama::Error> {
    let Material { verified, summary, names, filters, log, anchors_given, checkpoint_by, made } = material;
    let Verified { report, .. } = verified;
    let (hosts, keys) = (summary.hosts.by(OfHost::total), summary.keys.by(OfKey::total));
    let page = Page {
        policy: policy(),
        style: STYLE,
        script: SCRIPT,
        span: span(summary),
        of: of(summary),
        filters,
        verdict: verdict(verified, anchors_given, checkpoint_by),
        tiles: tiles(summary),
        groups: summary.attention.groups(),
        picture: summary.timeline.picture(),
        hosts_note: not_shown(hosts.len(), summary.hosts.len(), summary.hosts.beyond),
        hosts_counted: counted(summary.hosts.len() as u64, "host", "hosts"),
        hosts: hosts.into_iter().map(|(host, of)| (names.host(host), of)).collect(),
        keys_note: not_shown(keys.len(), summary.keys.len(), summary.keys.beyond),
        keys_counted: counted(summary.keys.len() as u64, "key", "keys"),
        keys,
        codes: codes(summary),
        is_empty: summary.entries == 0,
        has_names: names.any(),
        version: env!("CARGO_PKG_VERSION"),
        made: made.strftime("%F %T UTC").to_string(),
        log: log.display().to_string(),
        head: head(report.head),
    };
    let page = page.render()?;
    Ok(page.split_once(ROWS).map(|(before, behind)| (before.to_owned(), behind.to_owned())).unwrap_or_default())
}

/// A page that was tampered with on its way runs no other script, and none asks anybody for anything.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
}

fn span(summary: &Summary) -> String {
    match (summary.first, summary.last) {
        (Some(first), Some(last)) => {
            let (from, to) = (first.strftime("%-d %B %Y").to_string(), last.strftime("%-d %B %Y").to_string());
            if from == to { from } else { format!("{from} to {to}") }
        }
        _ => "Nothing on record".into(),
    }
}

fn of(summary: &Summary) -> String {
    let instances: Vec<_> = summary.instances.iter().map(String::as_str).collect();
    let of = if instances.is_empty() { String::new() } else { format!("Agent {}. ", instances.join(", ")) };
    let span = match (summary.first, summary.last) {
        (Some(first), Some(last)) => format!("From {} to {} UTC.", first.strftime("%F %T"), last.strftime("%F %T")),
        _ => String::new(),
    };
    format!("{of}{span}")
}

fn verdict(verified: &Verified, anchors_given: bool, checkpoint_by: Option<String>) -> Verdict {
    let report = &verified.report;
    let (class, sign, title) = match report.gravest() {
        None => ("good", "✓", "Verified: the record is whole"),
        Some(Kind::CounterGap) => ("warn", "!", "A token’s counter made a step that the record does not explain"),
        Some(Kind::TornTail) => ("warn", "!", "The last record is torn"),
        Some(Kind::NotAnchored) => ("bad", "✗", "Not the log that was anchored"),
        Some(Kind::Tampered) => ("bad", "✗", "Tampered with"),
    };
    let text = match report.gravest() {
        None if report.anchored > 0 => {
            "Each record follows from the one before it, each signature is what its record says, and the log agrees with \
             what was kept of it elsewhere. Behind the last anchor something may be missing."
        }
        None => "Each record follows from the one before it, and each signature is what its record says.",
        Some(Kind::CounterGap) => {
            "It may have been used elsewhere, or records may be gone. This is a guess: how a token counts is its own affair."
        }
        Some(Kind::TornTail) => "It was not written to its end, as where a machine loses its power.",
        Some(Kind::NotAnchored) => "A head that was kept elsewhere is not in it, or its end is missing.",
        Some(Kind::Tampered) => "Records were changed, added or taken away. Trust nothing behind the first finding.",
    };
    let found = |finding: &agent::audit::verify::Finding| {
        let file = finding.segment.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Found { place: format!("{file}:{}", finding.line), what: finding.what.clone() }
    };
    let anchors = match (anchors_given, report.anchored) {
        (false, _) => "none was given".into(),
        (true, agree) => format!("{} with it", counted(agree, "agrees", "agree")),
    };
    let mut facts = vec![
        ("Records", format!("{} to {}, in {}", report.first, report.head.sequence, files(report.segments))),
        ("Signatures", signatures(report)),
        ("Anchors", anchors),
    ];
    facts.extend(checkpoint_by.map(|by| ("Checkpoint", format!("signed by {by}"))));
    if report.first > 1 {
        facts.push(("Removed", format!("the records before {}: what they were only a copy can say", report.first)));
    }
    let told = report.counters.values().filter(|counter| counter.counting == Counting::ByUse).count() as u64;
    if !report.counters.is_empty() {
        let of = counted(report.counters.len() as u64, "key on a token", "keys on tokens");
        facts.push((
            "Counters",
            format!("{of}, of which {} by its use, so that a gap would be seen", counted(told, "counts", "count")),
        ));
    }
    facts.push(("Head", head(report.head)));
    let findings = report.findings.iter().map(found).collect();
    let wants_anchor = report.gravest().is_none() && report.anchored == 0;
    Verdict { class, sign, title, text, wants_anchor, facts, findings, more: verified.has_too_many() }
}

fn files(number: usize) -> String {
    counted(number as u64, "file", "files")
}

fn signatures(report: &Report) -> String {
    let Report { signatures, unchecked, hosts_proven, .. } = report;
    let checked = match unchecked {
        0 => "all checked".into(),
        _ => format!(
            "{} not checked, since what they sign was too long to be kept, the others checked",
            grouped(*unchecked)
        ),
    };
    format!("{}, {checked}; of {} the host is proven", grouped(*signatures), grouped(*hosts_proven))
}

fn head(Head { sequence, hash }: Head) -> String {
    format!("{sequence} {hash}")
}

fn tiles(summary: &Summary) -> Vec<Tile> {
    let tile = |class, number: u64, what, note: String| Tile {
        class: if number == 0 { "" } else { class },
        number: grouped(number),
        what,
        note,
    };
    let proven = format!("{} with proof of the host", grouped(summary.logins_proven));
    let mut tiles = vec![
        tile("", summary.logins, "logins signed", proven),
        tile("", summary.others, "other signatures", "files, commits, certificates".into()),
        tile("", summary.rehearsed, "rehearsed", "logins that were no use in earnest".into()),
        tile("refused", summary.refused, "refused", counted(summary.codes.len() as u64, "reason", "reasons")),
        tile("pin", summary.wrong_pins, "wrong PINs", String::new()),
        tile("unknown", summary.unknown, "outcomes unknown", String::new()),
        tile("", summary.hosts.len() as u64, "hosts", String::new()),
        tile("", summary.keys.len() as u64, "keys", String::new()),
        tile("", summary.acts, "other acts", "keys, tokens, prompts, settings".into()),
    ];
    tiles.retain(|tile| !matches!(tile.what, "outcomes unknown" | "rehearsed") || tile.number != "0");
    tiles
}

fn codes(summary: &Summary) -> Vec<(Code, u64)> {
    let mut codes: Vec<_> = summary.codes.iter().map(|(code, count)| (*code, *count)).collect();
    codes.sort_by_key(|(code, count)| (std::cmp::Reverse(*count), *code));
    codes
}

fn not_shown(shown: usize, all: usize, beyond: u64) -> String {
    let left = (all - shown) as u64;
    match (left, beyond) {
        (0, 0) => String::new(),
        (left, 0) => format!("{} more are in the log below.", grouped(left)),
        (left, beyond) => {
            let times = counted(beyond, "more time", "more times");
            format!("{} more are in the log below, and {times} others that are too many to count each.", grouped(left))
        }
    }
}

/// What templates make of numbers.
#[allow(unreachable_pub, reason = "the macro makes it so")]
mod filters {
    /// None where there is nothing: a table of noughts hides what is there.
    #[askama::filter_fn]
    pub(super) fn count(number: &u64, _: &dyn askama::Values) -> askama::Result<String> {
        Ok(if *number == 0 { "·".into() } else { super::grouped(*number) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Style and script are the only text that is not escaped, and a page that asks for anything else is none of ours.
    #[test]
    fn nothing_in_the_page_leads_out_of_it() {
        for text in [STYLE, SCRIPT, include_str!("page.html"), include_str!("row.html")] {
            let namespace = "http://www.w3.org/2000/svg";
            let text = text.replace(namespace, "");
            for out in ["http:", "https:", "\"//", "'//", "(//", "@import", "src=", "fetch(", "innerHTML", "eval("] {
                assert!(!text.contains(out), "{out}");
            }
        }
        for text in [STYLE, SCRIPT] {
            assert!(!text.contains("</"), "it would end its element");
        }
        assert_eq!(include_str!("page.html").matches("|safe").count(), 2);
        assert_eq!(include_str!("page.html").matches(ROWS).count(), 1);
        assert!(!include_str!("row.html").contains("|safe"));
    }

    #[test]
    fn the_policy_allows_the_pages_own_style_and_script_alone() {
        let policy = policy();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    }
}
