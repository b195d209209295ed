//! Scenarios that are not for every machine.

use std::io::Write;

/// Says on standard error that this scenario is skipped, and why: not by what cargo hides.
///
/// # Panics
/// In the virtual machine of `tests/vm`, which is there for all of them: something of it was lost on the way.
pub fn skipped(why: &str) {
    let is_vm = std::env::var_os("TOKEN_BUS").is_some_and(|bus| bus == "uhid");
    assert!(!is_vm, "no scenario is to be skipped where TOKEN_BUS is uhid: {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}
