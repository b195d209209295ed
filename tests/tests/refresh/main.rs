//! A new key in the place of an old one. Whatever fails on the way, the old one is where it was, and the person is told what is where.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

mod in_an_account;

use std::fs;
use std::path::{Path, PathBuf};

use soft_token::{Device, Touch};
use tests::{Agent, AgentOptions, Ended, Env, Host, KeyFile, PIN, Program, Terminal, TokenKind, for_each_token};

/// A key on a token that has a name, in a file of lines that a host reads.
struct Before {
    agent: Agent,
    token: Device,
    old: KeyFile,
    old_line: String,
    lines: PathBuf,
    device: Host,
    env: Env,
}

impl Before {
    fn ready(kind: TokenKind) -> Self {
        Self::with(kind, |agent| agent)
    }

    fn with(kind: TokenKind, agent: impl FnOnce(AgentOptions) -> AgentOptions) -> Self {
        let env = Env::new();
        let token = env.plug(kind.options());
        let agent = agent(env.agent()).start();
        agent.cli(["-S", "tokens", "name", "red"]).run().success();
        let made = agent.cli(["-S", "gen-keys", "--no-passphrase", "--comment", "me here"]).input(format!("{PIN}\n"));
        made.run().success();
        let old = KeyFile::new(env.path("home/.ssh/id_ed25519_sk"), true);
        let device = env.host("device");
        let lines = env.path("device/authorized_keys");
        device.authorize(&old);
        // `ssh` looks for its configuration where the account's home is, and not in $HOME.
        let ssh = format!("#!/bin/sh\nexec /usr/bin/ssh -F '{}' \"$@\"\n", env.ssh_config().display());
        fs::create_dir(env.path("bin")).unwrap();
        env.script("bin/ssh", &ssh);
        let old_line = old.public_line();
        Self { agent, token, old, old_line, lines, device, env }
    }

    /// `agent-cli`, with the programs of this place.
    fn cli(&self, arguments: &[&str]) -> Program {
        let path = format!("{}:/usr/bin:/bin", self.env.path("bin").display());
        self.agent.cli(arguments.iter().copied()).env("PATH", path)
    }

    /// `agent-cli refresh` into the host's file, with these options more.
    fn refresh(&self, options: &[&str]) -> Program {
        self.refresh_to(&self.lines, options)
    }

    /// The same into another file.
    fn refresh_to(&self, file: &Path, options: &[&str]) -> Program {
        self.cli(&["refresh", "--to"]).arg(file).args(options)
    }

    /// Without a passphrase, and with these lines typed.
    fn refresh_typing(&self, options: &[&str], typed: &[&str]) -> Ended {
        self.refresh(options).args(["-S", "--no-passphrase"]).input(lines(typed)).run()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.env.path(&format!("home/.ssh/{name}"))
    }

    /// The old key is where it was: in its files, in the agent, among the host's lines; and it logs in.
    fn is_as_it_was(&self) {
        assert_eq!(self.old.public_line(), self.old_line);
        assert!(
            self.old.path().exists() && self.agent.list().contains(&self.old.fingerprint()),
            "{}",
            self.agent.list()
        );
        assert!(fs::read_to_string(&self.lines).unwrap().contains(&self.old_line));
        let key = self.old.public_path();
        self.env.person().always_types(PIN);
        self.token.set_touch(Touch::Always);
        let login = self.agent.ssh(["-o", "IdentitiesOnly=yes", "-i"]).arg(key).args(["device", "true"]);
        login.run().success();
    }

    /// The file to which the old key was moved, and its number of lines at the host.
    fn aside(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.path("")).unwrap().map(|entry| entry.unwrap().path());
        let mut aside: Vec<_> = files.filter(|path| path.to_string_lossy().contains("_old-")).collect();
        aside.sort();
        aside
    }

    fn new_key(&self) -> KeyFile {
        KeyFile::new(self.path("id_ed25519_sk_new"), true)
    }
}

