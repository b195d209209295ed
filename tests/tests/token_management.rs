//! What `agent-cli tokens` does to a token itself: its PIN, its fingerprints, the keys it keeps. libfido2's `fido2-token`
//! and OpenSSH see the same afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use agent::audit::record::{Act, Outcome, TokenChange, Verification};
use agent::denial::Code;
use serde_json::{Value, json};
use soft_token::{Command, Device, Sample, TokenOptions, Touch, What};
use tests::{Agent, Ended, Env, KeyFile, PATIENCE, PIN, Recipe, Rival, Terminal, TokenKind, for_each_token};

const OTHER_PIN: &str = "naïve-4711";

/// `agent-cli tokens COMMAND`, with these lines typed.
fn tokens(agent: &Agent, command: &[&str], typed: &[&str]) -> Ended {
    agent
        .cli(["-S", "tokens"])
        .args(command)
        .input(typed.iter().map(|line| format!("{line}\n")).collect::<String>())
        .run()
}

fn refused(ended: Ended, code: Code) -> String {
    let ended = ended.code(1);
    assert!(ended.stderr.contains(&format!("({code})")), "{code}: {}", ended.stderr);
    assert_eq!(ended.stdout, "");
    ended.stderr
}

fn read_json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error} in {}", ended.stdout))
}

/// What libfido2's tool shows, which is given the PIN in a terminal. It takes a finger before a PIN, so there is none.
fn fido2_token(env: &Env, pin: &str, arguments: &[&str], token: &Device) -> String {
    if token.fingers() > 0 {
        token.block_uv();
    }
    let program = env.program_with_tokens("fido2-token").args(arguments).arg(token.path());
    let mut terminal = Terminal::run(program);
    terminal.screen().wait_for("Enter PIN for ");
    terminal.type_line(pin);
    terminal.wait();
    terminal.screen().wait_for_end()
}

fn commands(token: &Device, wanted: Command) -> usize {
    token.events().iter().filter(|event| event.what == What::Command(wanted)).count()
}

fn no_pin_yet(kind: TokenKind) -> TokenOptions {
    match kind {
        TokenKind::PinOnly => TokenOptions::pin_only(),
        TokenKind::Fingerprint => TokenOptions::fingerprint_not_enrolled(),
    }
}

fn changes(agent: &Agent) -> Vec<(bool, TokenChange)> {
    let change = |act| match act {
        Act::ChangingToken { change, .. } => Some((false, change)),
        Act::ChangedToken { change, .. } => Some((true, change)),
        _ => None,
    };
    agent.audit().acts().into_iter().filter_map(change).collect()
}

