//! Text from elsewhere, as it may stand in a prompt.

/// A name that somebody else chose, in a line of a prompt. An ordinary one stands as it is; any other is quoted, and can
/// neither end the quotes nor push itself out of the line with spaces, so that it is never taken for the prompt's own words.
/// It takes at most 64 characters and 96 bytes, and what shows that it was cut.
#[must_use]
pub fn name(text: &str) -> String {
    const LONGEST: usize = 64;
    const MOST_BYTES: usize = 96;
    let ordinary = |c: char| c.is_ascii_alphanumeric() || "._@+-:/".contains(c);
    if !text.is_empty() && text.len() <= LONGEST && text.chars().all(ordinary) {
        return text.to_owned();
    }
    let mut quoted = Bounded::new(LONGEST, MOST_BYTES);
    let mut before = ' ';
    for c in text.chars() {
        let shown = match c {
            '"' | '\\' => quoted.push(format!("\\{c}"), 0),
            ' ' if before != ' ' => quoted.push(" ".into(), 0),
            c if c.is_whitespace() || is_like_a_quote(c) => quoted.push(c.escape_unicode().to_string(), 0),
            c => quoted.push_visible(c),
        };
        if !shown {
            break;
        }
        before = c;
    }
    format!("\"{}\"", quoted.text)
}

/// Text from elsewhere (user names, comments, product names), with what could deceive the eye made visible: control
/// characters, those that turn the direction of text, those that can't be seen, and heaps of marks. Long text is cut: at 200
/// characters and 400 bytes.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = Bounded::new(200, 400);
    let _ = text.chars().all(|c| shown.push_visible(c));
    shown.text
}

/// Cuts a line at this many bytes, and shows that it did.
#[must_use]
pub fn cut(line: &str, most_bytes: usize) -> String {
    let mut shown = Bounded::new(most_bytes, most_bytes);
    let _ = line.chars().all(|c| shown.push(c.into(), 0));
    shown.text
}

/// Text that ends with `…` where it would become too long.
struct Bounded {
    text: String,
    characters: usize,
    bytes: usize,
    /// How many marks stand on the last character.
    marks: usize,
}

impl Bounded {
    fn new(characters: usize, bytes: usize) -> Self {
        Self { text: String::new(), characters, bytes, marks: 0 }
    }

    fn push_visible(&mut self, c: char) -> bool {
        const MOST_MARKS: usize = 2;
        let marks = if is_mark(c) { self.marks + 1 } else { 0 };
        match c.is_control() || is_unseen(c) || marks > MOST_MARKS {
            true => self.push(c.escape_unicode().to_string(), marks),
            false => self.push(c.into(), marks),
        }
    }

    fn push(&mut self, text: String, marks: usize) -> bool {
        let length = text.chars().count();
        let fits = self.characters >= length && self.bytes >= text.len();
        if fits {
            self.characters -= length;
            self.bytes -= text.len();
            self.marks = marks;
            self.text += &text;
        } else {
            self.text.push('…');
        }
        fits
    }
}

/// Turns the direction of text, or is not to be seen (Unicode's Bidi_Control and Default_Ignorable_Code_Point).
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Stands above or below the character before it: a heap of them reaches into other lines.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{0300}'..='\u{036F}' | '\u{0483}'..='\u{0489}' | '\u{0E31}'..='\u{0E4E}' | '\u{1AB0}'..='\u{1AFF}'
        | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}')
}

/// Could be taken for the end of a quoted name.
fn is_like_a_quote(c: char) -> bool {
    matches!(c,
        '\u{02BA}' | '\u{02DD}' | '\u{02EE}' | '\u{05F4}' | '\u{201C}'..='\u{201F}' | '\u{2033}' | '\u{2036}'
        | '\u{275D}'..='\u{275E}' | '\u{3003}' | '\u{301D}'..='\u{301F}' | '\u{FF02}')
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
            ("a\u{e0041}\u{ad}b", "a\\u{e0041}\\u{ad}b"),
            ("e\u{301}\u{302}", "e\u{301}\u{302}"),
            ("e\u{301}\u{302}\u{303}\u{304}", "e\u{301}\u{302}\\u{303}\\u{304}"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert_eq!(visible(&"x".repeat(500)).chars().count(), 201);
        assert!(visible(&"\u{202e}".repeat(500)).len() < 210);
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
            ("a\u{201d} [verified]", "\"a\\u{201d} [verified]\""),
        ] {
            assert_eq!(name(text), shown);
        }
        assert_eq!(name(&"x".repeat(500)).chars().count(), 67);
        for long in ["\u{202e}", "\\", "名", "🦀", "\u{10ffff}"] {
            let name = name(&long.repeat(500));
            assert!(name.len() < 102 && name.ends_with("…\""), "{name}");
        }
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("aéb", 3), "aé…");
        assert_eq!(cut("éé", 3), "é…");
    }
}
