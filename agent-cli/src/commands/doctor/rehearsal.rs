//! Whether a login was rehearsed, and whether that says anything of today.

use agent::control::TokenStatus;
use agent::paths::Paths;
use jiff::Timestamp;

use super::finding::Finding;
use crate::agent_socket::Held;
use crate::commands::rehearse::kept::{Today, every, last};

const CHECK: &str = "rehearsal";

pub(super) fn finding(paths: &Paths, keys: Option<&[Held]>, tokens: Option<&[TokenStatus]>, now: Timestamp) -> Finding {
    const NEXT: &str = "Rehearse: `agent-cli rehearse DEST`, with -J or -A as you would use them.";
    match last(paths) {
        Err(error) => Finding::warning(CHECK, format!("the last one can't be read: {error}"), NEXT),
        Ok(None) => Finding { next: Some(NEXT.into()), ..Finding::not_checked(CHECK, "no login was rehearsed yet") },
        Ok(Some(last)) => {
            let what = format!("the last one was of {}, at {}", last.road(), last.time);
            match last.doubts(Today { now, every: every(paths), keys, tokens }).as_slice() {
                [] => Finding::good(CHECK, what),
                doubts => Finding::warning(CHECK, format!("{what}: {}", doubts.join("; ")), NEXT),
            }
        }
    }
}
