//! The files of the configuration: the administrator's first, then the user's, whose settings take the place of the
//! administrator's, one by one. Tables that may be there several times are one setting, so that the user's replace all of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::problem::{Problem, Problems, unknown};
use super::reference::{self, Holds, SECTIONS, Section};
use super::{Config, Wrong};
use crate::audit::chain::Hash;
use crate::offer::HostRule;
use crate::paths::Paths;

/// The configuration as it stands in its files.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// The files that were read. One that is not there is an empty one.
    pub files: Vec<PathBuf>,
    /// SHA-256 of their bytes, one file after the other.
    pub hash: Hash,
    given: BTreeMap<String, Given>,
}

/// A setting that is given in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// What it says; for tables that may be there several times, all of them.
    pub value: Value,
    /// The file.
    pub file: PathBuf,
    /// The line in it.
    pub line: usize,
}

impl Given {
    /// The value as it would be written: JSON says texts, numbers and lists as TOML does.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(&self.value).unwrap_or_default()
    }
}

impl Loaded {
    /// Reads the files of an agent.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn of(paths: &Paths) -> Result<Self, Problems> {
        Self::read(&[&paths.system_config, &paths.config])
    }

    /// Reads these files, the later ones over the earlier.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn read(paths: &[&Path]) -> Result<Self, Problems> {
        let (mut files, mut bytes) = (Vec::new(), Vec::new());
        let (mut given, mut problems) = (BTreeMap::new(), Vec::new());
        for path in paths {
            match std::fs::read(path) {
                Ok(content) => {
                    match File::new(path, &content).and_then(|file| file.settings()) {
                        Ok(settings) => given.extend(settings),
                        Err(wrong) => problems.extend(wrong),
                    }
                    files.push(path.to_path_buf());
                    bytes.extend(content);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => problems.push(at(path, None, format!("it can't be read: {error}"))),
            }
        }
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        // Each file is right by itself; what they say together is looked at all the same.
        let together = |what: String| Problems(vec![at(paths.last().copied().unwrap_or(Path::new("")), None, what)]);
        let config = Config::deserialize(document(&given)).map_err(|error| together(error.message().to_owned()))?;
        if let Some((name, what)) = config.lacks() {
            let problem = |given: &Given| at(&given.file, Some(given.line), what);
            return Err(given.get(name).map_or_else(|| together(what.into()), |given| Problems(vec![problem(given)])));
        }
        Ok(Self { config, files, hash: Hash::of(&bytes), given })
    }

    /// The settings that are given, by their names (`limits.touch_seconds`; `host` for all of `[[host]]`).
    #[must_use]
    pub fn given(&self) -> &BTreeMap<String, Given> {
        &self.given
    }

    /// The names of the settings that say something else there.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let value = |loaded: &Self, name: &str| loaded.given.get(name).map(|given| given.value.clone());
        let names = self.given.keys().chain(other.given.keys().filter(|name| !self.given.contains_key(*name)));
        let mut names: Vec<_> =
            names.filter(|name| value(self, name) != value(other, name)).map(String::to_owned).collect();
        names.sort();
        names
    }
}

/// Whether a change of this setting holds only when the agent is started the next time.
#[must_use]
pub fn holds_at_next_start(name: &str) -> bool {
    let (section, setting) = name.split_once('.').unwrap_or(("", name));
    let settings = match reference::section(name).filter(|section| section.many) {
        Some(section) => section.settings.iter().collect(),
        None => reference::section(section)
            .map_or(Vec::new(), |section| section.settings.iter().filter(|known| known.name == setting).collect()),
    };
    settings.iter().any(|setting| setting.holds == Holds::AtNextStart)
}

/// The settings as one file would have them.
fn document(given: &BTreeMap<String, Given>) -> Table {
    let mut document = Table::new();
    for (name, given) in given {
        match name.split_once('.') {
            None => drop(document.insert(name.clone(), given.value.clone())),
            Some((section, setting)) => {
                let table = document.entry(section).or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(table) = table {
                    table.insert(setting.to_owned(), given.value.clone());
                }
            }
        }
    }
    document
}

fn at(path: &Path, line: Option<usize>, what: impl Into<String>) -> Problem {
    Problem { file: path.to_owned(), line, what: what.into() }
}

/// One file, whose text is TOML.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
    table: DeTable<'a>,
}

