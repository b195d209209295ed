//! Clients that mean harm, whatever they send: all is refused that has to be, the agent lives on with its keys, nobody
//! else waits for a list, and memory stays small. The same is done to Debian's ssh-agent, for comparison.
//!
//! `SOAK=1` (`make soak`) does at length what is short otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

mod attack;
mod bystander;
mod case;
mod cases;
mod certificate;
mod disk;
mod keys;
mod line;
mod message;
mod slow;
mod target;

use std::io::Write;

use agent::audit::record::Signer;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use soft_token::Touch;
use tests::{Env, Rival, TokenKind};

use case::{Case, LONGEST_LIST, Verdict};
use keys::Keys;
use slow::Slow;
use target::Target;

/// A list that took too long is no proof on a machine that does other things at the same time. An agent that makes others
/// wait does it each time.
const TRIES: usize = 5;

/// What may be written for one request, in bytes: sixteen hosts on the way have their fingerprints in it.
const LONGEST_LINE: usize = 4096;

/// One after the other, on the same agent.
#[test]
fn no_client_harms_the_agent() {
    raise_descriptor_limit();
    let env = Env::new();
    let token = env.plug(TokenKind::PinOnly.options());
    let keys = Keys::new(&env);
    token.set_touch(Touch::Manual);
    let mut rival = Target::rival(&env, &keys);
    let mut ours = Target::ours(&env, &keys);
    let elsewhere = Env::new();
    let undisturbed = Rival::start(&elsewhere);
    let slow = [undisturbed.socket(), ours.socket()].map(Slow::begin);

    print_line(&format!(
        "\n{:80} {:28} {:12} {:>9} {:>9} {:>8} {:>7}",
        "", "ssh-agent", "ours", "list", "itself", "peak", "CPU"
    ));
    let mut wrong = Vec::new();
    // `CASE=text` leaves out all others, for whoever looks into one.
    let only = std::env::var("CASE").unwrap_or_default();
    for case in cases::all().into_iter().filter(|case| case.name.contains(&only)) {
        let theirs = case.run(&mut rival);
        if theirs.is_spoilt() {
            rival = rival.replace();
        }
        let verdict = with_patience(&case, &mut ours);
        print_line(&format!("{:80} {:28} {:12} {}", case.name, theirs.summary(), verdict.summary(), verdict.figures()));
        let mut complaints = verdict.complaints();
        if verdict.seen.longest_itself > LONGEST_LIST {
            complaints.push(format!("a list took {:?}", verdict.seen.longest_itself));
        }
        wrong.extend(complaints.into_iter().map(|complaint| format!("{}: {complaint}", case.name)));
        if verdict.is_spoilt() {
            ours = ours.replace();
        }
    }
    let [theirs, hung_up] = slow.map(Slow::were_hung_up_on);
    let words = |hung_up| if hung_up { "hung up on" } else { "held" };
    print_line(&format!(
        "{:80} {:28} {:12}",
        "a message that is begun and not finished",
        words(theirs),
        words(hung_up)
    ));
    if !hung_up {
        wrong.push("a message that is not finished is waited for".into());
    }
    print_line(&disk::what_a_stranger_writes(&ours));
    let [log, messages] = disk::longest_lines(&ours);
    print_line(&format!("the longest lines: {log} bytes of audit log, {messages} of messages"));
    if log.max(messages) > LONGEST_LINE {
        wrong.push("what a client sends fills the disk".into());
    }
    assert!(wrong.is_empty(), "our agent: {wrong:#?}");
    // ssh-agent has the same token, and may have left it waiting; ours says on record whom it asks.
    let intents = ours.as_ours().expect("it is ours").audit().intents();
    let asked: Vec<_> = intents.iter().filter(|(_, intent)| matches!(intent.signer, Signer::Token { .. })).collect();
    assert!(asked.is_empty(), "no attack gets as far as the token: {asked:#?}");
}

/// For as many connections as are opened here; and the agents have the same limit, since they are started from here.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("a limit may be raised so far");
}

/// The verdict on our agent.
fn with_patience(case: &Case, ours: &mut Target<'_>) -> Verdict {
    let mut verdict = case.run(ours);
    for _ in 1..TRIES {
        if verdict.seen.longest_itself <= LONGEST_LIST || !verdict.complaints().is_empty() {
            break;
        }
        verdict = case.run(ours);
    }
    verdict
}

/// Unlike `println!`, a test that passes shows this too.
fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("somebody reads what is printed");
}
