//! `agent-cli config`: what the configuration files say, with or without an agent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent::config::reference::{Default, SECTIONS, Section, Setting};
use agent::config::{Given, Loaded, Problems};
use agent::paths::Paths;
use serde::Serialize;
use serde_json::Value;

use crate::output::{print, print_json};
use crate::places::find;
use crate::problem::Problem;
use crate::safe::safe;

/// What to do with it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Checks whether the agent could use the configuration
    Check {
        /// This file, and not the ones that the agent reads
        file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Shows all settings, each with the place where it is given; the running agent's may be older (see `status`)
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Prints where your configuration file is, or would be
    Path {
        /// The administrator's, whose settings hold where yours gives none
        #[arg(long)]
        system: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Where a file is.
#[derive(Debug, Serialize)]
struct Place<'a> {
    file: &'a Path,
    exists: bool,
}

/// What a check found.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    usable: bool,
    /// Those that were read; none where one of them has a mistake.
    files: &'a [PathBuf],
    mistakes: &'a [agent::config::Problem],
}

/// Does it.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Problem> {
    let paths = find(None)?;
    match &options.command {
        Command::Check { file, json } => return check(file.as_deref(), &paths, *json),
        Command::Show { json: true } => print_json(&Entry::of(&load(&paths)?))?,
        Command::Show { json: false } => print(&describe(&load(&paths)?))?,
        Command::Path { system, json } => {
            let file = if *system { &paths.system_config } else { &paths.config };
            if *json {
                print_json(&Place { file, exists: file.exists() })?
            } else {
                print(&file.display().to_string())?
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check(file: Option<&Path>, paths: &Paths, json: bool) -> Result<ExitCode, Problem> {
    let loaded = match file {
        Some(file) if !file.exists() => {
            return Err(Problem::failed(format!("{}: there is no such file", file.display())));
        }
        Some(file) => Loaded::read(&[file]),
        None => Loaded::of(paths),
    };
    if json {
        let (files, mistakes) = match &loaded {
            Ok(loaded) => (loaded.files.as_slice(), [].as_slice()),
            Err(Problems(mistakes)) => ([].as_slice(), mistakes.as_slice()),
        };
        print_json(&Checked { usable: loaded.is_ok(), files, mistakes })?;
        return Ok(if loaded.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let loaded = loaded.map_err(wrong)?;
    let good = |file: &PathBuf| print(&safe(&format!("{}: all settings can be used", file.display())));
    loaded.files.iter().try_for_each(good)?;
    if loaded.files.is_empty() {
        print("There is no configuration file, so what holds by default does: see `agent-cli config show`.")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn load(paths: &Paths) -> Result<Loaded, Problem> {
    Loaded::of(paths).map_err(wrong)
}

pub(crate) fn wrong(Problems(problems): Problems) -> Problem {
    let what = match problems.len() {
        1 => "the configuration has a mistake".into(),
        more => format!("the configuration has {more} mistakes"),
    };
    problems.iter().fold(Problem::failed(what), |problem, next| problem.next(next.to_string()))
}

/// In the form of a configuration file.
fn describe(loaded: &Loaded) -> String {
    SECTIONS.iter().map(|section| safe_lines(&section_of(section, loaded))).collect::<Vec<_>>().join("\n\n")
}

fn safe_lines(lines: &[String]) -> String {
    lines.iter().map(|line| safe(line)).collect::<Vec<_>>().join("\n")
}

fn section_of(section: &Section, loaded: &Loaded) -> Vec<String> {
    let place = |given: &Given| format!("{}:{}", given.file.display(), given.line);
    if !section.many {
        let setting = |setting: &Setting| match (loaded.given().get(&name(section, setting)), setting.default) {
            (Some(given), _) => format!("{} = {}  # {}", setting.name, text(&json(given)), place(given)),
            (None, Default::Is(value)) => format!("{} = {value}  # by default", setting.name),
            (None, Default::Says(what)) => format!("# {}: {what}", setting.name),
            (None, Default::Required) => format!("# {}: not given", setting.name),
        };
        let heading = Some(section.heading()).filter(|heading| !heading.is_empty());
        return heading.into_iter().chain(section.settings.iter().map(setting)).collect();
    }
    let Some(given) = loaded.given().get(section.name) else { return vec![format!("# {}: none", section.heading())] };
    let Value::Array(entries) = json(given) else { return vec![] };
    let mut lines = vec![format!("# {}", place(given))];
    for entry in &entries {
        lines.push(section.heading());
        let settings = entry.as_object().into_iter().flatten();
        lines.extend(settings.map(|(name, value)| format!("{name} = {}", text(value))));
    }
    lines
}

/// As settings are named across sections.
fn name(section: &Section, setting: &Setting) -> String {
    if section.name.is_empty() { setting.name.into() } else { format!("{}.{}", section.name, setting.name) }
}

fn json(given: &Given) -> Value {
    serde_json::to_value(&given.value).unwrap_or_default()
}

/// A value as it is written in a file: texts and numbers stand there as in JSON.
fn text(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(text).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    /// The files that were read.
    files: &'a [PathBuf],
    /// SHA-256 of their bytes, which the agent's records name.
    hash: String,
    settings: BTreeMap<String, Effective<'a>>,
}

#[derive(Debug, Serialize)]
struct Effective<'a> {
    /// Null where what holds can't be written as a value.
    value: Value,
    /// Where it is given; null where it holds by default.
    file: Option<&'a Path>,
    line: Option<usize>,
}

impl<'a> Entry<'a> {
    fn of(loaded: &'a Loaded) -> Self {
        let effective = |name: String, default: Value| {
            let given = loaded.given().get(&name);
            let value = given.map_or(default, json);
            let (file, line) = (given.map(|given| given.file.as_path()), given.map(|given| given.line));
            (name, Effective { value, file, line })
        };
        let of_section = |section: &'static Section| {
            let default = |setting: &Setting| match setting.default {
                Default::Is(value) => serde_json::from_str(value).unwrap_or_default(),
                Default::Says(_) | Default::Required => Value::Null,
            };
            match section.many {
                true => vec![effective(section.name.into(), Value::Array(vec![]))],
                false => {
                    let settings = section.settings.iter();
                    settings.map(|setting| effective(name(section, setting), default(setting))).collect()
                }
            }
        };
        let settings = SECTIONS.iter().flat_map(of_section).collect();
        Self { files: &loaded.files, hash: loaded.hash.to_string(), settings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str) -> Loaded {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        Loaded::read(&[&path]).unwrap()
    }

    const TEXT: &str = "opaque = \"deny\"\nlock_on = [\"suspend\", \"screen-lock\"]\n\n[mute]\nseconds = 5\n\
                        [[host]]\nname = \"leaf-*\"\noffer = [\"work\", \"home\"]\nothers = false\n";

    #[test]
    fn what_is_shown_is_a_configuration_that_says_the_same() {
        let first = loaded(TEXT);
        let shown = describe(&first);
        let (again, value) = (loaded(&shown), |loaded: &Loaded, name: &str| loaded.given()[name].value.clone());
        for name in ["opaque", "lock_on", "mute.seconds", "host"] {
            assert_eq!(value(&again, name), value(&first, name), "{shown}");
        }
        assert_eq!(again.config.settings(), first.config.settings());
        assert_eq!(again.config.limits(), first.config.limits());
        let place = first.files[0].display();
        assert!(shown.contains(&format!("opaque = \"deny\"  # {place}:1\n")), "{shown}");
        assert!(shown.contains("[limits]\nprompt_seconds = 60  # by default\n"), "{shown}");
    }

    #[test]
    fn the_settings_in_json() {
        let loaded = loaded(TEXT);
        let json = serde_json::to_value(Entry::of(&loaded)).unwrap();
        let settings = &json["settings"];
        assert_eq!(settings["mute.seconds"], serde_json::json!({"value": 5, "file": loaded.files[0], "line": 5}));
        let default = serde_json::json!({"value": ["terminal", "pinentry", "askpass"], "file": null, "line": null});
        assert_eq!(settings["prompts.channels"], default);
        assert_eq!(settings["host"]["value"][0]["offer"], serde_json::json!(["work", "home"]));
        assert_eq!(
            (&settings["upstream"]["value"], &settings["helper"]["value"]),
            (&serde_json::json!([]), &Value::Null)
        );
    }
}
