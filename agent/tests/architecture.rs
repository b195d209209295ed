//! The architecture's rules that a compiler does not know (docs/architecture.md), held against the source text.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends")]

use std::path::{Path, PathBuf};

/// The daemon's sources, with their path below `src`.
fn sources() -> Vec<(String, String)> {
    sources_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

/// The sources in a folder.
fn sources_below(root: &Path) -> Vec<(String, String)> {
    fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { collect(&path, into) } else { into.push(path) }
        }
    }
    let mut paths = Vec::new();
    collect(root, &mut paths);
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        (name, code(&std::fs::read_to_string(&path).unwrap()))
    };
    paths.into_iter().map(read).collect()
}

/// A source without its comments, and without its tests, which may do more.
fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]").unwrap_or(text.len());
    let lines = text[..tests].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Asserts that only these files (or folders, ending in '/') name any of the words.
fn only(files: &[&str], words: &[&str]) {
    for (name, text) in sources() {
        if files.iter().any(|file| name == *file || file.ends_with('/') && name.starts_with(file)) {
            continue;
        }
        for word in words {
            assert!(!text.contains(word), "{name} names {word}, which only {files:?} may");
        }
    }
}

#[test]
fn rule_1_the_rules_of_the_domain_are_pure() {
    let pure = [
        "identity",
        "constraint",
        "session_binding",
        "payload",
        "peer",
        "policy",
        "assertion",
        "known_hosts",
        "mute",
        "known_hosts/naming",
        "offer",
        "occasion",
        "occasion/lines",
        "prompt/text",
        "ssh_command",
    ];
    let forbidden = ["tokio", "std::fs", "std::env", "std::net", "Instant", "SystemTime", "Timestamp", "since_boot"];
    for (name, text) in sources() {
        if pure.iter().any(|module| name == format!("{module}.rs")) {
            for word in forbidden {
                assert!(!text.contains(word), "{name} names {word}");
            }
        }
    }
}

#[test]
fn rule_2_and_3_the_protocol_library_stays_at_the_door() {
    only(&["session.rs", "extension.rs", "listener.rs", "wire.rs"], &["ssh_agent_lib"]);
}

#[test]
fn rule_4_one_user_of_the_token_library() {
    only(&["bin/sk-helper/hid.rs", "bin/sk-helper/hid/"], &["ctap_hid_fido2"]);
}

#[test]
fn rule_5_one_place_for_the_environment_and_few_for_processes() {
    only(&["environment.rs", "prompt/environment.rs"], &["env::var"]);
    let starters = ["token/helper.rs", "prompt/askpass.rs", "prompt/pinentry/process.rs", "command_line/background.rs"];
    only(&starters, &["process::Command", "Command::new("]);
}

#[test]
fn rule_8_no_unsafe() {
    only(&[], &["unsafe "]);
}

#[test]
fn rule_6_one_place_that_connects() {
    only(&["upstream/connection.rs"], &["UnixStream::connect", "TcpStream", "UdpSocket"]);
    only(&["leaving.rs", "prompt/notify.rs"], &["zbus"]);
}

#[test]
fn rule_6_agent_cli_has_one_way_to_the_network_and_few_places_that_start_programs() {
    let sources = sources_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent-cli/src"));
    assert!(sources.len() > 30, "{}", sources.len());
    let places: [(&str, &[&str]); 2] = [
        ("ureq", &["directory/graph.rs", "directory/graph/http.rs"]),
        ("Command::new(", &["directory/bearer.rs", "commands/doctor/", "login.rs"]),
    ];
    for (name, text) in sources {
        for (word, places) in places {
            let may = places.iter().any(|place| name == *place || place.ends_with('/') && name.starts_with(place));
            assert!(may || !text.contains(word), "{name} names {word}, which only {places:?} may");
        }
        for word in ["TcpStream", "TcpListener", "UdpSocket"] {
            assert!(!text.contains(word), "{name} names {word}");
        }
    }
}
