//! OpenSSH's own tests of its agent, for keys on tokens. Its suite runs them with a token that is a library, which this agent
//! does not load: here are the same cases with a token that is one.
//!
//! | OpenSSH's test | here |
//! |---|---|
//! | agent.sh: add, list, log in with keys and certificates, over the forwarded agent | `keys_and_certificates_log_in` |
//! | agent.sh: delete | `keys_and_certificates_are_deleted_each_alone` |
//! | agent-restrict.sh | `restricted_to_hosts`, `restricted_to_users`, `restricted_to_a_host_s_certificate` |
//! | agent-timeout.sh | `a_lifetime_ends` |
//! | sshsig.sh, as far as the agent signs | `signatures_with_keys_and_certificates` |
//! | hostkey-agent.sh | `a_host_s_key_is_not_one_on_a_token`: it is refused here |
//! | (`ssh-add -x`, which the suite has no test for) | `locked_and_unlocked` |
//!
//! agent-subprocess.sh, agent-getpeereid.sh and agent-ptrace.sh know no types of keys.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::time::Instant;

use agent::denial::Code;
use soft_token::{Device, Touch};
use tests::{Agent, Authority, Ended, Env, KeyFile, PATIENCE, Program, Recipe, TokenKind, for_each_token};

const NONE: &str = "The agent has no identities.\n";

/// A token that is touched whenever it asks, a key of each type on it, and an authority that has certified both.
struct Suite {
    env: Env,
    token: Device,
    authority: Authority,
    keys: [KeyFile; 2],
    agent: Agent,
}

impl Suite {
    fn new(kind: TokenKind) -> Self {
        let env = Env::new();
        let token = env.plug(kind.options());
        let authority = env.authority();
        let keys = [Recipe::ed25519(), Recipe::ecdsa()].map(|recipe| env.ssh_keygen(&recipe));
        for key in &keys {
            authority.certify(key, &["-n", "estragon,me@example.com"]);
        }
        token.set_touch(Touch::Always);
        let agent = env.agent().start();
        Self { env, token, authority, keys, agent }
    }

    /// With all keys in the agent, whose files are moved away, so that nothing else can use them.
    fn with_keys_added(kind: TokenKind) -> Self {
        let suite = Self::new(kind);
        for key in &suite.keys {
            suite.agent.ssh_add(key);
            suite.hide(key);
        }
        suite
    }

    fn hide(&self, key: &KeyFile) {
        fs::rename(key.path(), key.path().with_extension("hidden")).unwrap();
    }

    fn ssh_add(&self, arguments: &[&str]) -> Program {
        self.agent.program("ssh-add").args(arguments)
    }

    /// The types of all keys and certificates that are listed.
    fn types(&self) -> Vec<String> {
        let list = self.ssh_add(&["-L"]).run();
        list.stdout.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
    }

    /// `ssh` with this key alone.
    fn ssh(&self, key: &KeyFile) -> Program {
        self.agent.ssh(["-o", "IdentitiesOnly=yes", "-i"]).arg(key.public_path())
    }
}

fn hello(login: Program) {
    assert_eq!(login.args(["echo", "hello"]).run().success().stdout, "hello\n");
}

fn refused(login: Program) -> Ended {
    login.args(["echo", "hello"]).run().code(255)
}

const TYPES: [&str; 4] = [
    "sk-ssh-ed25519@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
];

