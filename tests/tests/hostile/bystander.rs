//! Somebody else, in a process of their own, who lists the keys over and over while an agent is attacked.

use std::time::Duration;

use tests::{Running, built};

use crate::target::Target;

/// Somebody else.
pub(crate) struct Bystander(Running);

/// What they have seen.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    /// The longest time that a list took.
    pub(crate) longest: Duration,
    /// The same without the time in which other programs had the processor, which is what the agent is judged by: the
    /// machine may be busy with anything, and some attacks keep it busy by themselves.
    pub(crate) longest_itself: Duration,
    /// The agent hung up on them.
    pub(crate) hung_up_on: bool,
    /// An answer did not come.
    pub(crate) left_waiting: bool,
}

impl Bystander {
    /// Begins to list the keys.
    pub(crate) fn watch(target: &Target<'_>) -> Self {
        let patience = target.patience().as_secs().to_string();
        let program = target.program(built("another-client")).arg("list").arg(target.socket()).arg(patience);
        let running = program.interactive().start();
        running.stdout().wait_for("begun\n");
        Self(running)
    }

    /// The attack is over: what has been seen?
    pub(crate) fn report(self) -> Seen {
        let said = self.0.wait().success().stdout;
        let mut words = said.lines().last().expect("it says something").splitn(3, ' ');
        let (longest, itself, how) = (words.next(), words.next(), words.next());
        let microseconds = |word: Option<&str>| word.and_then(|word| word.parse().ok()).expect("a number");
        Seen {
            longest: Duration::from_micros(microseconds(longest)),
            longest_itself: Duration::from_micros(microseconds(itself)),
            hung_up_on: how == Some("hung up on"),
            left_waiting: how == Some("left waiting"),
        }
    }
}

/// Other clients that hold connections, until they are dropped.
pub(crate) struct Crowd(#[expect(dead_code, reason = "it is there")] Vec<Running>);

impl Crowd {
    /// So many processes with so many connections each, on each of which so much of a message was begun.
    pub(crate) fn gather(target: &Target<'_>, processes: usize, connections: usize, bytes: usize) -> Self {
        let start = |_| {
            let program = target.program(built("another-client")).arg("hold").arg(target.socket());
            program.arg(connections.to_string()).arg(bytes.to_string()).interactive().start()
        };
        let crowd: Vec<Running> = (0..processes).map(start).collect();
        for process in &crowd {
            process.stdout().wait_for("begun\n");
        }
        Self(crowd)
    }
}
