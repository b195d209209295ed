//! Documentation that is generated from the code, so that it can't fall behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use agent::config::reference::{Default, Holds, SECTIONS};
use agent::denial::Code;

/// `docs/troubleshooting.md` has a section for each refusal and no other. It begins with what the agent says itself; the rest is
/// written by hand, and stays.
#[test]
fn every_refusal_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/troubleshooting.md")).unwrap();
    let (before, sections) = page.split_once("\n### unknown-key\n").expect("the first code has a section");
    let sections = format!("### unknown-key\n{sections}");
    let written: BTreeMap<_, _> =
        sections.split("### ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    let mut page = before.to_owned();
    for code in Code::ALL {
        let meaning = code.meaning();
        let (first, rest) = meaning.split_at(1);
        let _ = write!(page, "\n### {code}\n\n{}{rest}. {}\n", first.to_uppercase(), code.next());
        if let Some(setting) = code.setting() {
            let _ = writeln!(page, "The setting that decides it is `{setting}`.");
        }
        let by_hand = written.get(code.as_str()).and_then(|section| section.trim().split_once("\n\n"));
        if let Some((_, by_hand)) = by_hand {
            let _ = writeln!(page, "\n{by_hand}");
        }
    }
    up_to_date("docs/troubleshooting.md", &page);
}

/// A link to a part of the page leads there.
#[test]
fn the_links_within_pages_lead_somewhere() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let pages = [
        "../README.md",
        "../CONTRIBUTING.md",
        "architecture.md",
        "audit.md",
        "guide.md",
        "json.md",
        "settings.md",
        "threat-model.md",
        "troubleshooting.md",
    ];
    let read = |page: &str| std::fs::read_to_string(docs.join(page)).unwrap_or_default();
    for page in pages {
        let text = read(page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let (file, part) = link.split_once('#').unwrap_or((link, ""));
            if file.starts_with("http") {
                continue;
            }
            let from = docs.join(page);
            let target = if file.is_empty() { from } else { from.with_file_name("").join(file) };
            assert!(target.exists(), "{page}: {link}: there is no such file");
            if !part.is_empty() {
                let text = std::fs::read_to_string(target).unwrap();
                assert!(text.lines().any(|line| anchor(line).as_deref() == Some(part)), "{page}: {link}: no such part");
            }
        }
    }
}

/// What a heading is called in a link.
fn anchor(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
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
