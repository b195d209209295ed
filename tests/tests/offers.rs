//! What is offered on which host: with more keys than a host lets anybody try, `[[host]]` in the configuration decides.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::path::PathBuf;

use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, PrivateKey};
use tests::{Agent, Client, Env, Host, KeyFile, SIGN_RESPONSE, SUCCESS, login, session_bind};

/// Five keys, the last of which may log in on a host that ends a login at the second failure.
struct Crowd {
    env: Env,
    device: Host,
    keys: Vec<KeyFile>,
}

impl Crowd {
    fn new() -> Self {
        let env = Env::new();
        let keys: Vec<_> = (0..5).map(|_| env.plain_key()).collect();
        let rename = env.program("ssh-keygen").args(["-q", "-c", "-C", "break glass", "-f"]);
        rename.arg(keys[4].path()).run().success();
        let device = env.host("device");
        device.setting("MaxAuthTries 2");
        device.authorize(&keys[4]);
        Self { env, device, keys }
    }

    fn good(&self) -> &KeyFile {
        &self.keys[4]
    }

    /// An agent that holds all keys, the good one last.
    fn agent(&self, rules: &str) -> Agent {
        let agent = self.env.agent().setting(rules).start();
        self.keys.iter().for_each(|key| agent.ssh_add(key));
        agent
    }

    /// Writes the person's known_hosts: the device under these names.
    fn is_known_as(&self, names: &str) {
        let key = self.device.key().to_openssh().unwrap();
        fs::write(self.known_hosts(), format!("{names} {key}\n")).unwrap();
    }

    fn known_hosts(&self) -> PathBuf {
        self.env.path("home/.ssh/known_hosts")
    }

    fn blobs(&self) -> Vec<Vec<u8>> {
        self.keys.iter().map(KeyFile::blob).collect()
    }
}

fn logs_in(agent: &Agent) {
    let login = agent.ssh(["device", "echo", "hello"]).run().success();
    assert_eq!(login.stdout, "hello\n");
}

fn is_sent_away(agent: &Agent) {
    let refused = agent.ssh(["device", "echo", "hello"]).run().code(255);
    assert!(refused.stderr.contains("Too many authentication failures"), "{}", refused.stderr);
}

#[test]
fn without_a_rule_the_host_sends_away_whoever_has_many_keys() {
    let crowd = Crowd::new();
    crowd.is_known_as("leaf-1.fabric.example");
    is_sent_away(&crowd.agent(""));
}

#[test]
fn a_rule_for_another_host_is_none_for_this_one() {
    let crowd = Crowd::new();
    crowd.is_known_as("leaf-1.fabric.example");
    let other = crowd.good().fingerprint();
    is_sent_away(&crowd.agent(&format!(
        "[[host]]\nname = \"leaf-1\"\noffer = [\"break glass\"]\n[[host]]\nkey = \"{other}\"\noffer = [\"break glass\"]"
    )));
}

/// The host becomes known while the agent runs, as with a first login.
#[test]
fn a_rule_by_a_name_that_known_hosts_has_hashed() {
    let crowd = Crowd::new();
    let agent = crowd.agent("[[host]]\nname = \"leaf-1.fabric.example\"\noffer = [\"break glass\"]");
    is_sent_away(&agent);
    crowd.is_known_as("leaf-1.fabric.example");
    crowd.env.program("ssh-keygen").args(["-q", "-H", "-f"]).arg(crowd.known_hosts()).run().success();
    assert!(fs::read_to_string(crowd.known_hosts()).unwrap().starts_with("|1|"), "ssh-keygen has hashed it");
    logs_in(&agent);
}

#[test]
fn a_rule_by_pattern() {
    let crowd = Crowd::new();
    crowd.is_known_as("leaf-1.fabric.example,192.0.2.1");
    let good = crowd.good().fingerprint();
    logs_in(&crowd.agent(&format!("[[host]]\nname = \"leaf-*.fabric.example\"\noffer = [\"{good}\"]\nothers = false")));
}

#[test]
fn a_rule_by_port() {
    let crowd = Crowd::new();
    let name = format!("[127.0.0.1]:{}", crowd.device.port());
    crowd.is_known_as(&name);
    logs_in(&crowd.agent(&format!(
        "[[host]]\nname = \"127.0.0.1\"\noffer = []\nothers = false
         [[host]]\nname = \"{name}\"\noffer = [\"break glass\"]"
    )));
}

/// It needs no known_hosts. The first rule that fits holds.
#[test]
fn a_rule_by_the_host_s_key() {
    let crowd = Crowd::new();
    let key = crowd.device.fingerprint();
    logs_in(&crowd.agent(&format!(
        "[[host]]\nkey = \"{key}\"\noffer = [\"no such key\", \"break glass\"]
         [[host]]\nkey = \"{key}\"\noffer = []\nothers = false"
    )));
}

