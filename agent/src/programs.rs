//! The programs that the agent starts and gives secrets to: nobody else may be able to change them.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::config::Config;
use crate::paths::NAME;

/// The helper to use: the configured one, or the one installed with the agent. It is refused when others could change
/// it, since it is given PINs.
///
/// # Errors
/// When it is not there, or it or its folder can be written by others.
pub(crate) fn helper_program(config: &Config) -> anyhow::Result<PathBuf> {
    let program = match &config.helper {
        Some(program) => program.clone(),
        None => installed_helper().context("the agent can't find its own program")?,
    };
    nobody_else_can_change(&program).context("the token helper can't be used")
}

/// The program by its own path, where neither it nor its folder can be written by others.
///
/// # Errors
/// When it is not there, or others could change it.
pub(crate) fn nobody_else_can_change(program: &Path) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let program = std::fs::canonicalize(program).with_context(|| program.display().to_string())?;
    let us = rustix::process::geteuid().as_raw();
    for path in [Some(program.as_path()), program.parent()].into_iter().flatten() {
        let found = std::fs::metadata(path).with_context(|| path.display().to_string())?;
        if (found.uid() != us && found.uid() != 0) || found.mode() & 0o022 != 0 {
            bail!("{} could be changed by others: check owner and mode of {}", program.display(), path.display());
        }
    }
    Ok(program)
}

/// Beside the agent, as cargo builds it, or in libexec, as packages install it.
fn installed_helper() -> std::io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let beside = own.with_file_name("sk-helper");
    let libexec = Path::new("libexec").join(NAME).join("sk-helper");
    let installed = own.parent().and_then(Path::parent).map(|prefix| prefix.join(libexec));
    Ok(installed.filter(|path| !beside.exists() && path.exists()).unwrap_or(beside))
}
