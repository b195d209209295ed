//! Whether the key that is registered is one that the agent holds.

use agent::config::Loaded;
use agent::paths::Paths;

use super::finding::Finding;
use crate::agent_socket::Held;
use crate::comparison::{Comparison, Here, default_files};
use crate::directory::{self, Directory};
use crate::problem::Problem;
use crate::terminal::Terminal;

const CHECK: &str = "published";

/// Whether the settings name a place. Nothing is asked over a network of which they say nothing.
pub(super) fn is_set_up(paths: &Paths) -> bool {
    Loaded::of(paths).is_ok_and(|loaded| loaded.config.publish.place.is_some())
}

/// They name none.
pub(super) fn not_set_up() -> Finding {
    Finding::not_checked(
        CHECK,
        "the settings name no place (`publish.place`); `agent-cli published` looks all the same",
    )
}

/// The agent's keys are not known.
pub(super) fn without_keys() -> Finding {
    Finding::not_checked(CHECK, "the agent can't be asked for its keys")
}

/// Looks there. Who breaks it off, ends the examination.
pub(super) fn finding(held: &[Held], terminal: &mut Terminal) -> Result<Finding, Problem> {
    match compare(held, terminal) {
        Ok((place, comparison)) => Ok(judge(&place, &comparison)),
        Err(problem) if problem.is_interruption() => Err(problem),
        Err(problem) => Ok(Finding::warning(
            CHECK,
            format!("it could not be looked at: {}", problem.what()),
            match problem.next_steps() {
                [] => "Look again with `agent-cli published`.".into(),
                steps => steps.join(" "),
            },
        )),
    }
}

fn compare(held: &[Held], terminal: &mut Terminal) -> Result<(String, Comparison), Problem> {
    let mut directory = Directory::open(&directory::Options::default(), terminal)?;
    let standing = directory.look(terminal)?;
    let here = Here { files: &default_files()?, named: &[], held, on_token: None };
    Ok((directory.name(), here.compared(&standing, directory.holds_one_key())))
}

/// Where a key is registered that the agent holds, hosts let it in, whatever else does not agree.
fn judge(place: &str, Comparison { rows, differences }: &Comparison) -> Finding {
    let usable: Vec<_> = rows.iter().filter(|row| row.published && row.held).collect();
    if differences.is_empty() {
        let names: Vec<_> = usable.iter().map(|row| row.key.fingerprint.as_str()).collect();
        return Finding::good(CHECK, format!("{place} has {}, as the agent", names.join(", ")));
    }
    let what: Vec<_> = differences.iter().map(|difference| difference.what.as_str()).collect();
    let next: Vec<_> = differences.iter().map(|difference| difference.next.as_str()).collect();
    let (what, next) = (format!("{place}: {}", what.join("; ")), next.join(" "));
    if usable.is_empty() { Finding::bad(CHECK, what, next) } else { Finding::warning(CHECK, what, next) }
}