for_each_token! {
    /// What `set-pin` set opens the token for OpenSSH and for libfido2's tool.
    fn a_pin_is_set(kind: TokenKind) {
        let env = Env::new();
        let token = env.plug(no_pin_yet(kind));
        let agent = env.agent().start();
        assert!(agent.cli(["tokens"]).run().success().stdout.contains("PIN          not set; it takes 4 characters"));

        let set = tokens(&agent, &["set-pin"], &[PIN, PIN]).success();
        assert!(set.stderr.contains("at least 4 characters, and at most 63 bytes") && set.stderr.contains("The PIN is set."), "{}", set.stderr);
        assert!(agent.cli(["tokens"]).run().success().stdout.contains("PIN          set, 8 tries left"));
        env.ssh_keygen(&Recipe::ed25519().resident().verify_required());
        let listed = fido2_token(&env, PIN, &["-L", "-r"], &token);
        assert!(listed.contains(" ssh:"), "{listed}");
        assert_eq!(changes(&agent), [(false, TokenChange::SetPin), (true, TokenChange::SetPin)]);

        refused(tokens(&agent, &["set-pin"], &[OTHER_PIN, OTHER_PIN]), Code::PinAlreadySet);
        assert_eq!(commands(&token, Command::SetPin), 1);
    }

    fn a_pin_that_the_token_does_not_take_is_not_sent(kind: TokenKind) {
        let env = Env::new();
        let token = env.plug(no_pin_yet(kind).shortest_pin(6));
        let agent = env.agent().start();
        let told = refused(tokens(&agent, &["set-pin"], &["12345", "12345"]), Code::PinPolicy);
        assert!(told.contains("at least 6 characters"), "{told}");
        // Code points are counted, not bytes; and bytes at the other end.
        refused(tokens(&agent, &["set-pin"], &["äöüßé", "äöüßé"]), Code::PinPolicy);
        refused(tokens(&agent, &["set-pin"], &[&"x".repeat(64)]), Code::PinPolicy);
        refused(tokens(&agent, &["set-pin"], &["123456", "654321"]), Code::NewPinsDiffer);
        refused(tokens(&agent, &["set-pin"], &["123456"]), Code::PromptRefused);
        refused(tokens(&agent, &["change-pin"], &["123456"]), Code::PinNotSet);
        assert_eq!(commands(&token, Command::SetPin), 0);
        assert_eq!(changes(&agent), []);

        tokens(&agent, &["set-pin"], &["123456", "123456"]).success();
        refused(tokens(&agent, &["change-pin"], &["123456", "12345"]), Code::PinPolicy);
        refused(tokens(&agent, &["change-pin"], &["123456", "123456", "123456"]), Code::PinPolicy);
        assert_eq!((commands(&token, Command::ChangePin), token.pin_retries()), (0, 8));
    }

    /// The new one opens the token, the old one does not.
    fn a_pin_is_changed(kind: TokenKind) {
        let env = Env::new();
        let token = env.plug(kind.options());
        let agent = env.agent().start();
        env.ssh_keygen(&Recipe::ed25519().resident());
        let changed = tokens(&agent, &["change-pin"], &[PIN, OTHER_PIN, OTHER_PIN]).success();
        assert!(changed.stderr.contains("(8 tries left)") && changed.stderr.contains("The PIN is changed."), "{}", changed.stderr);
        assert_eq!(changes(&agent), [(false, TokenChange::ChangePin), (true, TokenChange::ChangePin)]);
        let opened = fido2_token(&env, OTHER_PIN, &["-L", "-r"], &token);
        assert!(opened.contains(" ssh:"), "{opened}");
        let closed = fido2_token(&env, PIN, &["-L", "-r"], &token);
        assert!(closed.contains("FIDO_ERR_PIN_INVALID"), "{closed}");
        assert_eq!(token.pin_retries(), 7);
    }

    fn a_wrong_old_pin_costs_one_try_and_two_are_the_end(kind: TokenKind) {
        let env = Env::new();
        let token = env.plug(kind.options());
        let agent = env.agent().start();
        let wrong = ["0000", OTHER_PIN, OTHER_PIN];
        let told = refused(tokens(&agent, &["change-pin"], &wrong), Code::PinWrong);
        assert!(told.contains("7 tries left"), "{told}");
        assert_eq!((commands(&token, Command::ChangePin), token.pin_retries()), (1, 7));
        refused(tokens(&agent, &["change-pin"], &wrong), Code::PinGuard);
        assert_eq!((commands(&token, Command::ChangePin), token.pin_retries()), (2, 6));
        // The third is not asked for.
        let told = refused(tokens(&agent, &["change-pin"], &[PIN, OTHER_PIN, OTHER_PIN]), Code::PinGuard);
        assert!(!told.contains("PIN of"), "{told}");
        assert_eq!(commands(&token, Command::ChangePin), 2);
        assert_eq!(changes(&agent), [(false, TokenChange::ChangePin), (false, TokenChange::ChangePin)]);

        let token = env.bus().plug_again(token.unplug());
        tokens(&agent, &["change-pin"], &[PIN, OTHER_PIN, OTHER_PIN]).success();
        assert_eq!(token.pin_retries(), 8);
    }

    fn a_pin_that_has_to_be_changed(kind: TokenKind) {
        let env = Env::new();
        let token = env.plug(kind.options());
        let agent = env.agent().start();
        token.demand_pin_change();
        assert!(agent.cli(["tokens"]).run().success().stdout.contains("PIN          set, must be changed, 8 tries left"));
        refused(tokens(&agent, &["credentials"], &[PIN]), Code::PinChangeRequired);
        assert_eq!((commands(&token, Command::PinToken), token.pin_retries()), (0, 8));
        tokens(&agent, &["change-pin"], &[PIN, OTHER_PIN, OTHER_PIN]).success();
        tokens(&agent, &["credentials"], &[OTHER_PIN]).success();
    }

    fn a_blocked_pin_is_not_asked_for(kind: TokenKind) {
        let env = Env::new();
        let token = env.plug(kind.options());
        let agent = env.agent().start();
        token.block_pin();
        for command in [&["change-pin"][..], &["credentials"]] {
            let told = refused(tokens(&agent, command, &[PIN]), Code::PinBlocked);
            assert!(!told.contains("PIN of"), "{told}");
        }
        assert!(agent.cli(["tokens"]).run().success().stdout.contains("PIN          blocked for good"));
    }

    /// The keys a token keeps are listed for a person and for a program, and one is deleted once its name was typed.
    fn keys_are_listed_and_deleted(kind: TokenKind) {
        let env = Env::new();
        let token = env.plug(kind.options());
        let agent = env.agent().start();
        assert_eq!(tokens(&agent, &["credentials"], &[PIN]).success().stdout, "The token keeps no key for SSH.\n");
        let first = resident(&agent, "ssh:", "alice", true);
        let second = resident(&agent, "ssh:two", "bob", false);
        agent.cli(["remove"]).arg(second.path()).run().success();

        let listed = tokens(&agent, &["credentials"], &[PIN]).success().stdout;
        let line = |n, application, user, key: &KeyFile, more| {
            format!("{n:>3}  {application}  {user}  {} (ED25519-SK{more})\n", key.fingerprint())
        };
        let lines = [
            line(1, "ssh:", "alice", &first, ", verify-required, held by the agent"),
            line(2, "ssh:two", "bob", &second, ""),
        ];
        assert_eq!(listed, lines.concat());
        let found = read_json(&tokens(&agent, &["credentials", "--json"], &[PIN]).success());
        let entry = |key: &KeyFile, application, user, verify_required, held| json!({
            "fingerprint": key.fingerprint(), "type": "ED25519-SK", "application": application, "user_name": user,
            "verify_required": verify_required, "held": held,
        });
        assert_eq!(found, json!({
            "version": 1, "other_relying_parties": 0,
            "credentials": [entry(&first, "ssh:", "alice", true, true), entry(&second, "ssh:two", "bob", false, false)],
        }));

        // Whatever else is typed deletes nothing.
        for (which, typed) in [("2", "ssh:"), ("2", "yes"), ("2", "")] {
            refused(tokens(&agent, &["credentials", "delete", which], &[PIN, typed]), Code::PromptRefused);
        }
        refused(tokens(&agent, &["credentials", "delete", "3"], &[PIN]), Code::NoSuchCredential);
        refused(tokens(&agent, &["credentials", "delete"], &[PIN, "none"]), Code::NoSuchCredential);
        assert_eq!(changes(&agent), []);
        let seen = fido2_token(&env, PIN, &["-L", "-r"], &token);
        assert!(seen.contains("ssh:two"), "{seen}");

        let deleted = tokens(&agent, &["credentials", "delete", &second.fingerprint()], &[PIN, "bob"]).success();
        assert!(deleted.stderr.contains("Deleted from the token"), "{}", deleted.stderr);
        let change = TokenChange::DeleteCredential { key: second.fingerprint(), application: "ssh:two".into() };
        assert_eq!(changes(&agent), [(false, change.clone()), (true, change)]);
        let seen = fido2_token(&env, PIN, &["-L", "-r"], &token);
        assert!(!seen.contains("ssh:two") && seen.contains("ssh:"), "{seen}");

        // Chosen from the list; and the agent, which holds it still, says so.
        let deleted = tokens(&agent, &["credentials", "delete"], &[PIN, "1", "ssh:"]).success();
        assert!(deleted.stderr.contains("  1  ssh:  alice") && deleted.stderr.contains("The agent still lists the key"), "{}", deleted.stderr);
        assert!(agent.list().contains(&first.fingerprint()));
        assert_eq!(tokens(&agent, &["credentials"], &[PIN]).success().stdout, "The token keeps no key for SSH.\n");
        let seen = fido2_token(&env, PIN, &["-L", "-r"], &token);
        assert!(seen.contains("FIDO_ERR_NO_CREDENTIALS"), "{seen}");
    }

    fn the_person_chooses_which_resident_keys_are_added(kind: TokenKind) {
        let env = Env::new();
        let _token = env.plug(kind.options());
        let agent = env.agent().start();
        let keys = [("ssh:", "alice"), ("ssh:two", "bob"), ("ssh:unus", "carol")].map(|(application, user)| {
            resident(&agent, application, user, application != "ssh:two")
        });
        agent.cli(["remove", "--all"]).run().success();
        let add = |more: &[&str], typed: &str| agent.cli(["-S", "add", "--resident"]).args(more).input(typed).run();
        let held = || {
            let list = agent.list();
            keys.each_ref().map(|key| list.contains(&key.fingerprint()))
        };
        for nothing in ["4", "1-3", "none", ""] {
            let ended = add(&[], &format!("{PIN}\n{nothing}\n")).code(1);
            assert!(ended.stderr.contains("  2  ssh:two  bob  SHA256:"), "{}", ended.stderr);
            assert_eq!(held(), [false; 3], "{nothing}");
        }
        add(&[], &format!("{PIN}\n3, 1\n")).success();
        assert_eq!(held(), [true, false, true]);
        assert!(agent.list().contains(&format!("{} alice (ED25519-SK)", keys[0].fingerprint())), "{}", agent.list());
        // One is no choice.
        add(&["--application", "ssh:two"], &format!("{PIN}\n")).success();
        assert_eq!(held(), [true; 3]);
        let none = add(&["--application", "ssh:four"], &format!("{PIN}\n")).code(1);
        assert!(none.stderr.contains("keeps no resident SSH key for ssh:four"), "{}", none.stderr);
        agent.cli(["remove", "--all"]).run().success();
        add(&["--all"], &format!("{PIN}\n")).success();
        assert_eq!(held(), [true; 3]);
    }

    /// Of two tokens, the one that is touched is asked for its PIN, and nothing happens to the other.
    fn one_of_several_tokens_is_chosen_by_touch(kind: TokenKind) {
        let env = Env::new();
        let meant = env.plug(kind.options().name("Meant").touch(Touch::Manual));
        let other = env.plug(kind.options().name("Other").touch(Touch::Never));
        let agent = env.agent().start();
        let mut terminal = Terminal::run(agent.cli(["tokens", "change-pin"]));
        meant.touch();
        terminal.screen().wait_for("PIN of Meant");
        terminal.type_line(PIN);
        terminal.screen().wait_for("New PIN: ");
        terminal.type_line(OTHER_PIN);
        terminal.screen().wait_for("The same PIN again: ");
        terminal.type_line(OTHER_PIN);
        assert!(terminal.wait().success());
        let screen = terminal.screen().wait_for_end();
        assert!(!screen.contains(OTHER_PIN) && !screen.contains(PIN), "{screen}");
        assert_eq!((commands(&meant, Command::ChangePin), commands(&other, Command::ChangePin)), (1, 0));
    }
}

