//! Carries out a command on a device, or on several of which the first to answer counts: attempts, pauses between them,
//! and an eye on the daemon.

use std::iter;
use std::mem;
use std::time::{Duration, Instant};

use agent::token::TokenError;
use agent::token::protocol::{Bytes, Failure, Message, Progress};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use ssh_key::rand_core::{OsRng, RngCore};

use crate::attempt::{Attempt, Job, Sample};
use crate::daemon::Daemon;
use crate::failure::{Stop, complain, failure};
use crate::verdict::Verdict;

/// For so long, attempts that another program disturbs are made again: then it is the other's turn to stop.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest pause after the first such attempt, and by how much that grows with each; and the longest of all.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(40);

/// A command that waits for a person is not begun again after this: the library itself would give up at 50 s.
const NO_MORE_ATTEMPTS_AFTER: Duration = Duration::from_secs(45);

/// How long the tokens that were not chosen may take to end what they do.
const CANCEL_LIMIT: Duration = Duration::from_secs(1);

/// A command on one device.
pub(crate) struct Operation<T> {
    path: String,
    job: Job<T>,
    began: Instant,
    /// The first disturbed attempt since the token last got to ask for its person.
    disturbed_since: Option<Instant>,
    /// A person has had a part in it.
    has_waited: bool,
    pause: Duration,
    state: State<T>,
}

enum State<T> {
    /// The next attempt begins then.
    Due(Instant),
    Running(Attempt<T>),
    Over,
}

impl<T: Send + 'static> Operation<T> {
    pub(crate) fn new(path: String, job: Job<T>) -> Self {
        let began = Instant::now();
        Self {
            path,
            job,
            began,
            disturbed_since: None,
            has_waited: false,
            pause: Duration::ZERO,
            state: State::Due(began),
        }
    }

    /// Does what can be done now; returns the end of the command, if this is it.
    fn advance(
        &mut self,
        tell: &mut dyn FnMut(Progress) -> Result<(), Stop>,
        person_is_told: &mut bool,
    ) -> Result<Option<Result<T, Failure>>, Stop> {
        match &mut self.state {
            State::Due(time) if *time <= Instant::now() => match Attempt::start(&self.path, &self.job) {
                Ok(attempt) => self.state = State::Running(attempt),
                Err(failure) => return Ok(Some(self.end(Err(failure)))),
            },
            State::Due(_) | State::Over => {}
            State::Running(attempt) => {
                let news = attempt.watch(&self.job);
                if let Some(channel) = news.channel {
                    let (path, channel) = (self.path.clone(), Bytes(channel.to_vec()));
                    tell(Progress::Channel { path, channel })?;
                }
                if let Some(Sample { status, left }) = news.sample {
                    self.has_waited = true;
                    tell(Progress::Sample { status, left: left.into() })?;
                }
                if news.waiting {
                    self.disturbed_since = None;
                    self.has_waited = true;
                    // Once: another attempt, or another token that blinks, is nothing new to a person.
                    if !mem::replace(person_is_told, true) {
                        tell(Progress::PresenceNeeded)?;
                    }
                }
                return Ok(news.verdict.and_then(|verdict| self.conclude(verdict)));
            }
        }
        Ok(None)
    }

    fn conclude(&mut self, verdict: Verdict<T>) -> Option<Result<T, Failure>> {
        match verdict {
            Verdict::Answer(answer) => Some(self.end(Ok(answer))),
            Verdict::Failed(failure) => Some(self.end(Err(failure))),
            Verdict::Disturbed(failure) => {
                let since = *self.disturbed_since.get_or_insert_with(Instant::now);
                if self.job.once && self.has_waited {
                    return Some(self.end(Err(failure)));
                }
                if since.elapsed() > PATIENCE || self.began.elapsed() > NO_MORE_ATTEMPTS_AFTER {
                    return Some(self.end(Err(failure)));
                }
                self.pause = LONGEST_PAUSE.min(self.pause + PAUSE);
                // By chance: two helpers that disturb each other would else begin again at the same time, for ever.
                let pause = self.pause.mul_f64(f64::from(OsRng.next_u32()) / f64::from(u32::MAX));
                self.state = State::Due(Instant::now() + pause);
                None
            }
        }
    }

    fn end(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        self.state = State::Over;
        result
    }

    fn cancel(&mut self) {
        if let State::Running(attempt) = &mut self.state {
            attempt.cancel();
        }
    }

    /// Looks after a cancelled operation.
    fn has_ended(&mut self) -> bool {
        match &mut self.state {
            State::Running(attempt) => attempt.watch(&self.job).verdict.is_some(),
            State::Due(_) | State::Over => true,
        }
    }

    /// When it can advance even if nothing comes.
    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Due(time) => Some(*time),
            State::Running(attempt) => attempt.deadline(),
            State::Over => None,
        }
    }

    fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let running = if let State::Running(attempt) = &self.state { Some(attempt) } else { None };
        running.into_iter().flat_map(Attempt::poll_fds)
    }
}

