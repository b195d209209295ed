//! What OpenSSH's own programs made, for tests: see `fixtures/keys/make`.

use base64::Engine as _;
use ssh_encoding::Encode;

/// A certificate.
pub(crate) fn certificate(name: &str) -> Vec<u8> {
    line(include_str!("../../fixtures/keys/certificates"), name)
}

/// The frame with which `ssh-add` adds a key.
pub(crate) fn addition(name: &str) -> Vec<u8> {
    line(include_str!("../../fixtures/keys/additions"), name)
}

/// The names of all additions.
pub(crate) fn additions() -> impl Iterator<Item = &'static str> {
    include_str!("../../fixtures/keys/additions").lines().filter_map(|line| line.split(' ').next())
}

/// Lines begin with a name and end with what it is the name of.
fn line(file: &str, name: &str) -> Vec<u8> {
    let mut lines = file.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let words = lines.find(|words| words[0] == name).unwrap_or_else(|| panic!("there is no {name}"));
    base64::engine::general_purpose::STANDARD.decode(words[words.len() - 1]).unwrap()
}

/// Bytes as SSH writes strings.
pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    bytes.encode(&mut out).unwrap();
    out
}
