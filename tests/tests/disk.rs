//! Disks that are full, fail, or are gone: what is asked then is refused before a token is touched, it is on record as soon as it
//! can be, and no key is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agent::audit::record::{Act, Event, Record};
use agent::denial::Code;
use serde_json::{Value, json};
use soft_token::What;
use tests::{Agent, Env, FAILURE, PATIENCE, Recipe, SIGN_RESPONSE, Scene, Strace, Thread, TokenKind, built, sshsig};

const START_AGAIN: &str = "start the agent again";

fn as_root(scenario: impl FnOnce()) {
    if rustix::process::geteuid().is_root() {
        scenario();
    } else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: it takes root to have a disk of one's own, or one that fails");
    }
}

/// Refused, without a touch.
fn refuses(scene: &Scene) {
    let waits = || scene.token.events().iter().filter(|event| event.what == What::Waiting).count();
    let troubled = || (waits(), scene.env.person().asked().len());
    let before = troubled();
    scene.agent.ssh(["device", "true"]).run().code(255);
    assert_eq!(troubled(), before, "neither the token nor its person is asked");
    scene.agent.messages().wait_for("(audit-unwritable)");
    assert_eq!(scene.agent.connect().keys(), [scene.key.blob()], "no key is lost");
}

/// What status and doctor say of the record: that it can't be written, for this reason, and what to do; or nothing.
fn is_told_of(scene: &Scene, trouble: Option<(&str, &str)>) {
    let status = scene.agent.cli(["status"]).run().success().stdout;
    let json: Value = serde_json::from_str(&scene.agent.cli(["status", "--json"]).run().success().stdout).unwrap();
    let told = json["audit_log_trouble"].as_str();
    let doctor: Value = serde_json::from_str(&scene.agent.cli(["doctor", "--json"]).run().stdout).unwrap();
    let room = doctor["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "room").unwrap();
    let Some((why, next)) = trouble else {
        assert!(told.is_none() && !status.contains("NOT WRITTEN"), "{status}");
        return assert_ne!(room["next"], Code::AuditUnwritable.next(), "{room}");
    };
    assert!(told.is_some_and(|told| told.contains(why)), "{json:#}");
    let line = status.lines().find_map(|line| line.strip_prefix("audit log  NOT WRITTEN, so nothing is signed: "));
    assert!(line.is_some_and(|line| line.contains(why) && line.ends_with(next)), "{status}");
    assert_eq!((&room["verdict"], &room["next"]), (&json!("bad"), &json!(next)), "{room}");
    assert!(room["reason"].as_str().unwrap().ends_with(told.unwrap()), "{room}");
}

fn signs(scene: &Scene) {
    let login = scene.agent.ssh(["device", "true"]).start();
    scene.env.person().approve(&scene.token);
    login.wait().success();
}

/// What is on record of what could not be: how often for this reason.
fn missed(event: &Event, code: Code) -> Option<u64> {
    match event {
        Event::Act { act: Act::Missed { refusals, .. } } => refusals.get(&code).copied(),
        _ => None,
    }
}

fn verifies(agent: &Agent) {
    let log = agent.audit().path().to_owned();
    let verify = agent.env().program(built("agent-cli")).args(["audit", "verify", "--log"]).arg(log);
    verify.run().success();
}

/// Writes to a file beside the log until there is no room.
fn fill(disk: &Path) {
    let mut file = File::create(disk.join("filler")).unwrap();
    for size in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
}

/// Asks for what is refused until the log has no room for that either.
fn fill_the_log(agent: &Agent) {
    let length = || fs::metadata(agent.audit().path()).unwrap().len();
    let mut stranger = agent.connect();
    loop {
        let before = length();
        assert_eq!(stranger.sign(b"", &sshsig("file")), [FAILURE]);
        if length() == before {
            return;
        }
    }
}

#[test]
fn a_full_disk() {
    as_root(|| {
        let scene = Scene::with(TokenKind::PinOnly, &Recipe::ed25519(), |agent| {
            agent.with_a_disk_of("1m").mutes_nobody().quiet()
        });
        let audit = scene.agent.audit();
        let disk = audit.path().parent().unwrap().to_owned();

        // Whose touch was awaited when the disk became full: room for this was kept.
        let waiting = scene.agent.ssh(["device", "true"]).start();
        scene.token.wait_for(|what| what == What::Waiting, PATIENCE);
        fill(&disk);
        fill_the_log(&scene.agent);
        scene.env.person().approve(&scene.token);
        waiting.wait().success();
        assert_eq!(audit.signatures().len(), 1);

        fill_the_log(&scene.agent);
        refuses(&scene);
        is_told_of(&scene, Some(("no storage space", Code::AuditUnwritable.next())));

        // Nobody has to ask for anything.
        fs::remove_file(disk.join("filler")).unwrap();
        audit.wait_for(|event| missed(event, Code::AuditUnwritable) == Some(1));
        signs(&scene);
        is_told_of(&scene, None);
        verifies(&scene.agent);
        let shown = scene.agent.cli(["audit", "show", "--log"]).arg(audit.path()).run().success().stdout;
        assert!(shown.contains("missed") && shown.contains("\"audit-unwritable\":1"), "{shown}");
    });
}

#[test]
fn a_disk_that_fails_for_a_while() {
    as_root(|| {
        let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
        let audit = scene.agent.audit();
        for (times, fault) in ["ENOSPC", "EIO", "EROFS"].iter().enumerate() {
            let fault = format!("write:error={fault}");
            let strace = Strace::attach_for(&scene.agent, Thread::Audit, audit.path(), [fault.as_str()]);
            refuses(&scene);
            assert_eq!(audit.signatures().len(), times, "{fault}");
            strace.detach();
            let count = || {
                audit.records().iter().filter(|record| missed(&record.event, Code::AuditUnwritable) == Some(1)).count()
            };
            audit.wait_for(|_| count() > times);
            signs(&scene);
            verifies(&scene.agent);
        }
    });
}

/// What the disk has is not known any more, so that nothing is promised until the log is read again.
#[test]
fn a_disk_that_can_not_be_synced() {
    as_root(|| {
        let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
        let strace = Strace::attach(&scene.agent, Thread::Audit, ["fdatasync:error=EIO"]);
        refuses(&scene);
        strace.detach();
        refuses(&scene);
        scene.agent.messages().wait_for(START_AGAIN);
        is_told_of(&scene, Some((START_AGAIN, "Restart the agent.")));
        let scene = started_again(scene);
        signs(&scene);
        is_told_of(&scene, None);
        verifies(&scene.agent);
    });
}

/// A write ends in the middle of a record.
#[test]
fn a_disk_that_takes_a_part() {
    let scene = Scene::with(TokenKind::PinOnly, &Recipe::ed25519(), tests::AgentOptions::with_a_disk_that_can_be_full);
    let log = scene.agent.audit().path().to_owned();
    let length = fs::metadata(&log).unwrap().len();
    scene.agent.limit_file_size(Some(length + 100));
    refuses(&scene);
    assert_eq!(fs::metadata(&log).unwrap().len(), length + 100);
    scene.agent.limit_file_size(None);
    signs(&scene);
    verifies(&scene.agent);
    let text = fs::read_to_string(&log).unwrap();
    let records = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
    let events: Vec<_> = records.map(|record| record.event).collect();
    assert!(
        events.iter().any(|event| matches!(event, Event::Act { act: Act::Torn { length: 100, .. } })),
        "{events:#?}"
    );
    assert!(events.iter().any(|event| missed(event, Code::AuditUnwritable) == Some(1)), "{events:#?}");
}

/// Somebody has taken the log away: that is not to be covered up by a new one.
#[test]
fn a_folder_that_was_removed() {
    let scene = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    fs::remove_dir_all(scene.agent.audit().path().parent().unwrap()).unwrap();
    refuses(&scene);
    scene.agent.messages().wait_for(START_AGAIN);
    is_told_of(&scene, Some((START_AGAIN, "Restart the agent.")));
    let scene = started_again(scene);
    signs(&scene);
    verifies(&scene.agent);
}

/// The log that is there goes on. Without one the agent says what is wrong, and does not start.
#[test]
fn a_folder_that_can_not_be_written() {
    as_root(|| {
        let env = Env::new();
        let key = env.plain_key();
        let nobody = || env.agent().setting("allow_root = true").as_nobody();
        let signs = |agent: &Agent| {
            agent.ssh_add(&key);
            assert_eq!(agent.connect().sign(&key.blob(), &sshsig("file"))[0], SIGN_RESPONSE);
            verifies(agent);
        };
        let agent = nobody().start();
        let log = agent.audit().path().to_owned();
        let folder = log.parent().unwrap();
        fs::set_permissions(folder, Permissions::from_mode(0o500)).unwrap();
        signs(&agent);
        agent.terminate();

        fs::rename(&log, env.path("log")).unwrap();
        let refused = nobody().program(["-D", "-a"]).arg(env.path("agent.sock")).run().code(1);
        assert!(refused.stderr.contains("audit.jsonl: Permission denied"), "{}", refused.stderr);

        fs::set_permissions(folder, Permissions::from_mode(0o700)).unwrap();
        fs::rename(env.path("log"), &log).unwrap();
        signs(&nobody().start());
    });
}

/// Ends the agent, and starts another.
fn started_again(scene: Scene) -> Scene {
    let Scene { agent, env, .. } = scene;
    agent.kill();
    Scene { agent: env.agent().start(), env, ..scene }
}