for_each_token! {
    fn keys_and_certificates_log_in(kind: TokenKind) {
        let suite = Suite::with_keys_added(kind);
        assert_eq!(suite.types(), TYPES);
        let list = suite.agent.list();
        for key in &suite.keys {
            assert_eq!(list.matches(&key.fingerprint()).count(), 2, "the key and its certificate: {list}");
        }

        let [by_key, by_certificate] = [suite.env.host("key"), suite.env.host("certificate")];
        suite.keys.iter().for_each(|key| by_key.authorize(key));
        by_certificate.authorize_line(&format!("cert-authority,principals=\"estragon\" {}\n", suite.authority.public_line()));
        hello(suite.agent.ssh(["key"]));
        for key in &suite.keys {
            hello(suite.ssh(key).arg("key"));
            refused(suite.ssh(key).arg("certificate"));
            let certificate = format!("CertificateFile={}", key.certificate_path().display());
            hello(suite.ssh(key).args(["-o", &certificate, "certificate"]));
        }
        assert!(by_certificate.log().contains("Accepted certificate ID \"a user\""), "{}", by_certificate.log());

        let forwarded = suite.agent.ssh(["-A", "key", "ssh-add", "-l"]).run().success();
        assert_eq!(forwarded.stdout, list);
        hello(suite.agent.ssh(["-A", "key", "ssh", "-F"]).arg(suite.env.ssh_config()).arg("key"));
    }

    /// `ssh-add -h`: to which hosts, and through which others. Behind a host, only what may be used there is listed.
    fn restricted_to_hosts(kind: TokenKind) {
        let suite = Suite::new(kind);
        let [a, b, other] = ["a", "b", "other"].map(|name| suite.env.host(name));
        let [key, elsewhere] = &suite.keys;
        [&a, &b, &other].iter().for_each(|host| host.authorize(key));
        let known_hosts = suite.env.path("known_hosts");
        let restrict = |paths: &[&str], key: &KeyFile| {
            let paths = paths.iter().flat_map(|path| ["-h", path]);
            suite.agent.program("ssh-add").arg("-qk").args(paths).arg("-H").arg(&known_hosts).arg(key.path()).run().success();
        };
        restrict(&["a", "a>b"], key);
        restrict(&["other"], elsewhere);
        suite.keys.iter().for_each(|key| suite.hide(key));
        assert_eq!(suite.types().len(), 2, "all are listed here");

        let config = suite.env.ssh_config();
        let behind = |hop: &str, host: &str| suite.agent.ssh(["-A", hop, "ssh", "-F"]).arg(&config).arg(host);
        hello(suite.ssh(key).arg("a"));
        hello(behind("a", "b"));
        refused(suite.ssh(key).arg("b"));
        refused(suite.ssh(key).arg("other"));
        refused(behind("a", "a"));
        refused(behind("a", "other"));

        let listed_at_a = suite.agent.ssh(["-A", "a", "ssh-add", "-L"]).run().success().stdout;
        assert_eq!(listed_at_a.lines().count(), 1, "{listed_at_a}");
        assert!(listed_at_a.starts_with(TYPES[0]), "{listed_at_a}");
        let twice = suite.agent.ssh(["-A", "a", "ssh", "-A", "-F"]).arg(&config).args(["b", "ssh-add", "-l"]);
        assert_eq!(twice.run().code(1).stdout, NONE, "it leads no further than b");
    }

    fn signatures_with_keys_and_certificates(kind: TokenKind) {
        let suite = Suite::with_keys_added(kind);
        let keygen = |arguments: &[&str]| suite.agent.program("ssh-keygen").arg("-Y").args(arguments);
        let allow = |line: String| {
            let file = suite.env.path("allowed_signers");
            fs::write(&file, format!("me@example.com {line}\n")).unwrap();
            file.display().to_string()
        };
        for key in &suite.keys {
            for file in [key.public_path(), key.certificate_path()] {
                let file = file.display().to_string();
                let is_certificate = file == key.certificate_path().display().to_string();
                for options in [&[][..], &["-O", "hashalg=sha256"], &["-O", "hashalg=sha512"]] {
                    let sign = keygen(&["sign", "-q", "-n", "test", "-f", &file]).args(options);
                    let signature = sign.input("data").run().success().stdout;
                    let path = suite.env.path("signature");
                    fs::write(&path, signature).unwrap();
                    let path = path.display().to_string();
                    let verify = |namespace: &str, allowed: &str, data: &str| {
                        let arguments = ["verify", "-I", "me@example.com", "-n", namespace, "-f", allowed, "-s", &path];
                        keygen(&arguments).input(data).run()
                    };
                    let trusted = match is_certificate {
                        true => allow(format!("cert-authority {}", suite.authority.public_line())),
                        false => allow(key.public_line()),
                    };
                    verify("test", &trusted, "data").success();
                    verify("test", &trusted, "other data").code(255);
                    verify("another", &trusted, "data").code(255);
                }
            }
            let bad = keygen(&["sign", "-n", "test", "-O", "hashalg=sha1", "-f"]).arg(key.public_path());
            bad.input("data").run().code(255);
        }
    }
}

#[test]
fn keys_and_certificates_are_deleted_each_alone() {
    let suite = Suite::new(TokenKind::PinOnly);
    let [ed25519, ecdsa] = &suite.keys;
    let add = || suite.keys.iter().for_each(|key| suite.agent.ssh_add(key));
    let delete = |arguments: &[&str], key: &KeyFile| {
        suite.ssh_add(arguments).arg(key.path()).run().success();
    };
    let delete_what_is_read = |line: String| {
        suite.ssh_add(&["-qd", "-"]).input(line + "\n").run().success();
    };
    add();
    suite.ssh_add(&["-D"]).run().success();
    assert_eq!(suite.agent.list(), NONE);

    add();
    assert_eq!(suite.types(), TYPES);
    delete(&["-qdk"], ed25519);
    assert_eq!(suite.types(), TYPES[1..], "its certificate stays");
    delete(&["-qd"], ecdsa);
    assert_eq!(suite.types(), TYPES[1..2], "both went");
    delete_what_is_read(ed25519.certificate_line());
    assert_eq!(suite.agent.list(), NONE);

    add();
    delete_what_is_read(ecdsa.public_line());
    assert_eq!(suite.types(), [TYPES[0], TYPES[1], TYPES[3]]);
    suite.agent.ssh_add(ecdsa);
    assert_eq!(suite.types().len(), 4, "added again, and not twice");
}