fn resident(agent: &Agent, application: &str, user: &str, verify_required: bool) -> KeyFile {
    let path = agent.env().path(&format!("key-{user}"));
    let mut program = agent.cli(["-S", "gen-keys", "--no-passphrase", "--application", application, "--user", user]);
    if !verify_required {
        program = program.arg("--no-verify-required");
    }
    program.arg("--file").arg(&path).input(format!("{PIN}\n")).run().success();
    KeyFile::new(path, verify_required)
}

/// Each touch is judged before the person's eyes; libfido2's tool sees the finger afterwards.
#[test]
fn a_fingerprint_is_enrolled_touch_by_touch() {
    let env = Env::new();
    let token = env.plug(TokenOptions::fingerprint_not_enrolled().pin(PIN).touch(Touch::Manual));
    let agent = env.agent().start();
    assert_eq!(tokens(&agent, &["fingerprints"], &[PIN]).success().stdout, "The token knows no fingerprint.\n");
    token.plan_samples([Sample::Good, Sample::TooShort, Sample::Good, Sample::PoorQuality, Sample::Good]);
    let mut terminal = Terminal::run(agent.cli(["tokens", "fingerprints", "add", "--name", "left index"]));
    terminal.screen().wait_for("PIN of ");
    terminal.type_line(PIN);
    terminal.screen().wait_for("Put the finger on the token's sensor");
    for said in [
        "Good. 2 more touches.",
        "The touch was too short. 2 more touches.",
        "Good. Once more.",
        "The picture was poor: is the finger clean and dry? Once more.",
        "Fingerprint 01 left index is enrolled.",
    ] {
        token.touch();
        token.wait_for(|what| what == What::Touched, PATIENCE);
        terminal.screen().wait_for(said);
    }
    assert!(terminal.wait().success());
    assert_eq!(token.fingers(), 1);
    assert_eq!(changes(&agent), [(false, TokenChange::AddFingerprint), (true, TokenChange::AddFingerprint)]);
    let seen = fido2_token(&env, PIN, &["-L", "-e"], &token);
    assert!(seen.contains("left index"), "{seen}");
    assert!(agent.cli(["tokens"]).run().success().stdout.contains("fingerprint  enrolled, 8 tries left"));

    // Its finger signs at once.
    token.set_touch(Touch::Always);
    let key = resident(&agent, "ssh:", "alice", true);
    let device = env.host("device");
    device.authorize(&key);
    agent.ssh(["device", "true"]).run().success();
}

