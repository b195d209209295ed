//! The place of one scenario: a home of its own, a bus for tokens, hosts, and the programs that run there.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use soft_token::{Bus, Device, TokenOptions};
use tempfile::TempDir;

use crate::network::Site;
use crate::{AgentOptions, Host, KeyFile, Network, PIN, Person, Program, Recipe, built};

/// Where Debian's programs are. Those of the machine's owner are not looked at.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// One scenario's place. All of it is gone at its end. Clones are the same place.
#[derive(Clone)]
pub struct Env(Arc<Place>);

struct Place {
    bus: Bus,
    person: Person,
    network: Option<Network>,
    folder: TempDir,
}

impl Drop for Place {
    /// Where AUDIT_LOGS names a folder, the agents' logs outlive the scenario.
    fn drop(&mut self) {
        let Some(kept) = std::env::var_os("AUDIT_LOGS").map(PathBuf::from) else { return };
        let name = self.folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(instances) = fs::read_dir(self.folder.path().join("state/fido-ssh-agent")) else { return };
        for instance in instances.flatten() {
            let to = kept.join(format!("{name}-{}", instance.file_name().to_string_lossy()));
            let files = fs::read_dir(instance.path()).into_iter().flatten().flatten();
            for log in files.filter(|file| file.file_name().to_string_lossy().starts_with("audit.")) {
                // A scenario that fails, or one without rights, is not to fail once more here.
                let _ = fs::create_dir_all(&to).and_then(|()| fs::copy(log.path(), to.join(log.file_name())));
            }
        }
    }
}

impl Default for Env {
    fn default() -> Self {
        Self::new()
    }
}

impl Env {
    /// A new place without tokens, hosts or agents.
    #[must_use]
    pub fn new() -> Self {
        Self::with_network(None)
    }

    /// The same, where the hosts `jump` and `device` have addresses of their own if NETWORK is `namespaces`. If not, they are
    /// on the loopback network, as all others are.
    #[must_use]
    pub fn on_a_network() -> Self {
        let namespaces = std::env::var_os("NETWORK").is_some_and(|network| network == "namespaces");
        Self::with_network(namespaces.then(Network::lay))
    }

    fn with_network(network: Option<Network>) -> Self {
        // First of all, since the bus wants a library of the workspace.
        drop(built("agent"));
        // Not where TMPDIR says: a socket's path has at most 107 bytes. The folder is ours alone (0700).
        let folder = tempfile::Builder::new().prefix("e2e").tempdir_in("/tmp").expect("/tmp can be written");
        for name in ["home", "home/.ssh", "run", "state", "config", "config/fido-ssh-agent"] {
            fs::DirBuilder::new().mode(0o700).create(folder.path().join(name)).expect("a new folder can be written");
        }
        let person = Person::at(folder.path().join("person"));
        let env = Self(Arc::new(Place { bus: Bus::from_env(), person, network, folder }));
        env.write_ssh_config("");
        env
    }

