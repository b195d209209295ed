//! Whether the keys' tokens are at hand, as far as tokens say so without a PIN or a touch.

use std::collections::BTreeMap;

use agent::certificate::is_certificate;
use agent::control::keys::{Known, MOST, Whereabouts};
use agent::control::{Event, Request, TokenStatus};
use agent::paths::Paths;

use super::finding::Finding;
use super::tokens;
use crate::agent_socket::Held;
use crate::control::{Control, unexpected};
use crate::problem::Problem;

const CHECK: &str = "at-hand";

/// The fingerprints of the keys that are on tokens.
pub(super) fn on_tokens(keys: &[Held]) -> Vec<&str> {
    let on_tokens = keys.iter().filter(|held| held.key.application.is_some() && !is_certificate(&held.key.blob));
    on_tokens.map(|held| held.key.fingerprint.as_str()).collect()
}

/// Where each of these keys is, and which of the tokens that are plugged in holds none of them.
pub(super) fn findings(
    keys: &[&str],
    tokens: &[TokenStatus],
    known: &BTreeMap<String, Known>,
    paths: &Paths,
) -> Vec<Finding> {
    if keys.is_empty() {
        return vec![Finding::not_checked(CHECK, "the agent holds no key of a FIDO token")];
    }
    if tokens.is_empty() {
        return vec![Finding::not_checked(CHECK, "no FIDO token is plugged in")];
    }
    match look(keys, paths) {
        Ok(found) => judge(&found, tokens, known),
        Err(problem) => vec![Finding::not_checked(CHECK, format!("the tokens were not asked: {}", problem.what()))],
    }
}

fn look(keys: &[&str], paths: &Paths) -> Result<Vec<Whereabouts>, Problem> {
    let mut all = Vec::new();
    for some in keys.chunks(MOST) {
        let fingerprints = some.iter().map(|&fingerprint| fingerprint.to_owned()).collect();
        match Control::of(paths)?.ask(&Request::Whereabouts { fingerprints })? {
            Event::Whereabouts { keys } => all.extend(keys),
            other => return Err(unexpected(&other)),
        }
    }
    Ok(all)
}

fn judge(keys: &[Whereabouts], tokens: &[TokenStatus], known: &BTreeMap<String, Known>) -> Vec<Finding> {
    if keys.iter().all(is_away) {
        return vec![none_at_hand(keys, known)];
    }
    let mut findings: Vec<_> = keys.iter().map(|key| of_key(key, keys, tokens, known)).collect();
    let holds_one = |token: &TokenStatus| {
        let path = &token.device.path;
        keys.iter().any(|key| key.token.as_ref() == Some(path) || key.perhaps.contains(path))
    };
    findings.extend(tokens.iter().filter(|token| token.state.is_some() && !holds_one(token)).map(|token| {
        Finding::warning(
            CHECK,
            format!("{} holds none of the agent's keys", tokens::name(token)),
            "Add its keys with `agent-cli add FILE` or `agent-cli add --resident`, or make one with `agent-cli gen-keys`.",
        )
    }));
    findings
}

fn is_away(key: &Whereabouts) -> bool {
    key.token.is_none() && key.perhaps.is_empty()
}

/// With its token's name, where that is known.
fn named(key: &Whereabouts, known: &BTreeMap<String, Known>) -> String {
    let fingerprint = &key.fingerprint;
    match known.get(fingerprint).and_then(|known| known.token.as_ref()) {
        Some(token) => format!("{fingerprint} (on token {token})"),
        None => fingerprint.clone(),
    }
}

fn none_at_hand(keys: &[Whereabouts], known: &BTreeMap<String, Known>) -> Finding {
    let all: Vec<_> = keys.iter().map(|key| named(key, known)).collect();
    Finding::bad(
        CHECK,
        format!("no token that is plugged in holds a key of the agent: {}", all.join(", ")),
        "Plug in the token of one of them; or add the keys of the one that is plugged in: `agent-cli add FILE`, or \
         `agent-cli add --resident`.",
    )
}

