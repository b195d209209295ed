//! Statement 3, with sshd: what hosts sign is verified whatever their keys are.

use std::fs;

use tests::{Env, KeyFile, SUCCESS, session_bind};

use crate::{FakeHost, SESSION_BIND, restrict};

const EXTENSION_FAILURE: u8 = 28;

/// A key that is restricted to a host logs in there only if the binding was verified. The hosts have Ed25519 keys besides,
/// as everywhere here.
#[test]
fn hosts_with_keys_of_every_type() {
    let env = Env::new();
    let agent = env.agent().start();
    let key = env.plain_key();
    for kind in ["ecdsa 256", "ecdsa 384", "ecdsa 521", "rsa 2048", "rsa 3072"] {
        let (name, host_key) = (kind.replace(' ', "-"), env.plain_key_of(kind));
        let host = env.host(&name);
        host.authorize(&key);
        host.setting(&format!("HostKey {}", host_key.path().display()));
        fs::write(env.path("known_hosts"), format!("{name} {}\n", host_key.public_line())).unwrap();
        restrict(&agent, &[&name], &key);
        agent.ssh([&name, "true"]).run().success();
        let signatures = agent.audit().signatures();
        let (intent, _) = signatures.last().unwrap();
        assert_eq!(intent.subject.bindings[0].host_key, host_key.fingerprint(), "{kind}");
    }
}

/// The authority is in known_hosts, and the hosts' own keys are not.
#[test]
fn hosts_with_certificates() {
    let env = Env::new();
    let agent = env.agent().start();
    let (key, authority, stranger): (KeyFile, _, _) = (env.plain_key(), env.authority(), env.authority());
    let [a, b, other] = ["a", "b", "other"].map(|name| env.host(name));
    for (host, authority, name) in [(&a, &authority, "a"), (&b, &authority, "b"), (&other, &stranger, "other")] {
        host.authorize(&key);
        authority.certify_host(host, &["-n", name]);
    }
    let trusted =
        |names: &str, authority: &tests::Authority| format!("@cert-authority {names} {}\n", authority.public_line());
    let known_hosts = trusted("a,b,other", &authority) + &trusted("other", &stranger);
    fs::write(env.path("known_hosts"), trusted("a,b,other", &authority)).unwrap();
    restrict(&agent, &["a", "a>b", "other"], &key);
    fs::write(env.path("known_hosts"), known_hosts).unwrap();

    agent.ssh(["a", "true"]).run().success();
    let config = env.ssh_config();
    agent.ssh(["-A", "a", "ssh", "-F"]).arg(&config).args(["b", "true"]).run().success();
    agent.ssh(["b", "true"]).run().code(255);
    agent.ssh(["other", "true"]).run().code(255);
    assert!(!other.log().contains("Accepted"), "its authority is not the one of the constraint: {}", other.log());
}

#[test]
fn sixteen_bindings_and_no_more() {
    let (agent, host) = (Env::new().agent().start(), FakeHost::new());
    let mut client = agent.connect();
    for n in 0..16_u8 {
        host.bind(&mut client, &[n; 128], true);
    }
    let one_more = session_bind(&host.0, b"one more", true);
    assert_eq!(client.extension(SESSION_BIND, &one_more), [EXTENSION_FAILURE]);
    let again = session_bind(&host.0, &[3; 128], true);
    assert_eq!(client.extension(SESSION_BIND, &again), [SUCCESS], "one that is there already is no further one");
}
