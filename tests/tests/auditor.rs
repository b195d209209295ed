//! An auditor's exercise: ten sessions are staged with the programs that people use, and a script finds out from the log alone
//! what happened in each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};
use soft_token::{Device, Touch};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, HashAlg, PrivateKey};
use tests::{
    Agent, Env, FAILURE, Host, KeyFile, Kind, PIN, Recipe, Rival, SUCCESS, TokenKind, built, login, session_bind,
};

/// What the auditor is to find of one request, and between which times.
#[derive(Debug)]
struct Staged {
    what: &'static str,
    began: Timestamp,
    ended: Timestamp,
    rows: Vec<Value>,
}

struct Stage {
    env: Env,
    agent: Agent,
    token: Option<Device>,
    touched: KeyFile,
    verified: KeyFile,
    confirmed: KeyFile,
    theirs: KeyFile,
    hosts: [Host; 5],
    staged: Vec<Staged>,
    _rival: Rival,
}

/// The hosts, each of which takes one key; the first two take the same.
const JUMP: usize = 0;
const DEVICE: usize = 1;
const VAULT: usize = 2;
const BANK: usize = 3;
const ARCHIVE: usize = 4;

impl Stage {
    fn set() -> Self {
        let env = Env::new();
        let token = env.plug(TokenKind::PinOnly.options());
        let touched = env.ssh_keygen(&Recipe::ed25519());
        let verified = env.ssh_keygen(&Recipe::ecdsa().verify_required());
        token.set_touch(Touch::Manual);
        let (confirmed, theirs) = (env.plain_key(), env.plain_key());
        let hosts = ["jump", "device", "vault", "bank", "archive"].map(|name| env.host(name));
        for (host, key) in hosts.iter().zip([&touched, &touched, &verified, &confirmed, &theirs]) {
            host.authorize(key);
        }
        let rival = Rival::start(&env);
        rival.ssh_add(&theirs);
        let agent = env.agent().upstream(rival.socket()).start();
        agent.ssh_add(&touched);
        agent.ssh_add(&verified);
        agent.program("ssh-add").args(["-q", "-c"]).arg(confirmed.path()).run().success();
        let (token, staged) = (Some(token), Vec::new());
        Self { env, agent, token, touched, verified, confirmed, theirs, hosts, staged, _rival: rival }
    }

    fn token(&self) -> &Device {
        self.token.as_ref().expect("the token is plugged in")
    }

    fn stage(&mut self, what: &'static str, play: impl FnOnce(&mut Self), rows: Vec<Value>) {
        let began = Timestamp::now();
        play(self);
        self.staged.push(Staged { what, began, ended: Timestamp::now(), rows });
    }

    /// `ssh` with these arguments, and so many touches.
    fn log_in(&self, arguments: &[&str], touches: usize) {
        let login = self.agent.ssh(arguments).start();
        for _ in 0..touches {
            self.env.person().approve(self.token());
        }
        login.wait().success();
    }

    /// A login on this host with the key that it takes, signed by a token that was touched.
    fn login(&self, host: usize, through: &[usize]) -> Value {
        let through: Vec<_> = through.iter().map(|host| self.hosts[*host].fingerprint()).collect();
        json!({
            "who": self.env.user(), "what": "login", "host": self.hosts[host].fingerprint(), "through": through,
            "asked_by": "ssh", "key": self.touched.fingerprint(), "signer": "token",
            "touched": true, "verified": false, "by": "none", "failed_before": [], "decision": "signed",
        })
    }

    /// A file that is to be signed, or a certificate.
    fn signature(&self, what: &str) -> Value {
        let row = json!({ "who": null, "what": what, "host": null, "asked_by": "ssh-keygen" });
        with(self.login(DEVICE, &[]), &row)
    }
}

/// The same row with other cells.
fn with(mut row: Value, cells: &Value) -> Value {
    for (name, value) in cells.as_object().unwrap() {
        row[name] = value.clone();
    }
    row
}

fn refused(row: Value, code: &str) -> Value {
    let nothing = json!({ "signer": null, "touched": null, "verified": null, "by": null, "decision": code });
    with(row, &nothing)
}

fn commit(stage: &Stage) {
    let folder = stage.env.path("repository");
    fs::create_dir(&folder).unwrap();
    let key = format!("user.signingKey={}", stage.touched.public_path().display());
    let settings = ["user.name=Me", "user.email=me@here", "gpg.format=ssh", &key];
    let git = |arguments: &[&str]| {
        let git = stage.agent.program("git").env("GIT_CONFIG_NOSYSTEM", "1").current_dir(&folder);
        git.args(settings.iter().flat_map(|setting| ["-c", setting])).args(arguments)
    };
    git(&["init", "--quiet"]).run().success();
    let commit = git(&["commit", "--quiet", "--allow-empty", "--gpg-sign", "--message", "A word"]).start();
    stage.env.person().approve(stage.token());
    commit.wait().success();
}

/// A stranger who has bound the connection to a host of their own asks for a login elsewhere.
fn steal(stage: &Stage, host: &PrivateKey) {
    let mut stranger = stage.agent.connect();
    assert_eq!(stranger.extension("session-bind@openssh.com", &session_bind(host, b"session", false)), [SUCCESS]);
    let elsewhere = login(b"another session", &stage.touched, None);
    assert_eq!(stranger.sign(&stage.touched.blob(), &elsewhere), [FAILURE]);
}

