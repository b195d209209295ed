//! Other agents whose keys are offered after ours: on a desktop, for a smartcard or a TPM, or plain ssh-agent.
//!
//! Nothing that another agent says or fails to say ends this one, or holds it up for longer than a second when keys
//! are listed, and that once for all who list them. Signatures are waited for as long as the request itself may take: another agent may ask its person too.

mod connection;
mod message;

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use crate::control::{Trouble, UpstreamStatus};
use crate::session_binding::SessionBindings;
use connection::Connection;
use message::LONGEST_ANSWER;
pub use message::OfferedKey;

/// How long a list of keys waits for the upstream agents, all at once. A person does not notice much less, and ssh waits
/// for the list at each login.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a silent one is listened to for a sign of life. Until then, or until it answers, nobody else waits for it: an
/// ssh-agent that asks its own person answers nothing meanwhile.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// The most upstream agents. Each is asked at each list.
const MOST_UPSTREAMS: usize = 16;

/// The most lists of one upstream that are under way at once. One more fails instead of waiting, so that agents which ask
/// each other in a circle through one that does not know [`OWN_KEYS_ONLY`] come to an end.
const MOST_LISTS: usize = 64;

/// The most signatures of one upstream that are waited for at once. Others queue: each holds a file descriptor.
const MOST_SIGNATURES: usize = 64;

/// The most keys of one list, in all (authfd.c MAX_AGENT_IDENTITIES).
const MOST_LISTED: usize = 2048;

/// The lengths of an entry's encoding and comment, in bytes; as much as the list's own head takes at most.
const LENGTHS: usize = 8;

/// The extension by which one of these agents asks another for the keys that are its own, and not those of its upstreams.
/// Without it, two that are each other's upstream would ask each other for ever.
pub const OWN_KEYS_ONLY: &str = "own-keys-only@fido-ssh-agent";

/// The agents named in the configuration, in its order.
#[derive(Debug, Default)]
pub struct Upstreams(Vec<Arc<Upstream>>);

/// Why another agent's answer is none.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Nobody listens there.
    #[error("no agent can be reached there: {0}")]
    Connect(#[source] std::io::Error),
    /// It belongs to somebody else.
    #[error("user {0} serves this socket; only one of yours or root's is used")]
    OtherUser(u32),
    /// The connection ended before the answer.
    #[error("it closed the connection: {0}")]
    Broken(#[source] std::io::Error),
    /// No answer came.
    #[error("it did not answer within {} s", PATIENCE.as_secs())]
    Slow,
    /// As many requests as may be wait for it.
    #[error("{MOST_LISTS} requests wait for it already")]
    Busy,
    /// The answer is longer than any may be.
    #[error("it announced an answer of {0} bytes, which is too long")]
    TooLong(usize),
    /// It has more keys than any agent may.
    #[error("it has {0} keys, which is too many")]
    TooManyKeys(usize),
    /// The answer can't be parsed.
    #[error("its answer can't be used: {0}")]
    Malformed(&'static str),
    /// It says no; the protocol carries no reason.
    #[error("it refused")]
    Refused,
}

/// Why the configured upstreams can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfiguredWrong {
    /// It is this agent.
    #[error("{0}: this is the agent's own socket, which can't be its upstream. Name the other agent's socket.")]
    Own(PathBuf),
    /// It is named twice.
    #[error("{0}: this upstream is named twice. Name it once.")]
    Twice(PathBuf),
    /// There are too many.
    #[error("there are {0} upstreams, and {MOST_UPSTREAMS} are the most. Name fewer.")]
    TooMany(usize),
}

/// A key, and the agent that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamKey {
    /// The key.
    pub key: OfferedKey,
    /// The agent's socket.
    pub socket: PathBuf,
}

/// No upstream offers the key. One that is in trouble may have it, which is what is said here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Missing {
    troubles: Vec<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.troubles.iter().try_for_each(|trouble| write!(f, "; not asked is upstream {trouble}"))
    }
}

