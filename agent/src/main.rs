//! The agent's command line: ssh-agent's.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use agent::config::{Config, Paths, UpstreamConfig};
use agent::instance::Instance;
use agent::{config, hardening, logging};
use anyhow::{Context, bail};
use clap::Parser;

/// Wrong usage, where clap would exit with 2, which here means "agent unreachable" (as with ssh-add).
const USAGE: u8 = 64;

/// How long work that can't be interrupted may go on when the agent ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// An SSH agent for FIDO2 tokens.
#[derive(Debug, Parser)]
#[command(name = "agent", version)]
struct Arguments {
    /// Listen on this socket
    #[arg(short = 'a', value_name = "SOCKET")]
    address: Option<PathBuf>,
    /// Write commands for a C shell
    #[arg(short = 'c', conflicts_with = "bourne_shell")]
    c_shell: bool,
    /// Write commands for a Bourne shell
    #[arg(short = 's')]
    bourne_shell: bool,
    /// Stay in the foreground
    #[arg(short = 'D')]
    foreground: bool,
    /// Stay in the foreground and say more
    #[arg(short = 'd')]
    debug: bool,
    /// End the agent in SSH_AGENT_PID
    #[arg(short = 'k')]
    kill: bool,
    /// Offer the keys of the agent at this socket too, after those of `[[upstream]]` in the configuration
    #[arg(long, value_name = "SOCKET")]
    upstream: Vec<PathBuf>,
    /// Say on standard output when the sockets are there (used by the agent when it starts itself in the background)
    #[arg(long, hide = true)]
    announce: bool,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let shell = Shell::of(arguments);
    if arguments.kill {
        return kill(shell);
    }
    let paths = Paths::find(arguments.address.as_deref())?;
    if arguments.announce {
        let messages = paths.messages();
        return serve(paths, &arguments.upstream, || {
            println!();
            std::io::stdout().flush()?;
            leave_terminal(&messages)
        });
    }
    if arguments.foreground || arguments.debug {
        let line = shell.set("SSH_AUTH_SOCK", &paths.socket.display().to_string());
        return serve(paths, &arguments.upstream, || {
            println!("{line}");
            Ok(())
        });
    }
    start_in_background(&paths, &arguments.upstream, shell)
}

fn serve(paths: Paths, upstreams: &[PathBuf], ready: impl FnOnce() -> std::io::Result<()>) -> anyhow::Result<()> {
    hardening::keep_memory_private().context("the agent's memory can't be kept private")?;
    logging::start();
    let mut config = Config::load(&paths.config)?;
    for socket in upstreams {
        config.upstream.push(UpstreamConfig { socket: std::path::absolute(socket)? });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let instance = Instance::start(paths, &config)?;
        ready()?;
        instance.serve().await
    });
    // A key file that is slow to open, or a disk that hangs, must not keep the agent from ending.
    runtime.shutdown_timeout(FAREWELL);
    served
}

/// Once whoever started it has gone, a background agent writes its messages to a file.
fn leave_terminal(messages: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(messages)?;
    rustix::stdio::dup2_stdout(&file)?;
    rustix::stdio::dup2_stderr(&file)?;
    Ok(())
}

/// Starts this program again as the agent, and waits until it listens. Forking would be unsound with threads about.
fn start_in_background(paths: &Paths, upstreams: &[PathBuf], shell: Shell) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("the agent can't find its own program")?;
    let mut command = std::process::Command::new(own);
    command.arg("--announce").arg("-a").arg(&paths.socket);
    for socket in upstreams {
        command.arg("--upstream").arg(socket);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    // Of its own group, so that a Ctrl-C meant for the shell does not end it.
    let mut child = command.stderr(Stdio::piped()).process_group(0).spawn().context("the agent can't be started")?;
    let ready = child.stdout.as_mut().is_some_and(|stdout| stdout.read_exact(&mut [0]).is_ok());
    if !ready {
        let mut reason = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            let _ = stderr.read_to_string(&mut reason);
        }
        child.wait()?;
        bail!("{}", reason.trim().trim_start_matches("agent: "));
    }
    println!("{}", shell.set("SSH_AUTH_SOCK", &paths.socket.display().to_string()));
    println!("{}", shell.set("SSH_AGENT_PID", &child.id().to_string()));
    println!("echo Agent pid {};", child.id());
    Ok(())
}

fn kill(shell: Shell) -> anyhow::Result<()> {
    let text = config::agent_in_environment().context("SSH_AGENT_PID is not set, so there is no agent to end")?;
    // 1 is the system's, and negative numbers are groups of processes.
    let pid = text.parse().ok().filter(|pid| *pid > 1).and_then(rustix::process::Pid::from_raw);
    let pid = pid.with_context(|| format!("SSH_AGENT_PID is \"{text}\", which is no process id"))?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).with_context(|| format!("agent {text}"))?;
    println!("{}", shell.unset("SSH_AUTH_SOCK"));
    println!("{}", shell.unset("SSH_AGENT_PID"));
    println!("echo Agent pid {text} killed;");
    Ok(())
}

/// The shell that evaluates what is printed.
#[derive(Debug, Clone, Copy)]
enum Shell {
    Bourne,
    C,
}

impl Shell {
    fn of(arguments: &Arguments) -> Self {
        let c_shell = arguments.c_shell || !arguments.bourne_shell && config::shell_is_csh();
        if c_shell { Self::C } else { Self::Bourne }
    }

    fn set(self, name: &str, value: &str) -> String {
        match self {
            Self::Bourne => format!("{name}={value}; export {name};"),
            Self::C => format!("setenv {name} {value};"),
        }
    }

    fn unset(self, name: &str) -> String {
        match self {
            Self::Bourne => format!("unset {name};"),
            Self::C => format!("unsetenv {name};"),
        }
    }
}
