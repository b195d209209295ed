//! The helper process: started for one request, given commands, cancelled or killed when its time is up.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command as Process};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::{FramedRead, LinesCodec};
use zeroize::Zeroizing;

use super::protocol::{Command, Failure, Hello, MAX_LINE, Message, Progress, Reply, VERSION};
use super::quiet::QuietGaps;
use super::{Authenticator, Exchange, Step, TokenError, hidraw};
use crate::course::{self, Phase};

/// How long a command may take that waits for nobody. A token answers within milliseconds; a helper retries for two
/// seconds when another program gets between.
const SILENT_LIMIT: Duration = Duration::from_secs(5);

/// How long a cancelled helper may take to end by itself; it then reports in order, and frees the device.
const CANCEL_GRACE: Duration = Duration::from_millis(300);

/// The most channels of one command: a selection opens one on each token, and an attempt that was disturbed another.
const MOST_CHANNELS: usize = 64;

/// The most touches of an enrolment: the helper gives up on the token before that.
const MOST_SAMPLES: usize = 64;

/// How much of a helper's complaints is logged, in bytes.
const STDERR_LIMIT: u64 = 16 * 1024;

/// Starts helpers, and keeps one started ahead: a process takes longer to start than a token to sign.
#[derive(Clone)]
pub struct Helpers(Arc<Starter>);

struct Starter {
    program: PathBuf,
    touch_limit: Mutex<Duration>,
    quiet: QuietGaps,
    assertions: AtomicU64,
    /// Said hello, and waits for its one request.
    spare: Mutex<Option<Helper>>,
}

impl Helpers {
    /// Helpers of this program, whose commands wait for a person at most `touch_limit`.
    #[must_use]
    pub fn new(program: PathBuf, touch_limit: Duration) -> Self {
        let (touch_limit, spare) = (Mutex::new(touch_limit), Mutex::new(None));
        let assertions = AtomicU64::new(0);
        Self(Arc::new(Starter { program, touch_limit, quiet: QuietGaps::default(), assertions, spare }))
    }

    /// Commands that come from now on wait so long for a person.
    pub(crate) fn set_touch_limit(&self, limit: Duration) {
        *self.0.touch_limit.lock().unwrap_or_else(PoisonError::into_inner) = limit;
        // The one that was started ahead goes by the old one.
        *self.0.spare() = None;
    }

    /// Starts the next request's helper. A failure is met again, and reported, by the request that needs it.
    pub async fn prepare(&self) {
        match self.0.start().await {
            Ok(helper) => *self.0.spare() = Some(helper),
            Err(failure) => tracing::debug!(failure.detail, "no helper could be started ahead"),
        }
    }
}

impl Starter {
    async fn start(&self) -> Result<Helper, Failure> {
        let mut process = Process::new(&self.program);
        process.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child =
            process.spawn().map_err(|error| ended(format!("{} can't be started: {error}", self.program.display())))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(ended("the helper's pipes are missing".into()));
        };
        tokio::spawn(log_complaints(stderr));
        let messages = FramedRead::new(stdout, LinesCodec::new_with_max_length(MAX_LINE));
        let touch_limit = *self.touch_limit.lock().unwrap_or_else(PoisonError::into_inner);
        let mut helper = Helper { child, stdin: Some(stdin), messages, touch_limit, channels: Vec::new() };
        helper.hello().await?;
        Ok(helper)
    }

    fn spare(&self) -> MutexGuard<'_, Option<Helper>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Authenticator for Helpers {
    async fn begin(&self) -> Result<Box<dyn Exchange>, Failure> {
        let spare = self.0.spare().take().and_then(Helper::if_alive);
        let helper = match spare {
            Some(spare) => spare,
            None => self.0.start().await?,
        };
        Ok(Box::new(Conversation { helper, helpers: self.clone() }))
    }

    fn assertions(&self) -> u64 {
        self.0.assertions.load(Ordering::Relaxed)
    }
}

/// A helper that serves its request. When it is over, the next one is started.
struct Conversation {
    helper: Helper,
    helpers: Helpers,
}

