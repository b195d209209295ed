//! The agent's command line: ssh-agent's.

mod lifetime;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::NonEmptyStringValueParser;

use crate::claim::Place;

/// An SSH agent for FIDO2 tokens. It takes the options of ssh-agent.
///
/// Without a COMMAND it goes to the background and prints what a shell has to evaluate. With one it runs COMMAND, and
/// ends when COMMAND does.
#[derive(Debug, Parser)]
#[command(name = "agent", args_override_self = true, disable_version_flag = true)]
pub struct Arguments {
    /// Listen on this socket
    #[arg(short = 'a', value_name = "SOCKET")]
    pub address: Option<PathBuf>,
    /// Write commands for a C shell (as without -s where $SHELL is one)
    #[arg(short = 'c', conflicts_with = "bourne_shell")]
    pub c_shell: bool,
    /// Write commands for a Bourne shell
    #[arg(short = 's')]
    pub bourne_shell: bool,
    /// Stay in the foreground; serve the socket in LISTEN_FDS, where there is one and no -a
    #[arg(short = 'D')]
    pub foreground: bool,
    /// Stay in the foreground and say more
    #[arg(short = 'd', conflicts_with = "foreground")]
    pub debug: bool,
    /// End the agent in SSH_AGENT_PID
    #[arg(short = 'k')]
    pub kill: bool,
    /// How long keys are held that were added without a lifetime: seconds, or as in 1h30m (s, m, h, d, w)
    #[arg(short = 't', value_name = "LIFE", value_parser = lifetime::parse)]
    lifetime: Option<Duration>,
    /// Accepted (md5 or sha256) without effect: fingerprints are shown as SHA256 everywhere
    #[arg(short = 'E', value_name = "HASH", value_parser = hash)]
    _hash: Option<String>,
    /// Accepted as by ssh-agent, without effect: what FIDO keys sign is never unrestricted (no-restrict-websafe,
    /// websafe-allow=…), and no PKCS#11 library is ever loaded (allow-remote-pkcs11)
    #[arg(short = 'O', value_name = "OPTION", value_parser = option)]
    _option: Option<String>,
    /// Accepted without effect: no provider library is ever loaded
    #[arg(short = 'P', value_name = "PROVIDERS", value_parser = NonEmptyStringValueParser::new())]
    _providers: Option<String>,
    /// Accepted without effect: the socket is in a folder that only you may enter, wherever that is
    #[arg(short = 'T')]
    _temporary: bool,
    /// Print that there is nothing to clean up: an agent that starts takes the place of one that is gone
    #[arg(short = 'u')]
    pub clean_up: bool,
    /// Accepted without effect: see -u
    #[arg(short = 'U')]
    _no_clean_up: bool,
    /// Print the version on standard error
    #[arg(short = 'V', long)]
    pub version: bool,
    /// Offer the keys of the agent at this socket too, after those of `[[upstream]]` in the configuration
    #[arg(long, value_name = "SOCKET")]
    pub upstream: Vec<PathBuf>,
    /// Write systemd's units for you alone, which start the agent at the first use, to ~/.config/systemd/user
    #[arg(long, conflicts_with_all = ["foreground", "debug", "kill", "clean_up"])]
    pub install_user_units: bool,
    /// Run this, with the agent as its child
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        conflicts_with_all = ["c_shell", "bourne_shell", "foreground", "debug", "kill", "clean_up", "install_user_units"]
    )]
    pub command: Vec<OsString>,
    /// Go on as the agent in the background, and say where (the agent starts itself so)
    #[arg(long, hide = true)]
    pub announce: bool,
    /// End when this process does, for which the agent was started
    #[arg(long, hide = true, value_name = "PID", requires = "announce")]
    pub parent: Option<i32>,
}

impl Arguments {
    /// How long keys are held that bring no lifetime. 0 is for ever, as with ssh-agent.
    #[must_use]
    pub fn default_lifetime(&self) -> Option<Duration> {
        self.lifetime.filter(|lifetime| !lifetime.is_zero())
    }

    /// Where to listen.
    #[must_use]
    pub fn place(&self) -> Place {
        match &self.address {
            Some(address) => Place::At(address.clone()),
            None if self.parent.is_some() => Place::Command,
            None => Place::Default,
        }
    }

