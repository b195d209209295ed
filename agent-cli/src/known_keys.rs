//! What the agent knows of keys: on which token each is, which is a backup of which; and when each was used, by the record.

use std::collections::BTreeMap;

use agent::audit::uses;
use agent::control::keys::{Known, MOST};
use agent::control::{Event, Request};
use agent::paths::Paths;

use crate::control::{Control, unexpected};
use crate::places::find;
use crate::problem::Problem;

/// What is known of these keys, by their fingerprints.
pub(crate) fn known(fingerprints: &[&str]) -> Result<BTreeMap<String, Known>, Problem> {
    ask(fingerprints, || Control::connect().map(Some))
}

/// The same by the agent whose keys are listed; nothing where that is another program, or far away.
pub(crate) fn known_to_the_agent_listed(fingerprints: &[&str]) -> Result<BTreeMap<String, Known>, Problem> {
    ask(fingerprints, || Ok(Control::of_the_same_agent()))
}

/// The same by the agent with these paths.
pub(crate) fn known_to(paths: &Paths, fingerprints: &[&str]) -> Result<BTreeMap<String, Known>, Problem> {
    ask(fingerprints, || Control::of(paths).map(Some))
}

fn ask(
    fingerprints: &[&str],
    connect: impl Fn() -> Result<Option<Control>, Problem>,
) -> Result<BTreeMap<String, Known>, Problem> {
    let mut all = BTreeMap::new();
    for some in fingerprints.chunks(MOST) {
        let fingerprints = some.iter().map(|&fingerprint| fingerprint.to_owned()).collect();
        let Some(control) = connect()? else { break };
        match control.ask(&Request::Keys { fingerprints })? {
            Event::Keys { keys } => all.extend(keys.into_iter().map(|key| (key.fingerprint.clone(), key))),
            other => return Err(unexpected(&other)),
        }
    }
    Ok(all)
}

/// When keys signed last, by the records of all agents of this user. What can't be read tells nothing.
pub(crate) fn last_uses() -> Result<BTreeMap<String, jiff::Timestamp>, Problem> {
    let mut last: BTreeMap<String, jiff::Timestamp> = BTreeMap::new();
    for log in find(None)?.audit_logs() {
        for (key, time) in uses::last(&log).unwrap_or_default() {
            let latest = last.entry(key).or_insert(time);
            *latest = time.max(*latest);
        }
    }
    Ok(last)
}

/// What the key is good for, in words; None for a key that has no other beside it.
pub(crate) fn good_for(known: &Known, last_use: Option<jiff::Timestamp>) -> Option<String> {
    let on = match &known.token {
        Some(name) => format!("on token {}", agent::prompt::visible(name)),
        None => "on a token without a name".into(),
    };
    let what = match (&known.backup_of, known.backups.as_slice()) {
        (Some(original), _) => format!("backup of {original}, {on}"),
        (None, []) => return None,
        (None, [one]) => format!("{on}; its backup is {one}"),
        (None, several) => format!("{on}; its backups are {}", several.join(", ")),
    };
    let tried = match last_use {
        Some(time) => format!("last used {}", time.strftime("%F %T UTC")),
        None => "never tried".into(),
    };
    Some(format!("{what}; {tried}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_is_good_for_is_said_where_there_is_another() {
        let known = |token: Option<&str>, of: Option<&str>, backups: &[&str]| Known {
            fingerprint: "SHA256:this".into(),
            token: token.map(str::to_owned),
            verify_required: None,
            backup_of: of.map(str::to_owned),
            backups: backups.iter().map(|&backup| backup.to_owned()).collect(),
        };
        let time = Some("2026-11-22T10:00:00Z".parse().unwrap());
        assert_eq!(good_for(&known(Some("red"), None, &[]), time), None);
        let said = |known, time| good_for(&known, time).unwrap();
        assert_eq!(
            said(known(Some("blue"), Some("SHA256:a"), &[]), None),
            "backup of SHA256:a, on token blue; never tried"
        );
        assert_eq!(
            said(known(None, None, &["SHA256:b"]), time),
            "on a token without a name; its backup is SHA256:b; last used 2026-11-22 10:00:00 UTC"
        );
    }
}
