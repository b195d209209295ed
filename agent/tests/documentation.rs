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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests");
    let read = |name: &str| std::fs::read_to_string(folder.join(name));
    let page = read("statements/main.rs").unwrap();
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
        let (file, test) = name.rsplit_once("::").unwrap();
        let text = read(&format!("{}.rs", file.replace("::", "/"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.contains(&format!("fn {test}(")), "there is no {name}");
        found += 1;
    }
    assert!(found > 30, "{found}");
}
