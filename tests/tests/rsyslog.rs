//! The shipped configuration of rsyslog, with two of Debian's: what the agent writes and hands over arrives at a log host over
//! TLS, although that is away for a while, and `audit verify` holds the log against it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use agent::audit::anchor;
use agent::audit::log::segments::Segments;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::Signal;
use tests::{Agent, Env, KeyFile, PATIENCE, Running, SIGN_RESPONSE, login_as, sshsig};

const SENDER: &str = include_str!("../../dist/rsyslog/60-fido-ssh-agent.conf");
const LOG_HOST: &str = include_str!("../../dist/rsyslog/loghost.conf");

/// Two machines' rsyslog, as Debian has it. Only what a site has to change is changed.
struct Site {
    env: Env,
    port: u16,
    /// The heads that the agent handed over.
    handed_over: Arc<Mutex<BTreeSet<u64>>>,
}

impl Site {
    fn new() -> Self {
        let env = Env::new();
        for folder in ["sender", "loghost", "received"] {
            fs::create_dir(env.path(folder)).unwrap();
        }
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        let site = Self { env, port, handed_over: Arc::default() };
        let authority = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=authority";
        site.openssl(&format!("{authority} -keyout ca.key -out ca.pem"));
        for (folder, name) in [("sender", "laptop.example.net"), ("loghost", "loghost.example.net")] {
            let request = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
            let name = format!("-subj /CN={name} -addext subjectAltName=DNS:{name}");
            site.openssl(&format!("{request} {name} -keyout {folder}/key.pem -out {folder}/request"));
            let certify = "x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy";
            site.openssl(&format!("{certify} -in {folder}/request -out {folder}/cert.pem"));
            fs::copy(site.env.path("ca.pem"), site.env.path(folder).join("ca.pem")).unwrap();
        }
        site
    }

    fn openssl(&self, arguments: &str) {
        self.env.program("openssl").args(arguments.split(' ')).run().success();
    }

    /// Starts an rsyslogd with a shipped file, in which these places are changed.
    fn rsyslogd(&self, folder: &str, shipped: &str, places: &[(&str, &str)]) -> Running {
        let (folder, tls) = (self.env.path(folder), self.env.path(folder).display().to_string());
        let places = places.iter().copied().chain([("/etc/fido-ssh-agent/tls", &*tls)]);
        let site = places.fold(shipped.to_owned(), |text, (place, ours)| {
            assert!(text.contains(place), "{place}");
            text.replace(place, ours)
        });
        // What Debian's rsyslog.conf says before it reads /etc/rsyslog.d; the system's own socket is left alone.
        let before = "module(load=\"imuxsock\" sysSock.use=\"off\")\nglobal(workDirectory=";
        let config = folder.join("rsyslog.conf");
        fs::write(&config, format!("{before}\"{}\")\n{site}", folder.display())).unwrap();
        self.env.program("rsyslogd").args(["-n", "-iNONE", "-f"]).arg(config).start()
    }

    fn sender(&self) -> Running {
        let socket = self.socket().display().to_string();
        let target = format!("target=\"127.0.0.1\" port=\"{}\"", self.port);
        let state = self.env.path("state").display().to_string();
        let sender = self.rsyslogd(
            "sender",
            SENDER,
            &[
                ("target=\"loghost.example.net\" port=\"2514\"", &target),
                ("/home/*/.local/state", &state),
                ("/run/fido-ssh-agent.log", &socket),
            ],
        );
        self.wait_until(|| UnixDatagram::unbound().unwrap().connect(self.socket()).is_ok());
        sender
    }

    fn log_host(&self) -> Running {
        let received = self.env.path("received").display().to_string();
        let port = format!("port=\"{}\"", self.port);
        self.rsyslogd("loghost", LOG_HOST, &[("/var/log/fido-ssh-agent", &received), ("port=\"2514\"", &port)])
    }

    fn socket(&self) -> PathBuf {
        self.env.path("sender/socket")
    }

