//! A socket in the file system: how it comes to its path, and how it leaves it, without harm to what others put there.

use std::fs::{File, Metadata};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as Handed;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{UnixListener, UnixStream};

/// The longest path of a socket, in bytes: `sun_path` has 108, the last of them zero (unix(7)).
const LONGEST_PATH: usize = 107;

/// A socket that is being listened on. One that was made here is removed at the end.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// None where somebody else made it, who will remove it as well.
    made: Option<FileId>,
}

/// What tells a file from another that takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

/// Why a socket can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody listens there already.
    #[error("{0}: an agent is serving this socket already. Stop it first, or choose another with -a.")]
    InUse(PathBuf),
    /// Something else is in its place.
    #[error("{0}: there is a file in the socket's place, and it is no socket. Remove it, or choose another with -a.")]
    NotASocket(PathBuf),
    /// The system has no room for it.
    #[error(
        "{path}: a socket's path has at most {LONGEST_PATH} bytes, and this one has {length}. Choose a shorter one with -a, \
         and a shorter folder with XDG_RUNTIME_DIR."
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// The socket that was handed over can't be found by anybody.
    #[error("the socket in LISTEN_FDS has no path, so nobody could be told where it is. Give ListenStream= a path.")]
    NoPath,
    /// The system says no.
    #[error("{0}: {1}")]
    System(PathBuf, #[source] std::io::Error),
}

impl Socket {
    /// Listens on `path`, for this user only. A socket that an agent left behind is replaced; one that is served is not.
    /// Two agents for one path are kept apart by the lock of its instance.
    ///
    /// # Errors
    /// See [`SocketError`].
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let system = |error| SocketError::System(path.to_owned(), error);
        let length = path.as_os_str().len();
        if length > LONGEST_PATH {
            return Err(SocketError::TooLong { path: path.to_owned(), length });
        }
        remove_stale(path)?;
        // Under its own name from the start, and connectable by nobody else: the folder may not be ours alone.
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = listener.map_err(|error| match error.kind() {
            // Somebody was quicker. The kernel puts a socket only where nothing is.
            std::io::ErrorKind::AddrInUse => SocketError::InUse(path.to_owned()),
            _ => system(error),
        })?;
        let made = Some(FileId::of(&std::fs::symlink_metadata(path).map_err(system)?));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(system)?;
        Ok(Self { listener, path: path.to_owned(), made })
    }

    /// Listens on a socket that somebody else made, and removes.
    ///
    /// # Errors
    /// When the system does not let it be listened on.
    pub fn handed_over(listener: Handed) -> Result<Self, SocketError> {
        let path = path_of(&listener)?;
        let system = |error| SocketError::System(path.clone(), error);
        listener.set_nonblocking(true).map_err(system)?;
        let listener = UnixListener::from_std(listener).map_err(system)?;
        Ok(Self { listener, path, made: None })
    }

    /// The next connection, of whomever.
    pub(crate) async fn connection(&self) -> std::io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let found = std::fs::symlink_metadata(&self.path).ok().map(|found| FileId::of(&found));
        if found.is_some() && found == self.made {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Where a socket that was handed over is found.
///
/// # Errors
/// When it is nowhere in the file system.
pub fn path_of(listener: &Handed) -> Result<PathBuf, SocketError> {
    let address = listener.local_addr().map_err(|error| SocketError::System("LISTEN_FDS".into(), error))?;
    if address.as_abstract_name().is_some() {
        return Err(SocketError::NoPath);
    }
    address.as_pathname().filter(|path| path.is_absolute()).map(Path::to_owned).ok_or(SocketError::NoPath)
}

/// Makes room for a socket, if a socket is there that nobody serves. All is done to the very file that was found, whatever
/// takes its place meanwhile.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let system = |error: Errno| SocketError::System(path.to_owned(), error.into());
    let found = match rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(found) => File::from(found),
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(system(error)),
    };
    let about = found.metadata().map_err(|error| SocketError::System(path.to_owned(), error))?;
    if !about.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    match connect(&found) {
        Err(Errno::CONNREFUSED) => {}
        // It answers, or its queue is full: somebody is there.
        Ok(()) | Err(Errno::AGAIN) => return Err(SocketError::InUse(path.to_owned())),
        Err(error) => return Err(system(error)),
    }
    // Out of the way first, then looked at: what was put there since is put back. `found` is held until then, so that no
    // other file can have its number.
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".stale-{}", std::process::id()));
    let aside = PathBuf::from(aside);
    match rustix::fs::rename(path, &aside) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(system(error)),
    }
    let moved = std::fs::symlink_metadata(&aside).ok().map(|moved| FileId::of(&moved));
    if moved != Some(FileId::of(&about)) {
        rustix::fs::renameat_with(CWD, &aside, CWD, path, RenameFlags::NOREPLACE).map_err(system)?;
        return Err(SocketError::InUse(path.to_owned()));
    }
    std::fs::remove_file(&aside).map_err(|error| SocketError::System(aside, error))
}

/// Connects to the socket behind this descriptor (made with O_PATH), without waiting for room in its queue.
fn connect(file: &File) -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&stream, &SocketAddrUnix::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener as Other;

    #[tokio::test]
    async fn a_socket_that_nobody_serves_is_replaced_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        drop(Other::bind(&path).unwrap());
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(Socket::bind(&path), Err(SocketError::InUse(_))));
        drop(socket);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// It would block whoever waits for room in the queue.
    #[tokio::test]
    async fn a_socket_whose_queue_is_full_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let flags = SocketFlags::CLOEXEC;
        let busy = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        rustix::net::bind(&busy, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&busy, 0).unwrap();
        let _first = std::os::unix::net::UnixStream::connect(&path).unwrap();
        assert!(matches!(Socket::bind(&path), Err(SocketError::InUse(_))));
    }

    #[tokio::test]
    async fn what_others_put_in_its_place_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let socket = Socket::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _other = Other::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());

        let handed = dir.path().join("handed.sock");
        drop(Socket::handed_over(Other::bind(&handed).unwrap()).unwrap());
        assert!(handed.exists());
    }

    #[tokio::test]
    async fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, stale) = (dir.path().join("agent.sock"), dir.path().join("other.sock"));
        drop(Other::bind(&stale).unwrap());
        std::os::unix::fs::symlink(&stale, &path).unwrap();
        assert!(matches!(Socket::bind(&path), Err(SocketError::NotASocket(_))));
        assert!(stale.exists() && path.is_symlink());
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_refused_with_its_length() {
        let path = Path::new("/tmp").join("x".repeat(103));
        let refused = Socket::bind(&path).unwrap_err().to_string();
        assert!(refused.contains("at most 107 bytes, and this one has 108"), "{refused}");
    }

    #[test]
    fn a_socket_without_a_path_can_t_be_served() {
        let name = std::os::unix::net::SocketAddr::from_abstract_name(format!("test-{}", std::process::id())).unwrap();
        assert!(matches!(path_of(&Other::bind_addr(&name).unwrap()), Err(SocketError::NoPath)));
    }
}
