//! Heads of the chain that are kept elsewhere: by journald or syslog, which send them on to where this account can't reach.

use std::collections::VecDeque;
use std::io::BufRead;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::chain::{Hash, Head};

/// Where systemd takes messages with fields (systemd.journal-fields(7), "Native Journal Protocol").
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Where syslog takes messages.
const SYSLOG: &str = "/dev/log";

/// The name of the structured data (RFC 5424 § 6.3.2). 32473 is the number for those that have none (RFC 5612).
const SD_ID: &str = "fido-ssh-agent@32473";

/// LOG_AUTHPRIV and LOG_NOTICE (RFC 5424 § 6.2.1).
const PRIORITY: u8 = 10 * 8 + 5;

/// How many heads wait for a keeper that is away.
const MOST_WAITING: usize = 1024;

/// How long the end of the agent waits for a keeper that does not read.
const FAREWELL: Duration = Duration::from_secs(1);

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
    /// The log's folder, which tells it from all others of this machine.
    log: String,
    host: String,
    every: u64,
    last: Head,
    /// The number of the last record whose head was or is to be sent.
    due: u64,
    /// Heads that could not be sent yet.
    waiting: VecDeque<Head>,
    failing: bool,
}

impl Anchor {
    /// Sends a head each `every` records, of the log in this folder.
    #[must_use]
    pub fn new(keeper: Keeper, every: u64, log: &Path) -> Self {
        let socket = match keeper {
            Keeper::Journald => JOURNAL,
            Keeper::Syslog => SYSLOG,
        };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        // A line's end would begin another field, or another message.
        let log = log.to_string_lossy().replace(|c: char| c.is_control(), "?");
        Self {
            keeper,
            socket: socket.into(),
            log,
            host,
            every: every.max(1),
            last: Head::default(),
            due: 0,
            waiting: VecDeque::new(),
            failing: false,
        }
    }

    /// The same to another socket.
    #[must_use]
    pub fn at(mut self, socket: &Path) -> Self {
        self.socket = socket.to_owned();
        self
    }

    /// Sends the head where it is time to, and those before it that could not be sent. A keeper that is away or does not read
    /// keeps nobody waiting; that is said once.
    pub fn note(&mut self, head: Head) {
        self.last = head;
        if head.sequence >= self.due.saturating_add(self.every) {
            self.push(head);
        }
        self.send_waiting(None);
    }

    /// Sends the last head, unless it was sent. Nobody is held up by this any more, so it may wait a little.
    pub fn end(&mut self) {
        if self.last.sequence > self.due {
            self.push(self.last);
        }
        self.send_waiting(Some(FAREWELL));
    }

    /// Of too many the first are dropped: the later ones tell of their records too.
    fn push(&mut self, head: Head) {
        self.due = head.sequence;
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(head);
    }

    fn send_waiting(&mut self, patience: Option<Duration>) {
        while let Some(head) = self.waiting.front() {
            if let Err(error) = self.send(*head, patience) {
                if !self.failing {
                    tracing::error!(%error, socket = %self.socket.display(), "the audit log's head can't be handed over");
                }
                self.failing = true;
                return;
            }
            self.waiting.pop_front();
            self.failing = false;
        }
    }

    /// Without patience it does not wait for a keeper that does not read.
    fn send(&self, head: Head, patience: Option<Duration>) -> std::io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(patience.is_none())?;
        socket.set_write_timeout(patience)?;
        socket.send_to(self.message(head).as_bytes(), &self.socket).map(|_| ())
    }

    fn message(&self, Head { sequence, hash }: Head) -> String {
        let Self { log, host, .. } = self;
        let text = format!("{WORDS}{sequence} {hash}");
        match self.keeper {
            Keeper::Journald => format!(
                "MESSAGE={text}\nPRIORITY=5\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=fido-ssh-agent\n\
                 FIDO_SSH_AGENT_AUDIT_LOG={log}\nFIDO_SSH_AGENT_SEQUENCE={sequence}\nFIDO_SSH_AGENT_HEAD={hash}\n"
            ),
            Keeper::Syslog => {
                let (time, pid) = (jiff::Timestamp::now(), std::process::id());
                // RFC 5424 § 6.3.3.
                let log = log.replace('\\', r"\\").replace('"', "\\\"").replace(']', r"\]");
                format!(
                    "<{PRIORITY}>1 {time:.6} {host} fido-ssh-agent {pid} audit-head \
                     [{SD_ID} log=\"{log}\" sequence=\"{sequence}\" head=\"{hash}\"] {text}"
                )
            }
        }
    }
}

/// The words that every message has before its head.
const WORDS: &str = "audit head ";

