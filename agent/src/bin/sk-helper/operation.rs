//! Carries out a command on a device, or on several of which the first to answer counts: attempts, pauses between them,
//! and an eye on the daemon.

use std::iter;
use std::time::{Duration, Instant};

use agent::token::TokenError;
use agent::token::protocol::{Bytes, Failure, Message, Progress};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::attempt::{Attempt, Job};
use crate::daemon::Daemon;
use crate::failure::{Stop, failure};
use crate::verdict::Verdict;

/// The pauses after attempts that another program disturbed, in milliseconds: two seconds in all.
const PAUSES: [u64; 8] = [10, 20, 40, 80, 150, 300, 600, 800];

/// A command that waits for a person is not begun again after this: the library itself would give up at 50 s.
const NO_MORE_ATTEMPTS_AFTER: Duration = Duration::from_secs(45);

/// How long the tokens that were not chosen may take to end what they do.
const CANCEL_LIMIT: Duration = Duration::from_secs(1);

/// A command on one device.
pub(crate) struct Operation<T> {
    path: String,
    job: Job<T>,
    began: Instant,
    /// Disturbed attempts since the token last got to ask for its person.
    disturbed: usize,
    asked: bool,
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
        Self { path, job, began, disturbed: 0, asked: false, state: State::Due(began) }
    }

    /// Does what can be done now; returns the end of the command, if this is it.
    fn advance(&mut self, daemon: &mut Daemon) -> Result<Option<Result<T, Failure>>, Stop> {
        match &mut self.state {
            State::Due(time) if *time <= Instant::now() => match Attempt::start(&self.path, &self.job) {
                Ok(attempt) => self.state = State::Running(attempt),
                Err(failure) => return Ok(Some(self.end(Err(failure)))),
            },
            State::Due(_) | State::Over => {}
            State::Running(attempt) => {
                let news = attempt.watch();
                if let Some(channel) = news.channel {
                    let (path, channel) = (self.path.clone(), Bytes(channel.to_vec()));
                    tell(daemon, Progress::Channel { path, channel })?;
                }
                if news.waiting {
                    self.disturbed = 0;
                    // Said once: after a disturbance the token blinks on.
                    if !std::mem::replace(&mut self.asked, true) {
                        tell(daemon, Progress::PresenceNeeded)?;
                    }
                }
                if news.finished {
                    return Ok(self.conclude());
                }
            }
        }
        Ok(None)
    }

    fn conclude(&mut self) -> Option<Result<T, Failure>> {
        let State::Running(attempt) = std::mem::replace(&mut self.state, State::Over) else {
            return None;
        };
        match attempt.finish() {
            Verdict::Answer(answer) => Some(self.end(Ok(answer))),
            Verdict::Failed(failure) => Some(self.end(Err(failure))),
            Verdict::Disturbed(failure) => match PAUSES.get(self.disturbed) {
                Some(&pause) if self.began.elapsed() < NO_MORE_ATTEMPTS_AFTER => {
                    self.disturbed += 1;
                    self.state = State::Due(Instant::now() + Duration::from_millis(pause));
                    None
                }
                _ => Some(self.end(Err(failure))),
            },
        }
    }

    fn end(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        self.state = State::Over;
        result
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

/// Carries out a command on several devices and returns the first answer with its device. The others are cancelled. When
/// all fail, the last failure counts: it is the one that took a person's time.
pub(crate) fn first_of<T: Send + 'static>(
    daemon: &mut Daemon,
    mut operations: Vec<Operation<T>>,
) -> Result<(String, T), Stop> {
    let mut last_failure = failure(TokenError::NotFound, "no device was named");
    loop {
        for index in 0..operations.len() {
            match operations[index].advance(daemon)? {
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
    let due = operations.iter().filter_map(
        |operation| {
            if let State::Due(time) = operation.state { Some(time) } else { None }
        },
    );
    let timeout = due.min().map(|time| time.saturating_duration_since(Instant::now()));
    // Polled for no event, a pipe still reports that its writer is gone.
    let hang_up = PollFd::new(daemon, PollFlags::empty());
    let mut poll_fds: Vec<_> = iter::once(hang_up).chain(operations.iter().flat_map(Operation::poll_fds)).collect();
    wait_for(&mut poll_fds, timeout);
    if poll_fds[0].revents().is_empty() { Ok(()) } else { Err(Stop::DaemonGone) }
}

/// Cancels the operations and sees them end: a token that still answers a cancel would disturb the next command.
fn cancel<T: Send + 'static>(operations: Vec<Operation<T>>) {
    let mut attempts: Vec<_> = operations
        .into_iter()
        .filter_map(|operation| if let State::Running(attempt) = operation.state { Some(attempt) } else { None })
        .collect();
    attempts.iter_mut().for_each(Attempt::cancel);
    let limit = Instant::now() + CANCEL_LIMIT;
    while Instant::now() < limit {
        attempts.retain_mut(|attempt| !attempt.watch().finished);
        if attempts.is_empty() {
            return;
        }
        let mut poll_fds: Vec<_> = attempts.iter().flat_map(Attempt::poll_fds).collect();
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
        eprintln!("sk-helper: poll: {error}");
    }
}