fn lines(typed: &[&str]) -> String {
    typed.iter().map(|line| format!("{line}\n")).collect()
}

/// The new key is tried on the host.
const TRIED: [&str; 2] = ["--test-login", "device"];

/// The PIN for the new key, a yes to publish it, the PIN for the test signature and for the login.
const TYPED: [&str; 4] = [PIN, "y", PIN, PIN];

for_each_token! {
    /// All of it: then the new key logs in alone, with the agent and, from the same files, without it.
    fn a_key_is_refreshed(kind: TokenKind) {
        let before = Before::ready(kind);
        // The PIN for the new key, for the test signature and for the login; where there is a sensor, fingers.
        let typed = match kind {
            TokenKind::PinOnly => &TYPED[..],
            TokenKind::Fingerprint => &["y"],
        };
        let ended = before.refresh_typing(&TRIED, typed).success();
        let Before { agent, old, old_line, device, env, .. } = &before;
        let new = KeyFile::new(old.path().to_owned(), true);
        assert_ne!(new.public_line(), *old_line);
        assert!(new.public_line().ends_with(" me here"), "{}", new.public_line());
        assert!(ended.stdout.contains("The old key stands in") && ended.stdout.contains("in no agent any more"), "{}", ended.stdout);
        let aside = before.aside();
        assert_eq!(aside.len(), 2, "{aside:?}");
        assert_eq!(fs::read_to_string(&aside[1]).unwrap().trim(), old_line);
        assert!(!before.new_key().path().exists());
        assert_eq!(agent.list().lines().count(), 1);
        assert!(agent.list().contains(&new.fingerprint()));
        assert!(device.log().contains(&new.fingerprint()));

        let without_us = env.program_with_tokens("ssh").asking(&env.person_who_types(PIN)).arg("-F").arg(env.ssh_config());
        let options = ["-o", "BatchMode=no", "-o", "IdentityAgent=none", "-o", "IdentitiesOnly=yes", "-i"];
        without_us.args(options).arg(new.path()).args(["device", "true"]).run().success();
        // The next agent has it by its name.
        let env = env.clone();
        let Before { agent, token: _token, device: _device, .. } = before;
        agent.kill();
        let agent = env.agent().start();
        assert!(agent.list().contains(&new.fingerprint()));
        env.person().always_types(PIN);
        agent.ssh(["device", "true"]).run().success();
    }
}

/// The person says no, or the place takes nothing. Repeated, it goes on with the key that is there.
#[test]
fn publishing_that_is_refused() {
    let before = Before::ready(TokenKind::PinOnly);
    let told = before.refresh_typing(&TRIED, &[PIN, "n"]).code(1).stderr;
    assert!(told.contains("nothing was published") && told.contains("`agent-cli refresh "), "{told}");
    before.is_as_it_was();
    let new = before.new_key().fingerprint();
    assert!(told.contains(&format!("The new key {new} is in ")), "{told}");

    // No file can be made in its folder any more.
    let (folder, away) = (before.env.path("device"), before.env.path("away"));
    fs::rename(&folder, &away).unwrap();
    before.refresh_typing(&TRIED, &["y", PIN]).code(1);
    fs::rename(&away, &folder).unwrap();
    before.is_as_it_was();
    assert_eq!(before.new_key().fingerprint(), new);

    let done = before.refresh_typing(&TRIED, &["y", PIN, PIN]).success();
    assert!(done.stderr.contains("An earlier refresh has left a new key"), "{}", done.stderr);
    assert_eq!(KeyFile::new(before.path("id_ed25519_sk"), true).fingerprint(), new);
}

