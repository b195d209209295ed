//! The agent: what its command line asks for.

mod command_line;

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::time::Duration;

use agent::arguments::Arguments;
use agent::claim::{Claim, Place};
use agent::config::{Loaded, UpstreamConfig};
use agent::environment;
use agent::instance::{Instance, Options};
use agent::paths::Paths;
use agent::{hardening, logging, socket};
use anyhow::{Context, anyhow};
use clap::Parser;
use command_line::shell::Shell;
use command_line::{background, units};
use rustix::process::{Pid, Signal, kill_process};

/// Wrong usage, where clap would exit with 2, which here means "agent unreachable" (as with ssh-add).
const USAGE: u8 = 64;

/// What to do where the configuration is wrong.
const CORRECT: &str = "Correct that, check it with `agent-cli config check`, and start the agent again.";

/// How long work that can't be interrupted may go on when the agent ends.
const FAREWELL: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    hardening::give_up_group().context("the group of the program's file can't be given up")?;
    let shell = Shell::of(arguments);
    if arguments.version {
        eprintln!("fido-ssh-agent {}", env!("CARGO_PKG_VERSION"));
    } else if arguments.kill {
        kill(shell)?;
    } else if arguments.clean_up {
        println!("There are no stale sockets to delete: an agent that starts takes the place of one that is gone.");
    } else if arguments.install_user_units {
        units::install()?;
    } else if arguments.announce {
        prepare("info")?;
        background::detach().context("the agent can't leave its starter's session")?;
        serve(arguments, None, background::announce)?;
    } else if arguments.foreground || arguments.debug {
        foreground(arguments, shell)?;
    } else {
        let Some(started) = background::start(arguments)? else {
            return Ok(ExitCode::FAILURE);
        };
        if !arguments.command.is_empty() {
            return background::become_command(&arguments.command, &started);
        }
        shell.set("SSH_AUTH_SOCK", &started.socket)?;
        shell.set("SSH_AGENT_PID", started.pid.to_string())?;
        println!("echo Agent pid {};", started.pid);
    }
    Ok(ExitCode::SUCCESS)
}

/// Serves until a signal comes. What is printed tells where, unless whoever handed the socket over knows that.
fn foreground(arguments: &Arguments, shell: Shell) -> anyhow::Result<()> {
    prepare(if arguments.debug { "debug" } else { "info" })?;
    let handed_over = environment::handed_over_socket()?.filter(|_| arguments.address.is_none());
    let tell = handed_over.is_none();
    serve(arguments, handed_over, |paths| {
        if tell {
            shell.set("SSH_AUTH_SOCK", &paths.socket)?;
            println!("echo Agent pid {};", std::process::id());
        }
        std::io::stdout().flush()
    })
}

fn prepare(level: &str) -> anyhow::Result<()> {
    hardening::keep_memory_private().context("the agent's memory can't be kept private")?;
    logging::start(level);
    Ok(())
}

fn serve(
    arguments: &Arguments,
    handed_over: Option<UnixListener>,
    ready: impl FnOnce(&Paths) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let place = match &handed_over {
        Some(listener) => Place::At(socket::path_of(listener)?),
        None => arguments.place(),
    };
    let claim = Claim::take(&place)?;
    let paths = claim.paths().clone();
    let mut loaded = Loaded::of(&paths).map_err(|problems| anyhow!("{problems}\n{CORRECT}"))?;
    for socket in &arguments.upstream {
        loaded.config.upstream.push(UpstreamConfig { socket: std::path::absolute(socket)? });
    }
    let options = Options {
        default_lifetime: arguments.default_lifetime(),
        handed_over,
        parent: arguments.parent.and_then(Pid::from_raw),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let instance = Instance::start(claim, loaded, options)?;
        ready(&paths)?;
        instance.serve().await
    });
    // A key file that is slow to open, or a disk that hangs, must not keep the agent from ending.
    runtime.shutdown_timeout(FAREWELL);
    served
}

fn kill(shell: Shell) -> anyhow::Result<()> {
    let text = environment::agent_in_environment().context("SSH_AGENT_PID is not set, so there is no agent to end")?;
    // 1 is the system's, and negative numbers are groups of processes.
    let pid = text.parse().ok().filter(|pid| *pid > 1).and_then(Pid::from_raw);
    let pid = pid.with_context(|| format!("SSH_AGENT_PID is \"{text}\", which is no process id"))?;
    kill_process(pid, Signal::TERM).with_context(|| format!("agent {text}"))?;
    shell.unset("SSH_AUTH_SOCK");
    shell.unset("SSH_AGENT_PID");
    println!("echo Agent pid {text} killed;");
    Ok(())
}