#[test]
fn fingerprints_are_listed_renamed_and_removed() {
    let env = Env::new();
    let token = env.plug(TokenKind::Fingerprint.options());
    let agent = env.agent().start();
    let list = || tokens(&agent, &["fingerprints"], &[PIN]).success().stdout;
    assert_eq!(list(), "01 (no name)\n");
    tokens(&agent, &["fingerprints", "add", "--name", "thumb"], &[PIN]).success();
    assert_eq!(list(), "01 (no name)\n02 thumb\n");
    for (name, code) in
        [("thumb", Code::FingerprintName), ("01", Code::FingerprintName), (&"x".repeat(99), Code::FingerprintName)]
    {
        refused(tokens(&agent, &["fingerprints", "add", "--name", name], &[PIN]), code);
        refused(tokens(&agent, &["fingerprints", "rename", "01", name], &[PIN]), code);
    }
    tokens(&agent, &["fingerprints", "rename", "01", "index"], &[PIN]).success();
    let found = read_json(&tokens(&agent, &["fingerprints", "--json"], &[PIN]).success());
    assert_eq!(
        found,
        json!({"version": 1, "fingerprints": [{"id": "01", "name": "index"}, {"id": "02", "name": "thumb"}]})
    );
    let seen = fido2_token(&env, PIN, &["-L", "-e"], &token);
    assert!(seen.contains("index") && seen.contains("thumb"), "{seen}");

    refused(tokens(&agent, &["fingerprints", "remove", "ring"], &[PIN]), Code::NoSuchFingerprint);
    tokens(&agent, &["fingerprints", "remove", "thumb"], &[PIN]).success();
    assert_eq!(list(), "01 index\n");
    tokens(&agent, &["fingerprints", "remove", "01"], &[PIN]).success();
    assert_eq!((list().as_str(), token.fingers()), ("The token knows no fingerprint.\n", 0));
    let id = |id: &str| id.to_owned();
    let expected = [
        TokenChange::AddFingerprint,
        TokenChange::RenameFingerprint { fingerprint: id("01") },
        TokenChange::RemoveFingerprint { fingerprint: id("02") },
        TokenChange::RemoveFingerprint { fingerprint: id("01") },
    ];
    let expected: Vec<_> = expected.into_iter().flat_map(|change| [(false, change.clone()), (true, change)]).collect();
    assert_eq!(changes(&agent), expected);
}

