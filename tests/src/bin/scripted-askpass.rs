//! An askpass program whose person is the test: it passes on what it is asked, and answers as it is told.
//!
//! `TESTS_PERSON` names the socket at which the test listens (see `person.rs`). It ends with the connection, as a window
//! that is taken down.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

fn main() -> ExitCode {
    match answer() {
        Ok(Some(text)) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scripted-askpass: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the person types, or None where they say no.
fn answer() -> std::io::Result<Option<String>> {
    let socket = env::var_os("TESTS_PERSON").ok_or_else(|| std::io::Error::other("TESTS_PERSON is not set"))?;
    let kind = env::var("SSH_ASKPASS_PROMPT").unwrap_or_default();
    let message = env::args().nth(1).unwrap_or_default();
    let mut person = UnixStream::connect(socket)?;
    writeln!(person, "{}", serde_json::json!({ "kind": kind, "text": message }))?;
    let mut line = String::new();
    BufReader::new(person).read_line(&mut line)?;
    Ok(line.strip_prefix("type ").map(|text| text.trim_end_matches('\n').to_owned()))
}
