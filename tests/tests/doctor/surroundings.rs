//! What a login depends on beside tokens and keys: another agent, a disk, settings, somebody who is there.

use std::fs;
use std::io::Write;

use agent::denial::Code;
use rustix::process::Signal;
use soft_token::{Command, Fault};
use tests::{Doctor, built};

use crate::Ready;

/// It is left out, and the rest goes on.
#[test]
fn another_agent_that_is_gone() {
    let socket = |env: &tests::Env| env.path("other.sock");
    let ready = Ready::with(|env, agent| agent.upstream(&socket(env)));
    let (reason, next) = ready.doctor().finds_worth_a_look("upstream");
    assert!(reason.starts_with(&format!("{} is left out: ", socket(&ready.env).display())), "{reason}");
    assert!(next.starts_with("Start that agent"), "{next}");
    let program = ready.env.program("ssh-agent").args(["-D", "-a"]).arg(socket(&ready.env));
    let other = program.start();
    other.stdout().wait_for("SSH_AUTH_SOCK=");
    ready.doctor().finds_all_ready();
}

/// In the place of the disk of the record, the doctor sees one that has little room.
#[test]
fn a_disk_that_is_nearly_full() {
    if !rustix::process::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: it takes root to have a disk of one's own");
        return;
    }
    let ready = Ready::new();
    let folder = ready.agent.audit().path().parent().unwrap().to_owned();
    let script = "mount -t tmpfs -o mode=700,size=1m none \"$1\" && shift && exec \"$@\"";
    let doctor = ready.agent.program("unshare").args(["--mount", "sh", "-c", script, "sh"]).arg(folder);
    let (reason, next) = Doctor(doctor.arg(built("agent-cli")).args(["doctor", "--json"])).finds_bad("room");
    assert_eq!(reason, "the disk of the record has 1 MiB left");
    assert!(next.starts_with("Make room"), "{next}");
    ready.doctor().finds_all_ready();
}

/// An end of the record that is cut off would not be seen.
#[test]
fn nobody_keeps_the_record_s_heads() {
    let ready = Ready::new();
    let (reason, next) = ready.doctor().finds_worth_a_look("anchor");
    assert!(reason.starts_with("nobody else keeps the record's heads"), "{reason}");
    assert!(next.contains("anchor = \"journald\"") && next.contains("agent-cli audit checkpoint"), "{next}");
    let file = ready.env.path("config/fido-ssh-agent/config.toml");
    let settings = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{settings}\n[audit]\nanchor = \"syslog\"\n")).unwrap();
    let examination = ready.doctor().examine(0);
    let anchor = examination.0.iter().find(|finding| finding["check"] == "anchor").unwrap();
    assert_eq!(anchor["verdict"], "good", "{anchor}");
}

/// A setting that was changed while the agent runs, and holds later.
#[test]
fn a_setting_that_waits_for_the_next_start() {
    let ready = Ready::new();
    change_settings(&ready, |settings| format!("allow_root = true\n{settings}"));
    let (reason, next) = ready.doctor().finds_worth_a_look("settings");
    assert_eq!(reason, "what they say now of allow_root does not hold yet");
    assert_eq!(next, "Restart the agent.");
}

/// Rewrites the settings, and has the agent read them.
fn change_settings(ready: &Ready, change: impl FnOnce(String) -> String) {
    let file = ready.env.path("config/fido-ssh-agent/config.toml");
    let settings = fs::read_to_string(&file).unwrap();
    fs::write(&file, change(settings)).unwrap();
    ready.agent.signal(Signal::HUP);
    ready.agent.messages().wait_for("the settings were read again");
}

/// It is to be locked when its person leaves, and nobody tells it when that is.
#[test]
fn a_lock_that_would_not_come() {
    let ready = Ready::with(|env, agent| {
        let nowhere = format!("unix:path={}", env.path("nowhere").display());
        agent.setting("lock_on = [\"suspend\"]").variable("DBUS_SYSTEM_BUS_ADDRESS", nowhere)
    });
    ready.agent.messages().wait_for("the agent is not locked when you leave, though `lock_on` says so");
    let (reason, next) = ready.doctor().finds_worth_a_look("lock");
    assert!(reason.contains("would not be when you leave"), "{reason}");
    assert!(next.starts_with("Take `lock_on` out"), "{next}");
}

/// Nobody is there who could answer: only `--ask` finds that out.
#[test]
fn a_question_that_nobody_answers() {
    let ready = Ready::new();
    ready.doctor().finds_all_ready();
    change_settings(&ready, |settings| settings.replacen("[limits]\n", "[limits]\nprompt_seconds = 1\n", 1));
    let (reason, next) = ready.doctor().args(["--ask"]).finds_bad("question");
    assert!(reason.starts_with("you could not be asked: "), "{reason}");
    assert_eq!(next, Code::PromptTimeout.next());
}

/// It is there, and does not say how it is.
#[test]
fn a_token_that_does_not_answer() {
    let ready = Ready::new();
    ready.token.inject(Fault::Status(0x7f).on(Command::GetInfo).times(1000));
    let (reason, next) = ready.doctor().finds_worth_a_look("tokens");
    assert!(reason.contains(" does not answer: "), "{reason}");
    assert!(next.starts_with("Pull it out and plug it in again"), "{next}");
    ready.token.clear_faults();
    ready.doctor().finds_all_ready();
}
