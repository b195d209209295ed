//! What the reports of a device say about one attempt at a command.

use crate::node::Report;

/// The channel of CTAPHID_INIT (CTAP 2.1 § 11.2.9.1.3).
const BROADCAST: [u8; 4] = [0xff; 4];

const CTAPHID_CBOR: u8 = 0x80 | 0x10;
const CTAPHID_KEEPALIVE: u8 = 0x80 | 0x3b;
const CTAPHID_ERROR: u8 = 0x80 | 0x3f;

/// The keep-alive status that does not mean that the token waits for somebody (CTAP 2.1 § 11.2.9.2.2).
const STATUS_PROCESSING: u8 = 1;

/// An answer that is not success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A CTAP status (CTAP 2.1 § 8.2).
    Status(u8),
    /// A CTAPHID_ERROR (CTAP 2.1 § 11.2.9.1.6): the message itself was not taken.
    Transport(u8),
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// The attempt's own channel, once it has one.
    pub(crate) channel: Option<[u8; 4]>,
    /// Successful answers on it.
    pub(crate) answered: usize,
    /// The first answer on it that was none.
    pub(crate) refusal: Option<Refusal>,
    /// The token waits for its person.
    pub(crate) waiting: bool,
    /// Reports came that were for somebody else.
    pub(crate) strangers: bool,
    /// The device is gone.
    pub(crate) unplugged: bool,
    /// An INIT of our own was answered; the next one that is, was another program's.
    pub(crate) initialized: bool,
}

impl Trace {
    /// Takes a report into account.
    pub(crate) fn note(&mut self, report: &Report) {
        let [a, b, c, d, command, _, _, status, ..] = *report;
        let channel = [a, b, c, d];
        if channel == BROADCAST && !self.initialized {
            self.initialized = true;
        } else if Some(channel) != self.channel {
            self.strangers = true;
        } else {
            match command {
                CTAPHID_KEEPALIVE => self.waiting = status != STATUS_PROCESSING,
                CTAPHID_CBOR if status == 0 => {
                    self.answered += 1;
                    self.waiting = false;
                }
                CTAPHID_CBOR => self.refused(Refusal::Status(status)),
                CTAPHID_ERROR => self.refused(Refusal::Transport(status)),
                _ => {}
            }
        }
    }

    fn refused(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
        self.waiting = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(channel: [u8; 4], command: u8, status: u8) -> Report {
        let mut report = [0; 64];
        report[..4].copy_from_slice(&channel);
        report[4] = command;
        report[6] = 1;
        report[7] = status;
        report
    }

    fn trace(reports: &[Report]) -> Trace {
        let mut trace = Trace { channel: Some([1; 4]), ..Trace::default() };
        for report in reports {
            trace.note(report);
        }
        trace
    }

    #[test]
    fn follows_its_own_channel_only() {
        let own = trace(&[report(BROADCAST, 0x86, 9), report([1; 4], CTAPHID_KEEPALIVE, 2)]);
        assert!(own.waiting && !own.strangers);

        let answered = trace(&[report([1; 4], CTAPHID_KEEPALIVE, 2), report([1; 4], CTAPHID_CBOR, 0)]);
        assert!(!answered.waiting && answered.answered == 1);

        let stranger = trace(&[report([2; 4], CTAPHID_KEEPALIVE, 2), report([2; 4], CTAPHID_CBOR, 0)]);
        assert!(!stranger.waiting && stranger.strangers && stranger.answered == 0);
    }

    #[test]
    fn a_second_answer_to_init_is_a_strangers() {
        assert!(trace(&[report(BROADCAST, 0x86, 0), report(BROADCAST, 0x86, 0)]).strangers);
    }

    #[test]
    fn the_first_refusal_counts() {
        let refused = trace(&[report([1; 4], CTAPHID_CBOR, 0x31), report([1; 4], CTAPHID_ERROR, 0x06)]);
        assert_eq!(refused.refusal, Some(Refusal::Status(0x31)));
    }

    #[test]
    fn processing_is_not_waiting() {
        assert!(!trace(&[report([1; 4], CTAPHID_KEEPALIVE, 1)]).waiting);
    }
}