#[test]
fn restricted_to_users() {
    let suite = Suite::new(TokenKind::PinOnly);
    let [key, _] = &suite.keys;
    let host = suite.env.host("device");
    host.authorize(key);
    let known_hosts = suite.env.path("known_hosts");
    let user = suite.env.user();
    let (first, others) = user.split_at(1);
    for (pattern, may) in [
        (user.to_owned(), true),
        ("*".into(), true),
        (format!("{first}*"), true),
        (format!("?{others}"), true),
        (format!("-{user}"), false),
        (others.to_owned(), false),
    ] {
        let add = suite.ssh_add(&["-qk", "-h", &format!("{pattern}@device"), "-H"]).arg(&known_hosts).arg(key.path());
        add.run().success();
        let login = suite.ssh(key).arg("device");
        if may { hello(login) } else { drop(refused(login)) }
    }
}

/// Of the authority and of the certificate's names, both count.
#[test]
fn restricted_to_a_host_s_certificate() {
    let suite = Suite::new(TokenKind::PinOnly);
    let [key, _] = &suite.keys;
    let [device, other] = ["device", "other"].map(|name| suite.env.host(name));
    let authority = suite.env.authority();
    for (host, name) in [(&device, "device"), (&other, "other")] {
        host.authorize(key);
        authority.certify_host(host, &["-n", name]);
    }
    let known_hosts = suite.env.path("known_hosts");
    fs::write(&known_hosts, format!("@cert-authority * {}\n", authority.public_line())).unwrap();
    suite.ssh_add(&["-qk", "-h", "device", "-H"]).arg(&known_hosts).arg(key.path()).run().success();
    suite.hide(key);
    hello(suite.ssh(key).arg("device"));
    refused(suite.agent.ssh(["other"]));
    assert!(!other.log().contains("Accepted key"), "it was not even offered: {}", other.log());
}

/// agent-timeout.sh, without its waiting: the list is asked until the keys are gone.
#[test]
fn a_lifetime_ends() {
    let suite = Suite::new(TokenKind::PinOnly);
    let [ed25519, ecdsa] = &suite.keys;
    suite.ssh_add(&["-q", "-t", "3600"]).arg(ecdsa.path()).run().success();
    suite.ssh_add(&["-q", "-t", "1"]).arg(ed25519.path()).run().success();
    let end = Instant::now() + PATIENCE;
    while suite.types() != TYPES[2..] {
        assert!(Instant::now() < end, "{:?}", suite.types());
    }
}

#[test]
fn locked_and_unlocked() {
    let suite = Suite::with_keys_added(TokenKind::PinOnly);
    let host = suite.env.host("device");
    suite.keys.iter().for_each(|key| host.authorize(key));
    let list = suite.agent.list();
    let typist = suite.env.person_who_types("open sesame");
    let wrong = suite.env.person_who_types("close sesame");
    suite.ssh_add(&["-x"]).asking(&typist).run().success();
    assert_eq!(suite.agent.list(), NONE);
    refused(suite.agent.ssh(["device"]));
    let dropped = suite.ssh_add(&["-D"]).run();
    assert!(dropped.stderr.contains("Failed to remove all identities"), "{}", dropped.stderr);
    suite.ssh_add(&["-X"]).asking(&wrong).run().code(1);
    assert_eq!(suite.agent.list(), NONE);
    suite.ssh_add(&["-X"]).asking(&typist).run().success();
    assert_eq!(suite.agent.list(), list, "all that was there is there again");
    hello(suite.agent.ssh(["device"]));
}

/// What sshd signs is nothing that this agent could name, so no token is asked (statement 10).
#[test]
fn a_host_s_key_is_not_one_on_a_token() {
    let suite = Suite::with_keys_added(TokenKind::PinOnly);
    let (host, touches) = (suite.env.host("device"), suite.token.events().len());
    let [key, _] = &suite.keys;
    host.setting(&format!("HostKeyAgent {}", suite.agent.socket().display()));
    host.setting(&format!("HostKey {}", key.public_path().display()));
    let line = format!("device {}\n", key.public_line());
    fs::write(suite.env.path("known_hosts"), line).unwrap();
    let login = suite.agent.ssh(["-o", &format!("HostKeyAlgorithms={}", TYPES[0]), "device", "true"]);
    login.run().code(255);
    assert_eq!(suite.agent.audit().wait_for_refusal().code, Code::OpaqueData, "{}", host.log());
    assert_eq!(suite.token.events().len(), touches);
}
