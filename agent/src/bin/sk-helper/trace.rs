//! What the reports of a device say about one attempt at a command.

use crate::node::Report;

/// The channel of CTAPHID_INIT (CTAP 2.1 § 11.2.9.1.3).
const BROADCAST: [u8; 4] = [0xff; 4];

/// The bit that tells an initialization packet from a continuation packet (CTAP 2.1 § 11.2.4).
const INITIALIZATION: u8 = 0x80;
const CTAPHID_CBOR: u8 = INITIALIZATION | 0x10;
const CTAPHID_KEEPALIVE: u8 = INITIALIZATION | 0x3b;
const CTAPHID_ERROR: u8 = INITIALIZATION | 0x3f;

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
    /// The first of them, without its status.
    pub(crate) first_answer: Vec<u8>,
    /// The last of them, likewise.
    pub(crate) answer: Vec<u8>,
    /// The first answer on it that was none.
    pub(crate) refusal: Option<Refusal>,
    /// The token is at work for us: it sent a keep-alive, and no answer since.
    pub(crate) at_work: bool,
    /// It waits for its person.
    pub(crate) waiting: bool,
    /// Reports came that were for somebody else, and that the library may have taken for ours.
    pub(crate) strangers: bool,
    /// One of them says that all went well.
    pub(crate) lookalike: bool,
    /// How many questions were asked until the first of them came: one more than there were answers.
    asked: usize,
    /// The device is gone.
    pub(crate) unplugged: bool,
    /// An INIT of our own was answered; the next one that is, was another program's.
    initialized: bool,
    /// An answer whose continuation packets are still to come.
    incoming: Option<Message>,
}

/// A CTAPHID message in its packets (CTAP 2.1 § 11.2.4).
#[derive(Debug)]
struct Message {
    length: usize,
    next_sequence: u8,
    payload: Vec<u8>,
}

impl Trace {
    /// A trace that begins when the channel is known already.
    #[cfg(test)]
    pub(crate) fn on(channel: [u8; 4]) -> Self {
        Self { channel: Some(channel), ..Self::default() }
    }

    /// Takes a report into account.
    pub(crate) fn note(&mut self, report: &Report) {
        let [a, b, c, d, command, high, low, ref data @ ..] = *report;
        let channel = [a, b, c, d];
        if channel == BROADCAST && !self.initialized {
            self.initialized = true;
        } else if Some(channel) != self.channel {
            self.passed_by(command, data[0]);
        } else if command & INITIALIZATION == 0 {
            self.continued(command, &report[5..]);
        } else {
            let status = data[0];
            match command {
                CTAPHID_KEEPALIVE => {
                    self.at_work = true;
                    self.waiting = status != STATUS_PROCESSING;
                }
                CTAPHID_CBOR if status == 0 => {
                    self.incoming = Some(Message {
                        length: u16::from_be_bytes([high, low]).into(),
                        next_sequence: 0,
                        payload: data.to_vec(),
                    });
                    self.complete();
                }
                CTAPHID_CBOR => self.refused(Refusal::Status(status)),
                CTAPHID_ERROR => self.refused(Refusal::Transport(status)),
                _ => {}
            }
        }
    }

    /// Whether the token has not answered yet what it was asked before the library was disturbed.
    pub(crate) fn is_owed_an_answer(&self) -> bool {
        self.answered < self.asked
    }

    /// A report for somebody else. The library passes over keep-alives, and stops at most others.
    fn passed_by(&mut self, command: u8, status: u8) {
        if command == CTAPHID_KEEPALIVE {
            return;
        }
        if !self.strangers {
            self.strangers = true;
            self.asked = self.answered + 1;
        }
        self.lookalike |= command == CTAPHID_CBOR && status == 0;
    }

