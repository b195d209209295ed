//! What is answered.

use super::reason::{Notes, Reason, Served};
use crate::cast::Key;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Success,
    Failure,
    /// The failure of an extension, which is a failure like others in 9.2.
    ExtensionFailure,
    /// Keys and their comments.
    List(Vec<(Vec<u8>, Vec<u8>)>),
    Signature {
        key: Key,
        algorithm: &'static str,
        data: Vec<u8>,
    },
    /// The names of the extensions.
    Extensions,
}

/// What both agents have to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) ours: Answer,
    pub(crate) theirs: Theirs,
}

/// What ssh-agent has to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Theirs {
    /// The same.
    Same,
    /// Something else.
    Otherwise(Reason, Answer),
    /// It is not asked, since it would serve what ours refuses, and hold other keys from then on.
    NotAsked(Reason),
    /// It is asked over a connection of its own, since it would refuse what ours serves.
    Locally(Reason),
    /// It is told of a binding that fails instead, since it would bind what ours does not.
    FailingBinding(Reason),
}

impl Verdict {
    pub(super) fn same(answer: Answer) -> Self {
        Self { ours: answer, theirs: Theirs::Same }
    }

    pub(super) fn not_asked(reason: Reason) -> Self {
        Self { ours: Answer::Failure, theirs: Theirs::NotAsked(reason) }
    }

    /// On a request that changes nothing.
    pub(super) fn answer(answer: Answer, notes: &Notes) -> Self {
        match notes.served() {
            Served::Both => Self::same(answer),
            Served::Neither => Self::same(Answer::Failure),
            Served::Ours(reason) => Self { ours: answer, theirs: Theirs::Otherwise(reason, Answer::Failure) },
            Served::Theirs(reason) => Self { ours: Answer::Failure, theirs: Theirs::Otherwise(reason, answer) },
        }
    }

    /// On a request that changes the agents, which hold the same afterwards.
    pub(super) fn change(notes: &Notes) -> Self {
        match notes.served() {
            Served::Both => Self::same(Answer::Success),
            Served::Neither => Self::same(Answer::Failure),
            Served::Ours(reason) => Self { ours: Answer::Success, theirs: Theirs::Locally(reason) },
            Served::Theirs(reason) => Self::not_asked(reason),
        }
    }
}
