//! A random mix of valid and damaged requests, asked of our agent and of Debian's ssh-agent at the same time. What both
//! answer is what an oracle says, which knows the rules and none of our code; and where the oracle names no reason for
//! ours to be stricter, the two answer the same.
//!
//! A short run is part of `cargo test`. With `AGREEMENT_SECONDS` it goes on for so long, each time with another seed, and
//! `AGREEMENT_SEED` repeats one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

mod agents;
mod cast;
mod conversation;
mod dice;
mod generator;
mod oracle;
mod part;
mod request;
mod score;
mod secret;
mod story;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use agents::Agents;
use conversation::{Disagreement, converse, shorten};
use request::Step;
use score::Score;

/// Conversations with the same two agents, after which new ones are started: what they say is kept in memory, and on disk.
const CONVERSATIONS: u32 = 150;

/// The seed where none is given.
const SEED: u64 = 1;

#[test]
fn what_both_agents_answer_is_what_the_rules_say() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let duration = Duration::from_secs(number("AGREEMENT_SECONDS").unwrap_or_default());
    let (began, mut seed, mut score) = (Instant::now(), number("AGREEMENT_SEED").unwrap_or(SEED), Score::default());
    loop {
        println!("AGREEMENT_SEED={seed}");
        if let Err(disagreement) = run(seed, &mut score) {
            panic!("{disagreement}\n\nTo repeat: AGREEMENT_SEED={seed} cargo test -p tests --test agreement");
        }
        if began.elapsed() >= duration {
            break;
        }
        seed += 1;
    }
    println!("{score}\n{:8} s", began.elapsed().as_secs());
    score.assert_meaning();
}

/// A number of conversations from one seed. The error is the shortest one that fails.
fn run(seed: u64, score: &mut Score) -> Result<(), String> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: CONVERSATIONS, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &key));
    let (agents, score) = (RefCell::new(Agents::start()), RefCell::new(score));
    let talk = |steps: &[Step]| {
        let mut agents = agents.borrow_mut();
        score.borrow_mut().conversations += 1;
        let said = converse(&agents, steps, &mut score.borrow_mut());
        let said = said.and_then(|()| agents.are_well().map_err(Disagreement));
        if said.is_err() {
            // What state they are in is not known.
            *agents = Agents::start();
        }
        said
    };
    let result = runner
        .run(&generator::conversation(), |steps| talk(&steps).map_err(|Disagreement(what)| TestCaseError::fail(what)));
    match result {
        Ok(()) => Ok(()),
        Err(TestError::Abort(reason)) => Err(reason.to_string()),
        Err(TestError::Fail(reason, steps)) => {
            let what = Cell::new(reason.to_string());
            shorten(steps, |steps| match talk(steps) {
                Ok(()) => false,
                Err(Disagreement(shorter)) => {
                    what.set(shorter);
                    true
                }
            });
            Err(what.into_inner())
        }
    }
}

/// What it shared with the agent would be wrong in both.
#[test]
fn the_oracle_knows_none_of_the_agent_s_code() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agreement")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains(concat!("agent", "::")), "{}", path.display());
        }
    }
}
