//! Times as OpenSSH's programs take them (sshd_config(5), "TIME FORMATS").

use std::time::Duration;

/// The longest time, in seconds, as in misc.c's convtime: what a signed int holds.
const LONGEST: u64 = i32::MAX as u64;

/// Reads numbers that are each followed by a unit, or by none for seconds, and adds them up: `3600`, `1h30m`, `1w2d`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || String::from("Invalid lifetime: give seconds, or numbers with s, m, h, d or w, as in 1h30m");
    let (mut rest, mut seconds) = (text, 0_u64);
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, unit) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let mut unit = unit.chars();
        let of_unit = match unit.next().map(|unit| unit.to_ascii_lowercase()) {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 60 * 60,
            Some('d') => 24 * 60 * 60,
            Some('w') => 7 * 24 * 60 * 60,
            Some(_) => return Err(wrong()),
        };
        rest = unit.as_str();
        let sum = number.checked_mul(of_unit).and_then(|part| part.checked_add(seconds));
        seconds = sum.filter(|sum| *sum <= LONGEST).ok_or_else(wrong)?;
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_openssh() {
        for (text, seconds) in [
            ("0", 0),
            ("3600", 3600),
            ("10s", 10),
            ("1m", 60),
            ("1h30m", 5400),
            ("1H30", 3630),
            ("1w2d", 777_600),
            ("1m1m", 120),
            ("2147483647", 2_147_483_647),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "h", "1y", "-1", "+1", "1 h", " 1", "1.5h", "1hh", "2147483648", "99999999999w", "1h-1m", "½"]
        {
            assert!(parse(text).is_err_and(|error| error.starts_with("Invalid lifetime")), "{text}");
        }
    }
}
