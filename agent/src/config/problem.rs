//! What is wrong with a configuration file, and where.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::reference::{self, SECTIONS, Section};

/// Something that has to be corrected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line in it; None where it is about all of it.
    pub line: Option<usize>,
    /// What is wrong, and how it is right.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        write!(f, "{}{line}: {}", self.file.display(), self.what)
    }
}

/// All that is wrong: at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// What to say of a name that is no setting of this section: the known one that comes nearest, or where it belongs.
pub(super) fn unknown(name: &str, section: &Section) -> String {
    let tables = SECTIONS.iter().filter(|_| section.name.is_empty()).map(|section| section.name);
    let known: Vec<_> = section.settings.iter().map(|setting| setting.name).chain(tables).collect();
    let place = if section.name.is_empty() { String::new() } else { format!(" in {}", section.heading()) };
    let elsewhere = SECTIONS.iter().find(|other| other.settings.iter().any(|setting| setting.name == name));
    let nearest = known.iter().filter(|known| !known.is_empty()).map(|known| (distance(name, known), known)).min();
    let next = match (nearest, elsewhere) {
        (_, Some(other)) if other.name.is_empty() => "it belongs above the first table".into(),
        (_, Some(other)) => format!("it belongs in {}", other.heading()),
        (Some((distance, known)), None) if distance <= known.len().div_ceil(2) => {
            let heading = reference::section(known).filter(|_| section.name.is_empty()).map(Section::heading);
            format!("did you mean {}?", heading.unwrap_or_else(|| format!("`{known}`")))
        }
        (Some((_, known)), None) => format!("the nearest is `{known}`, and docs/settings.md has them all"),
        (None, None) => "docs/settings.md has those there are".into(),
    };
    format!("there is no setting `{name}`{place}: {next}")
}

/// How many letters have to be changed, left out, put in or swapped with their neighbour, however they are written.
fn distance(one: &str, other: &str) -> usize {
    strsim::damerau_levenshtein(&one.to_lowercase().replace('-', "_"), other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_setting_is_told_the_one_that_was_meant() {
        for (name, section, next) in [
            ("unbound_hops", "", "there is no setting `unbound_hops`: did you mean `unbound_hop`?"),
            ("Software-Keys", "", "there is no setting `Software-Keys`: did you mean `software_keys`?"),
            ("limit", "", "there is no setting `limit`: did you mean [limits]?"),
            ("hosts", "", "there is no setting `hosts`: did you mean [[host]]?"),
            ("touch_seconds", "", "there is no setting `touch_seconds`: it belongs in [limits]"),
            ("opaque", "mute", "there is no setting `opaque` in [mute]: it belongs above the first table"),
            ("toch_seconds", "limits", "there is no setting `toch_seconds` in [limits]: did you mean `touch_seconds`?"),
            ("sokcet", "upstream", "there is no setting `sokcet` in [[upstream]]: did you mean `socket`?"),
        ] {
            assert_eq!(unknown(name, reference::section(section).unwrap()), next);
        }
        let far = unknown("colour_of_the_prompt", reference::section("upstream").unwrap());
        assert!(far.contains("the nearest is `socket`"), "{far}");
    }
}
