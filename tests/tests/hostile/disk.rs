//! What a client can have the agent write who comes again and again: each refusal is on record, unless
//! clients are muted, which is turned off here.

use std::fs;
use std::time::{Duration, Instant};

use crate::cases::many;
use crate::keys::{blob, sign};
use crate::line::Answer;
use crate::message::FAILURE;
use crate::target::Target;

/// The longest lines of the audit log and of the agent's messages, in bytes. What clients send may be in them, and is cut.
pub(crate) fn longest_lines(target: &Target<'_>) -> [usize; 2] {
    let agent = target.as_ours().expect("ssh-agent keeps no record");
    let log = fs::read_to_string(agent.audit().path()).expect("the log is there");
    [log, agent.messages().text()].map(|text| text.lines().map(str::len).max().unwrap_or_default())
}

/// In words.
pub(crate) fn what_a_stranger_writes(target: &Target<'_>) -> String {
    let agent = target.as_ours().expect("ssh-agent keeps no record");
    let log = agent.audit();
    let written = || [fs::metadata(log.path()).map_or(0, |log| log.len()), agent.messages().text().len() as u64];
    let before = written();
    let began = Instant::now();
    let time = Duration::from_secs(many(1, 30) as u64);
    let key = blob(&target.keys().restricted);
    let (mut refusals, mut connections) = (0u64, 0u64);
    while began.elapsed() < time {
        let Some(mut line) = target.connect() else { break };
        connections += 1;
        for _ in 0..64 {
            if line.ask(sign(&key, b"anything", 0)) != Answer::Message(vec![FAILURE]) {
                break;
            }
            refusals += 1;
        }
    }
    let [log, messages] = std::array::from_fn(|n| (written()[n] - before[n]) / 1024 / time.as_secs());
    let (refusals, connections) = (refusals / time.as_secs(), connections / time.as_secs());
    format!(
        "a stranger who comes again and again: {refusals} refusals/s on {connections} connections/s, \
         {log} KiB/s of audit log, {messages} KiB/s of messages"
    )
}
