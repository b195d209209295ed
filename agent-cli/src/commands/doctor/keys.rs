//! The keys that the agent offers.

use agent::certificate::{Claims, is_certificate};
use agent::paths::Paths;
use jiff::{SignedDuration, Timestamp};

use super::finding::Finding;
use crate::agent_socket::{AgentSocket, Held};
use crate::problem::Problem;
use crate::proof::{Proof, prove};
use crate::terminal::Terminal;

/// A certificate that ends sooner is worth a word.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Whether one of them is on a token.
pub(super) fn on_tokens(keys: &[Held]) -> Finding {
    const CHECK: &str = "keys";
    let on_tokens: Vec<_> = keys.iter().filter(|held| held.key.application.is_some()).collect();
    if on_tokens.is_empty() {
        return Finding::bad(
            CHECK,
            "the agent holds no key of a FIDO token",
            "Add yours with `agent-cli add FILE`, or make one with `agent-cli gen-keys`.",
        );
    }
    let names = on_tokens.iter().map(|held| held.key.fingerprint.as_str());
    Finding::good(CHECK, names.collect::<Vec<_>>().join(", "))
}

/// A test signature of each key that is on a token. Who breaks it off, ends the examination.
pub(super) fn signatures(keys: &[Held], paths: &Paths, terminal: &mut Terminal) -> Result<Vec<Finding>, Problem> {
    let on_tokens = keys.iter().filter(|held| held.key.application.is_some() && !is_certificate(&held.key.blob));
    on_tokens.map(|held| signature(held, paths, terminal)).collect()
}

fn signature(held: &Held, paths: &Paths, terminal: &mut Terminal) -> Result<Finding, Problem> {
    const CHECK: &str = "signature";
    let name = &held.key.fingerprint;
    terminal.say(&format!("A test signature with {name} {}", held.comment));
    let agent = AgentSocket::at(&paths.socket).map_err(|error| Problem::failed(format!("the agent is gone: {error}")));
    Ok(match agent.and_then(|mut agent| prove(&mut agent, &held.key, false, terminal)) {
        Ok(Proof { user_verified: true }) => Finding::good(CHECK, format!("{name} signs, and its token verified you")),
        Ok(Proof { user_verified: false }) => Finding::warning(
            CHECK,
            format!("{name} signs, but its token verified nobody: hosts that demand verify-required refuse that"),
            "Ask for it with `user_verification` in the settings, or make a key that demands it: `agent-cli gen-keys`.",
        ),
        Err(problem) if problem.is_interruption() => return Err(problem),
        Err(problem) => {
            Finding::bad(CHECK, format!("{name}: {}", problem.what()), "See with `agent-cli why` why it was refused.")
        }
    })
}

/// Certificates that have ended, end soon, or have not begun.
pub(super) fn certificates(keys: &[Held], now: Timestamp) -> Vec<Finding> {
    keys.iter().filter_map(|held| Some(certificate(&held.comment, &Claims::read(&held.key.blob)?, now))).collect()
}

fn certificate(name: &str, claims: &Claims, now: Timestamp) -> Finding {
    const CHECK: &str = "certificates";
    const NEXT: &str = "Have a new one issued, and add it: `agent-cli add FILE` takes FILE-cert.pub with it.";
    let id = String::from_utf8_lossy(&claims.id);
    let name = format!("the certificate {id} of {name}");
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    if seconds < claims.valid_after {
        let next = "Look at the clock; else have one issued that is valid now.";
        return Finding::bad(CHECK, format!("{name} is not valid yet"), next);
    }
    if seconds >= claims.valid_before {
        return Finding::bad(CHECK, format!("{name} has expired"), NEXT);
    }
    // Times that no calendar has stand for ever (OpenSSH's PROTOCOL.certkeys).
    let end = i64::try_from(claims.valid_before).ok().and_then(|end| Timestamp::from_second(end).ok());
    match end {
        None => Finding::good(CHECK, format!("{name} does not expire")),
        Some(end) if end.duration_since(now) < SOON => {
            Finding::warning(CHECK, format!("{name} expires at {end}"), NEXT)
        }
        Some(end) => Finding::good(CHECK, format!("{name} is valid until {end}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict::{Bad, Good, Warning};
    use super::*;
    use crate::public_key::PublicKey;

    /// A certificate without end, of OpenSSH's making (testdata/keys.txt).
    fn claims() -> Claims {
        let keys = include_str!("../../../testdata/keys.txt").lines().filter_map(PublicKey::read_line);
        keys.filter_map(|(key, _)| Claims::read(&key.blob)).next().unwrap()
    }

    #[test]
    fn when_a_certificate_is_valid() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let day = 24 * 60 * 60;
        let at = |days: i64| u64::try_from(now.as_second() + days * day).unwrap();
        for (valid_after, valid_before, verdict) in [
            (0, u64::MAX, Good),
            (at(-1), at(15), Good),
            (at(-1), at(13), Warning),
            (at(-2), at(-1), Bad),
            (at(-2), at(0), Bad),
            (at(1), at(2), Bad),
        ] {
            let claims = Claims { valid_after, valid_before, ..claims() };
            assert_eq!(certificate("me", &claims, now).verdict, verdict, "{valid_after} to {valid_before}");
        }
    }
}
