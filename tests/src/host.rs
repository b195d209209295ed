//! Hosts to log in to: OpenSSH's sshd, one process a connection, behind a listener that the test holds.
//!
//! The test accepts, and starts `sshd -i` with the connection as its standard input and output: so the port is free for
//! certain, and nobody waits for a daemon to come up.

use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ssh_key::rand_core::OsRng;
use ssh_key::{LineEnding, PrivateKey, PublicKey};

use crate::keys::{KeyFile, fingerprint};

const SSHD: &str = "/usr/sbin/sshd";

/// A host on the loopback network, with a host key and an authorized_keys of its own.
pub struct Host {
    folder: PathBuf,
    port: u16,
    key: PublicKey,
    gone: Arc<AtomicBool>,
}

impl Host {
    pub(crate) fn start(folder: PathBuf) -> Self {
        std::fs::create_dir(&folder).expect("the folder is new");
        let key = PrivateKey::random(&mut OsRng, ssh_key::Algorithm::Ed25519).expect("a key can be made");
        key.write_openssh_file(&folder.join("host_key"), LineEnding::LF).expect("the folder can be written");
        std::fs::write(folder.join("authorized_keys"), "").expect("the folder can be written");
        std::fs::write(folder.join("sshd_config"), configuration(&folder)).expect("the folder can be written");
        make_privilege_separation_folder();

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("a listener has an address").port();
        let gone = Arc::new(AtomicBool::new(false));
        let host = Self { folder: folder.clone(), port, key: key.public_key().clone(), gone: gone.clone() };
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if gone.load(Ordering::Relaxed) {
                    return;
                }
                serve(&folder, connection);
            }
        });
        host
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

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
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
        // The listener's thread looks when somebody connects.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
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
