//! Text from elsewhere, as it may stand in a prompt.

/// A name that somebody else chose, in a line of a prompt. An ordinary one stands as it is; any other is quoted, and can
/// neither end the quotes nor push itself out of the line with spaces, so that it is never taken for the prompt's own words.
#[must_use]
pub fn name(text: &str) -> String {
    const LONGEST: usize = 64;
    let ordinary = |c: char| c.is_ascii_alphanumeric() || "._@+-:/".contains(c);
    if !text.is_empty() && text.len() <= LONGEST && text.chars().all(ordinary) {
        return text.to_owned();
    }
    let mut out = String::from('"');
    let mut before = ' ';
    for (n, c) in text.chars().enumerate() {
        if n == LONGEST {
            out.push('…');
            break;
        }
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' ' if before != ' ' => out.push(' '),
            c if c.is_whitespace() => out.extend(c.escape_unicode()),
            c => out.push_str(&visible(c.encode_utf8(&mut [0; 4]))),
        }
        before = c;
    }
    out.push('"');
    out
}

/// Text from elsewhere (user names, comments, product names), with what could deceive the eye made visible: control
/// characters and those that turn the direction of text. Long text is cut.
#[must_use]
pub fn visible(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == LONGEST {
            out.push('…');
            break;
        }
        let turns = matches!(c, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}');
        if c.is_control() || turns {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_the_eye_is_shown() {
        for (text, shown) in [
            ("alice", "alice"),
            ("Ängström 名", "Ängström 名"),
            ("a\nb", "a\\u{a}b"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("evil\u{202e}txt", "evil\\u{202e}txt"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert_eq!(visible(&"x".repeat(500)).chars().count(), 201);
    }

    #[test]
    fn a_name_is_never_taken_for_the_prompts_own_words() {
        for (text, shown) in [
            ("alice", "alice"),
            ("alice@laptop", "alice@laptop"),
            ("my key", "\"my key\""),
            ("", "\"\""),
            ("a\" [verified]", "\"a\\\" [verified]\""),
            ("a   b", "\"a \\u{20}\\u{20}b\""),
            ("a\u{2003}b", "\"a\\u{2003}b\""),
            ("a\nb", "\"a\\u{a}b\""),
        ] {
            assert_eq!(name(text), shown);
        }
        assert_eq!(name(&"x".repeat(500)).chars().count(), 67);
    }
}
