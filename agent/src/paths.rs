//! Where an agent has its sockets, its state and its configuration.

use std::path::{Path, PathBuf};

use anyhow::Context;
use directories::BaseDirs;
use ssh_key::sha2::{Digest, Sha256};

/// The name of the product's folders.
pub(crate) const NAME: &str = "fido-ssh-agent";

/// The agent that is started without `-a`. The ones beside it have a number after this.
pub(crate) const DEFAULT: &str = "default";

/// An agent that is started for one command, and has a number after this.
pub(crate) const COMMAND: &str = "command";

/// The name of a socket in an agent's own folder.
const SOCKET: &str = "agent.sock";

/// The name of an audit log.
const AUDIT_LOG: &str = "audit.jsonl";

/// The name of a configuration file.
const CONFIG: &str = "config.toml";

/// Where things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The agent's socket, what SSH_AUTH_SOCK names.
    pub socket: PathBuf,
    /// The control socket.
    pub control: PathBuf,
    /// State that all agents of this user share: the list of kept keys.
    pub state: PathBuf,
    /// State of this agent alone: its audit log and its lock.
    pub instance_state: PathBuf,
    /// The user's configuration file.
    pub config: PathBuf,
    /// The administrator's, whose settings hold where the user's gives none.
    pub system_config: PathBuf,
    /// The home directory.
    pub home: PathBuf,
}

impl Paths {
    /// The paths of the agent at `socket`, or of the default one.
    ///
    /// # Errors
    /// Without a home directory.
    pub fn find(socket: Option<&Path>) -> anyhow::Result<Self> {
        let Some(socket) = socket else {
            return Self::named(DEFAULT);
        };
        let socket = std::path::absolute(socket)?;
        let own = Self::named(DEFAULT)?;
        match own.name_beside(&socket) {
            Some(name) => Self::named(name),
            None => Ok(Self { socket: socket.clone(), ..Self::named(&instance_name(&socket))? }),
        }
    }

    /// The paths of the agent with this name, in its own folder.
    ///
    /// # Errors
    /// Without a home directory.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let base = BaseDirs::new().context("there is no home directory: set HOME")?;
        let state = base.state_dir().unwrap_or_else(|| base.data_local_dir()).join(NAME);
        let runtime = base.runtime_dir().map_or_else(|| state.join("run"), |runtime| runtime.join(NAME));
        let runtime = runtime.join(name);
        Ok(Self {
            socket: runtime.join(SOCKET),
            control: runtime.join("control.sock"),
            instance_state: state.join(name),
            config: base.config_dir().join(NAME).join(CONFIG),
            system_config: Path::new("/etc").join(NAME).join(CONFIG),
            home: base.home_dir().to_owned(),
            state,
        })
    }

    /// The name of the agent whose socket this is, if it is where agents have theirs by themselves.
    fn name_beside<'a>(&self, socket: &'a Path) -> Option<&'a str> {
        let folder = socket.parent().filter(|_| socket.file_name().is_some_and(|name| name == SOCKET))?;
        let runtime = self.control.parent()?.parent()?;
        let name = folder.file_name()?.to_str().filter(|_| folder.parent() == Some(runtime))?;
        let numbered = [DEFAULT, COMMAND].iter().any(|kind| name.strip_prefix(kind).is_some_and(is_number));
        (name == DEFAULT || numbered).then_some(name)
    }

    /// The agent's name: that of its folder.
    #[must_use]
    pub fn instance(&self) -> String {
        self.instance_state.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// The audit log.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.instance_state.join(AUDIT_LOG)
    }

    /// The audit logs of all agents of this user.
    #[must_use]
    pub fn audit_logs(&self) -> Vec<PathBuf> {
        let instances = std::fs::read_dir(&self.state).into_iter().flatten().flatten();
        instances.map(|instance| instance.path().join(AUDIT_LOG)).filter(|log| log.exists()).collect()
    }

    /// Where a background agent writes its messages.
    #[must_use]
    pub fn messages(&self) -> PathBuf {
        self.instance_state.join("agent.log")
    }
}

/// An agent started with `-a` is named by its socket, so that `agent-cli` finds it by SSH_AUTH_SOCK.
fn instance_name(socket: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let hash = Sha256::digest(socket.as_os_str().as_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether this is what follows an agent's kind in its name: `-2`.
fn is_number(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_named_by_its_socket() {
        let default = Paths::find(None).unwrap();
        assert_eq!(Paths::find(Some(&default.socket)).unwrap(), default);
        let other = Paths::find(Some(Path::new("/tmp/other.sock"))).unwrap();
        assert_ne!(other.control, default.control);
        assert_ne!(other.audit_log(), default.audit_log());
        assert_eq!(other.state, default.state);
        for name in ["default-2", "command-1"] {
            let named = Paths::named(name).unwrap();
            assert_eq!(Paths::find(Some(&named.socket)).unwrap(), named);
            assert_eq!(named.control.parent(), named.socket.parent());
        }
        for name in ["run", "default-", "command", "command-x", "default-2x"] {
            let hashed = Paths::find(Some(&Paths::named(name).unwrap().socket)).unwrap();
            assert_ne!(hashed.control.parent(), hashed.socket.parent(), "{name}");
        }
    }
}
