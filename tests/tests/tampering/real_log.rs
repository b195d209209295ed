//! A log that has one of everything: made by the agent, asked by OpenSSH's own programs.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use soft_token::{Device, Touch};
use tests::{Agent, Env, FAILURE, KeyFile, Kind, PIN, Recipe, Rival, Scene, TokenKind, sshsig};

use crate::files::{Files, head_of};

/// In three segments: one with a token, one with software keys and another agent behind, one of a run that was killed.
pub(crate) fn made_by_real_programs() -> Files {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let Scene { env, token, agent, key, device } = scene;
    let jump = env.host("jump");
    let authority = env.authority();
    authority.certify_host(&device, &["-n", "device"]);
    let known_hosts = fs::read_to_string(env.path("known_hosts")).unwrap();
    let others: String = known_hosts.lines().filter(|line| !line.starts_with("device ")).collect();
    let known_hosts = format!("{others}\n@cert-authority device {}\n", authority.public_line());
    fs::write(env.path("known_hosts"), known_hosts).unwrap();
    let log = agent.audit().path().to_owned();

    with_token(&env, &agent, &token);
    agent.cli(["remove"]).arg(key.path()).run().success();
    agent.terminate();
    put_aside(&log);

    let rival = Rival::start(&env);
    let theirs = env.plain_key();
    rival.ssh_add(&theirs);
    let agent = env.agent().upstream(rival.socket()).start();
    let plain: Vec<_> =
        ["ed25519", "rsa", "ecdsa 256", "ecdsa 384", "ecdsa 521"].map(|kind| env.plain_key_of(kind)).into();
    for key in plain.iter().chain([&theirs]) {
        jump.authorize(key);
        device.authorize(key);
    }
    for key in &plain {
        agent.ssh_add(key);
        agent.ssh(["device", "true"]).run().success();
        agent.program("ssh-add").arg("-q").arg("-d").arg(key.path()).run().success();
    }
    let config = env.ssh_config();
    agent.ssh(["-A", "jump", "ssh", "-F"]).arg(&config).args(["device", "true"]).run().success();
    by_certificate(&env, &agent, &plain[0], &jump);
    agent.terminate();
    // Power was lost in the middle of a record.
    fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(br#"{"act":"lo"#).unwrap();
    env.agent().start().terminate();
    put_aside(&log);

    let agent = env.agent().start();
    agent.ssh_add(&key);
    token.set_touch(Touch::Manual);
    let login = agent.ssh(["device", "true"]).start();
    env.person().wait_until_asked(Kind::Notice);
    token.wait_until_waiting();
    agent.kill();
    drop(login);

    let agent = env.agent().start();
    agent.ssh_add(&plain[0]);
    agent.ssh(["-J", "jump", "device", "true"]).run().success();
    agent.program("ssh-add").arg("-x").asking(&env.person_who_types("lock")).run().success();
    agent.program("ssh-add").arg("-d").arg(plain[0].path()).run().code(1);
    agent.terminate();
    Files::read(&log)
}

/// Logins by two keys, one of which wants the PIN and gets a wrong one first; a file that is signed; and a refusal.
fn with_token(env: &Env, agent: &Agent, token: &Device) {
    let login = agent.ssh(["device", "true"]).start();
    env.person().approve(token);
    login.wait().success();
    assert_eq!(agent.connect().sign(&env.plain_key().blob(), &sshsig("file")), [FAILURE]);

    let file = env.path("letter");
    fs::write(&file, "Dear all,\n").unwrap();
    let sign = agent.program("ssh-keygen").args(["-q", "-Y", "sign", "-n", "file", "-f"]);
    let key = env.path("key0.pub");
    let sign = sign.arg(key).arg(&file).start();
    env.person().approve(token);
    sign.wait().success();

    token.set_touch(Touch::Always);
    let verified = env.ssh_keygen(&Recipe::ecdsa().verify_required());
    agent.ssh_add(&verified);
    env.person().types(["0000", PIN]);
    assert_ne!(agent.connect().sign(&verified.blob(), &sshsig("mail")), [FAILURE]);
}

fn by_certificate(env: &Env, agent: &Agent, key: &KeyFile, host: &tests::Host) {
    let authority = env.authority();
    authority.certify(key, &["-n", env.user()]);
    host.authorize_line(&format!("cert-authority {}\n", authority.public_line()));
    agent.ssh_add(key);
    agent.ssh(["jump", "true"]).run().success();
}

/// What an agent does when a file is full: it goes on in another one, since this one has a segment's name.
fn put_aside(log: &Path) {
    let text = fs::read_to_string(log).unwrap();
    let name = format!("audit.{:016}.jsonl", head_of(text.lines().last().unwrap()).sequence);
    fs::rename(log, log.with_file_name(name)).unwrap();
}
