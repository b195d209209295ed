//! Locks the agent while its person is away: from the moment at which the machine is about to sleep, or the screen of a
//! session of theirs is locked, until a session of theirs is unlocked. logind tells it, over the system bus
//! (org.freedesktop.login1(5)).

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use zbus::connection::Builder;
use zbus::message::{Message, Type};
use zbus::names::OwnedUniqueName;
use zbus::zvariant::{OwnedFd, OwnedObjectPath, OwnedValue, Value};
use zbus::{Connection, MessageStream};

use crate::agent::Agent;
use crate::audit::record::{Act, LeaveReason};

const LOGIN: &str = "org.freedesktop.login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const MANAGER_OBJECT: &str = "/org/freedesktop/login1";
const SESSION: &str = "org.freedesktop.login1.Session";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";
const BUS_OBJECT: &str = "/org/freedesktop/DBus";

/// The signals that are wanted (D-Bus Specification, "Match Rules").
const WANTED: [&str; 3] = [
    "type='signal',sender='org.freedesktop.login1',interface='org.freedesktop.login1.Manager',member='PrepareForSleep'",
    "type='signal',sender='org.freedesktop.login1',interface='org.freedesktop.login1.Session'",
    "type='signal',sender='org.freedesktop.login1',interface='org.freedesktop.DBus.Properties',\
     member='PropertiesChanged',path_namespace='/org/freedesktop/login1/session'",
];

/// How long logind may take for an answer. Whoever does not answer in this time is taken for absent.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the machine's sleep is held up for a token that is being cancelled. logind waits for five seconds by itself
/// (InhibitDelayMaxSec, logind.conf(5)).
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// After this, the bus is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Locks and unlocks the agent as its person leaves and comes back, for ever.
pub(crate) async fn watch(agent: &Agent) {
    if agent.lookout.is_idle() {
        return std::future::pending().await;
    }
    loop {
        let trouble = match Login::connect().await {
            Ok(login) => login.watch(agent).await,
            Err(error) => error,
        };
        let trouble = format!("logind can't be asked over the system bus: {trouble}");
        if agent.lookout.set_trouble(Some(trouble.clone())) {
            tracing::warn!("the agent is not locked when you leave, though `lock_on` says so: {trouble}");
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// logind, on two connections, so that whoever floods the one with signals keeps no answer from the other.
struct Login {
    signals: Connection,
    calls: Connection,
}

/// What a signal says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum News {
    Sleep(bool),
    Session { path: String, locked: bool },
}

impl Login {
    async fn connect() -> zbus::Result<Self> {
        let connect = || async { in_time(Builder::system()?.build()).await };
        let login = Self { signals: connect().await?, calls: connect().await? };
        for rule in WANTED {
            let rule = (rule,);
            in_time(login.signals.call_method(Some(BUS), BUS_OBJECT, Some(BUS), "AddMatch", &rule)).await?;
        }
        Ok(login)
    }

    /// Watches until that is not possible any more, and says why.
    async fn watch(&self, agent: &Agent) -> zbus::Error {
        let mut signals = MessageStream::from(&self.signals);
        let mut inhibitor = match self.begin(agent).await {
            Ok(inhibitor) => inhibitor,
            Err(error) => return error,
        };
        agent.lookout.set_trouble(None);
        tracing::info!("logind is asked when you leave");
        loop {
            let message = match signals.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return error,
                None => return zbus::Error::Failure("the connection ended".into()),
            };
            let Some(news) = read(&message) else { continue };
            // The bus lets anybody send signals to anybody (system.conf, "Signals and reply messages are allowed").
            let sender = message.header().sender().map(ToString::to_string);
            match self.owner().await {
                Ok(owner) if Some(owner.as_str()) == sender.as_deref() => {}
                Ok(_) => {
                    tracing::warn!(sender, "a program that is not logind says that you leave or come back");
                    continue;
                }
                Err(error) => return error,
            }
            match news {
                News::Sleep(true) if agent.lookout.sees(LeaveReason::Suspend) => {
                    leave(agent, LeaveReason::Suspend).await;
                    // What waits for a touch is cancelled by now, or in a moment.
                    let _ = tokio::time::timeout(LAST_MOMENT, agent.tokens.lock()).await;
                    inhibitor = None;
                }
                News::Sleep(false) if agent.lookout.sees(LeaveReason::Suspend) => {
                    // The one before is given up only now where it was not asked for in time.
                    inhibitor = self.inhibit().await.map(Some).unwrap_or_else(|error| {
                        tracing::warn!(%error, "the machine's next sleep can't be held up until the agent is locked");
                        drop(inhibitor);
                        None
                    });
                }
                News::Sleep(_) => {}
                News::Session { path, locked } => self.session(agent, &path, locked).await,
            }
        }
    }

    /// How things are when the agent starts, perhaps behind a locked screen.
    async fn begin(&self, agent: &Agent) -> zbus::Result<Option<OwnedFd>> {
        type Sessions = Vec<(String, u32, String, String, OwnedObjectPath)>;
        let sessions = self.call(MANAGER_OBJECT, MANAGER, "ListSessions", &()).await?;
        let sessions: Sessions = sessions.body().deserialize()?;
        for (_, _, _, _, path) in sessions {
            // One may have ended by now.
            if let Ok(Value::Bool(true)) = self.property(&path, "LockedHint").await.as_deref() {
                self.session(agent, &path, true).await;
            }
        }
        if agent.lookout.sees(LeaveReason::Suspend) { self.inhibit().await.map(Some) } else { Ok(None) }
    }

    async fn session(&self, agent: &Agent, path: &str, locked: bool) {
        let user = rustix::process::geteuid().as_raw();
        let owner = match self.property(path, "User").await.as_deref() {
            Ok(Value::Structure(user)) => match user.fields() {
                [Value::U32(id), ..] => Some(*id),
                _ => None,
            },
            _ => None,
        };
        // Where it can't be told whose session it is, it is ours to lock, and not ours to unlock.
        match (locked, owner) {
            (true, owner) if agent.lookout.sees(LeaveReason::ScreenLock) && owner.is_none_or(|id| id == user) => {
                leave(agent, LeaveReason::ScreenLock).await;
            }
            (false, Some(id)) if id == user => come_back(agent).await,
            _ => {}
        }
    }

    /// Holds up the machine's sleep until what is returned is dropped.
    async fn inhibit(&self) -> zbus::Result<OwnedFd> {
        let what = ("sleep", "fido-ssh-agent", "locks its keys", "delay");
        let reply = self.call(MANAGER_OBJECT, MANAGER, "Inhibit", &what).await?;
        reply.body().deserialize()
    }

    /// Who logind is on the bus.
    async fn owner(&self) -> zbus::Result<OwnedUniqueName> {
        let asked = self.calls.call_method(Some(BUS), BUS_OBJECT, Some(BUS), "GetNameOwner", &(LOGIN,));
        in_time(asked).await?.body().deserialize()
    }

    async fn property(&self, path: &str, name: &str) -> zbus::Result<OwnedValue> {
        self.call(path, PROPERTIES, "Get", &(SESSION, name)).await?.body().deserialize()
    }

    async fn call<B>(&self, path: &str, interface: &str, method: &str, body: &B) -> zbus::Result<Message>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        in_time(self.calls.call_method(Some(LOGIN), path, Some(interface), method, body)).await
    }
}

