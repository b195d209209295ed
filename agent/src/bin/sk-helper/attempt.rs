//! One attempt at a command: the library at work in a thread, and what the device sends meanwhile.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use agent::token::TokenError;
use agent::token::protocol::Failure;
use rustix::event::{PollFd, PollFlags};
use rustix::io::ioctl_fionbio;

use crate::failure::{Trouble, failure};
use crate::node::Node;
use crate::trace::Trace;
use crate::verdict::{Verdict, judge};

/// What is to be done with a device, as often as it takes.
pub(crate) struct Job<T> {
    /// Opens the device, announces its channel, asks.
    pub(crate) run: Arc<dyn Fn(&Announcer) -> Result<T, Trouble> + Send + Sync>,
    /// It hands a PIN to the token.
    pub(crate) sends_pin: bool,
}

/// How the thread tells its channel. When this is dropped, the thread is done.
pub(crate) struct Announcer(PipeWriter);

impl Announcer {
    /// To be called before the first command on this channel, so that no report on it is taken for a stranger's.
    pub(crate) fn channel(&self, channel: [u8; 4]) -> io::Result<()> {
        (&self.0).write_all(&channel)
    }
}

/// What is new in an attempt.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// It uses this channel.
    pub(crate) channel: Option<[u8; 4]>,
    /// The token waits for its person.
    pub(crate) waiting: bool,
    /// The library is done; [`Attempt::finish`] tells with what.
    pub(crate) finished: bool,
}

/// An attempt under way. Dropping it cancels what the token does for it.
pub(crate) struct Attempt<T> {
    node: Node,
    trace: Trace,
    progress: PipeReader,
    sends_pin: bool,
    /// None once its result was taken.
    worker: Option<JoinHandle<Result<T, Trouble>>>,
    cancelled: bool,
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
        let sends_pin = job.sends_pin;
        Ok(Self { node, trace: Trace::default(), progress, sends_pin, worker: Some(worker), cancelled: false })
    }

    /// Takes note of what happened since the last call.
    pub(crate) fn watch(&mut self) -> News {
        let mut news = News::default();
        let was_waiting = self.trace.waiting;
        // Reports first, then the channel that they may have come on.
        let mut reports = self.node.take_reports();
        let mut channel = [0; 4];
        match self.progress.read(&mut channel) {
            Ok(4) => {
                self.trace.channel = Some(channel);
                news.channel = Some(channel);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The library is done: what it read has been here too by now.
            _ => {
                news.finished = true;
                if let (Ok(before), Ok(rest)) = (&mut reports, self.node.take_reports()) {
                    before.extend(rest);
                }
            }
        }
        match reports {
            Ok(reports) => reports.iter().for_each(|report| self.trace.note(report)),
            Err(_) => self.trace.unplugged = true,
        }
        if self.cancelled && self.trace.waiting {
            self.cancel();
        }
        news.waiting = self.trace.waiting && !was_waiting;
        news
    }

    /// The outcome, after [`News::finished`].
    pub(crate) fn finish(mut self) -> Verdict<T> {
        let Some(worker) = self.worker.take() else {
            return Verdict::Failed(failure(TokenError::Protocol, "finished twice"));
        };
        let verdict = judge(worker.join(), &self.trace, self.sends_pin);
        // Whatever the library took for an answer, the token's own is still to come: it may be waiting for a touch.
        if !matches!(verdict, Verdict::Answer(_)) && self.trace.refusal.is_none() {
            self.cancel();
        }
        verdict
    }
}

impl<T> Attempt<T> {
    /// Ends what the token does for this attempt; the library then returns by itself.
    pub(crate) fn cancel(&mut self) {
        self.cancelled = true;
        if let Some(channel) = self.trace.channel {
            self.node.cancel(channel);
        }
    }

    /// What to wait for: progress of the library, and reports.
    pub(crate) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let node = (!self.trace.unplugged).then_some(self.node.as_fd());
        [Some(self.progress.as_fd()), node].into_iter().flatten().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
    }
}

impl<T> Drop for Attempt<T> {
    fn drop(&mut self) {
        if self.worker.is_some() {
            self.cancel();
        }
    }
}