#[test]
fn a_token_without_sensor_or_pin_has_no_fingerprints_to_manage() {
    let env = Env::new();
    let agent = env.agent().start();
    refused(tokens(&agent, &["fingerprints"], &[PIN]), Code::TokenAbsent);
    let plain = env.plug(TokenKind::PinOnly.options());
    for command in [&["fingerprints"][..], &["fingerprints", "add"], &["fingerprints", "remove", "01"]] {
        let told = refused(tokens(&agent, command, &[PIN]), Code::TokenUnsupported);
        assert!(!told.contains("PIN of"), "{told}");
    }
    assert_eq!(commands(&plain, Command::PinToken), 0);
    drop(plain);
    let _new = env.plug(TokenOptions::fingerprint_not_enrolled());
    let told = refused(tokens(&agent, &["fingerprints", "add"], &[PIN]), Code::PinNotSet);
    assert!(told.contains("set-pin"), "{told}");
}

/// A token in the middle of an enrolment, one touch done.
fn half_enrolled(env: &Env, agent: &Agent) -> (Device, Terminal) {
    let token = env.plug(TokenOptions::fingerprint_not_enrolled().pin(PIN).touch(Touch::Manual));
    let mut terminal = Terminal::run(agent.cli(["tokens", "fingerprints", "add"]));
    terminal.screen().wait_for("PIN of ");
    terminal.type_line(PIN);
    token.touch();
    token.wait_for(|what| what == What::Touched, PATIENCE);
    terminal.screen().wait_for("Good. 2 more touches.");
    token.wait_for(|what| what == What::Waiting, PATIENCE);
    (token, terminal)
}

