//! `agent-cli ssh-config`.

use std::process::ExitCode;

use agent::environment;

use crate::output::print;
use crate::places::find;
use crate::problem::Problem;

/// For which hosts.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Forward the agent to this host, from where you log in to others with `ssh` (a name or pattern as in ssh_config)
    #[arg(long, value_name = "HOST")]
    jump: Vec<String>,
}

/// Prints it.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Problem> {
    for host in &options.jump {
        if host == "*" {
            return Err(Problem::usage("--jump '*' would forward the agent to every host")
                .next("Name the jump hosts, or a pattern that fits them alone."));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "*?.-_:%".contains(c);
        if host.is_empty() || host.starts_with('-') || !host.chars().all(plain) {
            return Err(Problem::usage(format!("--jump {host:?} is no host's name or pattern")));
        }
    }
    // What SSH_AUTH_SOCK names may be another program, or an agent far away that is there for this login only.
    let named = environment::socket_in_environment().map(|socket| find(Some(&socket))).transpose()?;
    let paths = match named.filter(|paths| paths.control.exists()) {
        Some(paths) => paths,
        None => find(None)?,
    };
    let socket = paths.socket.to_str().filter(|path| !path.contains(['"', '\n', '\\']));
    let socket =
        socket.ok_or_else(|| Problem::failed(format!("ssh_config has no way to write {}", paths.socket.display())))?;
    print(&lines(socket, &options.jump))?;
    Ok(ExitCode::SUCCESS)
}

/// The first value that ssh finds holds, so what is for single hosts comes first (ssh_config(5)).
fn lines(socket: &str, jump_hosts: &[String]) -> String {
    let mut lines = String::new();
    if !jump_hosts.is_empty() {
        lines += &format!(
            "# Your agent is forwarded to these hosts only. Whoever is root there can ask it for signatures while you are logged in;
# you are asked for each, and told which host it is for.
Host {}
    ForwardAgent yes
    # No connection is shared: a later login would ride on one that was agreed to, and leave no record of its own.
    ControlMaster no
    ControlPath none

",
            jump_hosts.join(" ")
        );
    }
    // `%` begins a token there, and `$` a variable.
    let socket = socket.replace('%', "%%");
    lines
        + &format!(
            "# To a device through a jump host, `ssh -J` needs no forwarding: your agent talks to both by itself.
Host *
    IdentityAgent \"{socket}\"
    ForwardAgent no"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_forwarded_to_jump_hosts_only() {
        let text = lines("/run/user/1/a b/100%.sock", &["jump-*".into(), "bastion".into()]);
        assert!(text.contains("\nHost jump-* bastion\n    ForwardAgent yes\n"), "{text}");
        assert!(
            text.ends_with("\nHost *\n    IdentityAgent \"/run/user/1/a b/100%%.sock\"\n    ForwardAgent no"),
            "{text}"
        );
        assert!(!lines("/run/agent.sock", &[]).contains("yes"));
    }
}