    /// A path in this place's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.folder.path().join(name)
    }

    /// The person at this machine, whom the agent asks.
    #[must_use]
    pub fn person(&self) -> &Person {
        &self.0.person
    }

    /// Somebody at a terminal of their own: for a program that is no part of the scenario, say.
    #[must_use]
    pub fn somebody(&self) -> Person {
        let free = |n: &u32| !self.path(&format!("somebody{n}")).exists();
        let number = (0..).find(free).expect("there are numbers enough");
        Person::at(self.path(&format!("somebody{number}")))
    }

    /// Somebody who types this whatever they are asked.
    #[must_use]
    pub fn person_who_types(&self, text: &str) -> Person {
        let person = self.somebody();
        person.always_types(text);
        person
    }

    /// Who this is, and logs in everywhere.
    #[must_use]
    pub fn user(&self) -> &'static str {
        user()
    }

    /// The network of its own, if it has one.
    #[must_use]
    pub fn network(&self) -> Option<&Network> {
        self.0.network.as_ref()
    }

    /// Where tokens are plugged in.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.0.bus
    }

    /// Plugs in a token.
    #[must_use = "a token that is dropped is unplugged"]
    pub fn plug(&self, options: TokenOptions) -> Device {
        self.0.bus.plug(options)
    }

    /// A host that `ssh NAME` reaches.
    #[must_use]
    pub fn host(&self, name: &str) -> Host {
        let site = self.network().and_then(|network| network.site(name)).unwrap_or_else(Site::loopback);
        let host = Host::start(self.path(name), site);
        let key = host.key().to_openssh().expect("a public key has a line");
        let mut known_hosts = fs::read_to_string(self.path("known_hosts")).unwrap_or_default();
        known_hosts += &format!("{name} {key}\n");
        fs::write(self.path("known_hosts"), known_hosts).expect("the folder can be written");
        self.write_ssh_config(&format!(
            "Host {name}\n  HostName {}\n  Port {}\n  HostKeyAlias {name}\n",
            host.address().ip(),
            host.port()
        ));
        host
    }

    /// The configuration file that every ssh here reads, the ones on the hosts too. Nothing but the agent has keys.
    #[must_use]
    pub fn ssh_config(&self) -> PathBuf {
        self.path("ssh_config")
    }

    fn write_ssh_config(&self, hosts: &str) {
        const REST: &str = "Host *\n";
        let earlier = fs::read_to_string(self.ssh_config()).unwrap_or_default();
        let earlier = earlier.split(REST).next().unwrap_or_default();
        // OpenSSH's own choice takes a second more in the virtual machine of tests/vm, which has no real processor.
        let in_vm = std::env::var_os("VM").is_some();
        let key_exchange = if in_vm { "  KexAlgorithms curve25519-sha256\n" } else { "" };
        let text = format!(
            "{earlier}{hosts}{REST}  User {}
  BatchMode yes
  GlobalKnownHostsFile /dev/null
  IdentityFile none
{key_exchange}  StrictHostKeyChecking yes
  UpdateHostKeys no
  UserKnownHostsFile {}
",
            user(),
            self.path("known_hosts").display()
        );
        fs::write(self.ssh_config(), text).expect("the folder can be written");
    }

    /// The agent to be started here.
    #[must_use]
    pub fn agent(&self) -> AgentOptions {
        AgentOptions::new(self.clone())
    }

    /// A program that sees this place as its home, and no tokens.
    pub fn program(&self, program: impl AsRef<Path>) -> Program {
        Program::new(self.command(program.as_ref()))
    }

    /// A program that sees the tokens as well.
    pub fn program_with_tokens(&self, program: impl AsRef<Path>) -> Program {
        let mut command = self.command(program.as_ref());
        command.envs(self.0.bus.environment());
        Program::new(command)
    }

    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .env("USER", user())
            .env("LOGNAME", user())
            .env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .current_dir(self.0.folder.path());
        command
    }

    /// Makes a key with `ssh-keygen`, which talks to the token itself. Its person touches the token and knows the PIN.
    pub fn ssh_keygen(&self, recipe: &Recipe) -> KeyFile {
        self.ssh_keygen_with_pin(recipe, PIN)
    }

    /// The same with a token that has another PIN.
    pub fn ssh_keygen_with_pin(&self, recipe: &Recipe, pin: &str) -> KeyFile {
        let path = self.new_key_path();
        let mut program = self.program_with_tokens("ssh-keygen").asking(&self.person_who_types(pin));
        program = program.args(["-q", "-t", recipe.algorithm.name(), "-C", "by ssh-keygen", "-N", &recipe.passphrase]);
        if recipe.resident {
            program = program.args(["-O", "resident"]);
        }
        if recipe.verify_required {
            program = program.args(["-O", "verify-required"]);
        }
        program.arg("-f").arg(&path).run().success();
        KeyFile::new(path, recipe.verify_required)
    }

    /// Makes a key without a token, as ssh has used them for ever.
    pub fn plain_key(&self) -> KeyFile {
        self.plain_key_of("ed25519")
    }

    /// The same of this type, as `ssh-keygen -t` names it; `ecdsa 521` is one with so many bits.
    pub fn plain_key_of(&self, kind: &str) -> KeyFile {
        let path = self.new_key_path();
        let (kind, bits) = kind.split_once(' ').map_or((kind, None), |(kind, bits)| (kind, Some(["-b", bits])));
        let keygen = self.program("ssh-keygen").args(["-q", "-t", kind]).args(bits.iter().flatten());
        keygen.args(["-N", "", "-C", "plain", "-f"]).arg(&path).run().success();
        KeyFile::new(path, false)
    }

    pub(crate) fn new_key_path(&self) -> PathBuf {
        let free = |n: &u32| !self.path(&format!("key{n}")).exists();
        let number = (0..).find(free).expect("there are numbers enough");
        self.path(&format!("key{number}"))
    }

    /// A copy of a program, of this name in this place. Another process makes it: what a thread of ours starts meanwhile would
    /// hold a file that we write, which could not be run then.
    #[must_use]
    pub fn copy_of(&self, program: impl AsRef<Path>, name: &str) -> PathBuf {
        let copy = self.path(name);
        self.program("cp").arg(program.as_ref()).arg(&copy).run().success();
        copy
    }

    /// Writes an executable file of this place, which nobody else may change. It takes the place of an earlier one of that
    /// name, which may be starting at this moment and could not be written to.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        fs::write(&new, text).expect("the folder can be written");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o700)).expect("the file is ours");
        fs::rename(&new, &path).expect("the folder can be written");
        path
    }
}

/// Who runs the tests.
fn user() -> &'static str {
    static USER: OnceLock<String> = OnceLock::new();
    USER.get_or_init(|| {
        let id = Command::new("id").arg("-un").output().expect("id runs");
        String::from_utf8_lossy(&id.stdout).trim().to_owned()
    })
}