/// A key that is for logins is to issue a certificate.
fn certify(stage: &Stage) {
    let certify = stage.agent.program("ssh-keygen").args(["-q", "-I", "me", "-n", "root", "-U", "-s"]);
    certify.arg(stage.touched.public_path()).arg(stage.theirs.public_path()).run().code(255);
}

fn unplug(stage: &mut Stage) {
    let login = stage.agent.ssh(["device", "true"]).start();
    stage.env.person().wait_until_asked(Kind::Notice);
    stage.token().wait_until_waiting();
    let unplugged = stage.token.take().unwrap().unplug();
    stage.env.person().wait_until_a_token_is_wanted();
    let token = stage.env.bus().plug_again(unplugged);
    token.set_touch(Touch::Manual);
    stage.env.person().approve(&token);
    stage.token = Some(token);
    login.wait().success();
}

#[test]
fn ten_sessions_are_reconstructed_from_the_log_alone() {
    let mut stage = Stage::set();
    let (device, jump) = (stage.login(DEVICE, &[]), stage.login(JUMP, &[]));

    stage.stage("a login", |stage| stage.log_in(&["device", "true"], 1), vec![device.clone()]);
    let both = vec![jump.clone(), device.clone()];
    stage.stage("by way of a jump host", |stage| stage.log_in(&["-J", "jump", "device", "true"], 2), both);
    let config = stage.env.ssh_config().display().to_string();
    let forwarded = vec![jump, stage.login(DEVICE, &[JUMP])];
    let from_there = move |stage: &mut Stage| {
        stage.log_in(&["-A", "jump", "ssh", "-F", &config, "device", "true"], 2);
    };
    stage.stage("from there, over the forwarded agent", from_there, forwarded);
    let git = stage.signature("git");
    stage.stage("a commit", |stage| commit(stage), vec![git]);
    let host = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
    let fingerprint = host.public_key().fingerprint(HashAlg::Sha256).to_string();
    let this_test = std::env::current_exe().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let stolen = with(device.clone(), &json!({ "who": "me", "host": fingerprint, "asked_by": this_test }));
    let stolen = vec![refused(stolen, "session-mismatch")];
    stage.stage("a stranger asks for a login elsewhere", |stage| steal(stage, &host), stolen);
    let certificate = refused(stage.signature("certificate"), "opaque-data");
    stage.stage("no key for certificates", |stage| certify(stage), vec![certificate]);
    let bank = with(stage.login(BANK, &[]), &json!({ "key": stage.confirmed.fingerprint() }));
    let no = |stage: &mut Stage| {
        stage.env.person().types(["no"]);
        stage.agent.ssh(["bank", "true"]).run().code(255);
    };
    stage.stage("the person says no", no, vec![refused(bank, "prompt-refused")]);
    let verified = json!({
        "key": stage.verified.fingerprint(), "verified": true, "by": "pin", "failed_before": ["the token did not accept the PIN"],
    });
    let vault = with(stage.login(VAULT, &[]), &verified);
    let wrong_pin = |stage: &mut Stage| {
        stage.env.person().types(["0000", PIN]);
        stage.log_in(&["vault", "true"], 1);
    };
    stage.stage("a wrong PIN, then the right one", wrong_pin, vec![vault]);
    let lost = with(device, &json!({ "failed_before": ["no token is plugged in, or it was pulled out"] }));
    stage.stage("the token pulled out and plugged in again", unplug, vec![lost]);
    let theirs = json!({ "key": stage.theirs.fingerprint(), "signer": "upstream", "touched": null, "verified": null, "by": null });
    let archive = with(stage.login(ARCHIVE, &[]), &theirs);
    stage.stage("with another agent's key", |stage| stage.log_in(&["archive", "true"], 0), vec![archive]);

    let Stage { env, agent, staged, .. } = stage;
    let log = agent.audit().path().to_owned();
    agent.terminate();
    compare(&reconstructed(&env, &log), &staged);
}

/// What the auditor's script makes of what `agent-cli audit show` prints.
fn reconstructed(env: &Env, log: &Path) -> Vec<Value> {
    let shown = env.program(built("agent-cli")).args(["audit", "show", "--json", "--log"]).arg(log).run().success();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("auditor/reconstruct.py");
    let found = env.program("python3").arg(script).input(shown.stdout).run().success();
    found.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn compare(found: &[Value], staged: &[Staged]) {
    let mut found = found.iter().cloned();
    for Staged { what, began, ended, rows } in staged {
        for row in rows {
            let mut found = found.next().unwrap_or_else(|| panic!("{what}: the auditor found no more"));
            let when: Timestamp = found["when"].as_str().unwrap().parse().unwrap();
            assert!((*began..=*ended).contains(&when), "{what}: {when} is not between {began} and {ended}");
            found.as_object_mut().unwrap().remove("when");
            assert_eq!(&found, row, "{what}");
        }
    }
    assert_eq!(found.collect::<Vec<_>>(), [] as [Value; 0], "the auditor found more than was staged");
}