/// The first of the other agents' keys, as many as an answer has room for beside ours: an encoding and a comment each.
pub fn beside<'a>(
    own: &[(&[u8], &str)],
    offered: impl Iterator<Item = &'a OfferedKey>,
) -> impl Iterator<Item = (&'a [u8], &'a str)> {
    let size = |blob: &[u8], comment: &str| LENGTHS + blob.len() + comment.len();
    let taken: usize = own.iter().map(|(blob, comment)| size(blob, comment)).sum();
    let places = MOST_LISTED.saturating_sub(own.len());
    offered.map(|key| (key.blob.as_slice(), key.comment.as_str())).take(places).scan(
        LONGEST_ANSWER.saturating_sub(LENGTHS + taken),
        move |room, (blob, comment)| {
            *room = room.checked_sub(size(blob, comment))?;
            Some((blob, comment))
        },
    )
}

#[derive(Debug)]
struct Upstream {
    socket: PathBuf,
    lists: Semaphore,
    signatures: Semaphore,
    history: Mutex<History>,
}

/// What is remembered of an upstream for its status.
#[derive(Debug, Default)]
struct History {
    /// The last trouble, with when it was seen last.
    trouble: Option<(Instant, String)>,
    /// The trouble it is in now, so that each is said once.
    now: Option<String>,
    /// The same, until somebody has put it on record.
    unrecorded: Option<String>,
    /// A list was waited for in vain, and one more is waited for in the background.
    silent: bool,
    refused_bindings: bool,
}

impl Upstreams {
    /// The agents at these sockets, all of them absolute. None of them is asked yet, nor has to be there. `own` is the
    /// socket this agent listens on.
    ///
    /// # Errors
    /// See [`ConfiguredWrong`].
    pub fn new(sockets: impl IntoIterator<Item = PathBuf>, own: &Path) -> Result<Self, ConfiguredWrong> {
        let mut all: Vec<Arc<Upstream>> = Vec::new();
        for socket in sockets {
            if is_same(&socket, own) {
                return Err(ConfiguredWrong::Own(socket));
            }
            if all.iter().any(|other| is_same(&other.socket, &socket)) {
                return Err(ConfiguredWrong::Twice(socket));
            }
            all.push(Arc::new(Upstream::new(socket)));
        }
        if all.len() > MOST_UPSTREAMS { Err(ConfiguredWrong::TooMany(all.len())) } else { Ok(Self(all)) }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys they offer to a connection with these bindings, each once. An upstream in trouble is left out: its status
    /// says so. Takes a second at most.
    pub async fn list(&self, bindings: &SessionBindings) -> Vec<UpstreamKey> {
        let lists = join_all(self.0.iter().map(|upstream| upstream.list(bindings))).await;
        let mut keys: Vec<UpstreamKey> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for (upstream, offered) in self.0.iter().zip(lists) {
            for key in offered.unwrap_or_default() {
                if seen.insert(key.blob.clone()) {
                    keys.push(UpstreamKey { key, socket: upstream.socket.clone() });
                }
            }
        }
        keys
    }

    /// The key with this blob, from whichever upstream says first that it has it: a slow one holds up its own keys only.
    /// Takes a second at most.
    ///
    /// # Errors
    /// When none of them says so.
    pub async fn find(&self, blob: &[u8], bindings: &SessionBindings) -> Result<UpstreamKey, Missing> {
        let asked = self.0.iter().map(|upstream| async move { (upstream, upstream.list(bindings).await) });
        let mut answers: FuturesUnordered<_> = asked.collect();
        let mut missing = Missing::default();
        while let Some((upstream, offered)) = answers.next().await {
            match offered.map(|keys| keys.into_iter().find(|key| key.blob == blob)) {
                Ok(Some(key)) => return Ok(UpstreamKey { key, socket: upstream.socket.clone() }),
                Ok(None) => {}
                Err(error) => missing.troubles.push(format!("{}: {error}", upstream.socket.display())),
            }
        }
        Err(missing)
    }

    /// Asks the agent that has the key for a signature, and waits for as long as it takes: dropping this cancels the
    /// request there. The signature's blob is as that agent sent it, and has to be verified before it is believed.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub async fn sign(
        &self,
        socket: &Path,
        blob: &[u8],
        bindings: &SessionBindings,
        data: &[u8],
        flags: u32,
    ) -> Result<Vec<u8>, UpstreamError> {
        let upstream = self.0.iter().find(|upstream| upstream.socket == socket).ok_or(UpstreamError::Refused)?;
        let signed = upstream.sign(blob, bindings, data, flags).await;
        upstream.remember(signed.as_ref().err().filter(|error| !matches!(error, UpstreamError::Refused)));
        signed
    }

