//! One attempt at a command: the library at work in a thread, and what the device sends meanwhile.
//!
//! The library takes whatever report comes for its answer, so another program at work on the same token ends its wait with
//! nonsense. The token does not know, and answers all the same: so does a wait for a touch go on here, without the
//! library, which then only reads the answer.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::mem;
use std::os::fd::AsFd;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use agent::token::TokenError;
use agent::token::protocol::Failure;
use rustix::event::{PollFd, PollFlags};
use rustix::io::ioctl_fionbio;

use crate::failure::{Trouble, failure};
use crate::node::Node;
use crate::trace::Trace;
use crate::verdict::{Verdict, judge, read_alone, refused};

/// The answers that come before the one to a PIN: to getInfo and to getKeyAgreement (CTAP 2.1 § 6.5.5.7).
const BEFORE_PIN: usize = 2;

/// How long a token that was asked something may be silent. While it works, it says so every 100 ms (CTAP 2.1
/// § 11.2.9.2.2).
const SILENCE: Duration = Duration::from_millis(250);

/// What is to be done with a device, as often as it takes.
pub(crate) struct Job<T> {
    /// Opens the device, announces its channel, asks.
    pub(crate) run: Arc<Runner<T>>,
    /// Reads the answer that counts, where it is the last of the answers.
    pub(crate) read: Option<Box<Reader<T>>>,
    /// Adds what the library leaves out of the answers.
    pub(crate) amend: Option<Box<Amender<T>>>,
    /// The number of answers that come before it.
    pub(crate) preceding: usize,
    /// It hands a PIN to the token.
    pub(crate) sends_pin: bool,
    /// Once a person has had a part in it, it is not begun again: their part would begin anew too. Such a job has more
    /// than one answer that counts, so it is over when another program gets between.
    pub(crate) once: bool,
}

type Runner<T> = dyn Fn(&Announcer) -> Result<T, Trouble> + Send + Sync;
type Reader<T> = dyn Fn(&[u8]) -> Result<T, Trouble>;
type Amender<T> = dyn Fn(&mut T, &Answers<'_>);

/// What the token answered, without the status.
pub(crate) struct Answers<'a> {
    pub(crate) first: &'a [u8],
    pub(crate) last: &'a [u8],
}

/// A touch of an enrolment, as the token told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// lastEnrollSampleStatus (CTAP 2.1 § 6.7.4).
    pub(crate) status: u8,
    /// remainingSamples.
    pub(crate) left: u16,
}

/// How the thread tells its channel, and how far it is. When this is dropped, the thread is done.
pub(crate) struct Announcer(PipeWriter);

/// What is announced: a kind, and four bytes.
type Announcement = [u8; 5];
const CHANNEL: u8 = 0;
const SAMPLE: u8 = 1;

impl Announcer {
    /// To be called before the first command on this channel, so that no report on it is taken for a stranger's. An error
    /// says that nobody waits for the answer any more.
    pub(crate) fn channel(&self, channel: [u8; 4]) -> io::Result<()> {
        let [a, b, c, d] = channel;
        self.say([CHANNEL, a, b, c, d])
    }

    /// To be called for each touch that an enrolment has felt.
    pub(crate) fn sample(&self, sample: Sample) -> io::Result<()> {
        let [high, low] = sample.left.to_be_bytes();
        self.say([SAMPLE, sample.status, high, low, 0])
    }

    fn say(&self, announcement: Announcement) -> io::Result<()> {
        (&self.0).write_all(&announcement)
    }
}

/// What is new in an attempt.
pub(crate) struct News<T> {
    /// It uses this channel.
    pub(crate) channel: Option<[u8; 4]>,
    /// The token waits for its person.
    pub(crate) waiting: bool,
    /// It has felt a touch of an enrolment.
    pub(crate) sample: Option<Sample>,
    /// It has ended.
    pub(crate) verdict: Option<Verdict<T>>,
}

/// An attempt under way. Dropping it cancels what the token does for it.
pub(crate) struct Attempt<T> {
    node: Node,
    trace: Trace,
    progress: PipeReader,
    phase: Phase<T>,
    sample: Option<Sample>,
    cancelled: bool,
}

enum Phase<T> {
    /// The library is at work.
    Working(JoinHandle<Result<T, Trouble>>),
    /// It was disturbed. The token may still answer.
    Listening(Listening),
    Over,
}

struct Listening {
    /// A token that is silent until then has nothing to answer.
    until: Instant,
    /// What is told if none comes.
    disturbance: Failure,
}