#[test]
fn an_enrolment_that_is_broken_off_leaves_the_token_free() {
    let env = Env::new();
    let agent = env.agent().start();
    let (token, mut terminal) = half_enrolled(&env, &agent);
    terminal.type_keys("\u{3}");
    terminal.wait();
    token.wait_for(|what| what == What::Cancelled, PATIENCE);
    token.wait_for(|what| what == What::EnrolmentCancelled, PATIENCE);
    assert!(!token.is_waiting());
    // For others, and for the next enrolment.
    let seen = fido2_token(&env, PIN, &["-L", "-r"], &token);
    assert!(seen.contains("FIDO_ERR_NO_CREDENTIALS"), "{seen}");
    token.set_touch(Touch::Always);
    tokens(&agent, &["fingerprints", "add"], &[PIN]).success();
    assert_eq!(token.fingers(), 1);
}

#[test]
fn an_enrolment_ends_when_the_token_is_pulled_out() {
    let env = Env::new();
    let agent = env.agent().start();
    let (token, mut terminal) = half_enrolled(&env, &agent);
    let unplugged = token.unplug();
    terminal.wait();
    terminal.screen().wait_for("(token-absent)");
    let token = env.bus().plug_again(unplugged);
    assert_eq!(token.fingers(), 0);
    token.set_touch(Touch::Always);
    tokens(&agent, &["fingerprints", "add"], &[PIN]).success();
}

#[test]
fn an_enrolment_without_touches_ends() {
    let env = Env::new();
    let agent = env.agent().touch_seconds(1).start();
    let (token, mut terminal) = half_enrolled(&env, &agent);
    terminal.wait();
    terminal.screen().wait_for("(touch-timeout)");
    token.wait_for(|what| what == What::EnrolmentCancelled, PATIENCE);
    assert_eq!((token.is_waiting(), token.fingers()), (false, 0));
}

/// What `ssh-add -K` gets wrong: a verify-required key, taken from a token with a sensor. Added here it signs by finger.
#[test]
fn a_verify_required_key_of_a_fingerprint_token_signs_once_it_is_added() {
    let env = Env::new();
    let token = env.plug(TokenKind::Fingerprint.options());
    let key = env.ssh_keygen(&Recipe::ed25519().resident().verify_required());
    let device = env.host("device");
    device.authorize(&key);

    let agent = env.agent().start();
    agent.cli(["-S", "add", "--resident"]).input(format!("{PIN}\n")).run().success();
    assert!(agent.list().contains(&format!("{} ssh: (ED25519-SK)", key.fingerprint())), "{}", agent.list());
    agent.ssh(["device", "true"]).run().success();
    assert_eq!(token.pin_retries(), 8);

    let rival = Rival::start(&env);
    let add = env.program_with_tokens("ssh-add").env("SSH_AUTH_SOCK", rival.socket()).arg("-K");
    let added = add.asking(&env.person_who_types(PIN)).run().success();
    assert!(added.stderr.contains(&key.fingerprint()), "{}", added.stderr);
    let login = rival.program("ssh").arg("-F").arg(env.ssh_config()).args(["device", "true"]).run().code(255);
    assert!(login.stderr.contains("agent refused operation"), "{}", login.stderr);
}

/// The same, where the settings have each signature verified: what `ssh-add -K` leaves out is not needed then.
#[test]
fn a_key_that_ssh_add_took_from_a_fingerprint_token_signs_where_the_settings_verify() {
    let env = Env::new();
    let token = env.plug(TokenKind::Fingerprint.options());
    let key = env.ssh_keygen(&Recipe::ed25519().resident().verify_required());
    let device = env.host("device");
    device.authorize(&key);
    let agent = env.agent().setting("user_verification = \"built-in-then-pin\"").start();
    let add = env.program_with_tokens("ssh-add").env("SSH_AUTH_SOCK", agent.socket()).arg("-K");
    add.asking(&env.person_who_types(PIN)).run().success();
    agent.ssh(["device", "true"]).run().success();
    let (_, outcome) = agent.audit().signatures().pop().expect("it is on record");
    let Outcome::Signed { assertion: Some(assertion), .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(assertion.user_verification, Verification::BuiltIn);
    assert_eq!(token.pin_retries(), 8);
}