    /// The arguments that say the same to the agent in the background.
    ///
    /// # Errors
    /// When the current folder, from which a socket is named, is gone.
    pub fn for_the_background(&self) -> std::io::Result<Vec<OsString>> {
        let mut arguments = vec![OsString::from("--announce")];
        if !self.command.is_empty() {
            arguments.extend(["--parent".into(), std::process::id().to_string().into()]);
        }
        if let Some(address) = &self.address {
            arguments.extend(["-a".into(), std::path::absolute(address)?.into()]);
        }
        if let Some(lifetime) = self.lifetime {
            arguments.extend(["-t".into(), lifetime.as_secs().to_string().into()]);
        }
        for socket in &self.upstream {
            arguments.extend(["--upstream".into(), socket.into()]);
        }
        Ok(arguments)
    }
}

/// The names of hashes that ssh-agent(1) knows.
fn hash(text: &str) -> Result<String, String> {
    let known = ["md5", "sha256"].into_iter().find(|known| known.eq_ignore_ascii_case(text));
    known.map(str::to_owned).ok_or_else(|| "Invalid hash algorithm: it has to be md5 or sha256".into())
}

/// The options that ssh-agent(1) knows.
fn option(text: &str) -> Result<String, String> {
    let known = ["no-restrict-websafe", "allow-remote-pkcs11"].contains(&text) || text.starts_with("websafe-allow=");
    let known = known.then(|| text.to_owned());
    known.ok_or_else(|| {
        "Unknown -O option: ssh-agent's are no-restrict-websafe, allow-remote-pkcs11 and websafe-allow=".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(["agent"].into_iter().chain(words.split_whitespace()))
    }

    #[test]
    fn what_ssh_agent_takes_is_taken() {
        for good in [
            "",
            "-s",
            "-c",
            "-sD",
            "-d -a sock",
            "-t 1h30m",
            "-E md5",
            "-E SHA256",
            "-k",
            "-c -k",
            "-T",
            "-U",
            "-TU",
            "-u",
            "-O no-restrict-websafe -O allow-remote-pkcs11",
            "-O websafe-allow=ssh:,x",
            "-P /usr/lib/*",
            "-V",
            "true",
            "-a sock -t 5 -E sha256 -P x -TU sh -c true",
            "-t 1 -t 2",
            "--",
        ] {
            assert!(parse(good).is_ok(), "{good}: {}", parse(good).unwrap_err());
        }
    }

    #[test]
    fn what_ssh_agent_refuses_is_refused() {
        for bad in [
            "-c -s",
            "-d -D",
            "-x",
            "-a",
            "-t",
            "-t 1y",
            "-E sha1",
            "-O unknown",
            "-O websafe-allow",
            "-s true",
            "-k true",
            "-D true",
            "-d true",
            "-u true",
            "--parent 2",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("-t 1y").unwrap_err().to_string().contains("Invalid lifetime"));
    }

    #[test]
    fn options_after_the_command_are_the_command_s() {
        let arguments = parse("-t 5 sh -c -a -- -t").unwrap();
        assert_eq!(arguments.command, ["sh", "-c", "-a", "--", "-t"]);
        assert_eq!(arguments.address, None);
        assert_eq!(parse("-- -x").unwrap().command, ["-x"]);
    }

    #[test]
    fn the_background_is_told_all_that_has_an_effect() {
        let told = |words: &str| {
            let words = parse(words).unwrap().for_the_background().unwrap();
            Arguments::try_parse_from(["agent".into()].into_iter().chain(words)).unwrap()
        };
        let arguments = told("-a relative -t 1m --upstream one --upstream two");
        assert_eq!(arguments.upstream, [PathBuf::from("one"), "two".into()]);
        assert!(arguments.announce && arguments.address.clone().unwrap().is_absolute());
        assert_eq!(arguments.default_lifetime(), Some(Duration::from_secs(60)));
        assert_eq!(arguments.parent, None);
        assert_eq!(told("true").place(), Place::Command);
        assert_eq!(told("-t 0").default_lifetime(), None);
    }
}
