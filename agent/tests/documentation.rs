//! Documentation that is generated from the code, so that it can't fall behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends")]

use std::fmt::Write as _;
use std::path::Path;

use agent::config::reference::{Default, Holds, SECTIONS};
use agent::denial::Code;

/// `docs/refusals.md` lists every refusal.
#[test]
fn every_refusal_is_documented() {
    let mut page = String::from(
        "# Refusals\n\nSSH's agent protocol has one answer for every refusal: failure, without a reason. The reason goes to the prompt,\n\
         to the agent's messages, and to the audit log, with one of these codes. Codes never change their meaning. `agent-cli why` shows the last ones.\n",
    );
    for code in Code::ALL {
        let meaning = code.meaning();
        let (first, rest) = meaning.split_at(1);
        let _ = write!(page, "\n## {code}\n\n{}{rest}. {}\n", first.to_uppercase(), code.next());
        if let Some(setting) = code.setting() {
            let _ = writeln!(page, "The setting that decides it is `{setting}`.");
        }
    }
    up_to_date("docs/refusals.md", &page);
}

/// `docs/settings.md` lists every setting.
#[test]
fn every_setting_is_documented() {
    let mut page = String::from(
        "# Settings\n\nThey are in `~/.config/fido-ssh-agent/config.toml`, in [TOML](https://toml.io), and before it in\n\
         `/etc/fido-ssh-agent/config.toml`, whose settings hold where yours gives none. A list of tables (`[[host]]`) is one setting: yours\n\
         takes the place of all of it. `agent-cli config show` says what holds, and where it is given; `agent-cli config check` whether the\n\
         files can be used. After SIGHUP the agent goes by what they say then, but for the settings that are read at the start only.\n",
    );
    for section in SECTIONS {
        let heading = section.heading();
        let heading = if heading.is_empty() { "At the top".into() } else { format!("`{heading}`") };
        let _ = write!(page, "\n## {heading}\n\n{}\n\n", section.about);
        page += "| setting | what it may be | by default | what it does |\n|---|---|---|---|\n";
        for setting in section.settings {
            let default = match setting.default {
                Default::Is(value) => format!("`{value}`"),
                Default::Says(what) => what.into(),
                Default::Required => "has to be given".into(),
            };
            let start = if setting.holds == Holds::AtNextStart { " Read at the start only." } else { "" };
            let _ =
                writeln!(page, "| `{}` | {} | {default} | {}{start} |", setting.name, setting.values, setting.about);
        }
    }
    up_to_date("docs/settings.md", &page);
}

/// Where a page is out of date, this writes it anew and fails once.
fn up_to_date(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    if std::fs::read_to_string(&path).unwrap_or_default() != page {
        std::fs::write(&path, page).unwrap();
        panic!("{name} was out of date and has been written anew: commit it");
    }
}

/// The table of `tests/tests/statements` names a test for each statement. Here each of them is looked for.
#[test]
fn every_statement_s_tests_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("tests/tests/statements/main.rs")).unwrap();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("//! | ") && line.contains("`")).collect();
    let numbers: std::collections::BTreeSet<u32> = rows
        .iter()
        .flat_map(|row| row.split('|').nth(1).unwrap().split(','))
        .filter_map(|n| n.trim().parse().ok())
        .collect();
    assert_eq!(numbers, (1..=18).collect());
    let names = rows.iter().flat_map(|row| row.rsplit_once(" | ").unwrap_or_default().1.split('`').skip(1).step_by(2));
    let mut found = 0;
    for name in names {
        let (place, test) = name.rsplit_once("::").unwrap();
        is_there(&root, place, test);
        found += 1;
    }
    assert!(found > 30, "{found}");
}

/// The threat model names what stops an attacker: a file below `agent/src`, or a test as `program::module::test`.
#[test]
fn what_the_threat_model_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let (mut files, mut tests) = (0, 0);
    for name in page.split('`').skip(1).step_by(2) {
        if let Some((place, test)) = name.rsplit_once("::").filter(|(_, test)| *test != "…") {
            is_there(&root, place, test);
            tests += 1;
        } else if name.ends_with(".rs") {
            assert!(root.join("agent/src").join(name).is_file(), "agent/src/{name} is not there");
            files += 1;
        }
    }
    assert!(files > 10 && tests > 40, "the page is read as it is written: {files} files, {tests} tests");
}

/// Asserts that there is a test of this name in `program` or `program::module`, whether it has a `main.rs` or not; or one that a
/// macro makes, as in `name: "..."`.
fn is_there(root: &Path, place: &str, test: &str) {
    let path = place.replace("::", "/");
    let names = [format!("{path}.rs"), format!("{path}/main.rs")];
    let folders = ["tests/tests", "agent/tests"].map(|folder| root.join(folder));
    let paths = folders.iter().flat_map(|folder| names.each_ref().map(|name| folder.join(name)));
    let texts: Vec<_> = paths.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let found =
        texts.iter().any(|text| text.contains(&format!("fn {test}(")) || text.contains(&format!(" {test}: \"")));
    assert!(found, "there is no {place}::{test}");
}
