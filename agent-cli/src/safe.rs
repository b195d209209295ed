//! Text made fit for a terminal.

use agent::prompt::visible;

/// Text from the agent, a token or a file, made fit for a terminal. `visible` cuts what is longer than a name, so it is
/// given a word at a time: a prompt's line is never cut.
pub(crate) fn safe(text: &str) -> String {
    text.split(' ').map(visible).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_and_nothing_deceives() {
        let long = "word ".repeat(100);
        assert_eq!(safe(&long), long);
        assert_eq!(safe("a \u{1b}[2J  b"), "a \\u{1b}[2J  b");
    }
}
