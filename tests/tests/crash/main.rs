//! An agent that is killed at a system call, on a disk that forgets what was not synced: no signature had left without its
//! records, no token was asked without an intent, the log and the keys can be read, and the next agent serves.
//!
//! A recorder, strace, has each call on the way from a request to its answer, of the two threads that matter: one speaks to
//! clients and helpers, one writes the log. A short run tries some of them, `SOAK=1` (`make soak`) all, and each with all, half
//! and nothing of what was not synced lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

mod calls;
mod judge;
mod place;

use std::io::Write;

use tests::Thread;

use calls::Call;
use judge::{Violation, judge};
use place::{Forgotten, Place, Way};

/// So many calls of one way are tried in a short run.
const MOST: usize = 80;

/// The calls with which a segment of the log comes to its name.
const BEGINNING: [&str; 2] = ["fsync", "rename"];

#[test]
fn a_software_key_signs() {
    as_root(|| each_call_may_be_the_last(Way::Software));
}

#[test]
fn a_token_signs() {
    as_root(|| each_call_may_be_the_last(Way::Token));
}

#[test]
fn a_token_signs_while_another_segment_begins() {
    as_root(|| each_call_may_be_the_last(Way::Rotation));
}

#[test]
fn a_request_is_refused() {
    as_root(|| each_call_may_be_the_last(Way::Refusal));
}

/// The same test finds it where an intent is written and not synced.
#[test]
fn without_the_sync_of_the_intent_the_token_is_asked_too_early() {
    as_root(|| {
        let found = without_a_sync(Way::Token);
        assert!(found.contains(&Violation::TokenAskedWithoutIntent), "{found:?}");
    });
}

/// A software key's intent and outcome share one sync.
#[test]
fn without_the_sync_of_the_records_the_signature_leaves_too_early() {
    as_root(|| {
        let found = without_a_sync(Way::Software);
        assert!(found.contains(&Violation::SignedWithoutRecords), "{found:?}");
    });
}

/// The agent is killed at each call, one start of it after the other.
fn each_call_may_be_the_last(way: Way) {
    let mut place = Place::new(way);
    let calls = recorded(&mut place, way);
    let mut tried = sample(&calls);
    if way == Way::Rotation {
        // It takes a while to read a whole segment each time.
        let begins = |call: &Call| is_soak() || BEGINNING.contains(&call.name.as_str());
        tried.retain(|call| call.thread == Thread::Audit && begins(call));
    }
    let (mut runs, mut killed, mut torn) = (0, 0, 0);
    for (number, call) in tried.iter().enumerate() {
        let one = number % Forgotten::ALL.len();
        let each = is_soak() || call.thread == Thread::Audit && way != Way::Rotation;
        let disks = if each { &Forgotten::ALL[..] } else { &Forgotten::ALL[one..=one] };
        for forgotten in disks {
            let crash = place.request(Some(call), false);
            assert_eq!(judge(way, &crash), [], "killed at {call}: {crash:?}");
            runs += 1;
            killed += usize::from(crash.killed);
            torn += usize::from(place.start_again(&crash, *forgotten));
        }
    }
    say(&format!(
        "{way:?}: {} of {} system calls, {runs} runs, killed at the call in {killed}, a torn log in {torn}",
        tried.len(),
        calls.len()
    ));
    // Which calls a thread makes depends a little on what others do at that moment.
    assert!(killed * 2 >= runs, "a recorder that does not kill the agent proves nothing");
}

/// What the judge says where the first sync is left out, and the agent is killed at any call of the thread that writes.
fn without_a_sync(way: Way) -> Vec<Violation> {
    let mut place = Place::new(way);
    let calls = recorded(&mut place, way);
    // Of the syncs themselves there is one tampering a time.
    let tried = calls.iter().filter(|call| call.thread == Thread::Audit && call.name != "fdatasync");
    let mut found = Vec::new();
    for call in tried.map(Some).chain([None]) {
        let crash = place.request(call, true);
        found.extend(judge(way, &crash));
        place.start_again(&crash, Forgotten::All);
    }
    say(&format!("{way:?}, without a sync: {found:?}"));
    found
}

/// The calls from a request to its answer, and what follows it.
fn recorded(place: &mut Place, way: Way) -> Vec<Call> {
    let whole = place.request(None, false);
    assert_eq!((judge(way, &whole), whole.reply.is_some()), (vec![], true), "{whole:?}");
    place.start_again(&whole, Forgotten::All);
    whole.calls
}

/// All of them in a long run. In a short one all of the thread that writes, and of the other some at equal distances.
fn sample(calls: &[Call]) -> Vec<&Call> {
    let (writing, others): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.thread == Thread::Audit);
    let room = MOST.saturating_sub(writing.len()).max(1);
    let step = if is_soak() { 1 } else { others.len().div_ceil(room) };
    writing.into_iter().chain(others.into_iter().step_by(step)).collect()
}

fn is_soak() -> bool {
    std::env::var_os("SOAK").is_some()
}

/// The agent lets nobody else look at what it does.
fn as_root(scenario: impl FnOnce()) {
    if rustix::process::geteuid().is_root() {
        scenario();
    } else {
        say("SKIPPED: it takes root to trace the agent");
    }
}

/// To standard error itself, which cargo does not hide: what was tried, or skipped, is to be seen.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
