//! What a configuration file holds. Each setting is explained in `reference`, and nowhere else.

mod files;
mod problem;
pub mod publish;
pub mod reference;
pub mod rehearse;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use jiff::SignedDuration;
use serde::Deserialize;

pub use files::{Given, Loaded, holds_at_next_start};
pub use problem::{Problem, Problems};

use crate::audit::anchor::{Anchor, Keeper};
use crate::audit::log::retention::Retention;
use crate::audit::record::LeaveReason;
use crate::identity::parse_fingerprint;
use crate::limits::Limits;
use crate::mute;
use crate::offer::HostRule;
use crate::policy::{self, Rule, VerificationMode};

/// The least that may be kept of the audit log: some segments of it, since only whole ones go.
const FEWEST_MIB: u32 = 64;

/// The file `config.toml`. Unknown settings are refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The token helper's program; by default `sk-helper` beside the agent's own program.
    pub helper: Option<PathBuf>,
    /// Requests through a forwarding host that does not prove where they lead: allow (default) or deny.
    pub unbound_hop: Rule,
    /// Data that is neither a login nor an SSHSIG message, for software keys on this machine: allow (default) or deny.
    pub opaque: Rule,
    /// Keys that are not on a FIDO token: allow (default) or deny.
    pub software_keys: Rule,
    /// Adding, removing, locking and unlocking over a forwarded connection: deny (default) or allow.
    pub forwarded_management: Option<Rule>,
    /// How tokens verify their user: as-key-asks (default), pin, built-in, built-in-then-pin, or pin-and-built-in.
    pub user_verification: VerificationMode,
    /// Keys with settings of their own.
    #[serde(rename = "key")]
    pub keys: Vec<KeyConfig>,
    /// What is offered on which host; the first that names the host holds.
    pub host: Vec<HostRule>,
    /// What locks the agent until its person is back: suspend, screen-lock; nothing by default.
    pub lock_on: Vec<LeaveReason>,
    /// Whether root's connections are served; those of other users never are.
    pub allow_root: bool,
    /// Where a person is asked.
    pub prompts: PromptsConfig,
    /// Time limits.
    pub limits: LimitsConfig,
    /// Programs that are refused too often.
    pub mute: MuteConfig,
    /// The audit log.
    pub audit: AuditConfig,
    /// Other agents whose keys are offered after ours, in this order.
    pub upstream: Vec<UpstreamConfig>,
    /// Where `agent-cli publish` registers public keys.
    pub publish: publish::PublishConfig,
    /// How often `agent-cli rehearse` is to be run.
    pub rehearse: rehearse::RehearseConfig,
}

/// A table `[[upstream]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// The other agent's socket: absolute, or in the home directory (`~/`).
    pub socket: PathBuf,
}

/// A table `[[key]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// The key, by its SHA-256 fingerprint.
    pub fingerprint: String,
    /// Whether it issues certificates, on this machine, and does nothing else.
    #[serde(default)]
    pub ca: bool,
    /// How the token verifies its user for this key, in the place of the general setting.
    pub user_verification: Option<VerificationMode>,
}

/// The table `[prompts]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PromptsConfig {
    /// The channels that may be used, in the order in which they are tried.
    pub channels: Vec<ChannelKind>,
    /// The pinentry; by default the one that the system has.
    pub pinentry: Option<PathBuf>,
}

impl Default for PromptsConfig {
    fn default() -> Self {
        Self { channels: vec![ChannelKind::Terminal, ChannelKind::Pinentry, ChannelKind::Askpass], pinentry: None }
    }
}

/// A kind of channel to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// The terminal that was attached last.
    Terminal,
    /// GnuPG's dialog.
    Pinentry,
    /// The program in SSH_ASKPASS.
    Askpass,
}

/// The table `[limits]`, in seconds.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// A prompt; 60 when absent.
    pub prompt_seconds: Option<u64>,
    /// A touch; 40 when absent, and at most 44, since tokens and their library give up by themselves at 45.
    pub touch_seconds: Option<u64>,
    /// A request in all; 110 when absent.
    pub request_seconds: Option<u64>,
}

