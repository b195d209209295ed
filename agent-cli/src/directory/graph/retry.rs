//! How long a server that has too much to do wants to be left alone (RFC 9110 § 10.2.3).

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// What is waited for one answer at most, all waits together. Who has to wait for longer does something else meanwhile.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// How often a request is sent at most.
pub(super) const MOST_TRIES: u32 = 5;

/// What `Retry-After` says: seconds, or a date.
pub(super) fn wait(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than there are numbers for is longer than anybody waits.
        return Some(header.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let date = rfc2822::parse(header).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_or_a_date() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        for (header, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(wait(header, now), seconds.map(Duration::from_secs), "{header:?}");
        }
        assert_eq!(wait("99999999999999999999999", now), Some(Duration::MAX));
    }
}