#[async_trait]
impl Exchange for Conversation {
    async fn follow(&mut self, command: Command, step: &mut (dyn FnMut(Step) + Send)) -> Result<Reply, Failure> {
        let _token = course::clock(Phase::Token);
        let result = self.ask(command, step).await;
        if matches!(result, Ok(Reply::Assertion(_))) {
            self.helpers.0.assertions.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    async fn cancel(&mut self) {
        self.helper.cancel().await;
    }
}

impl Conversation {
    async fn ask(&mut self, command: Command, step: &mut (dyn FnMut(Step) + Send)) -> Result<Reply, Failure> {
        if self.helper.stdin.is_none() {
            // One token that falls silent, and takes its helper with it, must not stand between a person and another.
            self.helper = self.helpers.0.start().await?;
        }
        if !command.waits_for_person() {
            return self.helper.call(command, step).await;
        }
        let quiet = &self.helpers.0.quiet;
        let paths: Vec<_> = command.paths().into_iter().map(str::to_owned).collect();
        quiet.pass(&paths).await;
        let wait = quiet.begin(paths);
        let result = self.helper.call(command, step).await;
        if !result.as_ref().is_err_and(|failure| ended_untouched(&failure.error)) {
            wait.answered();
        }
        result
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let helpers = self.helpers.clone();
            runtime.spawn(async move { helpers.prepare().await });
        }
    }
}

/// A running helper.
struct Helper {
    child: Child,
    /// None once the conversation is over.
    stdin: Option<ChildStdin>,
    messages: FramedRead<ChildStdout, LinesCodec>,
    touch_limit: Duration,
    /// The devices and channels of the last command: what to cancel, unless it ended as it should.
    channels: Vec<(String, [u8; 4])>,
}

impl Helper {
    async fn next_line(&mut self) -> Result<String, Failure> {
        match self.messages.next().await {
            Some(Ok(line)) => Ok(line),
            Some(Err(error)) => Err(protocol(error.to_string())),
            None => Err(ended("the helper ended".into())),
        }
    }

    async fn send(&mut self, command: &Command) -> Result<(), Failure> {
        let stdin = self.stdin.as_mut().ok_or_else(|| ended("the conversation is over".into()))?;
        let line = secret_line(command).map_err(|error| protocol(error.to_string()))?;
        stdin.write_all(&line).await.map_err(|error| ended(error.to_string()))
    }

    /// Waits for the end of a command. The outer error is ours: the helper said something it should not, or nothing. None
    /// when its time is up, which begins anew with each touch that an enrolment has felt.
    async fn answer(
        &mut self,
        command: &Command,
        limit: Duration,
        step: &mut (dyn FnMut(Step) + Send),
    ) -> Result<Option<Result<Reply, Failure>>, Failure> {
        let mut waiting = false;
        let mut samples = 0;
        let mut end = Instant::now() + limit;
        loop {
            let Ok(line) = timeout_at(end, self.next_line()).await else { return Ok(None) };
            let line = line?;
            match serde_json::from_str(&line).map_err(|error| protocol(error.to_string()))? {
                Message::Progress(Progress::Channel { path, channel }) => {
                    let channel = channel.0.as_slice().try_into();
                    let channel = channel.map_err(|_| protocol("a channel has 4 bytes".into()))?;
                    if !command.paths().contains(&path.as_str()) || self.channels.len() >= MOST_CHANNELS {
                        return Err(protocol("the helper opened another device".into()));
                    }
                    self.channels.push((path, channel));
                }
                Message::Progress(Progress::PresenceNeeded) if waiting => {}
                Message::Progress(Progress::PresenceNeeded) => {
                    waiting = true;
                    step(Step::PresenceNeeded);
                }
                Message::Progress(Progress::Sample { status, left }) => {
                    samples += 1;
                    if !matches!(command, Command::EnrollFingerprint { .. }) || samples > MOST_SAMPLES {
                        return Err(protocol("the helper told of a touch that was not asked for".into()));
                    }
                    end = Instant::now() + limit;
                    step(Step::Sample { status, left });
                }
                Message::Reply(reply) if reply.answers(command) => return Ok(Some(Ok(reply))),
                Message::Reply(_) => return Err(protocol("the helper answered something else".into())),
                Message::Failed(failure) => return Ok(Some(Err(failure))),
            }
        }
    }

