//! Which agent this is. One is named by its socket, has folders of its own, and holds their lock for as long as it lives.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::paths::{COMMAND, DEFAULT, Paths};

/// The most agents of one kind that are told apart by number; beyond that something starts them without an end.
const MOST: u32 = 1000;

/// Where an agent is to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On this socket, or not at all.
    At(PathBuf),
    /// At the default place; where an agent is there already, on a socket of its own beside it, as with ssh-agent.
    Default,
    /// On a socket of its own, for one command.
    Command,
}

/// The folders and the lock of one agent.
#[derive(Debug)]
pub struct Claim {
    paths: Paths,
    _lock: File,
}

impl Claim {
    /// Takes the first agent's place that is free. Places are taken again, rather than made anew for each start, so that
    /// their audit logs are few and long.
    ///
    /// # Errors
    /// When it is taken, or its folders can't be used.
    pub fn take(place: &Place) -> anyhow::Result<Self> {
        let free = |name: &dyn Fn(u32) -> String| {
            for number in 1..=MOST {
                if let Some(claim) = Self::try_take(Paths::named(&name(number))?)? {
                    return Ok(claim);
                }
            }
            bail!("{MOST} agents are running already");
        };
        match place {
            Place::At(socket) => {
                let paths = Paths::find(Some(socket))?;
                let taken = format!(
                    "an agent for {} is running already (it holds {})",
                    socket.display(),
                    lock_file(&paths).display()
                );
                Self::try_take(paths)?.context(taken)
            }
            Place::Default => free(&|number| if number == 1 { DEFAULT.into() } else { format!("{DEFAULT}-{number}") }),
            Place::Command => free(&|number| format!("{COMMAND}-{number}")),
        }
    }

    /// Where its things are.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// None where another agent holds it.
    fn try_take(paths: Paths) -> anyhow::Result<Option<Self>> {
        let runtime = paths.control.parent();
        // The folders above as well: who may write there could put others in the place of ours.
        let above = runtime.and_then(Path::parent);
        for folder in [Some(&*paths.state), Some(&*paths.instance_state), above, runtime].into_iter().flatten() {
            private_folder(folder)?;
        }
        let path = lock_file(&paths);
        let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = open.with_context(|| path.display().to_string())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { paths, _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
        }
    }
}

fn lock_file(paths: &Paths) -> PathBuf {
    paths.instance_state.join("lock")
}

/// Makes a folder that only this user may enter, or checks that it is one.
fn private_folder(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| path.display().to_string())?;
    let found = std::fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o077 != 0 {
        bail!("{} has to be a folder that only you may enter (chmod 700)", path.display());
    }
    Ok(())
}
