//! OpenSSH's wildcards (ssh_config(5), PATTERNS): users and hosts of constraints, principals, names in known_hosts.

/// Whether `text` matches `pattern`, in which `*` stands for any number of bytes and `?` for one (match.c). Where a character
/// is several bytes, so it is to OpenSSH.
#[must_use]
pub fn wildcard(pattern: impl AsRef<[u8]>, text: impl AsRef<[u8]>) -> bool {
    let (pattern, text) = (pattern.as_ref(), text.as_ref());
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and how much of the text it stands for: the only place to come back to.
    let mut star = None;
    loop {
        match (pattern.get(p), text.get(t)) {
            (Some(b'*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(c), Some(d)) if *c == b'?' || c == d => (p, t) = (p + 1, t + 1),
            (None, None) => return true,
            _ => match star {
                Some((at, swallowed)) if swallowed < text.len() => {
                    star = Some((at, swallowed + 1));
                    (p, t) = (at + 1, swallowed + 1);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, fits) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*.example.com", "leaf.example.com", true),
            ("*.example.com", "example.com", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("abc", "ABC", false),
            ("*?", "", false),
            ("m?", "mé", false),
            ("m??", "mé", true),
        ] {
            assert_eq!(wildcard(pattern, text), fits, "{pattern} {text}");
        }
    }

    /// Each star may be tried at each place, and no two of them together.
    #[test]
    fn stars_cost_no_more_than_their_number() {
        let pattern = "*a".repeat(1000);
        assert!(!wildcard(&pattern, "a".repeat(999)));
        assert!(wildcard(&pattern, "a".repeat(1000)));
        assert!(!wildcard(format!("{pattern}b"), "a".repeat(5000)));
    }
}
