//! The known_hosts files themselves, read again when they have changed.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::KnownHosts;

/// The longest file that is read: tens of thousands of hosts. What is longer is no list of hosts.
const LONGEST: u64 = 8 * 1024 * 1024;

/// The files ssh reads where it is not told otherwise (ssh_config(5), UserKnownHostsFile and GlobalKnownHostsFile).
#[derive(Debug, Default)]
pub struct Files {
    paths: Vec<PathBuf>,
    read: Vec<Option<Version>>,
    known: KnownHosts,
}

/// What changes when a file does.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Files {
    /// The user's and the system's. None is read yet.
    #[must_use]
    pub fn of(home: &Path) -> Self {
        let users = ["known_hosts", "known_hosts2"].map(|name| home.join(".ssh").join(name));
        let system = ["ssh_known_hosts", "ssh_known_hosts2"].map(|name| Path::new("/etc/ssh").join(name));
        Self::at(users.into_iter().chain(system).collect())
    }

    fn at(paths: Vec<PathBuf>) -> Self {
        Self { paths, read: Vec::new(), known: KnownHosts::default() }
    }

    /// What they say now. A file that can't be read is passed over with a warning. This waits for a disk.
    pub fn current(&mut self) -> &KnownHosts {
        // Looked at before they are read: what changes in between is found to have changed the next time.
        let versions: Vec<_> = self.paths.iter().map(|path| std::fs::metadata(path).ok().map(Version::of)).collect();
        if versions != self.read {
            self.known = KnownHosts::default();
            for path in &self.paths {
                match read(path) {
                    Ok(text) => self.known.add(&text),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => tracing::warn!(path = %path.display(), %error, "these known hosts are passed over"),
                }
            }
            self.read = versions;
        }
        &self.known
    }
}

impl Version {
    /// The time of the last change of status is a write's too, and no program can set it back.
    fn of(found: Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            length: found.len(),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe of that name would be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("this is no file"));
    }
    let mut text = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other(format!("this is longer than {} MiB", LONGEST >> 20)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKPybCjAYuYudl2ZLwqZbDBXp90M8xGMALv5dHkOgpQ";

    fn names(files: &mut Files) -> Vec<String> {
        let key = ssh_key::PublicKey::from_openssh(KEY).unwrap().to_bytes().unwrap();
        files.current().of(&key, 0).names().into_iter().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn a_change_is_seen_and_nothing_else_is_read_again() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".ssh");
        let mut files = Files::at(["known_hosts", "known_hosts2"].map(|name| folder.join(name)).to_vec());
        assert_eq!(names(&mut files), [""; 0]);

        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("known_hosts"), format!("leaf-1 {KEY}\n")).unwrap();
        assert_eq!(names(&mut files), ["leaf-1"]);
        std::fs::write(folder.join("known_hosts2"), format!("leaf-2 {KEY}\n")).unwrap();
        assert_eq!(names(&mut files), ["leaf-1", "leaf-2"]);
        files.known.add(format!("in-memory {KEY}").as_bytes());
        assert_eq!(names(&mut files), ["leaf-1", "leaf-2", "in-memory"], "no file has changed");

        std::fs::write(folder.join("new"), format!("leaf-3 {KEY}\n")).unwrap();
        std::fs::rename(folder.join("new"), folder.join("known_hosts")).unwrap();
        assert_eq!(names(&mut files), ["leaf-3", "leaf-2"]);
        std::fs::remove_file(folder.join("known_hosts")).unwrap();
        assert_eq!(names(&mut files), ["leaf-2"]);
    }

    #[test]
    fn what_is_no_list_of_hosts_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, long, good) = (folder.path().join("pipe"), folder.path().join("long"), folder.path().join("good"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        let line = format!("long {KEY}\n");
        std::fs::write(&long, line.repeat(usize::try_from(LONGEST).unwrap() / line.len() + 1)).unwrap();
        std::fs::write(&good, format!("good {KEY}\n")).unwrap();
        let mut files = Files::at(vec![pipe, long, folder.path().to_owned(), good]);
        assert_eq!(names(&mut files), ["good"]);
    }

    #[test]
    fn they_are_where_ssh_has_them() {
        let files = Files::of(Path::new("/home/me"));
        let expected = [
            "/home/me/.ssh/known_hosts",
            "/home/me/.ssh/known_hosts2",
            "/etc/ssh/ssh_known_hosts",
            "/etc/ssh/ssh_known_hosts2",
        ];
        assert_eq!(files.paths, expected.map(PathBuf::from));
    }
}
