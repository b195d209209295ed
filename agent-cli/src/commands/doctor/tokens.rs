//! The tokens, as far as they tell without a person.

use agent::control::TokenStatus;
use agent::token::protocol::State;
use rustix::fs::{Access, access};

use super::finding::Finding;

/// Where so few tries are left, the agent asks twice before it asks for a PIN (pin_guard.rs).
const FEW: u32 = 2;

/// Whether this user may use the devices: as the agent, which is the same user.
pub(super) fn device_access() -> Finding {
    const CHECK: &str = "devices";
    let nodes = agent::token::fido_nodes();
    let closed = |node: &&String| access(node.as_str(), Access::READ_OK | Access::WRITE_OK).is_err();
    let barred: Vec<_> = nodes.iter().filter(closed).map(String::as_str).collect();
    if nodes.is_empty() {
        return Finding::not_checked(CHECK, "the kernel shows no FIDO device");
    }
    if barred.is_empty() {
        return Finding::good(CHECK, format!("you may use {}", nodes.join(", ")));
    }
    Finding::bad(
        CHECK,
        format!("you may not use {}", barred.join(", ")),
        "Install the udev rule 70-fido-ssh-agent.rules, which the package brings; who logs in from afar has to be in the group \
         plugdev (`sudo adduser $USER plugdev`, then log in again). Pull the token out and plug it in again.",
    )
}

/// The tokens that are plugged in.
pub(super) fn findings(tokens: &[TokenStatus]) -> Vec<Finding> {
    let answering: Vec<_> = tokens.iter().filter_map(|token| Some((name(token), token.state.as_ref()?))).collect();
    let mut findings = vec![present(tokens)];
    if answering.is_empty() {
        findings.extend(["verification", "tries"].map(|check| Finding::not_checked(check, "no token answers")));
        return findings;
    }
    findings.extend(answering.iter().map(|(name, state)| verification(name, state)));
    findings.extend(answering.iter().map(|(name, state)| tries(name, state)));
    findings
}

/// What it is called.
pub(super) fn name(token: &TokenStatus) -> String {
    match &token.name {
        Some(name) => format!("token {name}"),
        None => format!("the token at {}", token.device.path),
    }
}

fn present(tokens: &[TokenStatus]) -> Finding {
    const CHECK: &str = "tokens";
    if tokens.is_empty() {
        return Finding::bad(CHECK, "no FIDO token is plugged in", "Plug yours in.");
    }
    let silent = tokens.iter().find_map(|token| Some((name(token), token.trouble.as_ref()?)));
    if let Some((name, trouble)) = silent {
        let next = "Pull it out and plug it in again; close other programs that use it.";
        return Finding::warning(CHECK, format!("{name} does not answer: {trouble}"), next);
    }
    if let Some(nameless) = tokens.iter().find(|token| token.name.is_none()) {
        return Finding::warning(
            CHECK,
            format!("{} has no name, so the agent can't tell it from another one before it is touched", name(nameless)),
            "Give it one: `agent-cli tokens name NAME`.",
        );
    }
    Finding::good(CHECK, tokens.iter().map(name).collect::<Vec<_>>().join(", "))
}

/// Whether it could verify its user, as keys that are `verify-required` want it.
fn verification(name: &str, state: &State) -> Finding {
    const CHECK: &str = "verification";
    let (pin, finger) = (state.pin_set == Some(true), state.built_in_uv == Some(true));
    if state.force_pin_change {
        return Finding::bad(
            CHECK,
            format!("{name} wants its PIN changed first"),
            "Run `agent-cli tokens change-pin`.",
        );
    }
    match (pin, finger) {
        (true, true) => Finding::good(CHECK, format!("{name} has a PIN and a fingerprint")),
        (true, false) if state.built_in_uv == Some(false) => Finding::warning(
            CHECK,
            format!("{name} has a PIN, but no fingerprint is enrolled on its sensor"),
            "Enrol one: `agent-cli tokens fingerprints add`.",
        ),
        (true, false) => Finding::good(CHECK, format!("{name} has a PIN")),
        (false, true) => Finding::good(CHECK, format!("{name} has a fingerprint")),
        (false, false) if state.pin_set == Some(false) => Finding::bad(
            CHECK,
            format!("{name} has no PIN, so it can't verify you"),
            "Set one: `agent-cli tokens set-pin`.",
        ),
        (false, false) => Finding::bad(
            CHECK,
            format!("{name} can have no PIN, and so verifies nobody"),
            "Use a token of FIDO2 for keys that are verify-required.",
        ),
    }
}

fn tries(name: &str, state: &State) -> Finding {
    const CHECK: &str = "tries";
    match (state.pin_set, state.pin_retries) {
        (Some(true), Some(0)) => Finding::bad(
            CHECK,
            format!("the PIN of {name} is blocked for good"),
            "Use your backup token. This one has to be reset, which erases its keys.",
        ),
        (Some(true), Some(left)) if left <= FEW => Finding::bad(
            CHECK,
            format!("{name} has {left} of its PIN's tries left"),
            "Enter the right PIN once, with time and a written note of it: `agent-cli tokens credentials`. All tries are back then.",
        ),
        (Some(true), Some(left)) => match state.uv_retries {
            Some(0) if state.built_in_uv == Some(true) => Finding::warning(
                CHECK,
                format!("the fingerprint sensor of {name} is blocked; {left} of its PIN's tries are left"),
                "Enter the PIN once: `agent-cli tokens credentials`.",
            ),
            _ => Finding::good(CHECK, format!("{name} has {left} of its PIN's tries left")),
        },
        _ => Finding::not_checked(CHECK, format!("{name} counts no tries of a PIN")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict::{self, Bad, Good, NotChecked, Warning};
    use super::*;

    #[test]
    fn how_a_token_verifies_its_user() {
        let state = |pin_set, built_in_uv, force_pin_change| State {
            pin_set,
            built_in_uv,
            force_pin_change,
            ..State::default()
        };
        for (state, verdict) in [
            (state(Some(true), None, false), Good),
            (state(Some(true), Some(true), false), Good),
            (state(Some(false), Some(true), false), Good),
            (state(Some(true), Some(false), false), Warning),
            (state(Some(false), Some(false), false), Bad),
            (state(None, None, false), Bad),
            (state(Some(true), None, true), Bad),
        ] {
            assert_eq!(verification("it", &state).verdict, verdict, "{state:?}");
        }
    }

    #[test]
    fn how_many_tries_are_left() {
        let verdict = |pin_set, pin_retries, built_in_uv, uv_retries| -> Verdict {
            tries("it", &State { pin_set, pin_retries, built_in_uv, uv_retries, ..State::default() }).verdict
        };
        assert_eq!(verdict(Some(true), Some(8), None, None), Good);
        assert_eq!(verdict(Some(true), Some(3), Some(true), Some(3)), Good);
        assert_eq!(verdict(Some(true), Some(8), Some(true), Some(0)), Warning);
        assert_eq!(verdict(Some(true), Some(2), None, None), Bad);
        assert_eq!(verdict(Some(true), Some(0), None, None), Bad);
        assert_eq!(verdict(Some(false), None, None, None), NotChecked);
    }
}