    /// A packet out of sequence spoils its message.
    fn continued(&mut self, sequence: u8, data: &[u8]) {
        self.incoming = self.incoming.take().filter(|message| message.next_sequence == sequence);
        if let Some(message) = &mut self.incoming {
            message.payload.extend(data);
            message.next_sequence += 1;
            self.complete();
        }
    }

    fn complete(&mut self) {
        if let Some(message) = self.incoming.take_if(|message| message.payload.len() >= message.length) {
            self.answer = message.payload;
            self.answer.truncate(message.length);
            self.answer.drain(..message.length.min(1));
            if self.answered == 0 {
                self.first_answer.clone_from(&self.answer);
            }
            self.answered += 1;
            self.done();
        }
    }

    fn refused(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
        self.done();
    }

    fn done(&mut self) {
        self.at_work = false;
        self.waiting = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 4] = [1; 4];

    fn report(channel: [u8; 4], command: u8, status: u8) -> Report {
        let mut report = [0; 64];
        report[..4].copy_from_slice(&channel);
        report[4] = command;
        report[6] = 1;
        report[7] = status;
        report
    }

    fn trace(reports: &[Report]) -> Trace {
        let mut trace = Trace::on(OWN);
        reports.iter().for_each(|report| trace.note(report));
        trace
    }

    #[test]
    fn follows_its_own_channel_only() {
        let own = trace(&[report(BROADCAST, 0x86, 9), report(OWN, CTAPHID_KEEPALIVE, 2)]);
        assert!(own.waiting && own.at_work && !own.strangers);

        let answered = trace(&[report(OWN, CTAPHID_KEEPALIVE, 2), report(OWN, CTAPHID_CBOR, 0)]);
        assert!(!answered.waiting && !answered.at_work && answered.answered == 1);

        let keepalive = trace(&[report([2; 4], CTAPHID_KEEPALIVE, 2)]);
        assert!(!keepalive.waiting && !keepalive.strangers);
        let stranger = trace(&[report([2; 4], CTAPHID_CBOR, 0)]);
        assert!(stranger.strangers && stranger.lookalike && stranger.answered == 0);
    }

    #[test]
    fn puts_answers_together_among_strangers() {
        let mut first = report(OWN, CTAPHID_CBOR, 0);
        first[6] = 1 + 56 + 3;
        first[8..].fill(1);
        let mut second = report(OWN, 0, 0);
        second[5..8].fill(2);
        let strangers = report([2; 4], 0, 0);

        let whole = trace(&[first, strangers, second]);
        assert_eq!((whole.answered, whole.answer), (1, [vec![1; 56], vec![2; 3]].concat()));
        second[4] = 1;
        assert_eq!(trace(&[first, second]).answered, 0, "a packet is missing");
        assert_eq!(trace(&[second]).answered, 0, "a message without a beginning");
    }

    #[test]
    fn knows_whether_an_answer_is_still_to_come() {
        let (own, other) = (report(OWN, CTAPHID_CBOR, 0), report([2; 4], CTAPHID_ERROR, 6));
        assert!(trace(&[other]).is_owed_an_answer());
        assert!(!trace(&[other, own]).is_owed_an_answer());
        assert!(trace(&[own, other]).is_owed_an_answer());
        assert!(!trace(&[own, other, other, own]).is_owed_an_answer());
    }

    #[test]
    fn a_second_answer_to_init_is_a_strangers() {
        assert!(trace(&[report(BROADCAST, 0x86, 0), report(BROADCAST, 0x86, 0)]).strangers);
    }

    #[test]
    fn the_first_refusal_counts() {
        let refused = trace(&[report(OWN, CTAPHID_CBOR, 0x31), report(OWN, CTAPHID_ERROR, 0x06)]);
        assert_eq!(refused.refusal, Some(Refusal::Status(0x31)));
    }

    #[test]
    fn processing_is_not_waiting() {
        let processing = trace(&[report(OWN, CTAPHID_KEEPALIVE, 1)]);
        assert!(processing.at_work && !processing.waiting);
    }
}
