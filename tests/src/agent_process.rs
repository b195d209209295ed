//! The agent under test.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::{Audit, Client, Env, KeyFile, Output, PIN, Program, Recipe, Running, built, peak_memory};

/// The user id of `nobody`, and its group's, on Debian.
const NOBODY: u32 = 65534;

/// setpriv(1)'s option by which root is held to files' permissions like everybody else (capabilities(7)).
const WITHOUT_PASSING_OVER_PERMISSIONS: &str = "--bounding-set=-dac_override,-dac_read_search";

/// So many of an agent's messages are printed when a test fails.
const MOST_MESSAGES: usize = 500;

/// How an agent is to be started.
pub struct AgentOptions {
    env: Env,
    arguments: Vec<String>,
    settings: Vec<String>,
    limits: Vec<String>,
    mute: Vec<String>,
    upstreams: Vec<PathBuf>,
    helper: Vec<PathBuf>,
    prompter: bool,
    variables: Vec<(String, OsString)>,
    helper_variables: Vec<(String, String)>,
    file_size_is_an_error: bool,
    as_nobody: bool,
    bound_by_permissions: bool,
    version: Option<String>,
    disk: Option<String>,
    log: &'static str,
}

impl AgentOptions {
    pub(crate) fn new(env: Env) -> Self {
        let helper = vec![built("sk-helper")];
        Self {
            env,
            arguments: Vec::new(),
            settings: Vec::new(),
            limits: Vec::new(),
            mute: Vec::new(),
            upstreams: Vec::new(),
            helper,
            prompter: true,
            variables: Vec::new(),
            helper_variables: Vec::new(),
            file_size_is_an_error: false,
            as_nobody: false,
            bound_by_permissions: false,
            version: None,
            disk: None,
            log: "debug",
        }
    }

