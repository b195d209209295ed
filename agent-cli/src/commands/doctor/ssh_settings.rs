//! What ssh itself would do for a host, as `ssh -G` says it: its own reading of its files, not a second one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The settings that hold for a host. Some are there several times.
#[derive(Debug, Default)]
pub(super) struct SshSettings(BTreeMap<String, Vec<String>>);

impl SshSettings {
    /// Those for `host`, by this file where one is named, as with `ssh -F`.
    ///
    /// # Errors
    /// When ssh is not there, or can't read its files: in its own words.
    pub(super) fn of(host: &str, file: Option<&Path>) -> Result<Self, String> {
        let mut ssh = Command::new("ssh");
        if let Some(file) = file {
            ssh.arg("-F").arg(file);
        }
        let output = ssh.args(["-G", "--", host]).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("ssh can't be started: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(Self::read(&String::from_utf8_lossy(&output.stdout)))
    }

    fn read(text: &str) -> Self {
        let mut settings = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            settings.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
        }
        Self(settings)
    }

    /// The values of a setting, in their order.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Its first value.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str)
    }

    /// Whether it is switched on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        matches!(self.one(name), Some("yes" | "true"))
    }

    /// The files of a setting that holds several on a line, with `~` put in.
    pub(super) fn files(&self, name: &str, home: &Path) -> Vec<PathBuf> {
        self.all(name).iter().flat_map(|line| line.split(' ')).map(|file| in_home(file, home)).collect()
    }

    /// The name by which the host stands in known_hosts (ssh_config(5), HostKeyAlias; sshconnect.c).
    pub(super) fn known_as(&self, host: &str) -> String {
        if let Some(alias) = self.one("hostkeyalias") {
            return alias.to_owned();
        }
        let name = self.one("hostname").unwrap_or(host);
        match self.one("port") {
            None | Some("22") => name.to_owned(),
            Some(port) => format!("[{name}]:{port}"),
        }
    }

    /// The hosts on the way (`ProxyJump`), the first one first.
    pub(super) fn jumps(&self) -> Vec<String> {
        let hosts = self.one("proxyjump").filter(|jumps| *jumps != "none").unwrap_or_default();
        // `ssh` takes a port behind the name of the host to log in on in this form only. What has none has the name by which a
        // person calls it.
        let as_destination = |host: &str| if host.contains(':') { format!("ssh://{host}") } else { host.to_owned() };
        hosts.split(',').filter(|host| !host.is_empty()).map(as_destination).collect()
    }
}

/// A file as ssh names it.
pub(super) fn in_home(file: &str, home: &Path) -> PathBuf {
    file.strip_prefix("~/").map_or_else(|| file.into(), |below| home.join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says() {
        let settings = SshSettings::read(
            "host leaf\nhostname leaf.example\nport 2222\nidentitiesonly yes\nidentityfile ~/.ssh/a\nidentityfile /b\n\
             userknownhostsfile ~/.ssh/known_hosts /etc/more\nproxyjump me@one:2,two\n",
        );
        let home = Path::new("/home/me");
        assert_eq!(settings.known_as("leaf"), "[leaf.example]:2222");
        assert!(settings.is_on("identitiesonly") && !settings.is_on("forwardagent"));
        assert_eq!(settings.files("identityfile", home), [Path::new("/home/me/.ssh/a"), Path::new("/b")]);
        assert_eq!(settings.files("userknownhostsfile", home).len(), 2);
        assert_eq!(settings.jumps(), ["ssh://me@one:2", "two"]);
        assert_eq!(SshSettings::read("hostname leaf\nport 22\nproxyjump none").known_as("leaf"), "leaf");
        assert!(SshSettings::read("proxyjump none").jumps().is_empty());
        assert_eq!(SshSettings::read("hostkeyalias fabric").known_as("leaf"), "fabric");
    }
}
