//! The line that lets a key log in for a while, and do nothing there.

use jiff::{SignedDuration, Timestamp};

use crate::problem::Problem;
use crate::terminal::Terminal;

/// The line for authorized_keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    text: String,
    /// After this it lets nobody in, whatever the host's time zone is.
    until: Timestamp,
}

/// How long there is to put it there, and to log in.
const TIME: SignedDuration = SignedDuration::from_mins(15);

/// The zones of the earth, the most ahead of UTC and the most behind.
const AHEAD: SignedDuration = SignedDuration::from_hours(14);
const BEHIND: SignedDuration = SignedDuration::from_hours(12);

impl Line {
    /// Lets the key run nothing but `true` (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
    ///
    /// A time is the host's own local one, unless a Z says otherwise, and a host that does not know the Z takes nothing of the line.
    /// So one that is too old for it gets a time that has come nowhere on the earth yet.
    pub(super) fn of(key: &str, software: Option<&str>, now: Timestamp) -> Self {
        let (end, form, slack) = match knows_utc(software) {
            true => (now + TIME, "%Y%m%d%H%M%SZ", SignedDuration::ZERO),
            false => (now + TIME + AHEAD, "%Y%m%d%H%M%S", BEHIND),
        };
        let text = format!("restrict,command=\"true\",expiry-time=\"{}\" {key}", end.strftime(form));
        Self { text, until: end + slack }
    }

    /// Asks the person to put it there, and whether they have.
    pub(super) fn is_put_there(&self, destination: &str, terminal: &mut Terminal) -> Result<bool, Problem> {
        for line in [
            "",
            &format!(
                "Put this line beside your own key's at {destination}, in the way that that one got there. If `verify-required,` is \
                 before your own key, put it before this line, too; if not, do not."
            ),
            "",
            &self.text,
            "",
            &format!(
                "By the words before the key it runs nothing but `true`, and is of no use {}. Where such words are not kept (in some \
                 directories and network devices), type n: it would let in whoever has your token.",
                self.after()
            ),
        ] {
            terminal.say(line);
        }
        terminal.go_on("Press Enter when it is there, or type n to leave this untested: ")
    }

    /// From when on it is of no use.
    pub(super) fn after(&self) -> String {
        format!("after {}", self.until.strftime("%F %H:%M UTC"))
    }
}

/// Whether times that end with Z are known there: since OpenSSH 9.1.
fn knows_utc(software: Option<&str>) -> bool {
    let version = software.and_then(|software| software.strip_prefix("OpenSSH_")).unwrap_or_default();
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(9), Some(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::safe::safe;

    #[test]
    fn a_host_gets_a_time_that_it_understands() {
        let now: Timestamp = "2026-11-23T20:30:05Z".parse().unwrap();
        for (software, time, after) in [
            (Some("OpenSSH_9.1"), "20261123204505Z", "after 2026-11-23 20:45 UTC"),
            (Some("OpenSSH_10.0p2 Debian-7"), "20261123204505Z", "after 2026-11-23 20:45 UTC"),
            (Some("OpenSSH_9.0p1"), "20261124104505", "after 2026-11-24 22:45 UTC"),
            (Some("OpenSSH_8.8 PKIX[13.2.1]"), "20261124104505", "after 2026-11-24 22:45 UTC"),
            (Some("dropbear_2022.83"), "20261124104505", "after 2026-11-24 22:45 UTC"),
            (None, "20261124104505", "after 2026-11-24 22:45 UTC"),
        ] {
            let line = Line::of("type key comment", software, now);
            assert_eq!(line.text, format!("restrict,command=\"true\",expiry-time=\"{time}\" type key comment"));
            assert_eq!(line.after(), after, "{software:?}");
        }
    }

    /// What is shown can be copied: no part of it is too long for a terminal's sake.
    #[test]
    fn the_line_is_shown_whole() {
        // As long as that of an ECDSA key gets: 137 bytes.
        let key = format!("sk-ecdsa-sha2-nistp256@openssh.com {} throw-away", "A".repeat(184));
        let line = Line::of(&key, None, Timestamp::now());
        assert_eq!(safe(&line.text), line.text);
    }
}
