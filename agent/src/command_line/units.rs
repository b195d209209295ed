//! `--install-user-units`: systemd's units for one user, where no package has brought them for all.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use agent::audit::chain::Hash;
use anyhow::{Context, bail};
use directories::BaseDirs;

/// The units, and in which place of theirs the folder of the agent's program belongs.
const UNITS: [(&str, &str); 2] = [
    ("fido-ssh-agent.socket", include_str!("../../../packaging/systemd/fido-ssh-agent.socket")),
    ("fido-ssh-agent.service", include_str!("../../../packaging/systemd/fido-ssh-agent.service")),
];

/// In the units, the program as packages install it.
const PROGRAM: &str = "@BINDIR@/fido-ssh-agent";

/// The first line of a unit that was written here, before the hash of all that follows.
const MARK: &str = "# Written by fido-ssh-agent --install-user-units: ";

/// What to do next.
const NEXT: &str = "Start it at the first use, in this session and those to come, with
    systemctl --user daemon-reload
    systemctl --user enable --now fido-ssh-agent.socket
and have your shell's start-up file set
    SSH_AUTH_SOCK=\"$XDG_RUNTIME_DIR/fido-ssh-agent/default/agent.sock\"; export SSH_AUTH_SOCK";

/// Writes them to the user's folder, and says what to do next.
pub(crate) fn install() -> anyhow::Result<()> {
    let base = BaseDirs::new().context("there is no home directory: set HOME")?;
    let folder = base.config_dir().join("systemd/user");
    let program = std::env::current_exe().context("the agent can't find its own program")?;
    for (path, what) in install_in(&folder, &program)? {
        println!("{}: {what}", path.display());
    }
    println!("{NEXT}");
    Ok(())
}

fn install_in(folder: &Path, program: &Path) -> anyhow::Result<Vec<(PathBuf, &'static str)>> {
    let program = program.to_str().filter(|path| path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%'));
    let program = program.context("systemd can't be told of a program whose path is not plain")?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let units = UNITS.map(|(name, text)| (folder.join(name), marked(&text.replace(PROGRAM, program))));
    let mut changes = Vec::new();
    for (path, text) in units {
        let found = match fs::read_to_string(&path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let what = match found {
            None => "written",
            Some(found) if found == text => "up to date",
            Some(found) if is_ours(&found) => "replaced",
            Some(_) => bail!(
                "{} was written or changed by somebody else, and stays as it is: move it away, and repeat. Changes are better \
                 made with `systemctl --user edit`.",
                path.display()
            ),
        };
        changes.push((path, text, what));
    }
    // All of them or none: nothing is written before each was looked at.
    for (path, text, _) in changes.iter().filter(|(.., what)| *what != "up to date") {
        let new = path.with_extension("new");
        fs::write(&new, text).and_then(|()| fs::rename(&new, path)).with_context(|| path.display().to_string())?;
    }
    Ok(changes.into_iter().map(|(path, _, what)| (path, what)).collect())
}

fn marked(text: &str) -> String {
    format!("{MARK}{}\n{text}", Hash::of(text.as_bytes()))
}

/// Whether a unit is as it was written here, by whatever version.
fn is_ours(unit: &str) -> bool {
    unit.split_once('\n').is_some_and(|(_, text)| unit == marked(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_written_and_replaced_until_somebody_changes_them() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("systemd/user");
        let install = |program: &str| install_in(&folder, Path::new(program));
        let whats = |program| install(program).unwrap().into_iter().map(|(_, what)| what).collect::<Vec<_>>();
        let service = folder.join("fido-ssh-agent.service");
        assert_eq!(whats("/opt/agent"), ["written", "written"]);
        assert!(fs::read_to_string(&service).unwrap().contains("\nExecStart=/opt/agent -D\n"));
        assert_eq!(whats("/opt/agent"), ["up to date", "up to date"]);
        assert_eq!(whats("/usr/bin/agent"), ["up to date", "replaced"]);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);

        let changed = fs::read_to_string(&service).unwrap() + "[Service]\nUMask=0\n";
        fs::write(&service, &changed).unwrap();
        assert!(install("/opt/agent").unwrap_err().to_string().contains("systemctl --user edit"));
        assert_eq!(fs::read_to_string(&service).unwrap(), changed);
        assert!(install("/a path/with%s").is_err());
    }
}