fn of_key(key: &Whereabouts, all: &[Whereabouts], tokens: &[TokenStatus], known: &BTreeMap<String, Known>) -> Finding {
    let Whereabouts { fingerprint, token, perhaps } = key;
    let holder = token.as_ref().and_then(|path| tokens.iter().find(|token| token.device.path == *path));
    if let Some(holder) = holder {
        return Finding::good(CHECK, format!("{fingerprint} is on {}", tokens::name(holder)));
    }
    if token.is_some() || !perhaps.is_empty() {
        return Finding::not_checked(
            CHECK,
            format!(
                "{fingerprint}: whether its token is plugged in is not known without a PIN; `agent-cli doctor --sign` tries it"
            ),
        );
    }
    let named = named(key, known);
    let stands_in = |other: &&Whereabouts| !is_away(other) && are_of_one_family(known, fingerprint, &other.fingerprint);
    match all.iter().find(stands_in) {
        Some(other) => Finding::good(
            CHECK,
            format!("{named} is away; {}, of which it is the original or a backup, is not", other.fingerprint),
        ),
        None => Finding::warning(
            CHECK,
            format!("the token of {named} is not plugged in"),
            format!("Have it with you where that key is needed; else take it out: `agent-cli remove {fingerprint}`."),
        ),
    }
}

/// Whether they are backups of one key, or one of them is the other's.
fn are_of_one_family(known: &BTreeMap<String, Known>, one: &str, other: &str) -> bool {
    let original = |key: &str| {
        let of = known.get(key).and_then(|known| known.backup_of.clone());
        of.unwrap_or_else(|| key.to_owned())
    };
    original(one) == original(other)
}

#[cfg(test)]
mod tests {
    use agent::token::protocol::{Device, State};

    use super::super::finding::Verdict::{self, Bad, Good, NotChecked, Warning};
    use super::*;

    fn token(name: &str) -> TokenStatus {
        let (path, text) = (format!("/dev/{name}"), String::new);
        let device = Device { path, product: text(), serial: text(), vendor_id: 0, product_id: 0 };
        TokenStatus { name: Some(name.into()), device, state: Some(State::default()), trouble: None }
    }

    fn key(fingerprint: &str, token: Option<&str>, perhaps: &[&str]) -> Whereabouts {
        let node = |name: &&str| format!("/dev/{name}");
        let perhaps = perhaps.iter().map(node).collect();
        Whereabouts { fingerprint: fingerprint.into(), token: token.as_ref().map(node), perhaps }
    }

    #[test]
    fn where_keys_are_and_what_tokens_are_without() {
        let backup = Known {
            fingerprint: "b".into(),
            token: Some("blue".into()),
            verify_required: None,
            backup_of: Some("a".into()),
            backups: vec![],
        };
        let known = BTreeMap::from([("b".to_owned(), backup)]);
        let verdicts = |keys: &[Whereabouts], tokens: &[TokenStatus]| -> Vec<Verdict> {
            judge(keys, tokens, &known).iter().map(|finding| finding.verdict).collect()
        };
        let (red, green) = (token("red"), token("green"));
        let here = key("a", Some("red"), &[]);
        let away = |name: &str| key(name, None, &[]);
        assert_eq!(verdicts(std::slice::from_ref(&here), std::slice::from_ref(&red)), [Good]);
        assert_eq!(verdicts(&[away("a"), away("c")], std::slice::from_ref(&red)), [Bad]);
        assert_eq!(verdicts(&[key("a", None, &["red"])], std::slice::from_ref(&red)), [NotChecked]);
        // Its backup is away for good reasons; another key is not.
        assert_eq!(verdicts(&[here.clone(), away("b"), away("c")], std::slice::from_ref(&red)), [Good, Good, Warning]);
        assert_eq!(verdicts(&[here], &[red, green]), [Good, Warning]);
    }
}