/// known_hosts has the authority only, and the certificate has the name.
#[test]
fn a_rule_by_a_name_that_the_host_s_certificate_has() {
    let crowd = Crowd::new();
    let authority = crowd.env.plain_key();
    let key = crowd.env.path("device/host_key.pub");
    fs::write(&key, crowd.device.key().to_openssh().unwrap()).unwrap();
    let certify =
        crowd.env.program("ssh-keygen").args(["-q", "-h", "-I", "device", "-n", "device,leaf-1.example", "-s"]);
    certify.arg(authority.path()).arg(&key).run().success();
    crowd.device.setting(&format!("HostCertificate {}", crowd.env.path("device/host_key-cert.pub").display()));
    let authority = authority.public_line();
    fs::write(crowd.known_hosts(), format!("@cert-authority *.example {authority}\n")).unwrap();
    fs::write(crowd.env.path("known_hosts"), format!("@cert-authority device {authority}\n")).unwrap();

    let agent = crowd.agent("[[host]]\nname = \"leaf-1.example\"\noffer = [\"break glass\"]");
    logs_in(&agent);
    agent.terminate();
    is_sent_away(&crowd.agent("[[host]]\nname = \"device\"\noffer = [\"break glass\"]"));
}

/// The jump host lets one try all five; the device behind it does not.
#[test]
fn the_device_s_rule_holds_behind_a_jump_host() {
    let crowd = Crowd::new();
    let jump = crowd.env.host("jump");
    jump.authorize(crowd.good());
    crowd.is_known_as("leaf-1.fabric.example");
    let hop = |agent: &Agent| {
        let ssh = agent.ssh(["-A", "jump", "ssh", "-F"]).arg(crowd.env.ssh_config());
        ssh.args(["device", "echo", "hello"]).run()
    };
    let agent = crowd.agent("");
    let refused = hop(&agent).code(255);
    assert!(refused.stderr.contains("Too many authentication failures"), "{}", refused.stderr);
    agent.terminate();

    let agent = crowd.agent("[[host]]\nname = \"leaf-1.fabric.example\"\noffer = [\"break glass\"]\nothers = false");
    assert_eq!(hop(&agent).success().stdout, "hello\n");
}

/// What a rule says is about lists alone, and about those of connections that lead to the host.
#[test]
fn a_rule_limits_what_is_listed_and_not_what_is_signed() {
    let crowd = Crowd::new();
    let host = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
    let fingerprint = host.public_key().fingerprint(ssh_key::HashAlg::Sha256);
    let two = [crowd.keys[3].fingerprint(), crowd.keys[1].fingerprint()];
    let agent = crowd
        .agent(&format!("[[host]]\nkey = \"{fingerprint}\"\noffer = [\"{}\", \"{}\"]\nothers = false", two[0], two[1]));
    let (all, offered) = (crowd.blobs(), [crowd.keys[3].blob(), crowd.keys[1].blob()]);

    let bind = |client: &mut Client, host: &PrivateKey, session: &[u8], forwarding| {
        let body = session_bind(host, session, forwarding);
        assert_eq!(client.extension("session-bind@openssh.com", &body), [SUCCESS]);
    };
    let mut client = agent.connect();
    assert_eq!(client.keys(), all, "not bound");
    bind(&mut client, &host, b"session", false);
    assert_eq!(client.keys(), offered);
    let not_listed = &crowd.keys[0];
    let data = login(b"session", not_listed, Some(&host.public_key().to_bytes().unwrap()));
    assert_eq!(client.sign(&not_listed.blob(), &data)[0], SIGN_RESPONSE);

    let (jump, mut forwarded) = (PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap(), agent.connect());
    bind(&mut forwarded, &host, b"through the host", true);
    assert_eq!(forwarded.keys(), all, "it may lead anywhere");
    bind(&mut forwarded, &jump, b"elsewhere", false);
    assert_eq!(forwarded.keys(), all, "it led elsewhere");
    let mut forwarded = agent.connect();
    bind(&mut forwarded, &jump, b"through another", true);
    bind(&mut forwarded, &host, b"to the host", false);
    assert_eq!(forwarded.keys(), offered, "it led to the host");

    let list = agent.list();
    assert!(crowd.keys.iter().all(|key| list.contains(&key.fingerprint())), "{list}");
}

#[test]
fn an_entry_that_can_not_be_meant_keeps_the_agent_from_starting() {
    let env = Env::new();
    let both = "[[host]]\nname = \"leaf\"\noffer = []\n[[host]]\noffer = [\"break glass\"]";
    let refused = env.agent().setting(both).program(["-D"]).run().code(1);
    let reason = "[[host]] offer = [\"break glass\"]: say which host by `name` or by `key`";
    assert!(refused.stderr.contains(reason), "{}", refused.stderr);
}
