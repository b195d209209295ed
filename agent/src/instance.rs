//! The life of an agent, from start to end.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustix::process::Pid;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, raise_descriptor_limit};
use crate::agent::{Agent, since_boot};
use crate::audit;
use crate::audit::log::FileLog;
use crate::audit::record::Act;
use crate::claim::Claim;
use crate::config::Loaded;
use crate::keystore::Keystore;
use crate::leaving;
use crate::listener;
use crate::lookout::Lookout;
use crate::programs::helper_program;
use crate::prompt::Chain;
use crate::reloading::{self, Reloading};
use crate::signals::{End, Hangup, KeyDrop};
use crate::socket::Socket;
use crate::token::helper::Helpers;
use crate::token::known::KnownTokens;
use crate::upstream::Upstreams;
use crate::{control, policy};

/// How long requests under way may take to be put on record when the agent ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the command line says of an agent, beside its place.
#[derive(Debug, Default)]
pub struct Options {
    /// How long keys are held that bring no lifetime.
    pub default_lifetime: Option<Duration>,
    /// The socket to serve, where somebody made it before us.
    pub handed_over: Option<UnixListener>,
    /// The program whose end is the agent's, too.
    pub parent: Option<Pid>,
}

/// An agent that listens, and is about to serve.
pub struct Instance {
    agent: Arc<Agent>,
    socket: Socket,
    clients: Arc<Admission>,
    control: Socket,
    managers: Arc<Admission>,
    end: End,
    key_drop: KeyDrop,
    reloading: Reloading,
    // Given up last, when the sockets are gone.
    claim: Claim,
}

impl Instance {
    /// Opens the log and the keys of the place that was claimed, and listens on its sockets.
    ///
    /// # Errors
    /// When another program serves the socket, or a file or signal can't be used.
    pub fn start(claim: Claim, loaded: Loaded, options: Options) -> anyhow::Result<Self> {
        let paths = claim.paths();
        let config = &loaded.config;
        let helper = helper_program(config)?;
        let upstreams = config.upstreams(&paths.home)?;
        let run = audit::run::begin(&paths.instance(), loaded.hash);
        let anchor = config.audit.anchor(&paths.instance_state);
        let audit = FileLog::open_as_configured(&paths.audit_log(), run, anchor, config.audit.retention());
        let audit = audit.context("the audit log can't be opened")?;
        let keystore = Keystore::open(&paths.state).context("the list of kept keys can't be read")?;
        // Before there are sockets: a signal that comes as soon as they can be seen has to take them away again.
        let end = End::catch(options.parent)?;
        let (hangup, key_drop) = (Hangup::catch()?, KeyDrop::catch()?);
        let socket = match options.handed_over {
            Some(listener) => Socket::handed_over(listener)?,
            None => Socket::bind(&paths.socket)?,
        };
        let control = Socket::bind(&paths.control)?;
        // Now that our socket is there, it is known by whatever name it is called.
        let upstreams = Upstreams::new(upstreams, &paths.socket).context("upstream")?;
        let user = rustix::process::geteuid().as_raw();
        let clients = Arc::new(Admission::of_clients(user, config.allow_root, raise_descriptor_limit()));
        let managers = Arc::new(Admission::of_managers(user));
        let limits = config.limits();
        let settings: policy::Settings = config.settings();
        let helpers = Helpers::new(helper, limits.touch);
        let mut agent = Agent::new(
            keystore,
            Arc::new(helpers.clone()),
            KnownTokens::below(&paths.state),
            Chain::new(&config.prompts, limits.prompt),
            Arc::new(audit),
            settings,
            limits,
            Some(paths.home.clone()),
        )
        .with_upstreams(upstreams)
        .with_muting(config.mute.settings());
        agent.default_lifetime = options.default_lifetime;
        agent.lookout = Lookout::new(&config.lock_on);
        agent.put_in_force(config.settings(), limits, config.host.clone());
        agent.change_config_status(|status| *status = reloading::status(&loaded, &loaded));
        let reloading = Reloading::new(hangup, paths.clone(), helpers.clone(), loaded);
        // Without keys on tokens it may never be needed. Each request starts the next one's.
        if !agent.keystore.list(since_boot()).is_empty() {
            tokio::spawn(async move { helpers.prepare().await });
        }
        Ok(Self { agent: Arc::new(agent), socket, clients, control, managers, end, key_drop, reloading, claim })
    }

    /// Serves until SIGTERM or SIGINT, the end of the parent, or that of the terminal. Requests that are under way then are ended in
    /// order, with their outcome on record. SIGUSR1 drops all keys, SIGHUP has the configuration read again.
    ///
    /// # Errors
    /// When the start or the end can't be put on record.
    pub async fn serve(mut self) -> anyhow::Result<()> {
        self.agent.audit.act(Act::Start).await?;
        let paths = Arc::new(self.claim.paths().clone());
        let (stop, clients) = (self.agent.stop.clone(), TaskTracker::new());
        let serve_agent = listener::serve(&self.socket, &self.clients, &self.agent, &stop, &clients);
        let serve_control =
            control::handler::serve(&self.control, &self.managers, &self.agent, &paths, &stop, &clients);
        let drop_keys = async {
            loop {
                self.key_drop.come().await;
                let agent = Arc::clone(&self.agent);
                // Once begun it is ended, even where the agent is told to stop meanwhile.
                clients.spawn(async move { drop_keys(&agent).await });
            }
        };
        let signalled = async {
            tokio::select! {
                () = self.end.come() => stop.cancel(),
                () = self.reloading.watch(&self.agent) => stop.cancel(),
                () = drop_keys => {}
                () = self.agent.keystore.forget_expired(since_boot) => {}
                () = leaving::watch(&self.agent) => {}
            }
        };
        tokio::join!(serve_agent, serve_control, signalled);
        clients.close();
        if tokio::time::timeout(FAREWELL, clients.wait()).await.is_err() {
            tracing::warn!("some requests did not end in time");
        }
        for muted in self.agent.muting.end() {
            self.agent.record_muting(muted).await;
        }
        self.agent.audit.act(Act::Stop { assertions: self.agent.authenticator.assertions() }).await?;
        Ok(())
    }
}

/// Drops all keys, whatever else goes on. They are dropped even if that can't be put on record.
async fn drop_keys(agent: &Agent) {
    tracing::warn!("all keys are dropped, by SIGUSR1");
    let (recorded, dropped) = tokio::join!(agent.audit.act(Act::RemoveAll), agent.change_keys(Keystore::remove_all));
    if let Err(error) = recorded {
        tracing::error!(%error, "the audit log can't be written");
    }
    if let Err(error) = dropped {
        tracing::error!(%error, "this change does not outlast the agent");
    }
}
