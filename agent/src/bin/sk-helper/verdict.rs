//! What to make of an attempt: the library's word, held against what the device was seen to send.

use std::thread;

use agent::token::TokenError;
use agent::token::protocol::Failure;

use crate::failure::{Trouble, failure};
use crate::status;
use crate::trace::{Refusal, Trace};

/// CTAPHID_ERROR codes (CTAP 2.1 § 11.2.9.1.6).
const INVALID_CMD: u8 = 0x01;
const CHANNEL_BUSY: u8 = 0x06;
const LOCK_REQUIRED: u8 = 0x0a;

const PANIC: &str = "the library panicked on what the device sent";

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<T> {
    /// With an answer.
    Answer(T),
    /// For good.
    Failed(Failure),
    /// Another program's reports came between, or the token was busy with them: another attempt may succeed. The failure is
    /// for the daemon when patience is at its end.
    Disturbed(Failure),
}

/// What a panic of the library leaves as its result.
pub(crate) type Outcome<T> = thread::Result<Result<T, Trouble>>;

/// Judges what the library returned. `preceding`: the answers that come before the one that counts.
pub(crate) fn judge<T>(outcome: Outcome<T>, trace: &Trace, preceding: usize) -> Verdict<T> {
    let trouble = match outcome {
        Ok(Ok(answer)) if trace.answered > preceding => return Verdict::Answer(answer),
        Ok(Ok(_)) => Trouble::Nonsense("no such answer came on our channel"),
        Ok(Err(trouble)) => trouble,
        Err(_) => Trouble::Nonsense(PANIC),
    };
    let words = trouble.to_string();
    if trace.unplugged {
        return Verdict::Failed(failure(TokenError::NotFound, words));
    }
    if let Trouble::Known(error, words) = trouble {
        return Verdict::Failed(failure(error, words));
    }
    if let Some(refusal) = trace.refusal {
        return refused(refusal, trace.strangers, words);
    }
    // Without a channel there was nothing but the INIT, and what was read for its answer was another program's.
    let init_lost = trace.channel.is_none() && words.contains("Nonce");
    if trace.strangers || init_lost {
        return Verdict::Disturbed(failure(TokenError::Busy, words));
    }
    if trace.waiting {
        // The library stops after 500 keep-alives, some 50 s, and takes the last one's status for an error.
        return Verdict::Failed(failure(TokenError::UserTimeout, "the library waits no longer"));
    }
    Verdict::Failed(failure(TokenError::Protocol, words))
}

/// Judges an answer of the token's that the library missed, and has only read.
pub(crate) fn read_alone<T>(outcome: Outcome<T>) -> Verdict<T> {
    match outcome {
        Ok(Ok(answer)) => Verdict::Answer(answer),
        Ok(Err(trouble)) => Verdict::Failed(failure(TokenError::Protocol, trouble.to_string())),
        Err(_) => Verdict::Failed(failure(TokenError::Protocol, PANIC)),
    }
}

/// The token itself said no, on our own channel. Whatever the library read beside it does not matter.
pub(crate) fn refused<T>(refusal: Refusal, strangers: bool, detail: String) -> Verdict<T> {
    let told = |code, error| Failure { error, ctap_status: Some(code), detail };
    match refusal {
        // No CTAPHID_CBOR: a token that knows U2F only.
        Refusal::Transport(INVALID_CMD) => Verdict::Failed(told(INVALID_CMD, TokenError::Unsupported)),
        Refusal::Transport(code @ (CHANNEL_BUSY | LOCK_REQUIRED)) => Verdict::Disturbed(told(code, TokenError::Busy)),
        Refusal::Transport(code) => Verdict::Disturbed(told(code, TokenError::Protocol)),
        // PIN_AUTH_INVALID: the library may have made the parameter from another program's pinUvAuthToken.
        // NOT_ALLOWED: it may have gone on to getNextAssertion by the number of credentials in another program's answer.
        Refusal::Status(code @ (0x30 | 0x33)) if strangers => Verdict::Disturbed(told(code, TokenError::Busy)),
        Refusal::Status(code) => Verdict::Failed(told(code, status::error(code))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(words: &'static str) -> Outcome<()> {
        Ok(Err(Trouble::Library(anyhow::Error::msg(words))))
    }

    fn seen(change: impl FnOnce(&mut Trace)) -> Trace {
        let mut trace = Trace::on([1; 4]);
        change(&mut trace);
        trace
    }

    fn error(verdict: Verdict<()>) -> (bool, TokenError) {
        match verdict {
            Verdict::Failed(failure) => (false, failure.error),
            Verdict::Disturbed(failure) => (true, failure.error),
            Verdict::Answer(()) => unreachable!("an answer"),
        }
    }

    #[test]
    fn an_answer_counts_when_the_token_gave_it_to_us() {
        assert_eq!(judge(Ok(Ok(7)), &seen(|trace| trace.answered = 1), 0), Verdict::Answer(7));
        for (answered, preceding) in [(0, 0), (2, 3)] {
            let trace = seen(|trace| {
                trace.strangers = true;
                trace.answered = answered;
            });
            assert_eq!(error(judge(Ok(Ok(())), &trace, preceding)), (true, TokenError::Busy));
        }
    }

    #[test]
    fn the_token_is_believed_before_the_library() {
        let trace = seen(|trace| {
            trace.refusal = Some(Refusal::Status(0x31));
            trace.strangers = true;
        });
        let verdict = judge(library("response_status err = 0x4A"), &trace, 3);
        assert_eq!(error(verdict), (false, TokenError::PinInvalid { retries: None }));
    }

    #[test]
    fn what_the_token_refuses_for_another_programs_answer_is_a_disturbance() {
        for (status, told) in
            [(0x30, TokenError::Protocol), (0x33, TokenError::Protocol), (0x27, TokenError::OperationDenied)]
        {
            let judged = |strangers| {
                let trace = seen(|trace| (trace.refusal, trace.strangers) = (Some(Refusal::Status(status)), strangers));
                error(judge(library("response_status"), &trace, 0))
            };
            let disturbed = told == TokenError::Protocol;
            let expected = if disturbed { TokenError::Busy } else { told.clone() };
            assert_eq!(judged(true), (disturbed, expected), "{status:#x}");
            assert!(!judged(false).0, "{status:#x}");
        }
    }

    #[test]
    fn the_librarys_own_time_limit_is_a_timeout() {
        let verdict = judge(library("response_status err = 0x02"), &seen(|trace| trace.waiting = true), 0);
        assert_eq!(error(verdict), (false, TokenError::UserTimeout));
    }

    #[test]
    fn a_panic_is_the_tokens_fault_unless_somebody_interfered() {
        let panicked = || -> Outcome<()> { Err(Box::new("index out of range")) };
        assert_eq!(error(judge(panicked(), &seen(|_| ()), 0)), (false, TokenError::Protocol));
        let disturbed = seen(|trace| trace.strangers = true);
        assert_eq!(error(judge(panicked(), &disturbed, 0)), (true, TokenError::Busy));
    }

    #[test]
    fn a_lost_init_is_nobodys_fault() {
        let verdict = judge(library("Nonce verification failed"), &Trace::default(), 0);
        assert_eq!(error(verdict), (true, TokenError::Busy));
    }
}
