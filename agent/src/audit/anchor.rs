//! Heads of the chain that are kept elsewhere: by journald or syslog, which send them on to where this account can't reach.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::chain::Head;

/// Where systemd takes messages with fields (systemd.journal-fields(7), "Native Journal Protocol").
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Where syslog takes messages.
const SYSLOG: &str = "/dev/log";

/// The name of the structured data (RFC 5424 § 6.3.2). 32473 is the number for those that have none (RFC 5612).
const SD_ID: &str = "fido-ssh-agent@32473";

/// LOG_AUTHPRIV and LOG_NOTICE (RFC 5424 § 6.2.1).
const PRIORITY: u8 = 10 * 8 + 5;

/// Who keeps the heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keeper {
    /// systemd's journal.
    Journald,
    /// The local syslog daemon.
    Syslog,
}

/// Where heads are sent.
#[derive(Debug)]
pub struct Anchor {
    keeper: Keeper,
    socket: PathBuf,
    instance: String,
    host: String,
    every: u64,
    sent: u64,
    failing: bool,
}

impl Anchor {
    /// Sends a head each `every` records, of the log of this agent.
    #[must_use]
    pub fn new(keeper: Keeper, every: u64, instance: &str) -> Self {
        let socket = match keeper {
            Keeper::Journald => JOURNAL,
            Keeper::Syslog => SYSLOG,
        };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            keeper,
            socket: socket.into(),
            instance: instance.to_owned(),
            host,
            every: every.max(1),
            sent: 0,
            failing: false,
        }
    }

    /// The same to another socket.
    #[must_use]
    pub fn at(mut self, socket: &Path) -> Self {
        self.socket = socket.to_owned();
        self
    }

    /// Sends the head where it is time to. What can't be sent is said once, and keeps nobody waiting: the next head tells
    /// of this record too.
    pub fn note(&mut self, head: Head) {
        if head.sequence < self.sent.saturating_add(self.every) {
            return;
        }
        let result = self.send(head);
        match &result {
            Ok(()) => self.sent = head.sequence,
            Err(error) if !self.failing => {
                tracing::error!(%error, socket = %self.socket.display(), "the audit log's head can't be handed over");
            }
            Err(_) => {}
        }
        self.failing = result.is_err();
    }

    fn send(&self, head: Head) -> std::io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        // A keeper that does not read must not hold up a login.
        socket.set_nonblocking(true)?;
        socket.send_to(self.message(head).as_bytes(), &self.socket).map(|_| ())
    }

    fn message(&self, Head { sequence, hash }: Head) -> String {
        let Self { instance, host, .. } = self;
        let text = format!("{WORDS}{sequence} {hash}");
        match self.keeper {
            Keeper::Journald => format!(
                "MESSAGE={text}\nPRIORITY=5\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=fido-ssh-agent\n\
                 FIDO_SSH_AGENT_INSTANCE={instance}\nFIDO_SSH_AGENT_SEQUENCE={sequence}\nFIDO_SSH_AGENT_HEAD={hash}\n"
            ),
            Keeper::Syslog => {
                let (time, pid) = (jiff::Timestamp::now(), std::process::id());
                format!(
                    "<{PRIORITY}>1 {time:.6} {host} fido-ssh-agent {pid} audit-head \
                     [{SD_ID} instance=\"{instance}\" sequence=\"{sequence}\" head=\"{hash}\"] {text}"
                )
            }
        }
    }
}

/// The words that every message has before its head.
const WORDS: &str = "audit head ";

/// The head that a line names: behind the words above, as every keeper stores them, or alone.
#[must_use]
pub fn read(line: &str) -> Option<Head> {
    let (_, head) = line.split_once(WORDS).unwrap_or(("", line));
    let mut words = head.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    Some(Head { sequence: words.next()?.parse().ok()?, hash: words.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::Hash;

    fn head(sequence: u64) -> Head {
        Head { sequence, hash: Hash::of(b"x") }
    }

    fn anchor(keeper: Keeper, every: u64) -> (tempfile::TempDir, UnixDatagram, Anchor) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let keeps = UnixDatagram::bind(&path).unwrap();
        keeps.set_nonblocking(true).unwrap();
        (folder, keeps, Anchor::new(keeper, every, "default").at(&path))
    }

    fn kept(socket: &UnixDatagram) -> Option<String> {
        let mut message = [0; 1024];
        let length = socket.recv(&mut message).ok()?;
        Some(String::from_utf8(message[..length].to_vec()).unwrap())
    }

    #[test]
    fn what_is_sent_can_be_read_back() {
        for keeper in [Keeper::Journald, Keeper::Syslog] {
            let (_folder, socket, mut anchor) = anchor(keeper, 1);
            anchor.note(head(42));
            let message = kept(&socket).unwrap();
            assert_eq!(message.lines().find_map(read), Some(head(42)), "{message}");
        }
        assert_eq!(read(&format!("42 {}", Hash::of(b"x"))), Some(head(42)));
        for line in ["", "audit head", "42", "audit head x y", &format!("{} 42", Hash::of(b"x"))] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn a_head_is_sent_each_so_many_records_and_again_where_none_could_be() {
        let (folder, socket, mut anchor) = anchor(Keeper::Syslog, 10);
        for sequence in 1..=25 {
            anchor.note(head(sequence));
        }
        let sent: Vec<_> = std::iter::from_fn(|| kept(&socket)).filter_map(|line| read(&line)).collect();
        assert_eq!(sent, [head(10), head(20)]);
        drop(socket);
        std::fs::remove_file(folder.path().join("log")).unwrap();
        anchor.note(head(30));
        let socket = UnixDatagram::bind(folder.path().join("log")).unwrap();
        anchor.note(head(31));
        socket.set_nonblocking(true).unwrap();
        assert_eq!(kept(&socket).and_then(|line| read(&line)), Some(head(31)));
    }
}
