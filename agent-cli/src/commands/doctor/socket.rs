//! Which agent ssh would ask, and who serves that socket if it is another one.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use agent::environment::socket_in_environment;
use agent::paths::Paths;
use rustix::net::sockopt::socket_peercred;

use super::finding::Finding;
use super::ssh_settings::{SshSettings, in_home};
use crate::control::Control;
use crate::places::find;
use crate::problem::Problem;

const CHECK: &str = "socket";

/// Where ssh finds its agent.
enum Source {
    Environment,
    /// `IdentityAgent` in ssh's configuration, for all hosts.
    Configured,
    /// `IdentityAgent none`.
    SwitchedOff,
}

/// The socket that ssh would use for a host without settings of its own.
pub(super) struct Socket {
    source: Source,
    named: Option<PathBuf>,
    /// The paths of the agent that is to be looked at: the one there, if it is of our kind, else that of the environment, else
    /// the default one.
    pub(super) paths: Paths,
    is_ours: bool,
}

impl Socket {
    /// Finds it, by ssh's configuration and the environment.
    pub(super) fn find(ssh: Option<&SshSettings>) -> Result<Self, Problem> {
        let default = find(None)?;
        let (source, named) = match ssh.and_then(|ssh| ssh.one("identityagent")) {
            Some("none") => (Source::SwitchedOff, None),
            Some(path) if path != "SSH_AUTH_SOCK" && !path.starts_with('$') => {
                (Source::Configured, Some(in_home(path, &default.home)))
            }
            _ => (Source::Environment, socket_in_environment()),
        };
        let ours = |named: &Path| {
            let paths = find(Some(named))?;
            Ok((paths == default || Control::of(&paths).is_ok()).then_some(paths))
        };
        let there = named.as_deref().map(ours).transpose()?.flatten();
        let is_ours = there.is_some();
        let elsewhere = || socket_in_environment().map(|named| ours(&named)).transpose();
        let paths = match there {
            Some(paths) => paths,
            None => elsewhere()?.flatten().unwrap_or(default),
        };
        Ok(Self { source, named, paths, is_ours })
    }

    /// What is to be said of it. Where nobody serves it and no agent of ours runs, it is that agent which is missing.
    pub(super) fn finding(&self, agent_runs: bool) -> Finding {
        let source = self.source.name();
        let ours = self.use_ours();
        if matches!(self.source, Source::SwitchedOff) {
            return Finding::bad(
                CHECK,
                "ssh's configuration switches agents off for all hosts (IdentityAgent none)",
                ours,
            );
        }
        let Some(named) = &self.named else {
            return missing(format!("{source} is not set, so ssh asks no agent"), ours, agent_runs);
        };
        let named_so = format!("{source} names {}", named.display());
        if self.is_ours {
            return Finding::good(CHECK, format!("{named_so}, this agent's"));
        }
        match UnixStream::connect(named) {
            Err(error) => missing(format!("{named_so}, whose agent has ended ({error})"), ours, agent_runs),
            Ok(stream) => {
                let owner = Owner::of(&stream);
                Finding::bad(
                    CHECK,
                    format!("{named_so}, which {} serves", owner.name()),
                    format!("{}{ours}", owner.next()),
                )
            }
        }
    }

    /// How ssh is told of our agent.
    fn use_ours(&self) -> String {
        let socket = self.paths.socket.display();
        match self.source {
            Source::Environment => format!(
                "Let SSH_AUTH_SOCK name the agent's socket: `export SSH_AUTH_SOCK={socket}`, in your shell's start-up file. With \
                 systemd, `systemctl --user enable --now fido-ssh-agent.socket` does so for each session."
            ),
            Source::Configured | Source::SwitchedOff => {
                format!("Write `IdentityAgent {socket}` in ssh's configuration; `agent-cli ssh-config` prints it.")
            }
        }
    }
}

fn missing(reason: String, next: String, agent_runs: bool) -> Finding {
    if agent_runs { Finding::bad(CHECK, reason, next) } else { Finding::not_checked(CHECK, reason) }
}

impl Source {
    fn name(&self) -> &'static str {
        match self {
            Self::Environment => "SSH_AUTH_SOCK",
            Self::Configured | Self::SwitchedOff => "IdentityAgent in ssh's configuration",
        }
    }
}

/// Who serves a socket.
struct Owner {
    pid: i32,
    program: Option<PathBuf>,
    name: String,
}

impl Owner {
    fn of(stream: &UnixStream) -> Self {
        let pid = socket_peercred(stream).map_or(0, |peer| peer.pid.as_raw_nonzero().get());
        let process = Path::new("/proc").join(pid.to_string());
        let name = fs::read_to_string(process.join("comm")).map(|name| name.trim().to_owned()).unwrap_or_default();
        Self { pid, program: fs::read_link(process.join("exe")).ok(), name }
    }

    fn file_name(&self) -> &str {
        let program = self.program.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        program.unwrap_or(&self.name)
    }

    fn name(&self) -> String {
        match self.file_name() {
            "" => "a program that can't be seen".into(),
            name if name.starts_with("sshd") => {
                format!("{name} (process {}): an agent that was forwarded here", self.pid)
            }
            name => format!("{name} (process {})", self.pid),
        }
    }

    /// What to do about it, before ours is named in its place.
    fn next(&self) -> &'static str {
        match self.file_name() {
            "gnome-keyring-daemon" | "gcr-ssh-agent" => {
                "Switch off the SSH part of GNOME's keyring: `systemctl --user mask gcr-ssh-agent.socket gcr-ssh-agent.service`; \
                 where it is an older one, copy /etc/xdg/autostart/gnome-keyring-ssh.desktop to ~/.config/autostart and add the \
                 line `Hidden=true`. Log in again. "
            }
            "gpg-agent" => {
                "Take `enable-ssh-support` out of ~/.gnupg/gpg-agent.conf, and what sets SSH_AUTH_SOCK to gpg-agent out of your \
                 shell's start-up files; its keys can go on being offered, as an [[upstream]] of this agent. "
            }
            "ssh-agent" => "Take what starts ssh-agent out of your session's or shell's start-up files. ",
            name if name.starts_with("sshd") => {
                "Run this on the machine that your token is plugged into; or, if that is this one: "
            }
            _ => "",
        }
    }
}
