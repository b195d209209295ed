//! A page, read without a browser.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What `tests/report/read_page.py` finds in it.
pub(crate) fn read(page: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("report/read_page.py");
    let mut reader = Command::new("/usr/bin/python3")
        .arg("-B")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (text, mut to) = (std::fs::read(page).unwrap(), reader.stdin.take().unwrap());
    let writer = std::thread::spawn(move || to.write_all(&text));
    let output = reader.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The row of this record.
pub(crate) fn row(page: &Value, id: u64) -> &Value {
    let id = format!("r{id}");
    page["rows"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["id"] == id.as_str())
        .unwrap_or_else(|| panic!("no row {id}"))
}

/// Each page is whole, asks nobody for anything, and runs nothing but its own script.
pub(crate) fn is_closed(page: &Value) {
    let (style, script) = (page["hashes"]["style"].as_str().unwrap(), page["hashes"]["script"].as_str().unwrap());
    let policy = page["policy"].as_str().unwrap();
    assert_eq!(
        policy,
        format!("default-src 'none'; script-src {script}; style-src {style}; base-uri 'none'; form-action 'none'")
    );
    let known = [
        "a", "b", "body", "circle", "code", "dd", "defs", "details", "div", "dl", "dt", "fieldset", "footer", "form",
        "h1", "h2", "h3", "head", "header", "html", "input", "kbd", "label", "legend", "li", "line", "main", "meta",
        "nav", "ol", "output", "p", "pattern", "pre", "rect", "script", "section", "small", "span", "strong", "style",
        "summary", "svg", "table", "tbody", "td", "text", "th", "thead", "time", "title", "tr", "ul",
    ];
    for element in page["elements"].as_object().unwrap().keys() {
        assert!(known.contains(&element.as_str()), "<{element}>");
    }
    assert_eq!((&page["elements"]["script"], &page["elements"]["style"]), (&1.into(), &1.into()));
    for attribute in page["attributes"].as_object().unwrap().keys() {
        assert!(
            !attribute.starts_with("on") && !["src", "style", "srcdoc", "action"].contains(&attribute.as_str()),
            "{attribute}"
        );
    }
    for link in page["links"].as_array().unwrap() {
        assert!(link.as_str().unwrap().starts_with('#'), "{link}");
    }
}