/// The host does not know the new key yet, as where it learns of keys after some hours; nor does it count that another key is let in.
#[test]
fn a_test_login_that_is_refused() {
    let before = Before::ready(TokenKind::PinOnly);
    let elsewhere = before.env.path("elsewhere");
    fs::write(&elsewhere, "").unwrap();
    let refresh = |typed: &[&str]| {
        let refresh = before.refresh_to(&elsewhere, &TRIED).args(["-S", "--no-passphrase"]);
        refresh.input(lines(typed)).run()
    };
    let told = refresh(&[PIN, "y", PIN]).code(1).stderr;
    assert!(told.contains("the test login on device with the new key failed"), "{told}");
    assert!(told.contains("ssh: ") && told.contains("Permission denied (publickey)"), "{told}");
    assert!(told.contains(&format!("{} has the new one as well.", elsewhere.display())), "{told}");
    before.is_as_it_was();

    let config = fs::read_to_string(before.env.ssh_config()).unwrap();
    let old = format!("Host device\n  IdentityFile {}\n", before.old.path().display());
    fs::write(before.env.ssh_config(), old + &config).unwrap();
    let told = refresh(&[PIN]).code(1).stderr;
    assert!(told.contains("but not by the new key"), "{told}");
    fs::write(before.env.ssh_config(), config).unwrap();
    before.is_as_it_was();

    before.device.authorize(&before.new_key());
    let done = refresh(&[PIN]).success();
    assert!(done.stdout.contains("Published already"), "{}", done.stdout);
    assert_eq!(before.aside().len(), 2);
}

/// Without a login nobody knows whether the new key works, so only a yes retires the old one.
#[test]
fn without_a_test_login_the_person_decides() {
    let before = Before::ready(TokenKind::PinOnly);
    let told = before.refresh_typing(&[], &[PIN, "y", PIN, ""]).code(1).stderr;
    assert!(told.contains("the old key is not retired"), "{told}");
    before.is_as_it_was();
    before.refresh_typing(&[], &["yes"]).success();
    assert_eq!(before.aside().len(), 2);
}

/// What is asked on the way, what it is answered with, and whether there is a new key by then.
const PROMPTS: [(&str, &str, bool); 6] = [
    ("Enter passphrase", "", false),
    ("Enter same passphrase again", "", false),
    ("PIN of ", PIN, false),
    ("Publish this key? [y/N] ", "y", true),
    ("PIN (8 tries left): ", PIN, true),
    ("PIN (8 tries left): ", PIN, true),
];

/// Ctrl-C at each of the prompts.
#[test]
fn an_end_at_each_prompt() {
    let before = Before::ready(TokenKind::PinOnly);
    let mut new = None;
    for (end, (_, _, is_made)) in PROMPTS.iter().enumerate() {
        let mut terminal = Terminal::run(before.refresh(&TRIED));
        // What is there already is not asked for again.
        let first = if new.is_some() { 3 } else { 0 };
        let mut seen = String::new();
        for (number, (prompt, answer, _)) in PROMPTS.iter().enumerate().take(end + 1).skip(first) {
            seen += prompt;
            let times = PROMPTS[first..=number].iter().filter(|(other, ..)| other == prompt).count();
            terminal.screen().wait_for_times(prompt, times);
            if number == end {
                terminal.type_keys("\u{3}");
            } else {
                terminal.type_line(answer);
            }
        }
        assert!(!terminal.wait().success());
        let screen = terminal.screen().wait_for_end();
        match new.clone() {
            None if *is_made => new = Some(before.new_key().fingerprint()),
            None => assert!(screen.contains("is as it was, in "), "{screen}"),
            Some(_) => {}
        }
        if let Some(new) = &new {
            assert!(screen.contains(&format!("The new key {new} is in ")), "{screen}");
            assert_eq!(before.new_key().fingerprint(), *new, "it is gone on with");
        }
        before.is_as_it_was();
    }
}

