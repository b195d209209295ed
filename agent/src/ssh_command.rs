//! What an ssh was told on its command line, as far as a person wants to know it (ssh(1); ssh.c, `main`). It comes from the
//! process table, so that all of it is *reported*.

use crate::peer::Process;

/// Options that take a value: those of OpenSSH 10's getopt string. The value may follow the letter, or be the next argument.
const WITH_VALUE: &str = "BDEFIJLOPQRSWbceilmopw";

/// ssh's own port.
const PORT: &str = "22";

/// The most hosts of one `-J` that are looked at.
const MOST_JUMPS: usize = 16;

/// A command line of ssh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshCommand {
    /// The host it was to log in to, as it was typed: an alias of ssh_config perhaps.
    pub host: String,
    /// Through which hosts (`-J`, `-oProxyJump`), the nearest first.
    pub jumps: Vec<String>,
    /// The host that its standard input and output are connected to (`-W`), and the port: it is the way there then.
    pub way_to: Option<(String, String)>,
    port: Option<String>,
    host_key_alias: Option<String>,
    host_name: Option<String>,
}

impl SshCommand {
    /// The command line of a process, if that is an ssh.
    #[must_use]
    pub fn of(process: &Process) -> Option<Self> {
        if process.name() != "ssh" {
            return None;
        }
        let arguments: Vec<_> = process.arguments.iter().skip(1).map(|argument| argument.to_string_lossy()).collect();
        Self::parse(&arguments)
    }

    fn parse<A: AsRef<str>>(arguments: &[A]) -> Option<Self> {
        let mut command = Self::default();
        let mut host = None;
        let mut rest = arguments.iter().map(AsRef::as_ref);
        while let Some(argument) = rest.next() {
            match argument.strip_prefix('-') {
                // What comes first is the host, and what comes next and is no option begins the command.
                None if host.is_some() => break,
                None => host = Some(argument),
                Some("-") => {
                    host = host.or_else(|| rest.next());
                    break;
                }
                Some(letters) => {
                    let Some(at) = letters.find(|letter| WITH_VALUE.contains(letter)) else { continue };
                    // A letter of the list is one byte.
                    let (letter, value) = (&letters[at..=at], &letters[at + 1..]);
                    let value = if value.is_empty() { rest.next()? } else { value };
                    command.option(letter, value);
                }
            }
        }
        let host = host?;
        let (name, port) = match host.strip_prefix("ssh://") {
            Some(uri) => host_and_port(uri),
            None => (host.rsplit_once('@').map_or(host, |(_, host)| host), None),
        };
        command.host = name.into();
        command.port = command.port.or(port.map(Into::into));
        (!command.host.is_empty()).then_some(command)
    }