/// Carries out a command on one device.
pub(crate) fn perform<T: Send + 'static>(daemon: &mut Daemon, path: &str, job: Job<T>) -> Result<T, Stop> {
    first_of(daemon, vec![Operation::new(path.to_owned(), job)]).map(|(_, answer)| answer)
}

/// Carries out a command that nobody waits for any more: it puts the token right, if that does not take long.
pub(crate) fn tidy_up<T: Send + 'static>(path: &str, job: Job<T>) {
    let limit = Instant::now() + CANCEL_LIMIT;
    let mut operation = Operation::new(path.to_owned(), job);
    while Instant::now() < limit {
        if !matches!(operation.advance(&mut |_| Ok(()), &mut false), Ok(None)) {
            return;
        }
        let until = operation.deadline().map_or(limit, |deadline| deadline.min(limit));
        let mut poll_fds: Vec<_> = operation.poll_fds().collect();
        wait_for(&mut poll_fds, Some(until.saturating_duration_since(Instant::now())));
    }
    complain("the token was not put right in time");
}

/// Carries out a command on several devices and returns the first answer with its device. The others are cancelled. When
/// all fail, the last failure counts: it is the one that took a person's time.
pub(crate) fn first_of<T: Send + 'static>(
    daemon: &mut Daemon,
    mut operations: Vec<Operation<T>>,
) -> Result<(String, T), Stop> {
    let mut last_failure = failure(TokenError::NotFound, "no device was named");
    let mut person_is_told = false;
    loop {
        for index in 0..operations.len() {
            match operations[index].advance(&mut |progress| tell(daemon, progress), &mut person_is_told)? {
                Some(Ok(answer)) => {
                    let path = operations.swap_remove(index).path;
                    cancel(operations);
                    return Ok((path, answer));
                }
                Some(Err(failure)) => last_failure = failure,
                None => {}
            }
        }
        operations.retain(|operation| !matches!(operation.state, State::Over));
        if operations.is_empty() {
            return Err(last_failure.into());
        }
        wait(daemon, &operations)?;
    }
}

fn tell(daemon: &mut Daemon, progress: Progress) -> Result<(), Stop> {
    daemon.say(&Message::Progress(progress)).map_err(|_| Stop::DaemonGone)
}

/// Waits until an operation can advance. Leaving with [`Stop::DaemonGone`] drops the operations, which cancels them.
fn wait<T: Send + 'static>(daemon: &Daemon, operations: &[Operation<T>]) -> Result<(), Stop> {
    let deadline = operations.iter().filter_map(Operation::deadline).min();
    let timeout = deadline.map(|time| time.saturating_duration_since(Instant::now()));
    // Polled for no event, a pipe still reports that its writer is gone.
    let hang_up = PollFd::new(daemon, PollFlags::empty());
    let mut poll_fds: Vec<_> = iter::once(hang_up).chain(operations.iter().flat_map(Operation::poll_fds)).collect();
    wait_for(&mut poll_fds, timeout);
    if poll_fds[0].revents().is_empty() { Ok(()) } else { Err(Stop::DaemonGone) }
}

/// Cancels the operations and sees them end: a token that still answers a cancel would disturb the next command.
fn cancel<T: Send + 'static>(mut operations: Vec<Operation<T>>) {
    let limit = Instant::now() + CANCEL_LIMIT;
    operations.iter_mut().for_each(Operation::cancel);
    while Instant::now() < limit {
        operations.retain_mut(|operation| !operation.has_ended());
        if operations.is_empty() {
            return;
        }
        let mut poll_fds: Vec<_> = operations.iter().flat_map(Operation::poll_fds).collect();
        wait_for(&mut poll_fds, Some(limit.saturating_duration_since(Instant::now())));
    }
}

/// Poll, with a limit in the standard library's terms. Whoever waits looks again at what happened, so an interruption
/// needs no care.
fn wait_for(poll_fds: &mut [PollFd<'_>], limit: Option<Duration>) {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    if let Err(error) = poll(poll_fds, limit.as_ref())
        && error != Errno::INTR
    {
        complain(&format!("poll: {error}"));
    }
}
