//! Where public keys are published. The daemon has no part in it: `agent-cli` reads these settings.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// The table `[publish]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublishConfig {
    /// Where: `graph` (the default), or a file or folder of authorized_keys lines.
    pub place: Option<String>,
    /// Where Microsoft Graph is.
    pub graph_url: Option<String>,
    /// The command that prints an access token for it, and its arguments.
    pub token_command: Option<Vec<String>>,
    /// For how long it is waited for; 60 seconds when absent.
    pub token_seconds: Option<u64>,
}

/// A place that public keys are registered in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The person's account, by way of Microsoft Graph.
    Graph,
    /// A file of authorized_keys lines, or a folder with one for each user.
    File(PathBuf),
}

/// Microsoft Graph, for all but a few national clouds.
pub const GRAPH_URL: &str = "https://graph.microsoft.com";

/// What prints an access token where nothing else is set: the Azure CLI, where its user has signed in.
pub const TOKEN_COMMAND: &[&str] =
    &["az", "account", "get-access-token", "--resource", "https://graph.microsoft.com", "--output", "json"];

impl Place {
    /// Reads `graph`, a whole path, or one that begins with `~/`.
    ///
    /// # Errors
    /// For a path that depends on the folder it is read in.
    pub fn read(text: &str, home: &Path) -> Result<Self, String> {
        if text == "graph" {
            return Ok(Self::Graph);
        }
        let path = Path::new(text);
        let path = path.strip_prefix("~").map_or(path.to_owned(), |below| home.join(below));
        match path.is_absolute() {
            true => Ok(Self::File(path)),
            false => Err(format!("{text:?}: write \"graph\", a whole path, or one that begins with ~/")),
        }
    }
}

impl PublishConfig {
    /// Where keys are published.
    ///
    /// # Errors
    /// For a path that depends on the folder it is read in.
    pub fn place(&self, home: &Path) -> Result<Place, String> {
        self.place.as_deref().map_or(Ok(Place::Graph), |place| Place::read(place, home))
    }

    /// Where Microsoft Graph is, without a slash at the end.
    #[must_use]
    pub fn graph_url(&self) -> &str {
        self.graph_url.as_deref().unwrap_or(GRAPH_URL).trim_end_matches('/')
    }

    /// The command that prints an access token, and its arguments.
    #[must_use]
    pub fn token_command(&self) -> Vec<String> {
        let default = || TOKEN_COMMAND.iter().map(|&word| word.to_owned()).collect();
        self.token_command.clone().unwrap_or_else(default)
    }

    /// For how long the command is waited for.
    #[must_use]
    pub fn token_limit(&self) -> Duration {
        Duration::from_secs(self.token_seconds.unwrap_or(60))
    }

    /// What can't be used of it: the setting, and what is wrong.
    pub(super) fn wrong(&self) -> Vec<(&'static str, String)> {
        let place = self.place(Path::new("/")).err().map(|what| ("publish.place", format!("publish.place = {what}")));
        let url = self.graph_url.as_deref().filter(|url| !is_base_url(url)).map(|url| {
            let what = "write https:// and a host; http:// for this machine's own addresses only";
            ("publish.graph_url", format!("publish.graph_url = {url:?}: {what}"))
        });
        let command = self.token_command.as_ref().filter(|words| words.first().is_none_or(String::is_empty));
        let command = command.map(|_| ("publish.token_command", "publish.token_command names no program".to_owned()));
        [place, url, command].into_iter().flatten().collect()
    }
}

/// Whether this is a scheme and a host, and neither a path nor a user's name, which would be taken for the host by who reads
/// it. What is sent there is worth as much as a password, so it is encrypted, or does not leave this machine.
fn is_base_url(url: &str) -> bool {
    let url = url.strip_suffix('/').unwrap_or(url);
    let is_host =
        |host: &str| !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c));
    match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(host), _) => is_host(host),
        (_, Some(host)) => is_loopback(host),
        _ => false,
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let v6 = || name.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    name == "localhost"
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || v6().is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_token_goes_over_tls_or_nowhere() {
        for good in [
            "https://graph.microsoft.us",
            "https://graph.example:8443/",
            "http://127.0.0.1:4711",
            "http://[::1]:4711",
            "http://localhost",
        ] {
            assert!(is_base_url(good), "{good}");
        }
        for bad in [
            "http://graph.microsoft.com",
            "http://localhost.example",
            "http://127.0.0.1@graph.example",
            "http://127.0.0.1.example:80",
            "https://me@graph.example",
            "https://graph.example/v1.0",
            "https://graph.example?x",
            "https://",
            "graph.microsoft.com",
            "ftp://graph.example",
        ] {
            assert!(!is_base_url(bad), "{bad}");
        }
    }

    #[test]
    fn a_place_is_always_the_same_one() {
        let read = |text| Place::read(text, Path::new("/home/me")).ok();
        assert_eq!(read("graph"), Some(Place::Graph));
        assert_eq!(read("/srv/keys"), Some(Place::File("/srv/keys".into())));
        assert_eq!(read("~/.ssh/authorized_keys"), Some(Place::File("/home/me/.ssh/authorized_keys".into())));
        assert_eq!(read("keys"), None);
        assert_eq!(read("Graph"), None);
    }
}