/// The token is pulled out while its PIN is typed, before each of its uses.
#[test]
fn a_token_that_is_gone_in_between() {
    let mut before = Before::ready(TokenKind::PinOnly);
    let mut terminal = Terminal::run(before.refresh(&[TRIED[0], TRIED[1], "--no-passphrase"]));
    terminal.screen().wait_for("PIN of ");
    let pulled_out = before.token.unplug();
    terminal.type_line(PIN);
    assert!(!terminal.wait().success());
    let screen = terminal.screen().wait_for_end();
    assert!(screen.contains("(token-absent)") && screen.contains("is as it was, in "), "{screen}");
    before.token = before.env.bus().plug_again(pulled_out);
    before.is_as_it_was();

    // While the new key is to log in: it is asked for, and the person says no.
    let mut terminal = Terminal::run(before.refresh(&[TRIED[0], TRIED[1], "--no-passphrase", "--yes"]));
    terminal.screen().wait_for("PIN of ");
    terminal.type_line(PIN);
    terminal.screen().wait_for("PIN (8 tries left): ");
    terminal.type_line(PIN);
    terminal.screen().wait_for_times("PIN (8 tries left): ", 2);
    let pulled_out = before.token.unplug();
    terminal.screen().wait_for("Plug in ");
    terminal.type_line("no");
    assert!(!terminal.wait().success());
    let screen = terminal.screen().wait_for_end();
    assert!(screen.contains("the test login on device with the new key failed"), "{screen}");
    assert!(screen.contains("has the new one as well."), "{screen}");
    before.token = before.env.bus().plug_again(pulled_out);
    before.is_as_it_was();
}

/// Only what is typed in full deletes a key from a token; all else is done before.
#[test]
fn the_old_key_is_deleted_from_its_token_when_that_is_asked_for() {
    let before = Before::ready(TokenKind::PinOnly);
    let old = before.old.fingerprint();
    let kept = || before.agent.cli(["-S", "tokens", "credentials"]).input(format!("{PIN}\n")).run().success().stdout;
    let typed = [&TYPED[..], &[PIN, "yes"]].concat();
    let told = before.refresh_typing(&[TRIED[0], TRIED[1], "--delete-old"], &typed).code(1).stderr;
    let again = format!("agent-cli tokens credentials delete {old}");
    assert!(told.contains("(prompt-refused)") && told.contains(&again) && told.contains("All else is done."), "{told}");
    assert!(kept().contains(&old));

    // And in one go, for the key that is there now.
    let old = KeyFile::new(before.path("id_ed25519_sk"), true).fingerprint();
    let typed = [&TYPED[..], &[PIN, "ssh:"]].concat();
    let ended = before.refresh_typing(&[TRIED[0], TRIED[1], "--delete-old"], &typed).success();
    assert!(ended.stderr.contains(&format!("Deleted from the token: {old} (ssh:)")), "{}", ended.stderr);
    let kept = kept();
    assert!(!kept.contains(&old) && kept.lines().count() == 2, "{kept}");
}

/// Its backup is the new key's then; and the new key is not made where the backup is.
#[test]
fn a_key_with_a_backup() {
    let mut before = Before::ready(TokenKind::PinOnly);
    let original = before.old.fingerprint();
    let red = before.token.unplug();
    before.token = before.env.plug(TokenKind::PinOnly.options());
    let backup = before.agent.cli(["-S", "gen-keys", "--no-passphrase", "--backup-of", &original]);
    backup.input(lines(&[PIN, "blue"])).run().success();
    let told = before.refresh_typing(&TRIED, &TYPED).code(1).stderr;
    assert!(told.contains("(backup-same-token)") && told.contains("is as it was, in "), "{told}");

    drop(before.token);
    before.token = before.env.bus().plug_again(red);
    before.refresh_typing(&TRIED, &TYPED).success();
    let new = KeyFile::new(before.path("id_ed25519_sk"), true).fingerprint();
    let listed = before.agent.cli(["list"]).run().success().stdout;
    assert!(listed.contains(&format!("backup of {new}, on token blue")) && !listed.contains(&original), "{listed}");
}
