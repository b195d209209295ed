//! The table in docs/audit.md.

use std::path::Path;

use agent::audit::verify::Kind;

/// The heading of its first column.
const HEADING: &str = "| class of change |";

/// What the documentation says of one class: the exit codes.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) class: String,
    pub(crate) alone: u8,
    pub(crate) anchored: u8,
}

pub(crate) fn in_documentation() -> Vec<Row> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs/audit.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.lines().skip_while(|line| !line.starts_with(HEADING)).skip(2);
    table.take_while(|line| line.starts_with('|')).map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [class, alone, anchored] = cells[..] else { panic!("three columns, not {line}") };
    Row { class: class.into(), alone: code(alone), anchored: code(anchored) }
}

fn code(word: &str) -> u8 {
    match word {
        "clean" => 0,
        "tampered" => Kind::Tampered.exit_code(),
        "torn tail" => Kind::TornTail.exit_code(),
        "not anchored" => Kind::NotAnchored.exit_code(),
        other => panic!("the table says {other:?}"),
    }
}