/// The line that names a head, with its end.
#[must_use]
pub fn line(Head { sequence, hash }: Head) -> String {
    format!("{WORDS}{sequence} {hash}\n")
}

/// The heads that a file of a keeper names. Its other lines are passed over: a log of syslog holds others too.
///
/// # Errors
/// When it can't be read.
pub fn heads(file: impl BufRead) -> std::io::Result<Vec<Head>> {
    let mut heads = Vec::new();
    for line in file.split(b'\n') {
        heads.extend(read(&line?));
    }
    Ok(heads)
}

/// The head that a line names, at its end and behind the words above, or alone. A record that was sent on names its own.
#[must_use]
pub fn read(line: &[u8]) -> Option<Head> {
    #[derive(Deserialize)]
    struct Numbered {
        sequence: u64,
    }
    if line.starts_with(b"{") {
        let Numbered { sequence } = serde_json::from_slice(line).ok()?;
        return Some(Head { sequence, hash: Hash::of(line) });
    }
    // What others had logged may quote the words, but has more behind them.
    let text = std::str::from_utf8(line).ok()?.trim_end();
    let (_, head) = text.rsplit_once(WORDS).unwrap_or(("", text));
    let (sequence, hash) = head.split_once(' ')?;
    Some(Head { sequence: sequence.parse().ok()?, hash: hash.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: u64) -> Head {
        Head { sequence, hash: Hash::of(b"x") }
    }

    fn anchor(keeper: Keeper, every: u64) -> (tempfile::TempDir, UnixDatagram, Anchor) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let keeps = UnixDatagram::bind(&path).unwrap();
        keeps.set_nonblocking(true).unwrap();
        let anchor = Anchor::new(keeper, every, folder.path()).at(&path);
        (folder, keeps, anchor)
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
            assert_eq!(heads(message.as_bytes()).unwrap(), [head(42)], "{message}");
        }
    }

    #[test]
    fn heads_are_found_among_other_lines() {
        let hash = Hash::of(b"x");
        let of = |line: &str| read(line.as_bytes());
        assert_eq!(of(&format!("42 {hash}")), Some(head(42)));
        assert_eq!(of(&format!("Nov 22 12:00:00 host fido-ssh-agent[7]: audit head 42 {hash}\r")), Some(head(42)));
        let record = r#"{"sequence":42}"#;
        assert_eq!(of(record), Some(Head { sequence: 42, hash: Hash::of(record.as_bytes()) }));
        let quoted = format!("sshd[1]: Invalid user audit head 42 {hash} from 192.0.2.1 port 1");
        for line in ["", "audit head", "42", "audit head x y", &format!("{hash} 42"), &quoted, "{}", "{\"sequence\":42"]
        {
            assert_eq!(of(line), None, "{line}");
        }
        assert_eq!(heads([b"\xff\n42 ", hash.to_string().as_bytes()].concat().as_slice()).unwrap(), [head(42)]);
    }

    #[test]
    fn a_head_is_sent_each_so_many_records_and_again_where_none_could_be() {
        let (folder, socket, mut anchor) = anchor(Keeper::Syslog, 10);
        for sequence in 1..=25 {
            anchor.note(head(sequence));
        }
        let sent: Vec<_> = std::iter::from_fn(|| kept(&socket)).filter_map(|line| read(line.as_bytes())).collect();
        assert_eq!(sent, [head(10), head(20)]);
        anchor.end();
        anchor.end();
        assert_eq!(kept(&socket).and_then(|line| read(line.as_bytes())), Some(head(25)), "the end is sent, once");
        assert_eq!(kept(&socket), None);
        drop(socket);
        std::fs::remove_file(folder.path().join("log")).unwrap();
        anchor.note(head(40));
        let socket = UnixDatagram::bind(folder.path().join("log")).unwrap();
        anchor.note(head(41));
        socket.set_nonblocking(true).unwrap();
        assert_eq!(kept(&socket).and_then(|line| read(line.as_bytes())), Some(head(40)), "it is late, and not lost");
    }

    #[test]
    fn a_folder_of_any_name_is_no_second_field() {
        let folder = Path::new("/a\n\"]\\b");
        let message = Anchor::new(Keeper::Syslog, 1, folder).message(head(1));
        assert!(message.contains(r#" log="/a?\"\]\\b" sequence="1" "#), "{message}");
        let message = Anchor::new(Keeper::Journald, 1, folder).message(head(1));
        assert!(message.lines().any(|line| line == r#"FIDO_SSH_AGENT_AUDIT_LOG=/a?"]\b"#), "{message}");
    }
}
