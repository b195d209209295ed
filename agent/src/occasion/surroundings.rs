//! What this machine knows of a request beyond what is proven: the names of hosts (known_hosts), and what the client was told
//! and by whom (the process table). It is looked up before a person is asked, and keeps nobody waiting for long.

use std::collections::HashMap;

use crate::known_hosts::{LookUp, Naming};
use crate::payload::Payload;
use crate::peer::{Peer, Process};
use crate::process_table;
use crate::session_binding::SessionBindings;
use crate::ssh_command::SshCommand;

/// Programs that run others, and say nothing by it.
const SHELLS: [&str; 11] = ["ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "sh", "tcsh", "zsh"];

/// The names of the hosts of a request, and what its client was told.
#[derive(Debug, Default)]
pub struct Surroundings {
    pub(super) hosts: HashMap<Vec<u8>, Naming>,
    /// The host that the client was told to log in to, where it is an ssh.
    pub told: Option<String>,
    /// The jump hosts it goes through, the nearest first.
    pub jumps: Vec<String>,
    /// Where it is on the way to, where it is an ssh that another one has started to get there: the nearest first.
    pub way_to: Vec<String>,
    /// What started it, where that says more than its own name.
    pub started_by: Option<Process>,
}

impl Surroundings {
    /// Looks up what there is about this request. What can't be found out in time is left out.
    pub async fn look_up(
        known_hosts: &LookUp,
        peer: &Peer,
        payload: &Payload,
        bindings: &SessionBindings,
        now: u64,
    ) -> Self {
        let client = peer.processes.first();
        let command = client.and_then(SshCommand::of);
        let proxies = match &command {
            Some(command) if command.jumps.is_empty() => process_table::proxies(peer.pid).await,
            _ => Vec::new(),
        };
        let proxies: Vec<_> = proxies.iter().filter_map(SshCommand::of).collect();

        let mut keys: Vec<_> = bindings.iter().map(|binding| binding.host_key.clone()).collect();
        if let Payload::Userauth(login) = payload {
            keys.extend(login.host_key.clone());
        }
        let said = names_said(command.as_ref(), &proxies);
        let hosts = match keys.is_empty() {
            true => None,
            false => {
                let named = known_hosts.ask(move |known| {
                    let named = keys.into_iter().map(|key| {
                        let naming = known.of(&key, now).naming(&said);
                        (key, naming)
                    });
                    named.collect()
                });
                named.await
            }
        };
        Self {
            hosts: hosts.unwrap_or_default(),
            jumps: command.as_ref().map(|command| jumps(command, &proxies)).unwrap_or_default(),
            way_to: command.as_ref().map(|command| way_to(command, &peer.processes)).unwrap_or_default(),
            told: command.map(|command| command.host),
            started_by: started_by(&peer.processes).cloned(),
        }
    }

    /// What known_hosts calls the host with this key, if it could be read.
    #[must_use]
    pub fn naming(&self, host_key: &[u8]) -> Option<&Naming> {
        self.hosts.get(host_key)
    }
}

/// The names that the client and those that connect it were given, of any host.
fn names_said(command: Option<&SshCommand>, proxies: &[SshCommand]) -> Vec<String> {
    let beyond = proxies.first().map(SshCommand::names_beyond);
    command.map(SshCommand::names).into_iter().chain(beyond).flatten().collect()
}

/// Through which hosts an ssh goes: those of its own arguments, or else those that its proxies log in to.
fn jumps(command: &SshCommand, proxies: &[SshCommand]) -> Vec<String> {
    if !command.jumps.is_empty() {
        return command.jumps.clone();
    }
    match proxies.split_first() {
        Some((proxy, others)) if proxy.way_to.is_some() => {
            let mut hosts = jumps(proxy, others);
            hosts.push(proxy.host.clone());
            hosts
        }
        _ => Vec::new(),
    }
}

/// Where an ssh that is a proxy leads. The ssh that started it says the host as it was typed; itself it was given an address.
fn way_to(command: &SshCommand, processes: &[Process]) -> Vec<String> {
    let Some((host, _)) = &command.way_to else { return Vec::new() };
    let mut hosts = Vec::new();
    for process in processes.iter().skip(1).filter(|process| !is_shell(process)) {
        let Some(command) = SshCommand::of(process) else { break };
        hosts.push(command.host);
        if command.way_to.is_none() {
            break;
        }
    }
    if hosts.is_empty() {
        hosts.push(host.clone());
    }
    hosts
}

/// What started a client: neither a shell in which somebody types, nor one that a program had do it, nor another ssh, whose way
/// it is.
fn started_by(processes: &[Process]) -> Option<&Process> {
    let client = processes.first()?.name();
    for process in processes.iter().skip(1) {
        let through = client == "ssh" && process.name() == "ssh";
        if is_shell(process) {
            match shell_runs(process) {
                Runs::WhatIsTyped => return None,
                Runs::Command => {}
                Runs::Script => return Some(process),
            }
        } else if !through {
            return Some(process);
        }
    }
    None
}

fn is_shell(process: &Process) -> bool {
    SHELLS.contains(&process.name().as_str())
}

enum Runs {
    WhatIsTyped,
    Command,
    Script,
}

fn shell_runs(process: &Process) -> Runs {
    for argument in process.arguments.iter().skip(1) {
        match argument.to_string_lossy().strip_prefix(['-', '+']) {
            None => return Runs::Script,
            Some(letters) if !letters.starts_with('-') && letters.contains('c') => return Runs::Command,
            Some(_) => {}
        }
    }
    Runs::WhatIsTyped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes from the client up, each by its command line.
    fn processes(lines: &[&str]) -> Vec<Process> {
        let process = |line: &&str| Process {
            executable: line.split(' ').next().map(|name| format!("/usr/bin/{}", name.trim_start_matches('-')).into()),
            arguments: line.split(' ').map(Into::into).collect(),
            ..Process::default()
        };
        lines.iter().map(process).collect()
    }

    fn commands(lines: &[&str]) -> Vec<SshCommand> {
        processes(lines).iter().filter_map(SshCommand::of).collect()
    }

    #[test]
    fn what_started_it() {
        for (chain, expected) in [
            (&["ssh leaf", "-bash", "sshd"][..], None),
            (&["ssh leaf", "zsh -l", "tmux"], None),
            (&["ssh-keygen -Y sign", "git commit", "bash"], Some("git")),
            (&["ssh leaf", "sh -c ssh", "make"], Some("make")),
            (&["ssh leaf", "bash deploy.sh", "bash"], Some("bash")),
            (&["ssh leaf", "bash -e deploy.sh"], Some("bash")),
            (&["ssh -W leaf:22 jump", "bash -c ssh", "ssh -J jump leaf", "-bash"], None),
            (&["ssh -W leaf:22 jump", "ssh -J jump leaf", "rsync"], Some("rsync")),
            (&["ssh-add", "ssh leaf", "bash"], Some("ssh")),
            (&["ssh leaf"], None),
            (&[], None),
        ] {
            let chain = processes(chain);
            assert_eq!(started_by(&chain).map(Process::name).as_deref(), expected, "{chain:?}");
        }
    }

    #[test]
    fn jump_hosts_are_those_that_were_given_or_those_that_are_gone_through() {
        for (lines, expected) in [
            (&["ssh leaf"][..], &[][..]),
            (&["ssh -J a,b leaf", "ssh -J a -W leaf:22 b", "ssh -W b:22 a"], &["a", "b"]),
            (&["ssh leaf", "ssh -J a -W leaf:22 b"], &["a", "b"]),
            (&["ssh leaf", "ssh -W leaf:22 b", "ssh -W b:22 a"], &["a", "b"]),
            (&["ssh leaf", "ssh elsewhere"], &[]),
        ] {
            let commands = commands(lines);
            assert_eq!(jumps(&commands[0], &commands[1..]), expected, "{lines:?}");
        }
    }

    #[test]
    fn where_a_proxy_leads() {
        for (lines, expected) in [
            (&["ssh leaf", "bash"][..], &[][..]),
            (&["ssh -W [192.0.2.1]:22 jump", "ssh leaf", "bash"], &["leaf"]),
            (&["ssh -W [192.0.2.1]:22 jump", "sh -c exec", "ssh leaf", "ssh another"], &["leaf"]),
            (&["ssh -W b:22 a", "ssh -J a -W leaf:22 b", "ssh -J a,b leaf"], &["b", "leaf"]),
            (&["ssh -W [192.0.2.1]:22 jump", "python3"], &["192.0.2.1"]),
        ] {
            let processes = processes(lines);
            let command = SshCommand::of(&processes[0]).unwrap();
            assert_eq!(way_to(&command, &processes), expected, "{lines:?}");
        }
    }
}