    async fn hello(&mut self) -> Result<(), Failure> {
        let line =
            timeout(SILENT_LIMIT, self.next_line()).await.map_err(|_| ended("it did not say hello".into()))??;
        match serde_json::from_str(&line) {
            Ok(Hello { version: VERSION }) => Ok(()),
            Ok(Hello { version }) => Err(ended(format!("it speaks version {version}, the agent version {VERSION}"))),
            Err(_) => Err(ended("it did not say hello".into())),
        }
    }

    fn if_alive(mut self) -> Option<Self> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    async fn call(&mut self, command: Command, step: &mut (dyn FnMut(Step) + Send)) -> Result<Reply, Failure> {
        let waits_for_person = command.waits_for_person();
        let limit = if waits_for_person { self.touch_limit } else { SILENT_LIMIT };
        self.channels.clear();
        // A helper that does not read is one that does not answer.
        let sent = timeout(limit, self.send(&command)).await;
        let answered = match sent {
            Ok(Ok(())) => self.answer(&command, limit, step).await,
            Ok(Err(failure)) => Err(failure),
            Err(_) => Ok(None),
        };
        match answered {
            Ok(Some(result)) => {
                if result.is_ok() {
                    self.channels.clear();
                }
                result
            }
            // Whatever a helper says after it lied is not listened to.
            Err(failure) => {
                self.cancel().await;
                Err(failure)
            }
            Ok(None) => {
                self.cancel().await;
                let error = if waits_for_person { TokenError::UserTimeout } else { TokenError::HelperExited };
                Err(Failure::new(error, format!("no answer within {} s", limit.as_secs())))
            }
        }
    }

    /// Cancels what the token waits for, and ends the process.
    async fn cancel(&mut self) {
        // The end of its input tells the helper to give up.
        drop(self.stdin.take());
        cancel_on_devices(self.channels.clone()).await;
        if timeout(CANCEL_GRACE, self.child.wait()).await.is_err() {
            let _ = self.child.start_kill();
            let _ = timeout(CANCEL_GRACE, self.child.wait()).await;
            cancel_on_devices(self.channels.clone()).await;
        }
        self.channels.clear();
    }
}

impl Drop for Helper {
    /// A conversation that is dropped while a command runs (the agent is being shut down, say) must not leave the token
    /// blinking.
    fn drop(&mut self) {
        let channels = std::mem::take(&mut self.channels);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !channels.is_empty() => drop(runtime.spawn(cancel_on_devices(channels))),
            _ => {}
        }
    }
}

/// Writes to the devices themselves, away from the daemon's own thread: a device that hangs can hold up a write.
async fn cancel_on_devices(channels: Vec<(String, [u8; 4])>) {
    if channels.is_empty() {
        return;
    }
    let work = tokio::task::spawn_blocking(move || {
        for (path, channel) in channels {
            if let Err(error) = hidraw::send_cancel(&path, channel) {
                tracing::debug!(%error, path, "no cancel could be sent to the token");
            }
        }
    });
    let _ = timeout(CANCEL_GRACE, work).await;
}

/// Whether a token may have waited for a touch, and got none.
fn ended_untouched(error: &TokenError) -> bool {
    matches!(error, TokenError::UserTimeout | TokenError::Cancelled | TokenError::HelperExited | TokenError::Protocol)
}

/// A command's line. It may carry a PIN: the buffer is wiped, and large enough from the start to leave no copy behind.
fn secret_line(command: &impl Serialize) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE));
    serde_json::to_writer(&mut *line, command)?;
    line.push(b'\n');
    Ok(line)
}

/// The helper's complaints go to the agent's own log, where they can't be mistaken for the agent's words.
async fn log_complaints(stderr: ChildStderr) {
    let mut text = String::new();
    let _ = stderr.take(STDERR_LIMIT).read_to_string(&mut text).await;
    for line in text.lines() {
        tracing::debug!(target: "sk_helper", "{}", crate::prompt::visible(line));
    }
}

fn ended(detail: String) -> Failure {
    Failure::new(TokenError::HelperExited, detail)
}

fn protocol(detail: String) -> Failure {
    Failure::new(TokenError::Protocol, detail)
}