impl<'a> File<'a> {
    fn new(path: &'a Path, content: &'a [u8]) -> Result<Self, Vec<Problem>> {
        let text = std::str::from_utf8(content);
        let text = text.map_err(|error| vec![at(path, None, format!("it is no text in UTF-8: {error}"))])?;
        let table = DeTable::parse(text);
        let table = table.map_err(|error| vec![at(path, line(text, error.span()), error.message())])?;
        Ok(Self { path, text, table: table.into_inner() })
    }

    /// What it sets, by name; or all that is wrong with it.
    fn settings(&self) -> Result<BTreeMap<String, Given>, Vec<Problem>> {
        let unknown = self.unknown();
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let values: Table = toml::from_str(self.text).map_err(|error| vec![self.wrong(&error)])?;
        let hosts = self.wrong_hosts(&values);
        if !hosts.is_empty() {
            return Err(hosts);
        }
        let config: Config = toml::from_str(self.text).map_err(|error| vec![self.wrong(&error)])?;
        let wrong = config.wrong();
        if !wrong.is_empty() {
            let problem = |Wrong { name, entry, what }| at(self.path, self.line_of(&name, entry), what);
            return Err(wrong.into_iter().map(problem).collect());
        }
        Ok(self.given(values))
    }

    fn wrong(&self, error: &toml::de::Error) -> Problem {
        at(self.path, line(self.text, error.span()), error.message().replace('\n', " "))
    }

    /// All names that are no settings.
    fn unknown(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut look = |table: &DeTable<'_>, section: &Section| {
            for name in table.keys() {
                let (text, is_top) = (name.get_ref(), section.name.is_empty());
                let is_setting = section.settings.iter().any(|setting| setting.name == text);
                let is_table = is_top && SECTIONS.iter().any(|section| !text.is_empty() && section.name == text);
                if !is_setting && !is_table {
                    problems.push(at(self.path, line(self.text, Some(name.span())), unknown(text, section)));
                }
            }
        };
        for section in SECTIONS {
            match self.table.get(section.name).map(Spanned::get_ref) {
                _ if section.name.is_empty() => look(&self.table, section),
                Some(DeValue::Table(table)) => look(table, section),
                Some(DeValue::Array(entries)) => {
                    for entry in entries.iter() {
                        if let DeValue::Table(entry) = entry.get_ref() {
                            look(entry, section);
                        }
                    }
                }
                _ => {}
            }
        }
        problems.sort_by_key(|problem| problem.line);
        problems
    }

    /// The entries `[[host]]`, one by one: the parser would name the line of the first, whichever is wrong.
    fn wrong_hosts(&self, values: &Table) -> Vec<Problem> {
        let Some(Value::Array(entries)) = values.get("host") else { return Vec::new() };
        let rules = entries.iter().enumerate().map(|(index, entry)| (index, entry.clone().try_into::<HostRule>()));
        let wrong = rules.filter_map(|(index, rule)| Some((index, rule.err()?)));
        wrong.map(|(index, error)| at(self.path, self.line_of("host", Some(index)), error.message())).collect()
    }

    fn given(&self, values: Table) -> BTreeMap<String, Given> {
        let mut all = BTreeMap::new();
        let mut give = |name: String, value| {
            let line = self.line_of(&name, None).unwrap_or_default();
            all.insert(name, Given { value, file: self.path.to_owned(), line });
        };
        for (name, value) in values {
            match value {
                Value::Table(settings) => {
                    settings.into_iter().for_each(|(setting, value)| give(format!("{name}.{setting}"), value));
                }
                value => give(name, value),
            }
        }
        all
    }

    /// Where a setting stands (`limits.touch_seconds`), or the entry of a table that may be there several times.
    fn line_of(&self, name: &str, entry: Option<usize>) -> Option<usize> {
        let (section, setting) = name.split_once('.').unwrap_or((name, ""));
        let (key, mut value) = self.table.get_key_value(section)?;
        let mut span = key.span();
        if let DeValue::Array(entries) = value.get_ref()
            && let Some(entry) = entries.get(entry.unwrap_or_default())
        {
            (span, value) = (entry.span(), entry);
        }
        if let DeValue::Table(settings) = value.get_ref()
            && let Some((key, _)) = settings.get_key_value(setting)
        {
            span = key.span();
        }
        line(self.text, Some(span))
    }
}

/// The number of the line in which this begins.
fn line(text: &str, span: Option<Range<usize>>) -> Option<usize> {
    let before = text.as_bytes().get(..span?.start)?;
    Some(before.iter().filter(|byte| **byte == b'\n').count() + 1)
}

#[cfg(test)]
mod tests;
