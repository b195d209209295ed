//! Whether there is another key for the day on which a token is lost, and whether it was ever tried.

use std::collections::BTreeMap;

use agent::control::keys::Known;
use jiff::Timestamp;

use super::finding::Finding;

const CHECK: &str = "backup";

/// What there is in the place of each of these keys, by when each was used last.
pub(super) fn findings(
    keys: &[&str],
    known: &BTreeMap<String, Known>,
    uses: &BTreeMap<String, Timestamp>,
) -> Vec<Finding> {
    if keys.is_empty() {
        return vec![Finding::not_checked(CHECK, "the agent holds no key of a FIDO token")];
    }
    let mut findings = Vec::new();
    let mut alone = Vec::new();
    for &key in keys {
        let Some(Known { backup_of, backups, .. }) = known.get(key) else { continue };
        match backup_of {
            // It is looked at with its original.
            Some(original) if keys.contains(&original.as_str()) => {}
            _ if backups.is_empty() => alone.push(key),
            _ => findings.extend(backups.iter().map(|backup| of_backup(backup, key, keys, known, uses))),
        }
    }
    if let Some(first) = alone.first() {
        findings.push(Finding::warning(
            CHECK,
            format!("there is no backup of {}: who loses its token logs in nowhere", alone.join(", ")),
            format!("Make one on a second token: `agent-cli gen-keys --backup-of {first}`."),
        ));
    }
    findings
}

fn of_backup(
    backup: &str,
    key: &str,
    keys: &[&str],
    known: &BTreeMap<String, Known>,
    uses: &BTreeMap<String, Timestamp>,
) -> Finding {
    let token = known.get(backup).and_then(|known| known.token.as_ref());
    let on = token.map(|name| format!(" on token {name}")).unwrap_or_default();
    let what = format!("{backup}{on}, the backup of {key},");
    if !keys.contains(&backup) {
        return Finding::warning(
            CHECK,
            format!("{what} is not held by the agent"),
            "Add its file: `agent-cli add FILE`.",
        );
    }
    match uses.get(backup) {
        None => Finding::warning(
            CHECK,
            format!("{what} was never used, by the record"),
            "Log in with it once, with its token alone plugged in, so that it is known to work on the day you need it.",
        ),
        Some(time) => Finding::good(CHECK, format!("{what} was used last at {}", time.strftime("%F %T UTC"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict::{self, Good, NotChecked, Warning};
    use super::*;

    #[test]
    fn a_backup_has_to_be_there_held_and_tried() {
        let known = |fingerprint: &str, of: Option<&str>, backups: &[&str]| {
            let known = Known {
                fingerprint: fingerprint.into(),
                token: None,
                verify_required: None,
                backup_of: of.map(str::to_owned),
                backups: backups.iter().map(|&backup| backup.to_owned()).collect(),
            };
            (fingerprint.to_owned(), known)
        };
        let known = BTreeMap::from([known("a", None, &["b"]), known("b", Some("a"), &[]), known("c", None, &[])]);
        let used = BTreeMap::from([("b".to_owned(), Timestamp::UNIX_EPOCH)]);
        let verdicts = |keys: &[&str], uses: &BTreeMap<String, Timestamp>| -> Vec<Verdict> {
            findings(keys, &known, uses).iter().map(|finding| finding.verdict).collect()
        };
        assert_eq!(verdicts(&[], &used), [NotChecked]);
        assert_eq!(verdicts(&["a", "b"], &used), [Good]);
        assert_eq!(verdicts(&["a", "b"], &BTreeMap::new()), [Warning]);
        assert_eq!(verdicts(&["a"], &used), [Warning]);
        assert_eq!(verdicts(&["a", "b", "c"], &used), [Good, Warning]);
        // The original is lost: the backup has none of its own.
        assert_eq!(verdicts(&["b"], &used), [Warning]);
    }
}
