//! One agent a socket: its folders, its lock, and its life from start to end.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, raise_descriptor_limit};
use crate::agent::Agent;
use crate::audit::log::FileLog;
use crate::audit::record::Act;
use crate::config::{Config, Paths, helper_program};
use crate::keystore::Keystore;
use crate::listener;
use crate::offer::Rules;
use crate::prompt::Chain;
use crate::prompt::askpass::{Askpass, Environment};
use crate::socket::Socket;
use crate::token::helper::Helpers;
use crate::upstream::Upstreams;
use crate::{control, policy};

/// How long requests under way may take to be put on record when the agent ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// An agent that listens, and is about to serve.
pub struct Instance {
    agent: Arc<Agent>,
    paths: Arc<Paths>,
    socket: Socket,
    clients: Arc<Admission>,
    control: Socket,
    managers: Arc<Admission>,
    end: EndSignals,
    _lock: File,
}

impl Instance {
    /// Takes the instance's lock, opens its log and its keys, and listens on its sockets.
    ///
    /// # Errors
    /// When another agent holds the instance or serves the socket, or a file or signal can't be used.
    pub fn start(paths: Paths, config: &Config) -> anyhow::Result<Self> {
        for folder in [&paths.state, &paths.instance_state] {
            private_folder(folder)?;
        }
        let lock = lock(&paths)?;
        let helper = helper_program(config)?;
        let upstreams = config.upstreams(&paths.home)?;
        let audit = FileLog::open(&paths.audit_log()).context("the audit log can't be opened")?;
        let keystore = Keystore::open(&paths.state).context("the list of kept keys can't be read")?;
        // The folder above as well: who may write there could put another in our folder's place.
        let runtime = paths.control.parent();
        for folder in [runtime.and_then(Path::parent), runtime].into_iter().flatten() {
            private_folder(folder)?;
        }
        // Before there are sockets: a signal that comes as soon as they can be seen has to take them away again.
        let end = EndSignals::catch().context("signals can't be caught")?;
        let socket = Socket::bind(&paths.socket)?;
        let control = Socket::bind(&paths.control)?;
        // Now that our socket is there, it is known by whatever name it is called.
        let upstreams = Upstreams::new(upstreams, &paths.socket).context("upstream")?;
        let user = rustix::process::geteuid().as_raw();
        let clients = Arc::new(Admission::of_clients(user, config.allow_root, raise_descriptor_limit()));
        let managers = Arc::new(Admission::of_managers(user));
        let limits = config.limits();
        let settings: policy::Settings = config.settings();
        let helpers = Helpers::new(helper, limits.touch);
        let agent = Agent::new(
            keystore,
            Arc::new(helpers.clone()),
            Chain::new(Askpass::find(&Environment::of_this_process())),
            Arc::new(audit),
            settings,
            limits,
            Some(paths.home.clone()),
        )
        .with_upstreams(upstreams)
        .with_offers(Rules::new(config.host.clone(), &paths.home));
        tokio::spawn(async move { helpers.prepare().await });
        Ok(Self {
            agent: Arc::new(agent),
            paths: Arc::new(paths),
            socket,
            clients,
            control,
            managers,
            end,
            _lock: lock,
        })
    }

    /// Serves until SIGTERM, SIGINT or SIGHUP. Requests that are under way then are ended in order, with their outcome on
    /// record.
    ///
    /// # Errors
    /// When the start or the end can't be put on record.
    pub async fn serve(mut self) -> anyhow::Result<()> {
        self.agent.audit.act(Act::Start { agent: env!("CARGO_PKG_VERSION").into() }).await?;
        let (stop, clients) = (CancellationToken::new(), TaskTracker::new());
        let serve_agent = listener::serve(&self.socket, &self.clients, &self.agent, &stop, &clients);
        let serve_control =
            control::handler::serve(&self.control, &self.managers, &self.agent, &self.paths, &stop, &clients);
        let signalled = async {
            self.end.recv().await;
            stop.cancel();
        };
        tokio::join!(serve_agent, serve_control, signalled);
        clients.close();
        if tokio::time::timeout(FAREWELL, clients.wait()).await.is_err() {
            tracing::warn!("some requests did not end in time");
        }
        self.agent.audit.act(Act::Stop).await?;
        Ok(())
    }
}

/// The signals that end the agent in order.
struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl EndSignals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the first of them.
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Makes a folder that only this user may enter, or checks that it is one.
fn private_folder(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| path.display().to_string())?;
    let found = std::fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o077 != 0 {
        bail!("{} has to be a folder that only you may enter (chmod 700)", path.display());
    }
    Ok(())
}

fn lock(paths: &Paths) -> anyhow::Result<File> {
    let path = paths.instance_state.join("lock");
    let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = open.with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("an agent for {} is running already (it holds {})", paths.socket.display(), path.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
    }
}
