//! The way to the host, as `ssh` is told it: the person's own settings, and what has to hold on each hop.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::login::{CONNECT_TIMEOUT, HARMLESS, OPTIONS};
use crate::problem::Problem;

/// How often a host that is silent is asked whether it is there, in seconds, and how often in vain. Before the login `ssh` asks
/// nothing, but waits as long for each of the host's answers: four minutes, and without this for ever.
const ALIVE_INTERVAL: u32 = 80;
/// What it is by default. The person's own interval alone is to mean what it means in earnest.
const ALIVE_COUNT: u32 = 3;

/// How the host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Road {
    pub(super) destination: String,
    pub(super) jump: Jump,
}

/// By way of which hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Jump {
    /// As the person's settings say.
    None,
    /// The connection goes through these, as with `ssh -J`.
    Through(String),
    /// The agent is forwarded to this one, where `ssh` is started again, as with `ssh -A`.
    Forward(String),
}

impl Road {
    /// The hosts on it, as they were given; those that the person's settings put between are not among them.
    pub(super) fn hosts(&self) -> Vec<String> {
        let mut hosts = self.jumps();
        hosts.push(self.destination.clone());
        hosts
    }

    /// Those before the last.
    pub(super) fn jumps(&self) -> Vec<String> {
        match &self.jump {
            Jump::None => vec![],
            Jump::Through(jumps) => jumps.split(',').map(ToOwned::to_owned).collect(),
            Jump::Forward(jump) => vec![jump.clone()],
        }
    }

    pub(super) fn forwards(&self) -> bool {
        matches!(self.jump, Jump::Forward(_))
    }

    /// What `ssh` is given beside `-v`.
    pub(super) fn arguments(&self, settings: &Path) -> Vec<OsString> {
        let mut arguments = vec![OsString::from("-F"), settings.into()];
        let last: Vec<OsString> = match &self.jump {
            Jump::None => vec!["--".into(), self.destination.as_str().into(), HARMLESS.into()],
            Jump::Through(jumps) => {
                arguments.extend(["-J".into(), jumps.as_str().into()]);
                vec!["--".into(), self.destination.as_str().into(), HARMLESS.into()]
            }
            Jump::Forward(jump) => {
                arguments.push("-A".into());
                vec!["--".into(), jump.as_str().into(), self.command_there().into()]
            }
        };
        arguments.extend(last);
        arguments
    }

    /// What is run on the host that the agent is forwarded to. A shell reads it, to which no word of it means anything else:
    /// [`plain`] has seen to that.
    fn command_there(&self) -> String {
        // That host's ssh may be too old for `RemoteCommand`.
        let options = OPTIONS.iter().filter(|option| !option.starts_with("RemoteCommand"));
        let options: String = options.map(|option| format!(" -o {option}")).collect();
        // Nobody is asked for anything between the two.
        let limits = format!(
            "-o ConnectTimeout=30 -o ServerAliveInterval={ALIVE_INTERVAL} -o ServerAliveCountMax={ALIVE_COUNT}"
        );
        format!("ssh -v -n{options} {limits} -- '{}' {HARMLESS}", self.destination)
    }
}

/// A file that `ssh` is given in the place of the person's own, which it includes: what holds on each hop comes first, since the
/// `ssh` that goes to a jump host (ProxyJump) is given the same file, and none of the command line's options.
pub(super) fn settings(given: Option<&Path>) -> Result<NamedTempFile, Problem> {
    let files = match given {
        None => vec!["~/.ssh/config".to_owned(), "/etc/ssh/ssh_config".to_owned()],
        Some(file) if file.as_os_str() == "none" => vec![],
        Some(file) => vec![included(file)?],
    };
    let mut lines: Vec<String> = OPTIONS.iter().map(|option| option.replacen('=', " ", 1)).collect();
    lines.extend(files.iter().map(|file| format!("Include \"{file}\"")));
    // Where the person has chosen none: theirs is one that a login can fail by.
    lines.push(format!("ConnectTimeout {CONNECT_TIMEOUT}"));
    lines.push(format!("ServerAliveInterval {ALIVE_INTERVAL}"));
    let failed = |error: std::io::Error| Problem::failed(format!("ssh's settings can't be written: {error}"));
    let mut file = NamedTempFile::new().map_err(failed)?;
    file.write_all((lines.join("\n") + "\n").as_bytes()).map_err(failed)?;
    Ok(file)
}

/// The whole path of a file that is there, in a form that means nothing else to `ssh`.
fn included(file: &Path) -> Result<String, Problem> {
    let whole = file.canonicalize().map_err(|error| Problem::usage(format!("{}: {error}", file.display())))?;
    match whole.to_str().filter(|path| !path.contains(['"', '\\', '*', '?', '[', ']', '%', '$']) && is_printable(path))
    {
        Some(path) => Ok(path.to_owned()),
        None => Err(Problem::usage(format!("{}: ssh can't include a file of this name", file.display()))),
    }
}

fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// A host, or several with commas between, as `ssh` takes it, and with no sign in it that means something to a shell.
pub(super) fn plain(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_alphanumeric() || "@._-:%/,+=[]".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("it has to be a host as `ssh` takes it, such as USER@HOST".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(jump: Jump) -> Vec<String> {
        let road = Road { destination: "me@leaf".into(), jump };
        road.arguments(Path::new("/f")).into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn each_way_has_its_words() {
        assert_eq!(arguments(Jump::None), ["-F", "/f", "--", "me@leaf", "true"]);
        assert_eq!(arguments(Jump::Through("a,b".into())), ["-F", "/f", "-J", "a,b", "--", "me@leaf", "true"]);
        let forwarded = arguments(Jump::Forward("a".into()));
        assert_eq!(forwarded[..5], ["-F", "/f", "-A", "--", "a"]);
        assert!(
            forwarded[5].starts_with("ssh -v -n -o BatchMode=yes ") && forwarded[5].ends_with(" -- 'me@leaf' true")
        );
        for limit in ["ConnectTimeout=30", "ServerAliveInterval=80", "ServerAliveCountMax=3"] {
            assert!(forwarded[5].contains(&format!(" -o {limit} ")), "{}", forwarded[5]);
        }
        let road = Road { destination: "c".into(), jump: Jump::Through("a,b".into()) };
        assert_eq!(road.hosts(), ["a", "b", "c"]);
    }

    #[test]
    fn no_word_means_something_to_a_shell() {
        for good in ["leaf", "me@leaf", "ssh://me@leaf:22", "me@[fe80::1%eth0]", "a,b"] {
            assert_eq!(plain(good).as_deref(), Ok(good));
        }
        for bad in
            ["", "-oProxyCommand=x", "a b", "a;b", "$(a)", "a'b", "a\\b", "a\nb", "`a`", "a&b", "a|b", "~a", "a*"]
        {
            assert!(plain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_has_to_hold_comes_before_the_person_s_own() {
        let text = std::fs::read_to_string(settings(None).unwrap().path()).unwrap();
        let place = |line: &str| text.lines().position(|other| other == line).unwrap();
        assert!(place("ControlPath none") < place("Include \"~/.ssh/config\""));
        assert!(place("Include \"~/.ssh/config\"") < place("Include \"/etc/ssh/ssh_config\""));
        for line in ["ConnectTimeout 240", "ServerAliveInterval 80"] {
            assert!(place("Include \"/etc/ssh/ssh_config\"") < place(line), "the person's own comes first");
        }
        assert!(
            !std::fs::read_to_string(settings(Some(Path::new("none"))).unwrap().path()).unwrap().contains("Include")
        );
        assert!(settings(Some(Path::new("/no such file"))).is_err());
    }
}
