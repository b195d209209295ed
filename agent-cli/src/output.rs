//! Standard output: text for people, JSON for programs.

use std::io::{ErrorKind, Write};

use serde::Serialize;

use crate::problem::Problem;
use crate::safe::safe;

/// The version of all JSON this program prints.
const JSON_VERSION: u32 = 1;

/// Prints a line. A reader that has seen enough (`| head`) is no problem.
pub(crate) fn print(line: &str) -> Result<(), Problem> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Problem::failed(format!("standard output can't be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Where a command that does something says what it has done: on standard output, unless that is for JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// On standard output.
    Text,
    /// On standard error, since an object follows on standard output.
    Json,
}

impl Telling {
    /// By whether JSON is asked for.
    pub(crate) fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }

    /// Says a line.
    pub(crate) fn line(self, line: &str) -> Result<(), Problem> {
        match self {
            Self::Text => print(line),
            Self::Json => {
                eprintln!("{line}");
                Ok(())
            }
        }
    }

    /// Prints the object, where it is asked for.
    pub(crate) fn end(self, body: &impl Serialize) -> Result<(), Problem> {
        if self == Self::Json { print_json(body) } else { Ok(()) }
    }
}

/// Prints an object, with the version of its form first.
pub(crate) fn print_json(body: &impl Serialize) -> Result<(), Problem> {
    print(&json(body)?)
}

/// Prints an object on a line of its own, one of many.
pub(crate) fn print_json_line(body: &impl Serialize) -> Result<(), Problem> {
    let text = serde_json::to_string(&Versioned { version: JSON_VERSION, body }).map_err(no_json)?;
    print(&in_ascii(&text))
}

/// Prints an object of a form that is somebody else's, which has its version in it, on a line of its own.
pub(crate) fn print_foreign_json_line(body: &impl Serialize) -> Result<(), Problem> {
    print(&in_ascii(&serde_json::to_string(body).map_err(no_json)?))
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    version: u32,
    #[serde(flatten)]
    body: &'a T,
}

fn no_json(error: serde_json::Error) -> Problem {
    Problem::failed(format!("the answer has no form in JSON: {error}"))
}

fn json(body: &impl Serialize) -> Result<String, Problem> {
    let text = serde_json::to_string_pretty(&Versioned { version: JSON_VERSION, body }).map_err(no_json)?;
    Ok(in_ascii(&text))
}

/// The same JSON in ASCII. Characters that could deceive the eye on a terminal are escaped, yet nothing is lost.
fn in_ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            ascii.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}")));
        }
    }
    ascii
}

/// Lines of a name and a value, the values below one another.
pub(crate) fn aligned<'a>(indent: &str, rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let line = |(name, value): &(&str, String)| format!("{indent}{name:width$}  {}", safe(value));
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_its_version_and_keeps_every_character() {
        #[derive(Serialize)]
        struct Body {
            name: &'static str,
        }
        let name = "\u{202e}\u{9b}\u{7f}\u{1f511}\n\"";
        let text = json(&Body { name }).unwrap();
        assert!(text.is_ascii() && !text.contains('\u{7f}'), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, serde_json::json!({"version": 1, "name": name}));
    }

    #[test]
    fn values_stand_below_one_another() {
        assert_eq!(aligned("  ", [("a", "1".into()), ("long", "2".into())]), "  a     1\n  long  2");
    }
}