    /// Those whose trouble began since this was asked last, and what it is.
    pub(crate) fn newly_lost(&self) -> Vec<(PathBuf, String)> {
        let lost = |upstream: &Arc<Upstream>| Some((upstream.socket.clone(), upstream.history().unrecorded.take()?));
        self.0.iter().filter_map(lost).collect()
    }

    /// How they are now. Takes a second at most.
    pub async fn status(&self) -> Vec<UpstreamStatus> {
        join_all(self.0.iter().map(|upstream| upstream.status())).await
    }
}

impl Upstream {
    fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            lists: Semaphore::new(MOST_LISTS),
            signatures: Semaphore::new(MOST_SIGNATURES),
            history: Mutex::default(),
        }
    }

    async fn list(self: &Arc<Self>, bindings: &SessionBindings) -> Result<Vec<OfferedKey>, UpstreamError> {
        if self.history().silent {
            return Err(UpstreamError::Slow);
        }
        let listing = async {
            let _turn = self.lists.try_acquire().map_err(|_| UpstreamError::Busy)?;
            self.open(bindings).await?.identities().await
        };
        let listed = tokio::time::timeout(PATIENCE, listing).await.unwrap_or_else(|_| {
            self.await_sign_of_life();
            Err(UpstreamError::Slow)
        });
        self.remember(listed.as_ref().err());
        listed
    }

    /// Waits in the background until it answers, once at a time.
    fn await_sign_of_life(self: &Arc<Self>) {
        if std::mem::replace(&mut self.history().silent, true) {
            return;
        }
        let upstream = Arc::clone(self);
        tokio::spawn(async move {
            let listing =
                async { Connection::open(&upstream.socket, &SessionBindings::default()).await?.identities().await };
            // Whatever the answer is: the next list is told, and says it.
            let _ = tokio::time::timeout(SIGN_OF_LIFE, listing).await;
            upstream.history().silent = false;
        });
    }

    async fn sign(
        &self,
        blob: &[u8],
        bindings: &SessionBindings,
        data: &[u8],
        flags: u32,
    ) -> Result<Vec<u8>, UpstreamError> {
        let _turn = self.signatures.acquire().await.map_err(|_| UpstreamError::Busy)?;
        self.open(bindings).await?.sign(blob, data, flags).await
    }

    async fn open(&self, bindings: &SessionBindings) -> Result<Connection, UpstreamError> {
        let connection = Connection::open(&self.socket, bindings).await?;
        if !connection.is_bound() && !std::mem::replace(&mut self.history().refused_bindings, true) {
            let socket = self.socket.display();
            tracing::warn!(%socket, "this upstream takes no session bindings: it can't hold its keys to destinations");
        }
        Ok(connection)
    }

    async fn status(self: &Arc<Self>) -> UpstreamStatus {
        let keys = self.list(&SessionBindings::default()).await;
        let history = self.history();
        let last = history.trouble.as_ref().filter(|_| keys.is_ok());
        UpstreamStatus {
            socket: self.socket.clone(),
            keys: keys.map(|keys| keys.len()).map_err(|error| error.to_string()),
            last_trouble: last
                .map(|(when, what)| Trouble { seconds_ago: when.elapsed().as_secs(), what: what.clone() }),
            takes_bindings: !history.refused_bindings,
        }
    }

    /// Remembers trouble, or that there is none any more. A trouble that lasts is said once.
    fn remember(&self, error: Option<&UpstreamError>) {
        let socket = self.socket.display();
        let what = error.map(ToString::to_string);
        let mut history = self.history();
        match &what {
            Some(what) if history.now.as_ref() != Some(what) => {
                tracing::warn!(%socket, "this upstream is left out: {what}");
                history.unrecorded = Some(what.clone());
            }
            None if history.now.is_some() => tracing::info!(%socket, "this upstream answers again"),
            _ => {}
        }
        if let Some(what) = &what {
            history.trouble = Some((Instant::now(), what.clone()));
        }
        history.now = what;
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two paths name one socket: by their names, or by what is there.
fn is_same(one: &Path, other: &Path) -> bool {
    let inode = |path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    one == other || inode(one).is_some_and(|found| inode(other) == Some(found))
}

#[cfg(test)]
mod tests;