    /// An option of its command line, with its value.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.into(), value.into()]);
        self
    }

    /// How long it waits for a touch.
    #[must_use]
    pub fn touch_seconds(mut self, seconds: u64) -> Self {
        self.limits.push(format!("touch_seconds = {seconds}"));
        self
    }

    /// Ends a request after this.
    #[must_use]
    pub fn request_seconds(mut self, seconds: u64) -> Self {
        self.limits.push(format!("request_seconds = {seconds}"));
        self
    }

    /// How long it waits for an answer.
    #[must_use]
    pub fn prompt_seconds(mut self, seconds: u64) -> Self {
        self.limits.push(format!("prompt_seconds = {seconds}"));
        self
    }

    /// It mutes nobody: to the agent all requests of a test come from one process, however many strangers it plays.
    #[must_use]
    pub fn mutes_nobody(mut self) -> Self {
        self.mute.push("refusals = 0".into());
        self
    }

    /// For how long it mutes a process.
    #[must_use]
    pub fn mute_seconds(mut self, seconds: u64) -> Self {
        self.mute.push(format!("seconds = {seconds}"));
        self
    }

    /// A line of its configuration file.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push(line.into());
        self
    }

    /// Another agent whose keys it offers too.
    #[must_use]
    pub fn upstream(mut self, socket: &Path) -> Self {
        self.upstreams.push(socket.to_owned());
        self
    }

    /// It has no askpass program, and so nobody to ask.
    #[must_use]
    pub fn without_prompter(mut self) -> Self {
        self.prompter = false;
        self
    }

    /// A variable of its environment, in the place of one that it has otherwise.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.into(), value.as_ref().into()));
        self
    }

    /// A variable of its helper's environment, which is empty otherwise.
    #[must_use]
    pub fn helper_variable(mut self, name: &str, value: &str) -> Self {
        self.helper_variables.push((name.into(), value.into()));
        self
    }

    /// It says all that it can.
    #[must_use]
    pub fn talkative(mut self) -> Self {
        self.log = "trace";
        self
    }

    /// It says no more than it does by default.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.log = "info";
        self
    }

    /// Its helper is the one that misbehaves, in this way.
    #[must_use]
    pub fn misbehaving_helper(mut self, way: &str) -> Self {
        self.helper = vec![built("misbehaving-helper"), way.into(), built("sk-helper")];
        self
    }

    /// A write beyond the limit of a file's size (RLIMIT_FSIZE) fails as on a full disk, and does not end it.
    #[must_use]
    pub fn with_a_disk_that_can_be_full(mut self) -> Self {
        self.file_size_is_an_error = true;
        self
    }

    /// What it keeps is on a disk of its own of this size, such as `1m`, which is gone when it ends. It takes root to do so.
    #[must_use]
    pub fn with_a_disk_of(mut self, size: &str) -> Self {
        self.disk = Some(size.into());
        self
    }

    /// It runs as the user `nobody`, whose this place is from then on. It takes root to do so, and everybody may look at
    /// the place, so that it is the agent itself that keeps others out.
    #[must_use]
    pub fn as_nobody(mut self) -> Self {
        self.as_nobody = true;
        self
    }

    /// Files' permissions hold for it, as they do for everybody but root. It takes root to do so.
    #[must_use]
    pub fn bound_by_permissions(mut self) -> Self {
        self.bound_by_permissions = true;
        self
    }

    /// It is of another version, which has as many characters as its own.
    #[must_use]
    pub fn of_another_version(mut self, version: &str) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Starts it, and waits until it serves.
    #[must_use = "an agent that is dropped is killed"]
    pub fn start(self) -> Agent {
        self.write_config();
        let env = self.env.clone();
        let socket = env.path("agent.sock");
        let mut command = self.command(["-D", "-a"]);
        command.arg(&socket).args(&self.arguments);
        let process = Program::new(command).start();
        process.stdout().wait_for("SSH_AUTH_SOCK=");
        let state = env.path("state");
        let state = match &self.disk {
            // As the agent itself sees it.
            Some(_) => PathBuf::from(format!("/proc/{}/root{}", process.pid(), state.display())),
            None => state,
        };
        Agent { env, process, socket, state }
    }

    /// The agent's program with other arguments, under the same circumstances.
    pub fn program<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Program {
        self.write_config();
        Program::new(self.command(arguments))
    }

    /// A shell script that finds the agent's program in `$AGENT`, under the same circumstances.
    pub fn shell(&self, script: &str) -> Program {
        self.write_config();
        let mut command = self.in_the_same_circumstances("sh");
        command.args(["-c", script]).env("AGENT", built("agent"));
        Program::new(command)
    }

    fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let agent = self.version.as_ref().map_or_else(|| built("agent"), |version| self.another_version(version));
        let mut command = if self.as_nobody {
            self.command_as_nobody(&agent)
        } else if self.bound_by_permissions {
            let mut command = self.in_the_same_circumstances("setpriv");
            command.arg(WITHOUT_PASSING_OVER_PERMISSIONS).arg(agent);
            command
        } else if let Some(size) = &self.disk {
            self.command_with_a_disk_of(size, &agent)
        } else if self.file_size_is_an_error {
            let mut env = self.in_the_same_circumstances("env");
            env.arg("--ignore-signal=XFSZ").arg(agent);
            env
        } else {
            self.in_the_same_circumstances(agent)
        };
        command.args(arguments);
        command
    }

    /// A copy of the program in which another version stands wherever its own does.
    fn another_version(&self, version: &str) -> PathBuf {
        let own = env!("CARGO_PKG_VERSION");
        assert_eq!(version.len(), own.len(), "a program's parts stay where they are");
        let (agent, copy) = (built("agent"), self.env.path("agent-of-another-version"));
        // Nothing of ours has it open for writing, with which no other thread could start it.
        let made = Command::new("sh")
            .arg("-c")
            .arg("sed \"s/$1/$2/g\" \"$3\" >\"$4\" && chmod 700 \"$4\" && ! cmp -s \"$3\" \"$4\"")
            .args(["sh", &own.replace('.', "[.]"), version])
            .args([&agent, &copy])
            .env("LC_ALL", "C")
            .status();
        assert!(made.expect("sh runs").success(), "the agent has its version in it");
        copy
    }

    /// The disk is mounted where this agent alone sees it, and nobody has to unmount it.
    fn command_with_a_disk_of(&self, size: &str, agent: &Path) -> Command {
        let mut command = self.in_the_same_circumstances("unshare");
        let script = "mount -t tmpfs -o mode=700,size=$1 none \"$2\" && shift 2 && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script, "sh", size]).arg(self.env.path("state")).arg(agent);
        command
    }

    /// A copy, since the folder in which it was built may be closed to others.
    fn command_as_nobody(&self, agent: &Path) -> Command {
        let copy = self.env.copy_of(agent, "agent");
        let owner = format!("{NOBODY}:{NOBODY}");
        let given = Command::new("chown").args(["-R", &owner]).arg(self.env.path("")).status();
        assert!(given.is_ok_and(|status| status.success()), "it takes root to be somebody else");
        fs::set_permissions(self.env.path(""), fs::Permissions::from_mode(0o755)).expect("root may do so");
        let mut command = self.in_the_same_circumstances("setpriv");
        command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}")).arg("--clear-groups").arg(copy);
        command
    }

    fn in_the_same_circumstances(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.env.command(program.as_ref());
        command.envs(self.env.bus().environment()).env("FIDO_SSH_AGENT_LOG", self.log);
        if self.prompter {
            self.env.person().answer_for(&mut command);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The daemon starts its helper with an empty environment, so a script gives it the bus; and the script's folder is
    /// one that nobody else may write, which is asked of a helper's.
    fn write_config(&self) {
        let mut script = String::from("#!/bin/sh\n");
        for (name, value) in self.env.bus().environment() {
            script += &format!("export {name}='{}'\n", value.display());
        }
        for (name, value) in &self.helper_variables {
            script += &format!("export {name}='{value}'\n");
        }
        let words: Vec<_> = self.helper.iter().map(|word| format!("'{}'", word.display())).collect();
        script += &format!("exec {}\n", words.join(" "));
        let helper = self.env.script("helper", &script);
        let upstream = |socket: &PathBuf| format!("[[upstream]]\nsocket = \"{}\"\n", socket.display());
        let upstreams: Vec<_> = self.upstreams.iter().map(upstream).collect();
        let config = format!(
            "helper = \"{}\"\n{}\n[limits]\n{}\n[mute]\n{}\n{}",
            helper.display(),
            self.settings.join("\n"),
            self.limits.join("\n"),
            self.mute.join("\n"),
            upstreams.concat()
        );
        fs::write(self.env.path("config/fido-ssh-agent/config.toml"), config).expect("the folder can be written");
    }
}

/// An agent that runs. Dropping it kills it.
pub struct Agent {
    env: Env,
    process: Running,
    socket: PathBuf,
    state: PathBuf,
}

impl Agent {
    /// Where it runs.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its control socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        file_of_the_instance(&self.env.path("run"), "control.sock")
    }

    /// Its audit log.
    #[must_use]
    pub fn audit(&self) -> Audit {
        Audit::at(file_of_the_instance(&self.state, "audit.jsonl"))
    }

    /// What it says on standard error.
    #[must_use]
    pub fn messages(&self) -> &Output {
        self.process.stderr()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Lets no file that it writes become longer than this, or as long as they like again.
    pub fn limit_file_size(&self, limit: Option<u64>) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        prlimit(pid, Resource::Fsize, Rlimit { current: limit, maximum: None }).expect("the agent is ours");
    }

    /// The most memory it ever had in use, in KiB (VmHWM: proc(5)).
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        peak_memory(self.pid()).expect("the agent runs")
    }

    /// Whether it runs still.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Kills it, as with `kill -9`.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it in order, and waits for that.
    pub fn terminate(mut self) {
        self.process.signal(Signal::TERM);
        self.process.wait_until_gone();
    }

    /// A program that knows this agent.
    pub fn program(&self, program: impl AsRef<Path>) -> Program {
        self.env.program(program).env("SSH_AUTH_SOCK", &self.socket)
    }

    /// `ssh` with these arguments.
    pub fn ssh<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Program {
        self.program("ssh").arg("-F").arg(self.env.ssh_config()).args(arguments)
    }

    /// `agent-cli` with these arguments.
    pub fn cli<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Program {
        self.program(built("agent-cli")).args(arguments)
    }

    /// The same, held to files' permissions as everybody but root is. It takes root to do so.
    pub fn cli_bound_by_permissions<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Program {
        let bound = self.program("setpriv").arg(WITHOUT_PASSING_OVER_PERMISSIONS);
        bound.arg(built("agent-cli")).args(arguments)
    }

    /// Makes a key with `agent-cli gen-keys`, which also adds it. A person who is touching the token knows the PIN.
    pub fn gen_keys(&self, recipe: &Recipe) -> KeyFile {
        let path = self.env.new_key_path();
        let mut program = self.cli(["-S", "gen-keys", "--type", recipe.algorithm.name(), "--file"]).arg(&path);
        if !recipe.resident {
            program = program.arg("--no-resident");
        }
        if !recipe.verify_required {
            program = program.arg("--no-verify-required");
        }
        // The passphrase is asked for twice; what is not asked for stays unread.
        let passphrase = &recipe.passphrase;
        program.input(format!("{passphrase}\n{passphrase}\n{PIN}\n")).run().success();
        KeyFile::new(path, recipe.verify_required)
    }

    /// `ssh-add FILE`.
    pub fn ssh_add(&self, key: &KeyFile) {
        self.program("ssh-add").arg("-q").arg(key.path()).run().success();
    }

    /// What `ssh-add -l` prints.
    #[must_use]
    pub fn list(&self) -> String {
        self.program("ssh-add").arg("-l").run().stdout
    }

    /// A client that speaks the protocol itself.
    #[must_use]
    pub fn connect(&self) -> Client {
        Client::connect(&self.socket)
    }
}

/// There is one agent a scenario, so there is one such file.
fn file_of_the_instance(root: &Path, name: &str) -> PathBuf {
    let folder = root.join("fido-ssh-agent");
    let instances = fs::read_dir(&folder).expect("the agent has made its folder");
    let mut files = instances.map(|entry| entry.expect("a folder can be read").path().join(name));
    files.find(|file| file.exists()).unwrap_or_else(|| panic!("no {name} below {}", folder.display()))
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A flood of requests leaves a flood of messages.
            let messages = self.messages().text();
            let last = messages.lines().rev().take(MOST_MESSAGES).collect::<Vec<_>>();
            let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
            eprintln!("--- the agent's messages (the last {MOST_MESSAGES}):\n{last}");
            eprintln!("--- the person saw:\n{:#?}", self.env.person());
        }
    }
}
