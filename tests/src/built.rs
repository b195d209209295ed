//! The programs under test, as cargo built them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A program of this workspace, from the folder in which the running test was built.
///
/// Under cargo the workspace is built first, once a process, so that `cargo test -p tests` tests what is in the working
/// tree. In the virtual machine there is no cargo, and the programs are those that are there.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    // None where the workspace does not build, which is found out once.
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let test = std::env::current_exe().expect("a running program knows its file");
        // Tests are built in target/PROFILE/deps, programs in target/PROFILE.
        let folder = test.parent().expect("a program is in a folder");
        let folder = if folder.ends_with("deps") { folder.parent().expect("deps is in a folder") } else { folder };
        let cargo = std::env::var_os("CARGO");
        let ready = cargo.is_none_or(|cargo| build(Path::new(&cargo), folder));
        ready.then(|| folder.to_owned())
    });
    let folder = folder.as_ref().expect("the workspace builds");
    let program = folder.join(name);
    assert!(program.exists(), "{} is not there: run cargo build --workspace", program.display());
    program
}

fn build(cargo: &Path, folder: &Path) -> bool {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let target = folder.parent().expect("a profile's folder is in target");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml");
    let mut command = Command::new(cargo);
    // Cargo tells a test of its package. Where a build finds other words there than the last one did, it makes anew what has
    // asked for them (ring), and all that is built on that.
    let of_the_package =
        |name: &OsString| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of| name.to_string_lossy().starts_with(of));
    for (name, _) in std::env::vars_os().filter(|(name, _)| of_the_package(name)) {
        command.env_remove(name);
    }
    let built = command
        .args(["build", "--quiet", "--workspace", "--profile", profile, "--target-dir"])
        .arg(target)
        .arg("--manifest-path")
        .arg(manifest)
        .status();
    built.expect("cargo runs").success()
}
