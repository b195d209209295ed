//! `agent-cli manual`: the manual pages, from the command lines and the settings that the programs really have.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent::arguments::Arguments;
use agent::config::reference::{Default, Holds, SECTIONS, Section, Setting};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use crate::problem::Problem;

/// The daemon's name, as packages install it.
const AGENT: &str = "fido-ssh-agent";

/// The page of the settings.
const SETTINGS: &str = "fido-ssh-agent-config";

/// What the daemon's command line does not say of it.
const SIGNALS: [(&str, &str); 3] = [
    ("SIGTERM, SIGINT", "The agent ends in order: what is under way is put on record first."),
    (
        "SIGHUP",
        "It reads its settings again; where they are wrong, all stays as it was. If its terminal is gone, it ends.",
    ),
    ("SIGUSR1", "It drops all keys at once."),
];

const FILES: [(&str, &str); 4] = [
    ("~/.config/fido-ssh-agent/config.toml", "The settings."),
    ("/etc/fido-ssh-agent/config.toml", "The administrator's, which hold where the user's gives none."),
    ("$XDG_RUNTIME_DIR/fido-ssh-agent/default/agent.sock", "The default socket."),
    ("~/.local/state/fido-ssh-agent/default/audit.jsonl", "The record of all uses of keys."),
];

/// Where to write them.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    folder: PathBuf,
}

/// Writes them.
pub(crate) fn run(options: &Options, program: Command) -> Result<ExitCode, Problem> {
    write_all(&options.folder, program)
        .map_err(|error| Problem::failed(format!("{}: {error}", options.folder.display())))?;
    Ok(ExitCode::SUCCESS)
}

fn write_all(folder: &Path, program: Command) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    // A page for each of its commands, too.
    clap_mangen::generate_to(program, folder)?;
    fs::write(folder.join(format!("{AGENT}.1")), agent()?)?;
    fs::write(folder.join(format!("{SETTINGS}.5")), settings())
}

fn agent() -> std::io::Result<Vec<u8>> {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = Vec::new();
    Man::new(Arguments::command().name(AGENT).version(version)).render(&mut page)?;
    let mut more = Roff::new();
    definitions(&mut more, "SIGNALS", &SIGNALS);
    definitions(&mut more, "FILES", &FILES);
    more.control("SH", ["SEE ALSO"]);
    more.text([bold("agent-cli"), roman("(1), "), bold(SETTINGS), roman("(5), "), bold("ssh-agent"), roman("(1)")]);
    more.to_writer(&mut page)?;
    Ok(page)
}

fn definitions(page: &mut Roff, heading: &str, rows: &[(&str, &str)]) {
    page.control("SH", [heading]);
    for (name, meaning) in rows {
        page.control("TP", []);
        page.text([bold(*name)]);
        page.text([roman(*meaning)]);
    }
}

fn settings() -> String {
    let mut page = Roff::new();
    page.control("TH", [SETTINGS, "5", "", &format!("{AGENT} {}", env!("CARGO_PKG_VERSION")), ""]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{SETTINGS} - the settings of {AGENT}"))]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "They are written in TOML. A list of tables ([[host]]) is one setting: the user's takes the place of all of the \
         administrator's. Unknown settings are refused. After SIGHUP the agent goes by what the files say then, but for the \
         settings that are read at the start only; agent-cli-config(1) checks the files first, and shows what holds.",
    )]);
    for section in SECTIONS {
        describe(&mut page, section);
    }
    definitions(&mut page, "FILES", &FILES[..2]);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold(AGENT), roman("(1), "), bold("agent-cli-config"), roman("(1)")]);
    page.render()
}

fn describe(page: &mut Roff, section: &Section) {
    let heading = section.heading();
    page.control("SH", [if heading.is_empty() { "AT THE TOP" } else { &heading }]);
    page.text([roman(section.about)]);
    for Setting { name, values, default, holds, about } in section.settings {
        let default = match default {
            Default::Is(value) => format!("{values}; by default {value}."),
            Default::Says(what) => format!("{values}; by default: {what}."),
            Default::Required => format!("{values}; it has to be given."),
        };
        let start = if *holds == Holds::AtNextStart { " Read at the start only." } else { "" };
        page.control("TP", []);
        page.text([bold(*name)]);
        page.text([roman(default)]);
        page.control("br", []);
        page.text([roman(format!("{about}{start}"))]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arguments as Ours;

    #[test]
    fn each_option_and_each_setting_has_its_place_in_a_page() {
        let folder = tempfile::tempdir().unwrap();
        write_all(folder.path(), Ours::command()).unwrap();
        let page = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap().replace('\\', "");
        let agent = page("fido-ssh-agent.1");
        for argument in Arguments::command().get_arguments().filter(|argument| !argument.is_hide_set()) {
            if let Some(short) = argument.get_short() {
                assert!(agent.contains(&format!("fB-{short}")), "-{short}: {agent}");
            }
        }
        assert!(!agent.contains("announce") && agent.contains("SIGHUP"), "{agent}");
        let settings = page("fido-ssh-agent-config.5");
        for section in SECTIONS {
            assert!(settings.contains(&section.heading()), "{settings}");
            for setting in section.settings {
                assert!(settings.contains(&format!("fB{}fR", setting.name)), "{}: {settings}", setting.name);
            }
        }
        for command in Ours::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            assert!(
                page(&format!("agent-cli-{}.1", command.get_name())).contains("DESCRIPTION"),
                "{}",
                command.get_name()
            );
        }
        assert!(page("agent-cli.1").contains("gen-keys"));
    }
}