async fn in_time<T>(work: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    let late = |_| Err(zbus::Error::Failure("there is no answer".into()));
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(late)
}

/// What a message says; None where it is about something else. Who sent it is not looked at.
fn read(message: &Message) -> Option<News> {
    let header = message.header();
    if header.message_type() != Type::Signal {
        return None;
    }
    let path = || header.path().map(ToString::to_string);
    let body = message.body();
    match (header.interface()?.as_str(), header.member()?.as_str()) {
        (MANAGER, "PrepareForSleep") => body.deserialize().ok().map(News::Sleep),
        (SESSION, "Lock") => Some(News::Session { path: path()?, locked: true }),
        (SESSION, "Unlock") => Some(News::Session { path: path()?, locked: false }),
        // Desktops that lock their screen by themselves say so with this property alone.
        (PROPERTIES, "PropertiesChanged") => {
            let (interface, changed, _): (String, HashMap<String, OwnedValue>, Vec<String>) =
                body.deserialize().ok()?;
            match changed.get("LockedHint").map(|value| &**value) {
                Some(Value::Bool(locked)) if interface == SESSION => {
                    Some(News::Session { path: path()?, locked: *locked })
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Locked it is, whether or not that can be written down.
async fn leave(agent: &Agent, reason: LeaveReason) {
    if agent.lock.leave(reason) {
        tracing::warn!("the agent is locked: {reason}");
        record(agent, Act::Leave { reason }).await;
    }
}

async fn come_back(agent: &Agent) {
    if agent.lock.away().is_some() {
        record(agent, Act::ComeBack { peer: None }).await;
        agent.lock.come_back();
        tracing::info!("the agent is as it was before you left: the session was unlocked");
    }
}

async fn record(agent: &Agent, act: Act) {
    if let Err(error) = agent.audit.act(act).await {
        tracing::error!(%error, "the audit log can't be written");
    }
}