/// The table `[mute]`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MuteConfig {
    /// How many refusals mute a program; 32 when absent, never with 0.
    pub refusals: Option<u32>,
    /// Within how many seconds; 60 when absent.
    pub within_seconds: Option<u64>,
    /// For how many seconds; 60 when absent.
    pub seconds: Option<u64>,
}

/// The table `[audit]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Who keeps the heads of the chain: journald or syslog; nobody by default.
    pub anchor: Option<Keeper>,
    /// Each how many records a head is handed over; 1 when absent.
    pub anchor_every: Option<u64>,
    /// The socket of who keeps them, where it is not the system's.
    pub anchor_socket: Option<PathBuf>,
    /// For how many days records are kept; for ever when absent.
    pub keep_days: Option<u32>,
    /// How many MiB of records are kept; all when absent.
    pub keep_mib: Option<u32>,
}

impl AuditConfig {
    /// What is kept of the log.
    #[must_use]
    pub fn retention(&self) -> Retention {
        Retention {
            age: self.keep_days.map(|days| SignedDuration::from_hours(24 * i64::from(days))),
            size: self.keep_mib.map(|mib| u64::from(mib) * 1024 * 1024),
        }
    }

    /// Where the heads of the log in this folder go, if anywhere.
    #[must_use]
    pub fn anchor(&self, log: &Path) -> Option<Anchor> {
        let anchor = Anchor::new(self.anchor?, self.anchor_every.unwrap_or(1), log);
        Some(match &self.anchor_socket {
            Some(socket) => anchor.at(socket),
            None => anchor,
        })
    }
}

impl UpstreamConfig {
    fn absolute(&self, home: &Path) -> anyhow::Result<PathBuf> {
        let socket = self.socket.strip_prefix("~").map_or(self.socket.clone(), |below| home.join(below));
        if !socket.is_absolute() {
            bail!("upstream {}: write the socket's whole path, or one that begins with ~/", socket.display());
        }
        Ok(socket)
    }
}

impl MuteConfig {
    /// When programs are muted.
    #[must_use]
    pub fn settings(&self) -> mute::Settings {
        let default = mute::Settings::default();
        mute::Settings {
            refusals: self.refusals.unwrap_or(default.refusals),
            within: self.within_seconds.map_or(default.within, Duration::from_secs),
            time: self.seconds.map_or(default.time, Duration::from_secs),
        }
    }
}

/// A value that can't be used, though it is of the right kind.
struct Wrong {
    /// The setting, as `limits.touch_seconds`.
    name: String,
    /// Which entry it stands in, of tables that may be there several times.
    entry: Option<usize>,
    /// What is wrong with it.
    what: String,
}

