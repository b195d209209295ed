//! What to make of an attempt: the library's word, held against what the device was seen to send.

use std::thread;

use agent::token::TokenError;
use agent::token::protocol::Failure;

use crate::failure::{Trouble, failure};
use crate::status;
use crate::trace::{Refusal, Trace};

/// The answers that come before the one to a PIN: to getInfo and to getKeyAgreement (CTAP 2.1 § 6.5.5.7).
const ANSWERS_BEFORE_PIN: usize = 2;

/// CTAPHID_ERROR codes (CTAP 2.1 § 11.2.9.1.6).
const INVALID_CMD: u8 = 0x01;
const CHANNEL_BUSY: u8 = 0x06;
const LOCK_REQUIRED: u8 = 0x0a;

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

/// Judges an attempt. `sends_pin`: a wrong PIN costs a try each time it is sent.
pub(crate) fn judge<T>(outcome: thread::Result<Result<T, Trouble>>, trace: &Trace, sends_pin: bool) -> Verdict<T> {
    let trouble = match outcome {
        Ok(Ok(answer)) if trace.answered > 0 => return Verdict::Answer(answer),
        Ok(Ok(_)) => Trouble::Nonsense("the answer came on another channel"),
        Ok(Err(trouble)) => trouble,
        Err(_) => Trouble::Nonsense("the library panicked on what the device sent"),
    };
    let words = trouble.to_string();
    if trace.unplugged || matches!(trouble, Trouble::Gone(_)) {
        return Verdict::Failed(failure(TokenError::NotFound, words));
    }
    if matches!(trouble, Trouble::Unsupported(_)) {
        return Verdict::Failed(failure(TokenError::Unsupported, words));
    }
    if let Some(refusal) = trace.refusal {
        return refused(refusal, trace, words);
    }
    // The INIT of another program; its reports may have been read before there was a channel to tell them by.
    let lost_nonce = trace.channel.is_none() && trace.answered == 0 && words.contains("Nonce");
    if trace.strangers || lost_nonce {
        let busy = failure(TokenError::Busy, words);
        // The token may be looking at the PIN right now: sending it again could cost a second try.
        let pin_is_out = sends_pin && trace.answered == ANSWERS_BEFORE_PIN;
        return if pin_is_out { Verdict::Failed(busy) } else { Verdict::Disturbed(busy) };
    }
    if trace.waiting {
        // The library stops after 500 keep-alives, some 50 s, and takes the last one's status for an error.
        return Verdict::Failed(failure(TokenError::UserTimeout, "the library waits no longer"));
    }
    Verdict::Failed(failure(TokenError::Protocol, words))
}

/// The token itself said no, on our own channel. Whatever the library read beside it does not matter.
fn refused<T>(refusal: Refusal, trace: &Trace, detail: String) -> Verdict<T> {
    let told = |code, error| Failure { error, ctap_status: Some(code), detail };
    match refusal {
        // No CTAPHID_CBOR: a token that knows U2F only.
        Refusal::Transport(INVALID_CMD) => Verdict::Failed(told(INVALID_CMD, TokenError::Unsupported)),
        Refusal::Transport(code @ (CHANNEL_BUSY | LOCK_REQUIRED)) => Verdict::Disturbed(told(code, TokenError::Busy)),
        Refusal::Transport(code) => Verdict::Disturbed(told(code, TokenError::Protocol)),
        // PIN_AUTH_INVALID: the library may have made the parameter from another program's pinUvAuthToken.
        Refusal::Status(0x33) if trace.strangers => Verdict::Disturbed(told(0x33, TokenError::Busy)),
        Refusal::Status(code) => Verdict::Failed(told(code, status::error(code))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(words: &'static str) -> thread::Result<Result<(), Trouble>> {
        Ok(Err(Trouble::Library(anyhow::Error::msg(words))))
    }

    fn seen() -> Trace {
        Trace { channel: Some([1; 4]), ..Trace::default() }
    }

    fn error(verdict: &Verdict<()>) -> (bool, &TokenError) {
        match verdict {
            Verdict::Failed(failure) => (false, &failure.error),
            Verdict::Disturbed(failure) => (true, &failure.error),
            Verdict::Answer(()) => panic!("an answer"),
        }
    }

    #[test]
    fn an_answer_counts_when_the_token_gave_it_to_us() {
        assert_eq!(judge(Ok(Ok(7)), &Trace { answered: 1, ..seen() }, false), Verdict::Answer(7));
        let foreign = judge(Ok(Ok(())), &Trace { strangers: true, ..seen() }, false);
        assert_eq!(error(&foreign), (true, &TokenError::Busy));
    }

    #[test]
    fn the_token_is_believed_before_the_library() {
        let trace = Trace { refusal: Some(Refusal::Status(0x31)), strangers: true, answered: 2, ..seen() };
        let verdict = judge(library("response_status err = 0x4A"), &trace, true);
        assert_eq!(error(&verdict), (false, &TokenError::PinInvalid { retries: None }));
    }

    #[test]
    fn a_pin_that_is_out_is_not_sent_again() {
        for (answered, again) in [(0, true), (1, true), (2, false), (3, true)] {
            let verdict = judge(library("ciborium parse error"), &Trace { strangers: true, answered, ..seen() }, true);
            assert_eq!(error(&verdict), (again, &TokenError::Busy), "{answered} answers");
        }
    }

    #[test]
    fn the_librarys_own_time_limit_is_a_timeout() {
        let verdict = judge(library("response_status err = 0x02"), &Trace { waiting: true, ..seen() }, false);
        assert_eq!(error(&verdict), (false, &TokenError::UserTimeout));
    }

    #[test]
    fn a_panic_is_the_tokens_fault_unless_somebody_interfered() {
        let panicked = || -> thread::Result<Result<(), Trouble>> { Err(Box::new("index out of range")) };
        assert_eq!(error(&judge(panicked(), &seen(), false)), (false, &TokenError::Protocol));
        let disturbed = Trace { strangers: true, ..seen() };
        assert_eq!(error(&judge(panicked(), &disturbed, false)), (true, &TokenError::Busy));
    }
}
