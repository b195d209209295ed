//! `agent-cli` as a person or a script uses it: what it prints, the files it writes and those it leaves
//! alone, its exit codes, and prompts attached to a terminal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agent::audit::chain::Hash;
use agent::audit::record::Act;
use agent::denial::Code;
use serde_json::{Value, json};
use soft_token::{Command, Touch, What};
use tests::{
    Agent, AgentOptions, Ended, Env, KeyFile, PATIENCE, PIN, Recipe, Scene, Terminal, TokenKind, built, for_each_token,
};

/// What a command printed as JSON.
fn read_json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error} in {}", ended.stdout))
}

#[test]
fn list_prints_what_ssh_add_prints() {
    let Scene { env, agent, token, key, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    token.set_touch(Touch::Always);
    let other = env.ssh_keygen(&Recipe::ecdsa().resident());
    env.program("ssh-keygen").args(["-q", "-c", "-C", "naïve  (2nd key)", "-f"]).arg(other.path()).run().success();
    agent.ssh_add(&other);

    let list = agent.program("ssh-add").arg("-l").run().success().stdout;
    assert_eq!(list.lines().count(), 2);
    assert_eq!(agent.cli(["list"]).run().success().stdout, list);

    let keys = read_json(&agent.cli(["list", "--json"]).run().success());
    assert_eq!(keys["version"], 1);
    let public_key = |key: &KeyFile| key.public_line().split(' ').take(2).collect::<Vec<_>>().join(" ");
    let expected = json!([
        {
            "fingerprint": key.fingerprint(), "type": "ED25519-SK", "bits": 256, "comment": "by ssh-keygen",
            "application": "ssh:", "public_key": public_key(&key), "token": null, "backup_of": null, "backups": [],
            "last_used": null,
        },
        {
            "fingerprint": other.fingerprint(), "type": "ECDSA-SK", "bits": 256, "comment": "naïve  (2nd key)",
            "application": "ssh:", "public_key": public_key(&other), "token": null, "backup_of": null, "backups": [],
            "last_used": null,
        },
    ]);
    assert_eq!(keys["keys"], expected);
}

#[test]
fn an_empty_agent_is_a_failure_as_with_ssh_add() {
    let agent = Env::new().agent().start();
    let list = agent.program("ssh-add").arg("-l").run().code(1).stdout;
    assert_eq!(agent.cli(["list"]).run().code(1).stdout, list);
    assert_eq!(list, "The agent has no identities.\n");
    assert_eq!(read_json(&agent.cli(["list", "--json"]).run().code(1)), json!({"version": 1, "keys": []}));
}

/// Whatever the command: 2, and what to do next.
#[test]
fn without_an_agent() {
    let env = Env::new();
    let key = env.plain_key();
    let key = key.path().to_str().unwrap();
    for command in [
        &["list"][..],
        &["list", "--json"],
        &["add", key],
        &["add", "--resident"],
        &["remove", key],
        &["remove", "--all"],
        &["-S", "gen-keys", "--file", "new"],
        &["tokens"],
        &["-S", "tokens", "set-pin"],
        &["-S", "tokens", "fingerprints", "add"],
        &["-S", "tokens", "credentials", "delete", "1"],
        &["attach"],
        &["status"],
    ] {
        for socket in [Some("/nowhere/agent.sock"), None] {
            let cli = env.program(built("agent-cli")).args(command);
            let ended = socket.into_iter().fold(cli, |cli, socket| cli.env("SSH_AUTH_SOCK", socket)).run().code(2);
            assert_eq!(ended.stdout, "");
            let trouble = "agent-cli: Could not open a connection to your authentication agent.\n";
            assert!(ended.stderr.starts_with(trouble), "{command:?}: {}", ended.stderr);
            assert!(ended.stderr.contains("Start the agent"), "{command:?}: {}", ended.stderr);
        }
    }
    assert!(!env.path("new").exists());
}

/// 64, since 2 says that there is no agent.
#[test]
fn wrong_usage() {
    let agent = Env::new().agent().start();
    for arguments in [
        &[][..],
        &["no-such-command"],
        &["list", "--no-such-option"],
        &["add", "--resident", "file"],
        &["add", "--all"],
        &["add", "--all", "file"],
        &["tokens", "--json", "set-pin"],
        &["tokens", "fingerprints", "remove"],
        &["remove"],
        &["gen-keys", "--type", "rsa"],
        &["gen-keys", "--application", "web.example"],
    ] {
        let ended = agent.cli(arguments).run().code(64);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{arguments:?}: {ended:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        assert!(!agent.cli(arguments).run().success().stdout.is_empty());
    }
}

for_each_token! {
    fn tokens(kind: TokenKind) {
        let env = Env::new();
        let agent = env.agent().start();
        assert_eq!(agent.cli(["tokens"]).run().success().stdout, "No FIDO token is plugged in.\n");
        assert_eq!(read_json(&agent.cli(["tokens", "--json"]).run().success()), json!({"version": 1, "tokens": []}));

        let token = env.plug(kind.options().name("Test Key"));
        let printed = agent.cli(["tokens"]).run().success().stdout;
        let lines: Vec<_> = printed.lines().collect();
        let finger = match kind {
            TokenKind::PinOnly => "this token has no sensor".into(),
            TokenKind::Fingerprint => format!("enrolled, {} tries left", token.uv_retries()),
        };
        let expected = [
            "Test Key".into(),
            "  name         none".into(),
            format!("  device       {}", token.path().display()),
            format!("  serial       {}", token.serial()),
            "  PIN          set, 8 tries left".into(),
            format!("  fingerprint  {finger}"),
            "  SSH keys     room for 150 more".into(),
        ];
        assert_eq!(lines[..7], expected);
        assert!(lines[8].starts_with("  versions     ") && lines[8].contains("FIDO_2_1"), "{printed}");

        let json = read_json(&agent.cli(["tokens", "--json"]).run().success());
        let (found, state) = (&json["tokens"][0], &json["tokens"][0]["state"]);
        assert_eq!((&json["version"], &found["trouble"]), (&json!(1), &Value::Null));
        assert_eq!((&found["product"], &found["serial"]), (&json!("Test Key"), &json!(token.serial())));
        assert_eq!((&state["pin_set"], &state["pin_tries_left"]), (&json!(true), &json!(8)));
        let has_sensor = kind == TokenKind::Fingerprint;
        assert_eq!(state["fingerprint_enrolled"], if has_sensor { json!(true) } else { Value::Null });
        let expected = (&json!(150), &json!(4), &json!(false), &json!(has_sensor));
        let told = (
            &state["resident_keys_left"],
            &state["pin_characters_at_least"],
            &state["pin_must_be_changed"],
            &state["enrols_fingerprints"],
        );
        assert_eq!(told, expected);
        assert_eq!(lines[7], format!("  AAGUID       {}", state["aaguid"].as_str().unwrap()));
    }

    /// Shown at once, and not asked anything.
    fn a_token_in_use(kind: TokenKind) {
        let Scene { env, token, agent, device: _device, .. } = Scene::ready(kind, &Recipe::ed25519());
        let login = agent.ssh(["device", "true"]).start();
        token.wait_until_waiting();
        let printed = agent.cli(["tokens"]).run().success().stdout;
        assert!(printed.ends_with("  trouble  in use\n"), "{printed}");
        assert!(token.is_waiting());
        env.person().approve(&token);
        login.wait().success();
    }
}

#[test]
fn status() {
    let Scene { env, agent, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    let printed = agent.cli(["status"]).run().success().stdout;
    let config = env.path("config/fido-ssh-agent/config.toml");
    let hash = Hash::of(&fs::read(&config).unwrap());
    let expected = format!(
        "agent      version {}, process {}
socket     {}
audit log  {}
keys       1
terminals  0 attached
prompts    through askpass
settings   {}
rehearsal  none yet: `agent-cli rehearse DEST`
",
        env!("CARGO_PKG_VERSION"),
        agent.pid(),
        agent.socket().display(),
        agent.audit().path().display(),
        config.display(),
    );
    assert_eq!(printed, expected);
    let json = read_json(&agent.cli(["status", "--json"]).run().success());
    let expected = json!({
        "rehearsal": null, "rehearsals": [], "version": 1, "agent": env!("CARGO_PKG_VERSION"), "pid": agent.pid(), "socket": agent.socket(),
        "audit_log": agent.audit().path(), "audit_log_trouble": null, "keys": 1, "attached": 0, "prompts_reachable": true,
        "prompts_channel": "through askpass", "prompts_trouble": null, "upstreams": [], "locked": false,
        "lock_on_trouble": null,
        "config": {"files": [config], "hash": hash, "trouble": null, "at_next_start": []},
    });
    assert_eq!(json, expected);
}

#[test]
fn status_says_when_nobody_could_be_asked() {
    let agent = Env::new().agent().without_prompter().start();
    let printed = agent.cli(["status"]).run().success().stdout;
    assert!(
        printed
            .contains("\nprompts    nowhere: no terminal is attached, pinentry has neither a display nor a terminal"),
        "{printed}"
    );
    assert!(printed.contains(". Run `agent-cli attach` in a terminal.\n"), "{printed}");
}

/// By either file or by fingerprint; and the next agent does not hold it either.
#[test]
fn remove_forgets_for_good() {
    let Scene { env, token, key, mut agent, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    token.set_touch(Touch::Always);
    let stays = env.ssh_keygen(&Recipe::ecdsa());
    agent.ssh_add(&stays);
    let names = [key.path().display().to_string(), key.public_path().display().to_string(), key.fingerprint()];
    for name in names {
        agent.ssh_add(&key);
        assert!(agent.list().contains(&key.fingerprint()));
        let removed = agent.cli(["remove", &name]).run().success();
        assert_eq!(removed.stderr, format!("Identity removed: {name} ED25519-SK (by ssh-keygen)\n"));
        agent.kill();
        agent = env.agent().start();
        let list = agent.list();
        assert!(!list.contains(&key.fingerprint()) && list.contains(&stays.fingerprint()), "{list}");
        let again = agent.cli(["remove", &name]).run().code(1);
        assert!(again.stderr.contains("`agent-cli list`"), "{}", again.stderr);
    }
    agent.cli(["remove", "--all"]).run().success();
    agent.kill();
    assert_eq!(env.agent().start().list(), "The agent has no identities.\n");
}

/// Runs `gen-keys --file FILE` with the lines that are typed.
fn gen_keys(agent: &Agent, file: &Path, typed: &str) -> Ended {
    agent.cli(["-S", "gen-keys", "--file"]).arg(file).input(typed).run()
}

/// An empty passphrase, twice.
const NO_PASSPHRASE: &str = "\n\n";

/// What can be known before is: nobody thinks of a passphrase and types it twice for nothing.
#[test]
fn gen_keys_asks_for_no_passphrase_in_vain() {
    let env = Env::new();
    let agent = env.agent().start();
    let (file, person) = (env.path("new"), env.person_who_types("password"));
    let in_vain = |why: &str| {
        let told = gen_keys(&agent, &file, "passphrase\npassphrase\n").code(1).stderr;
        assert!(told.contains(why) && !told.contains("assphrase"), "{told}");
    };
    in_vain("(token-absent)");
    let _token = env.plug(TokenKind::PinOnly.options());
    agent.program("ssh-add").arg("-x").asking(&person).run().success();
    in_vain("(locked)");
    agent.program("ssh-add").arg("-X").asking(&person).run().success();
    let made = gen_keys(&agent, &file, &format!("passphrase\npassphrase\n{PIN}\n")).success();
    assert!(made.stderr.contains("Enter passphrase"), "{}", made.stderr);
}

#[test]
fn gen_keys_writes_to_openssh_s_own_place() {
    let env = Env::new();
    let _token = env.plug(TokenKind::PinOnly.options());
    let agent = env.agent().start();
    let made = agent.cli(["-S", "gen-keys", "--type", "ecdsa-sk", "--comment", "me here"]);
    let made = made.input(format!("{NO_PASSPHRASE}{PIN}\n")).run().success();

    let mode = |name: &str| fs::metadata(env.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("home/.ssh/id_ecdsa_sk"), mode("home/.ssh/id_ecdsa_sk.pub")), (0o600, 0o644));
    let known = env.program("ssh-keygen").arg("-lf").arg(env.path("home/.ssh/id_ecdsa_sk")).run().success().stdout;
    assert_eq!(agent.list(), known, "the agent holds it as well");
    let fingerprint = known.split(' ').nth(1).unwrap();
    assert!(made.stdout.ends_with(&format!("The key fingerprint is:\n{fingerprint} me here\n")), "{}", made.stdout);
}

#[test]
fn gen_keys_never_writes_over_a_file() {
    let env = Env::new();
    let token = env.plug(TokenKind::PinOnly.options());
    let agent = env.agent().start();
    let (private, public) = (env.path("id"), env.path("id.pub"));
    for (taken, other) in [(&private, &public), (&public, &private)] {
        fs::write(taken, "mine").unwrap();
        let refused = gen_keys(&agent, &private, &format!("{NO_PASSPHRASE}{PIN}\n")).code(1);
        let reason = format!("{} is there already, and is not overwritten", taken.display());
        assert!(refused.stderr.contains(&reason), "{}", refused.stderr);
        assert_eq!(fs::read_to_string(taken).unwrap(), "mine");
        assert!(!other.exists());
        fs::remove_file(taken).unwrap();
    }
    let made = |what| what == What::Command(Command::MakeCredential);
    assert!(!token.events().iter().any(|event| made(event.what)), "the token was not even asked");
}

/// Neither file, nor a part of one, nor a key in the agent.
fn gen_keys_that_fails(kind: TokenKind, touch: Touch, pin: &str, code: Code) {
    let env = Env::new();
    let token = env.plug(kind.options().touch(touch));
    let agent = env.agent().touch_seconds(2).start();
    let folder = env.path("keys");
    fs::create_dir(&folder).unwrap();
    let refused = gen_keys(&agent, &folder.join("id"), &format!("{NO_PASSPHRASE}{pin}\n")).code(1);
    assert!(refused.stderr.contains(&format!("({code})\n  {}", code.next())), "{}", refused.stderr);
    assert_eq!(refused.stdout, "");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    assert_eq!(agent.list(), "The agent has no identities.\n");
    if code == Code::TouchTimeout {
        token.wait_for(|what| what == What::Cancelled, PATIENCE);
    }
}

for_each_token! {
    fn gen_keys_declined_on_the_token(kind: TokenKind) {
        gen_keys_that_fails(kind, Touch::Deny, PIN, Code::DeclinedOnToken);
    }

    fn gen_keys_without_a_touch(kind: TokenKind) {
        gen_keys_that_fails(kind, Touch::Never, PIN, Code::TouchTimeout);
    }

    fn gen_keys_whose_pin_is_refused(kind: TokenKind) {
        gen_keys_that_fails(kind, Touch::Always, "", Code::PromptRefused);
    }

    fn gen_keys_with_a_wrong_pin(kind: TokenKind) {
        gen_keys_that_fails(kind, Touch::Always, "0000", Code::PinWrong);
    }

    /// They are held until the agent ends, without a file.
    fn add_resident_brings_resident_keys_back(kind: TokenKind) {
        let env = Env::new();
        let token = env.plug(kind.options());
        let agent = env.agent().start();
        let add = |agent: &Agent| agent.cli(["-S", "add", "--resident"]).input(format!("{PIN}\nall\n")).run();
        let none = add(&agent).code(1);
        assert!(none.stderr.contains("the token keeps no resident SSH key"), "{}", none.stderr);

        let verified = agent.gen_keys(&Recipe::ed25519().resident().verify_required());
        let second = agent.cli(["-S", "gen-keys", "--file", "second", "--application", "ssh:second"]);
        let second = second.args(["--type", "ecdsa-sk", "--no-verify-required"]);
        second.input(format!("{NO_PASSPHRASE}{PIN}\n")).run().success();
        let twin = gen_keys(&agent, &env.path("twin"), &format!("{NO_PASSPHRASE}{PIN}\n")).code(1);
        assert!(twin.stderr.contains("(resident-twin)") && !env.path("twin").exists(), "{}", twin.stderr);

        let device = env.host("device");
        device.authorize(&verified);
        agent.cli(["remove", "--all"]).run().success();
        let added = add(&agent).success();
        assert_eq!(added.stderr.matches("Resident identity added: SHA256:").count(), 2, "{}", added.stderr);
        let list = agent.list();
        assert!(list.contains(&format!("{} {} (ED25519-SK)", verified.fingerprint(), env.user())), "{list}");
        assert!(list.contains(&format!(" {} (ECDSA-SK)", env.user())), "{list}");

        token.set_touch(Touch::Manual);
        env.person().always_types(PIN);
        let login = agent.ssh(["device", "true"]).start();
        env.person().approve(&token);
        login.wait().success();

        agent.kill();
        assert_eq!(env.agent().start().list(), "The agent has no identities.\n");
    }

    /// The person sees where the login goes, and types the PIN there, unseen.
    fn an_attached_terminal_shows_prompts_and_takes_the_pin(kind: TokenKind) {
        let recipe = Recipe::ed25519().verify_required();
        let scene = Scene::with(kind, &recipe, AgentOptions::without_prompter);
        let mut terminal = attach(&scene.agent);
        let login = scene.agent.ssh(["device", "true"]).start();
        let notice = match kind {
            TokenKind::PinOnly => {
                terminal.screen().wait_for("may it get its PIN?");
                terminal.type_line("y");
                terminal.screen().wait_for("PIN (8 tries left): ");
                terminal.type_line(PIN);
                "Touch the token."
            }
            TokenKind::Fingerprint => "Put your finger on the token's sensor.",
        };
        terminal.screen().wait_for(notice);
        assert!(scene.token.is_waiting());
        scene.token.touch();
        terminal.screen().wait_for("(done waiting)");
        login.wait().success();

        let screen = terminal.screen().text();
        let about = format!("on the host with key {} [verified]", scene.device.fingerprint());
        // Once more where the line about the token has changed: it was confirmed.
        let times = if kind == TokenKind::PinOnly { 2 } else { 1 };
        assert_eq!((screen.matches("Log in as").count(), screen.matches(&about).count()), (times, times), "{screen}");
        assert_eq!(screen.contains("PIN (8 tries left): \r\n"), kind == TokenKind::PinOnly, "{screen}");
        let attached = scene.agent.audit().acts().into_iter().filter(|act| matches!(act, Act::Attach { .. }));
        assert_eq!(attached.count(), 1, "whoever attached is on record");
    }
}

/// Attaches a terminal, and waits until it is.
fn attach(agent: &Agent) -> Terminal {
    let terminal = Terminal::run(agent.cli(["attach"]));
    terminal.screen().wait_for("Prompts appear here from now on.");
    terminal
}

/// The latest terminal gets the prompts, the one before it is told, and gets them again once the latest has left.
#[test]
fn an_attached_terminal_is_replaced_by_a_second_one() {
    let recipe = Recipe::ed25519().verify_required();
    let Scene { agent, token, device: _device, env: _env, .. } =
        Scene::with(TokenKind::PinOnly, &recipe, AgentOptions::without_prompter);
    let log_in = |terminal: &mut Terminal, first_seen: bool| {
        let login = agent.ssh(["device", "true"]).start();
        if first_seen {
            terminal.screen().wait_for("may it get its PIN?");
            terminal.type_line("y");
        }
        terminal.screen().wait_for("PIN (8 tries left): ");
        terminal.type_line(PIN);
        token.touch();
        login.wait().success();
    };
    let mut first = attach(&agent);
    let mut second = attach(&agent);
    first.screen().wait_for("Another terminal gets the prompts from now on, until it leaves.");
    log_in(&mut second, true);
    assert!(!first.screen().text().contains("PIN"), "{}", first.screen());
    let status = agent.cli(["status"]).run().success().stdout;
    assert!(status.contains("2 attached"), "{status}");

    second.type_keys("\u{3}");
    second.wait();
    log_in(&mut first, false);
}

#[test]
fn only_a_yes_confirms_in_an_attached_terminal() {
    let env = Env::new();
    let token = env.plug(TokenKind::PinOnly.options());
    let key = env.ssh_keygen(&Recipe::ed25519());
    token.set_touch(Touch::Manual);
    let device = env.host("device");
    device.authorize(&key);
    let agent = env.agent().without_prompter().start();
    agent.program("ssh-add").args(["-q", "-c"]).arg(key.path()).run().success();

    for (answer, yes) in [("no", false), ("", false), ("yesterday", false), ("yes", true), ("Y", true)] {
        let mut terminal = attach(&agent);
        let login = agent.ssh(["device", "true"]).start();
        terminal.screen().wait_for("Allow this? [y/N] ");
        assert!(terminal.screen().text().contains(&device.fingerprint()), "{}", terminal.screen());
        terminal.type_line(answer);
        if yes {
            token.touch();
            login.wait().success();
        } else {
            login.wait().code(255);
            terminal.screen().wait_for("(refused)");
        }
    }
    assert_eq!(agent.audit().refusal_codes(), [Code::PromptRefused; 3]);
    assert_eq!(token.events().iter().filter(|event| event.what == What::Waiting).count(), 3, "ssh-keygen's, and two");
}