    /// A socket for the agent. What it hands over is passed on to the sender, and noted.
    fn hand_over(&self) -> PathBuf {
        let path = self.env.path("handed-over");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (sender, heads) = (self.socket(), Arc::clone(&self.handed_over));
        thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok(length @ 1..) = socket.recv(&mut message) {
                heads.lock().unwrap().extend(anchor::read(&message[..length]).map(|head| head.sequence));
                // One that is away gets none, and none arrives then.
                let _ = socket.send_to(&message[..length], &sender);
            }
        });
        path
    }

    fn agent(&self) -> (Agent, KeyFile) {
        let socket = format!("audit.anchor_socket = \"{}\"", self.hand_over().display());
        let agent = self.env.agent().setting("audit.anchor = \"syslog\"").setting(&socket).quiet().start();
        let key = self.env.plain_key();
        agent.ssh_add(&key);
        (agent, key)
    }

    /// The file that the log host writes of that kind. There is one log, and so one of each.
    fn received(&self, kind: &str) -> Option<PathBuf> {
        let hosts = fs::read_dir(self.env.path("received")).unwrap();
        let files = hosts.flat_map(|host| fs::read_dir(host.unwrap().path()).unwrap());
        let paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        let mut paths = paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == kind));
        let path = paths.next();
        assert_eq!(paths.next(), None, "one log has one file");
        path
    }

    fn received_records(&self) -> BTreeSet<String> {
        let text = self.received("records").map(|file| fs::read_to_string(file).unwrap()).unwrap_or_default();
        // The last line may be on its way.
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(ToOwned::to_owned).collect()
    }

    fn received_heads(&self) -> BTreeSet<u64> {
        let text = self.received("heads").map(|file| fs::read(file).unwrap()).unwrap_or_default();
        anchor::heads(text.as_slice()).unwrap().into_iter().map(|head| head.sequence).collect()
    }

    /// Waits until all records came, and all heads that were handed over, and nothing else.
    fn wait_for_all(&self, log: &Path) {
        self.wait_until(|| {
            let all = records(log);
            let handed_over = self.handed_over.lock().unwrap().clone();
            handed_over.contains(&(all.len() as u64))
                && self.received_heads() == handed_over
                && self.received_records() == all.into_iter().collect()
        });
    }

    /// Looks again whenever one of the two has written, and is patient as long as it does.
    fn wait_until(&self, so: impl Fn() -> bool) {
        let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        let flags = WatchFlags::CREATE | WatchFlags::MODIFY;
        loop {
            let root = self.env.path("received");
            inotify::add_watch(&changes, &root, flags).unwrap();
            inotify::add_watch(&changes, self.env.path("sender"), flags).unwrap();
            for host in fs::read_dir(root).unwrap() {
                inotify::add_watch(&changes, host.unwrap().path(), flags).unwrap();
            }
            if so() {
                return;
            }
            let patience = Timespec::try_from(PATIENCE).unwrap();
            let written = poll(&mut [PollFd::new(&changes, PollFlags::IN)], Some(&patience)).unwrap() > 0;
            let came = || format!("{} records, heads {:?}", self.received_records().len(), self.received_heads());
            assert!(written, "it did not arrive; there are {}", came());
            let _ = rustix::io::read(&changes, &mut [0_u8; 4096][..]);
        }
    }
}

fn end(mut rsyslogd: Running) {
    rsyslogd.signal(Signal::TERM);
    rsyslogd.wait_until_gone();
}

/// The log's lines, over all its files.
fn records(log: &Path) -> Vec<String> {
    let files = Segments::of(log).all().unwrap();
    let text: String = files.into_iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    text.lines().map(ToOwned::to_owned).collect()
}

fn sign(agent: &Agent, key: &KeyFile, data: &[u8]) {
    assert_eq!(agent.connect().sign(&key.blob(), data)[0], SIGN_RESPONSE);
}

fn verify(env: &Env, log: &Path, anchor: &Path) -> tests::Program {
    env.program(tests::built("agent-cli")).args(["audit", "verify", "--log"]).arg(log).arg("--anchor").arg(anchor)
}

#[test]
fn nothing_is_missing_after_the_log_host_was_away() {
    let site = Site::new();
    let (log_host, sender) = (site.log_host(), site.sender());
    let (agent, key) = site.agent();
    let log = agent.audit().path().to_owned();
    sign(&agent, &key, &sshsig("file"));
    // Characters that rsyslog would write otherwise where it is not told to leave them.
    sign(&agent, &key, &login_as("m\u{7f}\u{e9}\t%\\".as_bytes(), b"session", &key, None));
    site.wait_for_all(&log);

    end(log_host);
    for n in 0..20 {
        sign(&agent, &key, &sshsig(&format!("while it is away {n}")));
    }
    let log_host = site.log_host();
    agent.terminate();
    site.wait_for_all(&log);
    let all = records(&log);
    end(sender);
    end(log_host);

    for kind in ["heads", "records"] {
        let received = site.received(kind).unwrap();
        verify(&site.env, &log, &received).run().success();
        fs::write(&log, all[..all.len() - 1].iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        verify(&site.env, &log, &received).run().code(12);
        fs::write(&log, all.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
}

#[test]
fn files_that_are_put_aside_are_sent_to_their_ends() {
    let site = Site::new();
    let (_log_host, sender) = (site.log_host(), site.sender());
    let (agent, key) = site.agent();
    let log = agent.audit().path().to_owned();
    // As much as a record holds of what is signed.
    let data = login_as(&[b'x'; 30 * 1024], b"session", &key, None);
    let put_aside = |files| {
        while Segments::of(&log).archived().unwrap().len() < files {
            sign(&agent, &key, &data);
        }
    };
    // What became of the last signature may still be written.
    let all_came = || site.wait_until(|| site.received_records() == records(&log).into_iter().collect());
    put_aside(1);
    sign(&agent, &key, &data);
    all_came();
    end(sender);
    // Of the second, which was sent in part, nobody sees that it is put aside.
    put_aside(2);
    sign(&agent, &key, &data);
    let _sender = site.sender();
    all_came();
    verify(&site.env, &log, &site.received("records").unwrap()).run().success();
}