impl<T: Send + 'static> Attempt<T> {
    /// Begins. The node is opened before the library opens it, so that it misses none of the reports.
    pub(crate) fn start(path: &str, job: &Job<T>) -> Result<Self, Failure> {
        let node = Node::open(path)?;
        let begin = || -> io::Result<_> {
            let (progress, announcements) = io::pipe()?;
            ioctl_fionbio(&progress, true)?;
            let run = Arc::clone(&job.run);
            let work = move || {
                let announcer = Announcer(announcements);
                run(&announcer)
            };
            Ok((progress, thread::Builder::new().spawn(work)?))
        };
        let (progress, worker) = begin().map_err(|error| failure(TokenError::Protocol, error.to_string()))?;
        Ok(Self {
            node,
            trace: Trace::default(),
            progress,
            phase: Phase::Working(worker),
            sample: None,
            cancelled: false,
        })
    }

    /// Takes note of what happened since the last call.
    pub(crate) fn watch(&mut self, job: &Job<T>) -> News<T> {
        let (had_channel, was_waiting) = (self.trace.channel.is_some(), self.trace.waiting);
        let finished = self.collect();
        if self.cancelled && self.trace.at_work {
            self.cancel();
        }
        let verdict = match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Working(worker) if finished => self.conclude(worker, job),
            Phase::Listening(listening) => self.listen(listening, job),
            phase => {
                self.phase = phase;
                None
            }
        };
        News {
            channel: self.trace.channel.filter(|_| !had_channel),
            waiting: self.trace.waiting && !was_waiting,
            sample: self.sample.take(),
            verdict,
        }
    }

    /// The library is done. Where it was disturbed, the token's own answer may still come.
    fn conclude(&mut self, worker: JoinHandle<Result<T, Trouble>>, job: &Job<T>) -> Option<Verdict<T>> {
        let mut verdict = match judge(worker.join(), &self.trace, job.preceding) {
            // Another program's answer can look like ours.
            Verdict::Answer(_) if self.trace.strangers && job.once => {
                Verdict::Disturbed(failure(TokenError::Busy, "another program's answers came between"))
            }
            Verdict::Answer(answer) if self.trace.strangers => self.own_answer(job).unwrap_or(Verdict::Answer(answer)),
            // It may have come before the question that the token refused.
            Verdict::Disturbed(disturbance) if self.trace.refusal.is_some() => {
                self.own_answer(job).unwrap_or(Verdict::Disturbed(disturbance))
            }
            verdict => verdict,
        };
        if let (Verdict::Answer(answer), Some(amend)) = (&mut verdict, &job.amend) {
            amend(answer, &Answers { first: &self.trace.first_answer, last: &self.trace.answer });
        }
        if self.trace.channel.is_some() && self.trace.refusal.is_none() {
            if let Verdict::Disturbed(disturbance) = verdict {
                let until = Instant::now() + SILENCE;
                return self.listen(Listening { until, disturbance }, job);
            }
            if self.trace.at_work {
                self.cancel();
            }
        }
        Some(verdict)
    }

    /// Waits for the token's answer without the library.
    fn listen(&mut self, listening: Listening, job: &Job<T>) -> Option<Verdict<T>> {
        let trace = &self.trace;
        if trace.unplugged {
            return Some(Verdict::Failed(failure(TokenError::NotFound, "it was unplugged")));
        }
        if let Some(refusal) = trace.refusal {
            return Some(refused(refusal, trace.strangers, "told while another program used the token".into()));
        }
        if let Some(verdict) = self.own_answer(job) {
            return Some(verdict);
        }
        // The library may have sent the PIN on the strength of another program's answer. Sending it again while the token
        // looks at it could cost a second try.
        let pin_may_be_out = job.sends_pin && trace.lookalike && trace.answered == BEFORE_PIN;
        let owed = (trace.is_owed_an_answer() || pin_may_be_out) && Instant::now() < listening.until;
        if trace.at_work || owed {
            self.phase = Phase::Listening(listening);
            return None;
        }
        self.cancel();
        Some(Verdict::Disturbed(listening.disturbance))
    }

    /// What the token answered on our channel, if that is the answer that counts.
    fn own_answer(&self, job: &Job<T>) -> Option<Verdict<T>> {
        let read = job.read.as_ref().filter(|_| self.trace.answered > job.preceding)?;
        Some(read_alone(panic::catch_unwind(AssertUnwindSafe(|| read(&self.trace.answer)))))
    }
}

impl<T> Attempt<T> {
    /// Reads what the device and the thread have sent; says whether the thread is done.
    fn collect(&mut self) -> bool {
        // Reports first, then the channel that they may have come on.
        let mut reports = self.node.take_reports();
        let mut finished = false;
        let mut announcement: Announcement = [0; 5];
        match self.progress.read(&mut announcement) {
            Ok(5) => match announcement {
                [SAMPLE, status, high, low, _] => {
                    self.sample = Some(Sample { status, left: u16::from_be_bytes([high, low]) });
                }
                [_, channel @ ..] => self.trace.channel = Some(channel),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => {
                finished = true;
                // What the library read has come here too by now.
                reports = reports.and_then(|reports| Ok([reports, self.node.take_reports()?].concat()));
            }
        }
        match reports {
            Ok(reports) => reports.iter().for_each(|report| self.trace.note(report)),
            Err(_) => self.trace.unplugged = true,
        }
        finished
    }

    /// Ends what the token does for this attempt. It then answers that it was cancelled.
    pub(crate) fn cancel(&mut self) {
        self.cancelled = true;
        if let Some(channel) = self.trace.channel {
            self.node.cancel(channel);
        }
    }

    /// What to wait for.
    pub(crate) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let progress = matches!(self.phase, Phase::Working(_)).then_some(self.progress.as_fd());
        let node = (!self.trace.unplugged).then_some(self.node.as_fd());
        [progress, node].into_iter().flatten().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
    }

    /// When to look again even if nothing comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Listening(listening) if !self.trace.at_work => Some(listening.until),
            _ => None,
        }
    }
}

impl<T> Drop for Attempt<T> {
    fn drop(&mut self) {
        if !matches!(self.phase, Phase::Over) {
            // The channel may have been announced, and not looked at yet.
            self.collect();
            self.cancel();
        }
    }
}
