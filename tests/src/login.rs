//! A system bus of a scenario's own, with a logind on it that does what the test says.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use rustix::process::geteuid;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use zbus::connection::Builder;
use zbus::zvariant::{OwnedFd, OwnedObjectPath, Value};
use zbus::{Connection, fdo};

use crate::{Env, PATIENCE};

const LOGIN: &str = "org.freedesktop.login1";
const MANAGER: &str = "/org/freedesktop/login1";
const SESSION: &str = "org.freedesktop.login1.Session";

/// A session of whoever runs the tests.
pub const OURS: &str = "/org/freedesktop/login1/session/_31";

/// A session of somebody else.
pub const ANOTHERS: &str = "/org/freedesktop/login1/session/_32";

/// The bus.
pub struct SystemBus {
    daemon: Child,
    address: String,
}

impl SystemBus {
    /// A bus with nobody on it.
    #[must_use]
    pub fn start(env: &Env) -> Self {
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address", "--address"])
            .arg(format!("unix:path={}", env.path("system_bus").display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon runs (Debian: package dbus-daemon)");
        let mut address = String::new();
        let stdout = daemon.stdout.take().expect("it is a pipe");
        BufReader::new(stdout).read_line(&mut address).expect("the bus says where it is");
        Self { daemon, address: address.trim().into() }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The programs on it, by their unique names.
    #[must_use]
    pub fn programs(&self) -> Vec<String> {
        let runtime = Runtime::start();
        let names = runtime.handle.block_on(async {
            let connection = Builder::address(self.address()).expect("an address").build().await.expect("a connection");
            let bus = fdo::DBusProxy::new(&connection).await.expect("the bus is there");
            bus.list_names().await.expect("the bus answers")
        });
        names.iter().map(ToString::to_string).filter(|name| name.starts_with(':')).collect()
    }
}

impl Drop for SystemBus {
    fn drop(&mut self) {
        let _ = self.daemon.kill().and_then(|()| self.daemon.wait());
    }
}

/// A program on the bus that sends logind's signals: logind, or somebody who is not.
pub struct Login {
    runtime: Runtime,
    connection: Connection,
    state: Arc<Mutex<State>>,
    /// There is another inhibitor.
    changed: Arc<Condvar>,
}

#[derive(Default)]
struct State {
    /// At the end once whoever holds up the sleep gives that up.
    inhibitors: Vec<PipeReader>,
    locked: bool,
}

struct Manager {
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
}

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    fn inhibit(&self, what: &str, _who: &str, _why: &str, mode: &str) -> fdo::Result<OwnedFd> {
        if (what, mode) != ("sleep", "delay") {
            return Err(fdo::Error::AccessDenied("that takes an administrator".into()));
        }
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        self.state.lock().expect("no test has failed").inhibitors.push(reader);
        self.changed.notify_all();
        Ok(std::os::fd::OwnedFd::from(writer).into())
    }

    fn list_sessions(&self) -> Vec<(String, u32, String, String, OwnedObjectPath)> {
        let path = |path: &str| OwnedObjectPath::try_from(path).expect("a path");
        let ours = geteuid().as_raw();
        vec![
            ("1".into(), ours, "me".into(), "seat0".into(), path(OURS)),
            ("2".into(), ours + 1, "other".into(), "seat0".into(), path(ANOTHERS)),
        ]
    }
}

struct Session {
    user: u32,
    state: Arc<Mutex<State>>,
}

#[zbus::interface(name = "org.freedesktop.login1.Session")]
impl Session {
    #[zbus(property)]
    fn user(&self) -> (u32, OwnedObjectPath) {
        (self.user, OwnedObjectPath::try_from("/org/freedesktop/login1/user/_1").expect("a path"))
    }

    #[zbus(property)]
    fn locked_hint(&self) -> bool {
        self.user == geteuid().as_raw() && self.state.lock().expect("no test has failed").locked
    }
}

impl Login {
    /// logind.
    #[must_use]
    pub fn start(bus: &SystemBus) -> Self {
        Self::of(bus, false, true)
    }

    /// The same, while our session is locked.
    #[must_use]
    pub fn start_locked(bus: &SystemBus) -> Self {
        Self::of(bus, true, true)
    }

    /// Somebody who is not logind.
    #[must_use]
    pub fn stranger(bus: &SystemBus) -> Self {
        Self::of(bus, false, false)
    }

    fn of(bus: &SystemBus, locked: bool, with_name: bool) -> Self {
        let runtime = Runtime::start();
        let state = Arc::new(Mutex::new(State { locked, ..State::default() }));
        let changed = Arc::new(Condvar::new());
        let session = |user| Session { user, state: Arc::clone(&state) };
        let ours = geteuid().as_raw();
        let connection = runtime.handle.block_on(async {
            let mut builder = Builder::address(bus.address())?
                .serve_at(MANAGER, Manager { state: Arc::clone(&state), changed: Arc::clone(&changed) })?
                .serve_at(OURS, session(ours))?
                .serve_at(ANOTHERS, session(ours + 1))?;
            if with_name {
                builder = builder.name(LOGIN)?;
            }
            builder.build().await
        });
        Self { connection: connection.expect("the bus is there"), runtime, state, changed }
    }

    /// `loginctl lock-session`, or `unlock-session`.
    pub fn lock_session(&self, session: &str, lock: bool) {
        self.emit(None, session, SESSION, if lock { "Lock" } else { "Unlock" }, &());
    }

    /// A desktop says that it has locked its screen, or unlocked.
    pub fn hint(&self, session: &str, locked: bool) {
        self.hint_to(None, session, locked);
    }

    /// The same, to one program alone.
    pub fn hint_to(&self, program: Option<&str>, session: &str, locked: bool) {
        let changed = HashMap::from([("LockedHint", Value::Bool(locked))]);
        let body = (SESSION, changed, Vec::<String>::new());
        self.emit(program, session, "org.freedesktop.DBus.Properties", "PropertiesChanged", &body);
    }

    /// The machine is about to sleep, or has woken up.
    pub fn sleep(&self, sleep: bool) {
        self.emit(None, MANAGER, "org.freedesktop.login1.Manager", "PrepareForSleep", &(sleep,));
    }

    /// Waits until nobody holds up the machine's sleep any more.
    pub fn wait_until_nothing_holds_up_the_sleep(&self) {
        let inhibitors = std::mem::take(&mut self.state.lock().expect("no test has failed").inhibitors);
        assert!(!inhibitors.is_empty(), "nobody has held it up");
        for mut inhibitor in inhibitors {
            inhibitor.read_to_end(&mut Vec::new()).expect("a pipe can be read");
        }
    }

    /// Waits until somebody holds up the machine's sleep.
    pub fn wait_until_inhibited(&self) {
        let (state, changed) = (self.state.lock().expect("no test has failed"), &self.changed);
        let waited = changed.wait_timeout_while(state, PATIENCE, |state| state.inhibitors.is_empty());
        assert!(!waited.expect("no test has failed").1.timed_out(), "nobody holds it up");
    }

    fn emit<B>(&self, program: Option<&str>, path: &str, interface: &str, member: &str, body: &B)
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        let sent = self.connection.emit_signal(program, path, interface, member, body);
        self.runtime.handle.block_on(sent).expect("the bus is there");
    }
}

/// A thread that answers, whatever the test waits for.
struct Runtime {
    handle: Handle,
    /// Dropped, it ends the thread.
    _running: oneshot::Sender<()>,
}

impl Runtime {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let (handle, (running, ended)) = (runtime.handle().clone(), oneshot::channel());
        std::thread::spawn(move || drop(runtime.block_on(ended)));
        Self { handle, _running: running }
    }
}
