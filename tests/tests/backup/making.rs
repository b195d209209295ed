//! How a backup is made, and where it is not.

use std::fs;

use agent::audit::record::Act;
use agent::denial::Code;
use tests::{Agent, Ended, Env, KeyFile, PIN, Recipe, TokenKind, for_each_token};

use crate::{BACKUP_FILE, backed_up, first_token, gen_keys, in_a_terminal, made, original, second_token};

fn names(agent: &Agent) -> Vec<String> {
    let name = |act| match act {
        Act::NameToken { name, .. } => Some(name),
        _ => None,
    };
    agent.audit().acts().into_iter().filter_map(name).collect()
}

/// Nothing was made: no file is there.
fn refused(ended: Ended, code: Code, env: &Env) -> String {
    let ended = ended.code(1);
    assert!(ended.stderr.contains(&format!("({code})")), "{code}: {}", ended.stderr);
    assert!(!env.path(BACKUP_FILE).exists() && ended.stdout.is_empty(), "{}", ended.stdout);
    ended.stderr
}

for_each_token! {
    /// From two tokens without a name, one after the other in the only socket there is.
    fn both_tokens_get_their_names(kind: TokenKind) {
        let env = Env::new();
        let first = env.plug(first_token(kind));
        let agent = env.agent().start();
        let original = original(&agent);

        let mut terminal = in_a_terminal(&agent, &["--backup-of", &original.fingerprint()]);
        terminal.screen().wait_for("What do you call it?");
        terminal.type_line("red");
        // A verify-required resident key hides: what the token keeps tells that it is this one.
        terminal.screen().wait_for("PIN of First Key");
        terminal.type_line(PIN);
        terminal.screen().wait_for("is called red now.");
        terminal.screen().wait_for("Now plug in the other token");
        assert_eq!(made(&first), 2, "a key and a marker");
        drop(first);
        let second = env.plug(second_token(kind));
        terminal.type_line("");
        terminal.screen().wait_for("PIN of Second Key");
        terminal.type_line(PIN);
        terminal.screen().wait_for("What do you call this token?");
        terminal.type_line("blue");
        assert!(terminal.wait().success());
        let screen = terminal.screen().wait_for_end();
        assert!(screen.contains(&format!("It is a backup of {}, on token blue.", original.fingerprint())), "{screen}");

        let backup = KeyFile::new(env.path(BACKUP_FILE), true);
        assert!(backup.public_line().ends_with(" me here (backup)"), "{}", backup.public_line());
        assert_ne!(backup.fingerprint(), original.fingerprint());
        assert_eq!(names(&agent), ["red", "blue"]);
        assert_eq!(made(&second), 2, "a key and a marker");
    }

    /// It proves by its marker that it is the same, so not even its PIN is asked for.
    fn the_same_token_is_refused_by_its_name(kind: TokenKind) {
        let env = Env::new();
        let first = env.plug(first_token(kind));
        let agent = env.agent().start();
        agent.cli(["-S", "tokens", "name", "red"]).run().success();
        let original = original(&agent);
        let told = refused(gen_keys(&agent, &["--backup-of", &original.fingerprint()], &[PIN, ""]), Code::BackupSameToken, &env);
        assert!(told.contains(&original.fingerprint()) && !told.contains("PIN of"), "{told}");
        assert_eq!(made(&first), 2);
    }

    /// Neither token has a name, and the person gives none.
    fn the_same_token_is_refused_by_what_it_keeps(kind: TokenKind) {
        let env = Env::new();
        let first = env.plug(first_token(kind));
        let agent = env.agent().start();
        let original = original(&agent);
        // By its .pub file, which the agent need not hold.
        agent.cli(["remove", "--all"]).run().success();
        let public = original.public_path();
        let ended = gen_keys(&agent, &["--backup-of", public.to_str().unwrap()], &["", PIN, "yes", "blue"]);
        refused(ended, Code::BackupSameToken, &env);
        assert_eq!(made(&first), 1);
    }

    /// A key that does not hide proves by a silent signature where it is; on the other token it leaves no doubt either.
    fn a_key_that_answers_tells_both_tokens_apart(kind: TokenKind) {
        let env = Env::new();
        let first = env.plug(first_token(kind));
        let agent = env.agent().start();
        let original = env.ssh_keygen(&Recipe::ed25519());
        agent.ssh_add(&original);
        let backup_of = ["--backup-of", "by ssh-keygen"];
        let told = refused(gen_keys(&agent, &backup_of, &["", PIN, ""]), Code::BackupSameToken, &env);
        assert!(!told.contains("PIN of"), "{told}");
        assert_eq!(made(&first), 1);
        drop(first);
        let second = env.plug(second_token(kind));
        let ended = gen_keys(&agent, &backup_of, &["", PIN, ""]).success();
        assert!(!ended.stderr.contains("It can't be told"), "{}", ended.stderr);
        assert!(ended.stdout.contains("on a token without a name") && ended.stdout.contains("told apart by nothing"), "{}", ended.stdout);
        assert_eq!(made(&second), 1, "without a name, no marker");
    }
}

