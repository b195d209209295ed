//! Keys on a second token, for the day on which the first is lost: how they are made, and how they are told apart.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

mod making;
mod showing;

use soft_token::{Command, Device, TokenOptions, What};
use tests::{Agent, Ended, Env, KeyFile, PIN, Terminal, TokenKind};

/// The file of the key on the first token, and of its backup.
const FILE: &str = "home/.ssh/id_ed25519_sk";
const BACKUP_FILE: &str = "home/.ssh/id_ed25519_sk_backup";

fn first_token(kind: TokenKind) -> TokenOptions {
    kind.options().name("First Key")
}

fn second_token(kind: TokenKind) -> TokenOptions {
    kind.options().name("Second Key")
}

/// `agent-cli gen-keys` with these options, and these lines typed.
fn gen_keys(agent: &Agent, options: &[&str], typed: &[&str]) -> Ended {
    let typed: String = typed.iter().map(|line| format!("{line}\n")).collect();
    agent.cli(["-S", "gen-keys", "--no-passphrase"]).args(options).input(typed).run()
}

/// A key on the token that is plugged in, in OpenSSH's own place.
fn original(agent: &Agent) -> KeyFile {
    gen_keys(agent, &["--comment", "me here"], &[PIN]).success();
    KeyFile::new(agent.env().path(FILE), true)
}

/// The same on a token of this kind, which has the name `red` and is unplugged again, with its backup on another, `blue`, that
/// stays.
fn backed_up(env: &Env, agent: &Agent, kind: TokenKind) -> (soft_token::Unplugged, Device, KeyFile, KeyFile) {
    let first = env.plug(first_token(kind));
    agent.cli(["-S", "tokens", "name", "red"]).run().success();
    let original = original(agent);
    let first = first.unplug();
    let second = env.plug(second_token(kind));
    gen_keys(agent, &["--backup-of", &original.fingerprint()], &[PIN, "blue"]).success();
    (first, second, original, KeyFile::new(env.path(BACKUP_FILE), true))
}

/// How many credentials were asked of a token.
fn made(token: &Device) -> usize {
    token.events().iter().filter(|event| event.what == What::Command(Command::MakeCredential)).count()
}

fn in_a_terminal(agent: &Agent, options: &[&str]) -> Terminal {
    Terminal::run(agent.cli(["gen-keys", "--no-passphrase"]).args(options))
}
