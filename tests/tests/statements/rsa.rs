//! Statement 17: with which hash RSA keys sign; and that keys of every type do, for sshd.

use agent::denial::Code;
use tests::{Env, FAILURE, SIGN_RESPONSE, sshsig, string};

/// SSH_AGENTC_SIGN_REQUEST.
const SIGN: u8 = 13;

/// SHA-256 before SHA-512. With SHA-1 nothing is signed: nobody would accept it.
#[test]
fn flags_choose_the_hash() {
    let env = Env::new();
    let (agent, key, other) = (env.agent().start(), env.plain_key_of("rsa 2048"), env.plain_key());
    agent.ssh_add(&key);
    agent.ssh_add(&other);
    let mut client = agent.connect();
    let mut sign = |key: &[u8], flags: u32| {
        client.ask(&[&[SIGN][..], &string(key), &string(&sshsig("file")), &flags.to_be_bytes()].concat())
    };
    for (flags, name) in [(2, "rsa-sha2-256"), (4, "rsa-sha2-512"), (6, "rsa-sha2-256"), (0x8000_0004, "rsa-sha2-512")]
    {
        let answer = sign(&key.blob(), flags);
        assert_eq!(answer[0], SIGN_RESPONSE);
        assert_eq!(answer[5..][..4 + name.len()], string(name.as_bytes()), "flags {flags}");
    }
    for flags in [0, 1, 8] {
        assert_eq!(sign(&key.blob(), flags), [FAILURE], "flags {flags}");
        assert_eq!(sign(&other.blob(), flags)[0], SIGN_RESPONSE, "flags are for RSA keys");
    }
    assert_eq!(agent.audit().refusal_codes(), [Code::Sha1; 3]);
}

/// A server that wants SHA-1 gets nothing, and the reason is on record.
#[test]
fn ssh_logs_in_with_keys_of_every_type() {
    let env = Env::new();
    let (agent, host) = (env.agent().start(), env.host("device"));
    for kind in ["ed25519", "ecdsa 256", "ecdsa 384", "ecdsa 521", "rsa 2048"] {
        let key = env.plain_key_of(kind);
        host.authorize(&key);
        agent.ssh_add(&key);
        let ssh = |options: &[&str]| {
            let ssh = agent.ssh(["-o", "IdentitiesOnly=yes", "-i"]).arg(key.public_path()).args(options);
            ssh.args(["device", "true"]).run()
        };
        std::fs::remove_file(key.path()).unwrap();
        ssh(&[]).success();
        if kind == "rsa 2048" {
            for algorithm in ["rsa-sha2-256", "rsa-sha2-512"] {
                ssh(&["-o", &format!("PubkeyAcceptedAlgorithms={algorithm}")]).success();
            }
            host.setting("PubkeyAcceptedAlgorithms +ssh-rsa");
            ssh(&["-o", "PubkeyAcceptedAlgorithms=ssh-rsa"]).code(255);
            assert_eq!(agent.audit().wait_for_refusal().code, Code::Sha1);
        }
    }
}
