//! Whether logins were rehearsed, and whether that says anything of today.

use agent::control::TokenStatus;
use agent::paths::Paths;
use jiff::Timestamp;

use super::finding::Finding;
use crate::agent_socket::Held;
use crate::commands::rehearse::kept::{Today, every, last_of_each};
use crate::commands::rehearse::result::Rehearsal;

const CHECK: &str = "rehearsal";

const NEXT: &str = "Rehearse: `agent-cli rehearse DEST`, with -J or -A as you would use them.";

/// The last one of each way.
pub(super) fn findings(
    paths: &Paths,
    keys: Option<&[Held]>,
    tokens: Option<&[TokenStatus]>,
    now: Timestamp,
) -> Vec<Finding> {
    let today = Today { now, every: every(paths), keys, tokens };
    match last_of_each(paths) {
        Err(error) => vec![Finding::warning(CHECK, format!("the last one can't be read: {error}"), NEXT)],
        Ok(all) if all.is_empty() => {
            vec![Finding { next: Some(NEXT.into()), ..Finding::not_checked(CHECK, "no login was rehearsed yet") }]
        }
        Ok(all) => all.iter().map(|last| of_way(last, today)).collect(),
    }
}

fn of_way(last: &Rehearsal, today: Today<'_>) -> Finding {
    let what = format!("the last one of {} was at {}", last.road(), last.time.strftime("%F %H:%M UTC"));
    let command = last.command();
    match last.doubts(today).as_slice() {
        [] => Finding::good(CHECK, what),
        doubts => Finding::warning(
            CHECK,
            format!("{what}: {}", doubts.join("; ")),
            format!("Rehearse it again: `{command}`. If you no longer go that way: `{command} --forget`."),
        ),
    }
}