    /// The first value of an option holds, as in ssh_config.
    fn option(&mut self, letter: &str, value: &str) {
        match letter {
            "p" => set(&mut self.port, value),
            "J" if self.jumps.is_empty() => self.jumps = jumps(value),
            "W" => {
                let (host, port) = host_and_port(value);
                self.way_to = Some((host.into(), port.unwrap_or(PORT).into()));
            }
            "o" => {
                let value = value.trim_start();
                let Some((name, value)) = value.split_once(|c: char| c == '=' || c.is_ascii_whitespace()) else {
                    return;
                };
                let value = value.trim_matches(|c: char| c == '=' || c == '"' || c.is_ascii_whitespace());
                match name.to_ascii_lowercase().as_str() {
                    "port" => set(&mut self.port, value),
                    "hostkeyalias" => set(&mut self.host_key_alias, value),
                    "hostname" => set(&mut self.host_name, value),
                    "proxyjump" if self.jumps.is_empty() => self.jumps = jumps(value),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// The names under which known_hosts may have its host.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let port = self.port.as_deref().unwrap_or(PORT);
        let hosts = [Some(&self.host), self.host_name.as_ref()];
        let with_port = |host: &&String| (port != PORT).then(|| format!("[{host}]:{port}"));
        let plain = hosts.into_iter().flatten();
        self.host_key_alias
            .iter()
            .chain(plain.clone())
            .cloned()
            .chain(plain.filter_map(|host| with_port(&host)))
            .collect()
    }

    /// The names of the host that it is the way to.
    #[must_use]
    pub fn names_beyond(&self) -> Vec<String> {
        let Some((host, port)) = &self.way_to else { return Vec::new() };
        vec![host.clone(), format!("[{host}]:{port}")]
    }
}

fn set(option: &mut Option<String>, value: &str) {
    option.get_or_insert_with(|| value.into());
}

fn jumps(list: &str) -> Vec<String> {
    if list.eq_ignore_ascii_case("none") {
        return Vec::new();
    }
    let hosts = list.split(',').map(|jump| host_and_port(jump.strip_prefix("ssh://").unwrap_or(jump)).0);
    hosts.filter(|host| !host.is_empty()).take(MOST_JUMPS).map(Into::into).collect()
}

/// `[user@]host[:port]`, with brackets around an address that has colons of its own.
fn host_and_port(text: &str) -> (&str, Option<&str>) {
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
    if let Some((host, port)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return (host, port.strip_prefix(':'));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> SshCommand {
        SshCommand::parse(&line.split(' ').collect::<Vec<_>>()).unwrap_or_else(|| panic!("{line}"))
    }

    #[test]
    fn the_host_is_found_among_options() {
        for (line, host) in [
            ("leaf-1", "leaf-1"),
            ("me@leaf-1 uname -a", "leaf-1"),
            ("-v -l me leaf-1", "leaf-1"),
            ("-4vlme leaf-1", "leaf-1"),
            ("-F config -i key leaf-1 -p 22 uname", "leaf-1"),
            ("-o Port=2222 leaf-1", "leaf-1"),
            ("-- leaf-1", "leaf-1"),
            ("ssh://me@leaf-1:2222", "leaf-1"),
            ("ssh://me@[fe80::1]:2222", "fe80::1"),
            ("me@corp@leaf-1", "leaf-1"),
            ("-A jump ssh device", "jump"),
        ] {
            assert_eq!(parse(line).host, host, "{line}");
        }
        for none in ["", "-v", "-p", "-l me", "me@", "--"] {
            assert_eq!(SshCommand::parse(&none.split(' ').collect::<Vec<_>>()), None, "{none:?}");
        }
    }

    #[test]
    fn jump_hosts() {
        for (line, jumps) in [
            ("-J jump leaf", &["jump"][..]),
            ("-Jme@a:2222,b leaf", &["a", "b"]),
            ("leaf -J ssh://me@a:2222,[fe80::1]:22", &["a", "fe80::1"]),
            ("-oProxyJump=jump leaf", &["jump"]),
            ("-oproxyjump=jump -J other leaf", &["jump"]),
            ("-J none leaf", &[]),
            ("-J ,, leaf", &[]),
            ("leaf ssh -J jump device", &[]),
        ] {
            assert_eq!(parse(line).jumps, jumps, "{line}");
        }
    }

    #[test]
    fn the_way_to_another_host() {
        let command = parse("-l me -W [192.0.2.1]:2222 jump");
        assert_eq!(
            (command.host.as_str(), command.names_beyond()),
            ("jump", vec!["192.0.2.1".to_owned(), "[192.0.2.1]:2222".to_owned()])
        );
        assert_eq!(parse("leaf").names_beyond(), [""; 0]);
    }

    #[test]
    fn names_that_known_hosts_may_have() {
        for (line, names) in [
            ("leaf", &["leaf"][..]),
            ("-p 22 leaf", &["leaf"]),
            ("-p 2222 leaf", &["leaf", "[leaf]:2222"]),
            ("ssh://leaf:2222", &["leaf", "[leaf]:2222"]),
            ("-oHostKeyAlias=fabric-leaf leaf", &["fabric-leaf", "leaf"]),
            ("-oHostname=192.0.2.1 -p2222 leaf", &["leaf", "192.0.2.1", "[leaf]:2222", "[192.0.2.1]:2222"]),
        ] {
            assert_eq!(parse(line).names(), names, "{line}");
        }
    }
}
