//! Hosts to log in to: OpenSSH's sshd, one process a connection, behind a listener that the test holds.
//!
//! The test accepts, and starts `sshd -i` with the connection as its standard input and output: so the port is free for
//! certain, and nobody waits for a daemon to come up. On a network of its own, a thread does so that is in the host's place
//! there, and with it what is started on the host.

use std::fs::Permissions;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::net::{Shutdown, shutdown};
use ssh_key::rand_core::OsRng;
use ssh_key::{LineEnding, PrivateKey, PublicKey};

use crate::keys::{KeyFile, fingerprint};
use crate::network::Site;

const SSHD: &str = "/usr/sbin/sshd";

/// A host with a host key and an authorized_keys of its own.
pub struct Host {
    folder: PathBuf,
    address: SocketAddr,
    key: PublicKey,
    listener: Arc<TcpListener>,
    gone: Arc<AtomicBool>,
}

impl Host {
    pub(crate) fn start(folder: PathBuf, site: Site) -> Self {
        std::fs::create_dir(&folder).expect("the folder is new");
        let key = PrivateKey::random(&mut OsRng, ssh_key::Algorithm::Ed25519).expect("a key can be made");
        key.write_openssh_file(&folder.join("host_key"), LineEnding::LF).expect("the folder can be written");
        std::fs::write(folder.join("authorized_keys"), "").expect("the folder can be written");
        std::fs::write(folder.join("sshd_config"), configuration(&folder)).expect("the folder can be written");
        make_privilege_separation_folder();

        let (listens, listening) = mpsc::channel();
        let gone = Arc::new(AtomicBool::new(false));
        let (at, is_gone) = (folder.clone(), gone.clone());
        thread::spawn(move || {
            site.enter();
            let listener =
                TcpListener::bind((site.address, site.port)).expect("the address is ours, and the port free");
            let listener = Arc::new(listener);
            listens.send(listener.clone()).expect("it is waited for");
            for connection in listener.incoming() {
                if is_gone.load(Ordering::Relaxed) {
                    return;
                }
                connection.into_iter().for_each(|connection| serve(&at, connection));
            }
        });
        let listener = listening.recv().expect("it listens");
        let address = listener.local_addr().expect("a listener has an address");
        Self { folder, address, key: key.public_key().clone(), listener, gone }
    }

    /// Lets this key log in from now on, beside those that may already.
    pub fn authorize(&self, key: &KeyFile) {
        self.authorize_line(&key.authorized_line());
    }

    /// Adds a line to authorized_keys.
    pub fn authorize_line(&self, line: &str) {
        let file = self.folder.join("authorized_keys");
        let lines = std::fs::read_to_string(&file).expect("the file was made with the host");
        std::fs::write(file, lines + line).expect("the folder can be written");
    }

    /// Adds a line to sshd_config, which holds in the place of one that is there for the same setting.
    pub fn setting(&self, line: &str) {
        let file = self.folder.join("sshd_config");
        let lines = std::fs::read_to_string(&file).expect("the file was made with the host");
        std::fs::write(file, format!("{line}\n{lines}")).expect("the folder can be written");
    }

    /// Has whoever logs in here find this program before the system's own of that name.
    pub fn program(&self, name: &str, script: &str) {
        let folder = self.folder.join("bin");
        std::fs::create_dir_all(&folder).expect("the folder can be written");
        let (new, program) = (folder.join(format!("{name}.new")), folder.join(name));
        std::fs::write(&new, script).expect("the folder can be written");
        std::fs::set_permissions(&new, Permissions::from_mode(0o700)).expect("the file is ours");
        std::fs::rename(new, program).expect("the folder can be written");
    }

    /// Makes it a host that has never heard of logins that name the host: its sshd has another name for them.
    pub fn forgets_hostbound(&self) {
        const NAME: &str = "publickey-hostbound@openssh.com";
        let program = self.folder.join("sshd");
        // Nothing of ours has it open for writing, with which no other thread could start it.
        let made = Command::new("sh")
            .arg("-c")
            .arg("sed \"s/$1/$2/\" \"$3\" >\"$4\" && chmod 700 \"$4\" && ! cmp -s \"$3\" \"$4\"")
            .args(["sh", NAME, &NAME.replace("bound", "bOUND"), SSHD])
            .arg(program)
            .env("LC_ALL", "C")
            .status();
        assert!(made.expect("sh runs").success(), "this sshd has {NAME} in it");
    }

    /// Where it keeps its files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port there.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The host key.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The fingerprint of the host key.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.key).to_string()
    }

    /// What sshd has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        // The listener's thread looks then.
        let _ = shutdown(&self.listener, Shutdown::Both);
        if thread::panicking() {
            eprintln!("--- sshd of {}:\n{}", self.folder.display(), self.log());
        }
    }
}

/// What a user keeps in files for their shell is no part of this: bash reads none where it is told that it is not the
/// outermost one.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
AllowAgentForwarding yes
KbdInteractiveAuthentication no
LogLevel VERBOSE
PasswordAuthentication no
PermitRootLogin yes
PermitUserRC no
PidFile none
PrintLastLog no
PrintMotd no
SetEnv SHLVL=1 PATH={folder}/bin:/usr/local/bin:/usr/bin:/bin
StrictModes no
UseDNS no
UsePAM no
X11Forwarding no
"
    )
}

fn serve(folder: &Path, connection: TcpStream) {
    let input = OwnedFd::from(connection.try_clone().expect("a descriptor is free"));
    let own = folder.join("sshd");
    let mut sshd = Command::new(if own.exists() { own.as_path() } else { Path::new(SSHD) });
    sshd.arg("-i").arg("-f").arg(folder.join("sshd_config")).arg("-E").arg(folder.join("log"));
    sshd.stdin(Stdio::from(input)).stdout(Stdio::from(OwnedFd::from(connection))).stderr(Stdio::null());
    let mut child = sshd.spawn().expect("sshd can be started");
    // The command holds the connection too, and the client shall see it end with sshd.
    drop(sshd);
    thread::spawn(move || child.wait());
}

/// sshd wants this folder where it runs as root. Debian makes it when its own sshd is started.
fn make_privilege_separation_folder() {
    if rustix::process::geteuid().is_root() {
        std::fs::create_dir_all("/run/sshd").expect("root can make a folder in /run");
    }
}
