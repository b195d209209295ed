//! The old key makes room: its files are moved aside, never deleted, and the agent forgets it.

use std::io;
use std::path::{Path, PathBuf};

use agent::control::{Event, Request};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use secrecy::SecretString;

use super::beside;
use super::state::{State, Step};
use crate::agent_socket::AgentSocket;
use crate::commands::add::add_file;
use crate::control::{Control, unexpected};
use crate::problem::Problem;
use crate::publication::Candidate;
use crate::terminal::Terminal;

/// The files of a key, as they end.
const ENDINGS: [&str; 3] = ["", ".pub", "-cert.pub"];

/// Gives the new key's files the old one's names, and has the agent hold the new key alone. Where the old file is then.
pub(super) fn retire(
    old: &Candidate,
    new: &Candidate,
    passphrase: Option<SecretString>,
    state: &mut State,
    terminal: &mut Terminal,
) -> Result<PathBuf, Problem> {
    let (old_file, new_file) = (old.file.with_extension(""), new.file.with_extension(""));
    let aside = free_name(&old_file);
    move_all(&[(&old_file, &aside), (&new_file, &old_file)])?;
    state.step = Step::Moved(aside.clone());
    // From now on it is there again after a restart, by its new name.
    add_file(&old_file, terminal, passphrase)?;
    let mut agent = AgentSocket::connect()?;
    // Its certificates go with it.
    for held in agent.list()?.into_iter().filter(|held| held.key.fingerprint == old.key.fingerprint) {
        if !agent.remove(&held.key)? {
            return Err(
                Problem::failed("the agent did not remove the old key").next("`agent-cli why` tells the reason.")
            );
        }
    }
    if let Err(problem) = succeed(old, new) {
        problem.next("So `agent-cli list` shows the backups of the old key as such still.").show();
    }
    Ok(aside)
}

/// A name of which no file of a key is there yet.
fn free_name(file: &Path) -> PathBuf {
    let name = format!("_old-{}", jiff::Timestamp::now().strftime("%Y-%m-%d"));
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.clone()).chain(numbered).map(|name| beside(file, &name));
    let is_free = |path: &PathBuf| ENDINGS.iter().all(|ending| beside(path, ending).symlink_metadata().is_err());
    names.find(is_free).unwrap_or_else(|| beside(file, &name))
}

/// Moves all files of keys, or none.
fn move_all(keys: &[(&PathBuf, &PathBuf)]) -> Result<(), Problem> {
    let mut moved: Vec<(PathBuf, PathBuf)> = Vec::new();
    let files = keys.iter().flat_map(|(from, to)| ENDINGS.map(|ending| (beside(from, ending), beside(to, ending))));
    for (from, to) in files {
        if from.symlink_metadata().is_err() {
            continue;
        }
        if let Err(error) = move_to(&from, &to) {
            let mut problem = Problem::failed(format!("{} can't become {}: {error}", from.display(), to.display()));
            for (from, to) in moved.iter().rev() {
                if let Err(error) = move_to(to, from) {
                    problem = problem.next(format!("{} was {}: {error}", to.display(), from.display()));
                }
            }
            return Err(problem);
        }
        moved.push((from, to));
    }
    Ok(())
}

/// Never over another file.
fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that has no such thing.
        Err(Errno::INVAL) if to.symlink_metadata().is_err() => std::fs::rename(from, to),
        result => Ok(result?),
    }
}

/// Has the new key take the old one's place among the backups.
fn succeed(old: &Candidate, new: &Candidate) -> Result<(), Problem> {
    let request = Request::Succeed { old: old.key.fingerprint.clone(), new: new.key.fingerprint.clone() };
    match Control::connect()?.ask(&request)? {
        Event::Succeeded => Ok(()),
        other => Err(unexpected(&other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = folder.read_dir().unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn files(folder: &Path, names: &[&str]) {
        names.iter().for_each(|name| std::fs::write(folder.join(name), name).unwrap());
    }

    #[test]
    fn all_files_of_a_key_are_moved_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new, aside] = ["id", "id_new", "id_old"].map(|name| folder.path().join(name));
        let before = ["id", "id-cert.pub", "id.pub", "id_new", "id_new.pub"];
        files(folder.path(), &before);
        // In the way of the last one.
        std::fs::create_dir(folder.path().join("id_old.pub")).unwrap();
        assert!(move_all(&[(&old, &aside), (&new, &old)]).is_err());
        std::fs::remove_dir(folder.path().join("id_old.pub")).unwrap();
        assert_eq!(names(folder.path()), before);
        move_all(&[(&old, &aside), (&new, &old)]).unwrap();
        assert_eq!(names(folder.path()), ["id", "id.pub", "id_old", "id_old-cert.pub", "id_old.pub"]);
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "id_new");
        assert_eq!(std::fs::read_to_string(&aside).unwrap(), "id");
    }

    #[test]
    fn a_name_that_is_taken_by_any_file_of_a_key_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("id");
        let first = free_name(&file);
        std::fs::write(beside(&first, ".pub"), "").unwrap();
        let second = free_name(&file);
        assert_eq!(second, beside(&first, "-2"));
    }
}
