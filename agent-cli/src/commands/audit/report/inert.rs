//! Text from a log, made fit for a page: it is text there and nothing else, and shows what could deceive the eye.

use std::fmt;

use askama::filters::Escaper;

use crate::safe::safe;

/// What every text in a template goes through: see `askama.toml`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inert;

impl Escaper for Inert {
    fn write_escaped_str<W: fmt::Write>(&self, mut page: W, text: &str) -> fmt::Result {
        for c in visible(text).chars() {
            match c {
                '&' => page.write_str("&amp;")?,
                '<' => page.write_str("&lt;")?,
                '>' => page.write_str("&gt;")?,
                '"' => page.write_str("&quot;")?,
                '\'' => page.write_str("&#39;")?,
                c => page.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// As on a terminal, but for what is long and plain: evidence is not to be cut.
fn visible(text: &str) -> String {
    let word = |word: &str| match word.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => word.to_owned(),
        false => safe(word),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inert(text: &str) -> String {
        let mut page = String::new();
        Inert.write_escaped_str(&mut page, text).unwrap();
        page
    }

    #[test]
    fn text_is_no_markup_wherever_it_stands() {
        for (text, expected) in [
            ("alice", "alice"),
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onfocus='x' autofocus=\"", "&quot; onfocus=&#39;x&#39; autofocus=&quot;"),
            ("&lt;b&gt; --> <!-- ]]>", "&amp;lt;b&amp;gt; --&gt; &lt;!-- ]]&gt;"),
            ("gnp.\u{202e}exe\u{200b}\n", "gnp.\\u{202e}exe\\u{200b}\\u{a}"),
            ("\u{0}\u{1b}[2J", "\\u{0}\\u{1b}[2J"),
        ] {
            assert_eq!(inert(text), expected);
        }
    }

    #[test]
    fn evidence_is_not_cut() {
        let evidence = "QUJD".repeat(10_000);
        assert_eq!(inert(&evidence), evidence);
    }
}