/// Where it can't be told, the person decides. Only a yes makes a key.
#[test]
fn a_person_decides_where_it_cant_be_told() {
    let kind = TokenKind::PinOnly;
    let env = Env::new();
    let first = env.plug(first_token(kind));
    let agent = env.agent().start();
    // Of a key that is in no token's list nothing is known but its .pub file.
    let original = env.ssh_keygen(&Recipe::ed25519().verify_required());
    drop(first);
    let second = env.plug(second_token(kind));
    let public = original.public_path();
    let backup_of = ["--backup-of", public.to_str().unwrap()];
    for no in ["no", "", "perhaps"] {
        let told = refused(gen_keys(&agent, &backup_of, &["", PIN, no, "blue"]), Code::PromptRefused, &env);
        assert!(told.contains("It can't be told whether Second Key"), "{told}");
    }
    assert_eq!(made(&second), 0);
    gen_keys(&agent, &backup_of, &["", PIN, "yes", "blue"]).success();
    assert_eq!((names(&agent), made(&second)), (vec!["blue".to_owned()], 2));
}

/// A token that is not the original's does not get its name.
#[test]
fn a_name_for_the_original_s_token_is_given_to_no_other() {
    let kind = TokenKind::PinOnly;
    let env = Env::new();
    let first = env.plug(first_token(kind));
    let agent = env.agent().start();
    let original = original(&agent);
    drop(first);
    let second = env.plug(second_token(kind));
    let ended = gen_keys(&agent, &["--backup-of", &original.fingerprint()], &["red", PIN]);
    let told = refused(ended, Code::KeyNotOnToken, &env);
    assert!(told.contains("so it got no name"), "{told}");
    assert_eq!((names(&agent), made(&second)), (vec![], 0));
}

/// A backup of a backup is one of the original, and is on neither of their tokens.
#[test]
fn a_third_token() {
    let kind = TokenKind::PinOnly;
    let env = Env::new();
    let agent = env.agent().start();
    let (first, second, original, backup) = backed_up(&env, &agent, kind);
    let third = ["--backup-of", &backup.fingerprint(), "--file", "third", "--comment", "third"];
    drop(second);
    let first = env.bus().plug_again(first);
    gen_keys(&agent, &third, &[PIN, "green"]).code(1);
    drop(first);
    let _third = env.plug(kind.options().name("Third Key"));
    let made = gen_keys(&agent, &third, &[PIN, "green"]).success();
    assert!(made.stdout.contains("on token green"), "{}", made.stdout);
    let listed = agent.cli(["list"]).run().success().stdout;
    assert_eq!(listed.matches(&format!("backup of {}", original.fingerprint())).count(), 2, "{listed}");
}

/// Another's name for the token, or none that can be one, is asked for again.
#[test]
fn a_name_that_is_taken_is_asked_for_again() {
    let env = Env::new();
    let agent = env.agent().start();
    let first = env.plug(first_token(TokenKind::PinOnly));
    agent.cli(["-S", "tokens", "name", "red"]).run().success();
    let original = original(&agent);
    drop(first);
    let _second = env.plug(second_token(TokenKind::PinOnly));
    let ended = gen_keys(&agent, &["--backup-of", &original.fingerprint()], &[PIN, "red", &"x".repeat(33), "blue"]);
    let ended = ended.success();
    assert!(ended.stderr.contains("another token is called red already"), "{}", ended.stderr);
    assert_eq!(names(&agent), ["red", "blue"]);
}

/// Everything that can be seen to be wrong is seen before a token is asked.
#[test]
fn what_can_be_no_backup_is_refused_before_a_token_is_asked() {
    let env = Env::new();
    let token = env.plug(first_token(TokenKind::PinOnly));
    let agent = env.agent().start();
    let original = original(&agent);
    let plain = env.plain_key();
    agent.ssh_add(&plain);
    let before = token.events().len();
    let backup_of = |key: &str| gen_keys(&agent, &["--backup-of", key], &["", PIN]).code(1).stderr;
    assert!(backup_of("SHA256:nothing").contains("no key with the fingerprint SHA256:nothing"));
    assert!(backup_of("nobody").contains("neither a file nor a key"));
    let told = backup_of(plain.path().to_str().unwrap());
    assert!(told.contains("is on no token"), "{told}");
    fs::write(env.path(BACKUP_FILE), "mine").unwrap();
    let told = backup_of(&original.fingerprint());
    assert!(told.contains("is there already, and is not overwritten"), "{told}");
    assert_eq!((token.events().len(), fs::read_to_string(env.path(BACKUP_FILE)).unwrap()), (before, "mine".into()));
}
