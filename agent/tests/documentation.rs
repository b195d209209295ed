//! Documentation that is generated from the code, so that it can't fall behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends")]

use std::fmt::Write as _;
use std::path::Path;

use agent::denial::Code;

/// `docs/refusals.md` lists every refusal. Where it is out of date, this writes it anew and fails once.
#[test]
fn every_refusal_is_documented() {
    let mut page = String::from(
        "# Refusals\n\nSSH's agent protocol has one answer for every refusal: failure, without a reason. The reason goes to the prompt,\n\
         to the agent's messages, and to the audit log, with one of these codes. Codes never change their meaning.\n",
    );
    for code in Code::ALL {
        let meaning = code.meaning();
        let (first, rest) = meaning.split_at(1);
        let _ = write!(page, "\n## {code}\n\n{}{rest}. {}\n", first.to_uppercase(), code.next());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/refusals.md");
    if std::fs::read_to_string(&path).unwrap_or_default() != page {
        std::fs::write(&path, page).unwrap();
        panic!("docs/refusals.md was out of date and has been written anew: commit it");
    }
}