impl Config {
    /// All that is wrong with its values.
    fn wrong(&self) -> Vec<Wrong> {
        let LimitsConfig { prompt_seconds, touch_seconds, request_seconds } = self.limits;
        let MuteConfig { refusals, within_seconds, seconds } = self.mute;
        let mut all = Vec::new();
        let mut wrong = |name: &str, entry, what| all.push(Wrong { name: name.into(), entry, what });
        for (name, seconds, most) in [
            ("limits.prompt_seconds", prompt_seconds, 3600),
            ("limits.touch_seconds", touch_seconds, 44),
            ("limits.request_seconds", request_seconds, 3600),
            ("mute.within_seconds", within_seconds, 3600),
            ("mute.seconds", seconds, 3600),
            ("publish.token_seconds", self.publish.token_seconds, 3600),
        ] {
            if seconds.is_some_and(|seconds| !(1..=most).contains(&seconds)) {
                wrong(name, None, format!("{name} has to be between 1 and {most}"));
            }
        }
        let fewest = mute::Settings::FEWEST;
        if refusals.is_some_and(|refusals| (1..fewest).contains(&refusals)) {
            let what =
                format!("mute.refusals has to be 0 (never), or at least {fewest}, which no ssh of yours reaches");
            wrong("mute.refusals", None, what);
        }
        let programs = [("helper", &self.helper), ("prompts.pinentry", &self.prompts.pinentry)];
        for (name, program) in programs.into_iter().filter_map(|(name, program)| Some((name, program.as_ref()?))) {
            if !program.is_absolute() {
                wrong(name, None, format!("{name} = {program:?}: write the program's whole path"));
            }
        }
        let AuditConfig { anchor_every, anchor_socket, keep_days, keep_mib, .. } = &self.audit;
        for (name, given, least) in [
            ("audit.keep_days", keep_days, 1),
            ("audit.keep_mib", keep_mib, FEWEST_MIB),
            ("rehearse.every_days", &self.rehearse.every_days, 1),
        ] {
            if given.is_some_and(|given| given < least) {
                wrong(name, None, format!("{name} has to be at least {least}"));
            }
        }
        if *anchor_every == Some(0) {
            wrong("audit.anchor_every", None, "audit.anchor_every has to be at least 1".into());
        }
        if let Some(socket) = anchor_socket.as_ref().filter(|socket| !socket.is_absolute()) {
            let what = format!("audit.anchor_socket = {socket:?}: write the socket's whole path");
            wrong("audit.anchor_socket", None, what);
        }
        for (name, what) in self.publish.wrong() {
            wrong(name, None, what);
        }
        // One that is no fingerprint would restrict no key, and nobody would know.
        for (entry, key) in self.keys.iter().enumerate() {
            if parse_fingerprint(&key.fingerprint).is_none() {
                let what = format!(
                    "[[key]] fingerprint = {:?} is none: give it as `ssh-keygen -l` prints it, SHA256:…",
                    key.fingerprint
                );
                wrong("key.fingerprint", Some(entry), what);
            }
        }
        for (entry, upstream) in self.upstream.iter().enumerate() {
            if let Err(error) = upstream.absolute(Path::new("/")) {
                wrong("upstream.socket", Some(entry), error.to_string());
            }
        }
        all
    }

    /// The setting that needs another one, which no file gives; and what to say of it.
    fn lacks(&self) -> Option<(&'static str, &'static str)> {
        let AuditConfig { anchor, anchor_every, anchor_socket, .. } = &self.audit;
        let setting = match (anchor, anchor_every, anchor_socket) {
            (None, Some(_), _) => "audit.anchor_every",
            (None, _, Some(_)) => "audit.anchor_socket",
            _ => return None,
        };
        Some((setting, "audit.anchor has to say who keeps the heads, journald or syslog"))
    }

    /// The sockets of the other agents.
    ///
    /// # Errors
    /// When one of them depends on the folder in which the agent was started.
    pub fn upstreams(&self, home: &Path) -> anyhow::Result<Vec<PathBuf>> {
        self.upstream.iter().map(|upstream| upstream.absolute(home)).collect()
    }

    /// What the policy decides by.
    #[must_use]
    pub fn settings(&self) -> policy::Settings {
        let authorities = self.keys.iter().filter(|key| key.ca).map(|key| key.fingerprint.clone());
        let own_modes = self.keys.iter().filter_map(|key| Some((key.fingerprint.clone(), key.user_verification?)));
        policy::Settings {
            unbound_hop: self.unbound_hop,
            opaque: self.opaque,
            software_keys: self.software_keys,
            forwarded_management: self.forwarded_management.unwrap_or(Rule::Deny),
            authorities: authorities.collect(),
            user_verification: self.user_verification,
            key_verification: own_modes.collect(),
        }
    }

    /// How long things may take.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        let or = |seconds: Option<u64>, default| seconds.map_or(default, Duration::from_secs);
        Limits {
            prompt: or(self.limits.prompt_seconds, default.prompt),
            touch: or(self.limits.touch_seconds, default.touch),
            request: or(self.limits.request_seconds, default.request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_named_by_a_path_that_is_always_the_same() {
        let sockets = |socket: &str| {
            let config = Config { upstream: vec![UpstreamConfig { socket: socket.into() }], ..Config::default() };
            config.upstreams(Path::new("/home/me")).ok()
        };
        assert_eq!(sockets("/run/other"), Some(vec!["/run/other".into()]));
        assert_eq!(sockets("~/.other/agent"), Some(vec!["/home/me/.other/agent".into()]));
        assert_eq!(sockets("other"), None);
        assert_eq!(sockets("~other/agent"), None);
    }
}
