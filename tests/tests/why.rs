//! Every refusal can be found again: it has one name and one code in the agent's messages, on the attached terminal, in the
//! audit log, and for `agent-cli why`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use agent::audit::record::{Act, Event, Outcome};
use agent::denial::Code;
use serde_json::{Value, json};
use tests::{
    Agent, AgentOptions, Env, FAILURE, KeyFile, PIN, Program, Recipe, Scene, Terminal, TokenKind, built, for_each_token,
};

/// Attaches a terminal, and waits until it is.
fn attach(agent: &Agent, options: &[&str]) -> Terminal {
    let terminal = Terminal::run(agent.cli(["attach"]).args(options));
    terminal.screen().wait_for("Prompts appear here from now on.");
    terminal
}

/// What `agent-cli why` prints as JSON.
fn why(agent: &Agent, arguments: &[&str]) -> Vec<Value> {
    let printed = agent.cli(["why", "--json"]).args(arguments).run().success().stdout;
    let json: Value = serde_json::from_str(&printed).unwrap();
    json["refusals"].as_array().unwrap().clone()
}

/// Waits for the refusal with this code, and looks for it wherever a person may. Returns what `agent-cli why` says of it.
fn found_everywhere(agent: &Agent, terminal: Option<&Terminal>, code: Code) -> Value {
    let is_it = |event: &Event| match event {
        Event::Outcome { outcome: Outcome::Refused { denial, .. }, .. }
        | Event::Act { act: Act::Refused { denial, .. } } => denial.code == code,
        _ => false,
    };
    agent.audit().wait_for(is_it);
    let record = agent.audit().records().into_iter().find(|record| is_it(&record.event)).unwrap();
    let id = record.sequence;
    agent.messages().wait_for(&format!("refused #{id}: "));
    let message = agent.messages().text();
    let message = message.lines().find(|line| line.contains(&format!("refused #{id}: "))).unwrap();
    assert!(message.contains(&format!("({code}). {} [`agent-cli why {id}`]", code.next())), "{message}");
    if let Some(terminal) = terminal {
        terminal.screen().wait_for(&format!("  {} [`agent-cli why {id}`]", code.next()));
        let screen = terminal.screen().text();
        let line = screen.lines().find(|line| line.starts_with(&format!("Refused #{id}: "))).unwrap();
        assert!(line.contains(&format!("({code})")), "{line}");
    }
    let printed = agent.cli(["why", &format!("#{id}")]).run().success().stdout;
    let first = printed.lines().next().unwrap();
    assert!(first.starts_with(&format!("#{id}  ")) && first.ends_with(&format!("  {code}")), "{printed}");
    assert!(printed.contains(code.next()), "{printed}");
    let [told] = &why(agent, &[&id.to_string()])[..] else { panic!("one, by its number") };
    assert_eq!((&told["id"], &told["code"]), (&id.into(), &code.as_str().into()));
    told.clone()
}

/// Says that the token is one's own, which is asked when it is seen first.
fn it_is_mine(terminal: &mut Terminal) {
    terminal.screen().wait_for("Is it yours");
    terminal.type_line("y");
}

fn sign_a_file(agent: &Agent, key: &KeyFile) -> Program {
    let signing = agent.program("ssh-keygen").args(["-Y", "sign", "-n", "file", "-f"]).arg(key.public_path());
    signing.input("text")
}

/// Programs of OpenSSH that are refused for one reason after the other, before an attached terminal that sees them all.
#[test]
fn each_refusal_has_one_name_everywhere() {
    let Scene { env, key, agent, device, token: _token } =
        Scene::with(TokenKind::PinOnly, &Recipe::ed25519().verify_required(), AgentOptions::without_prompter);
    let mut terminal = attach(&agent, &[]);

    let unknown = env.plain_key();
    agent.program("ssh-add").arg("-d").arg(unknown.path()).run().code(1);
    let told = found_everywhere(&agent, Some(&terminal), Code::UnknownKey);
    assert_eq!((&told["asked"], &told["peer"]["programs"][0]["name"]), (&json!("remove"), &json!("ssh-add")));
    assert!(told["by"].as_str().unwrap().starts_with("ssh-add ("), "{told}");

    let restricted = env.plain_key();
    let add = agent.program("ssh-add").args(["-q", "-h", "device", "-H"]).arg(env.path("known_hosts"));
    add.arg(restricted.path()).run().success();
    sign_a_file(&agent, &restricted).run().code(255);
    let told = found_everywhere(&agent, Some(&terminal), Code::DestinationNotPermitted);
    let asked = format!("sign a message or file (namespace file), with key {}", restricted.fingerprint());
    assert_eq!(told["asked"], asked);

    let login = agent.ssh(["device", "true"]).start();
    it_is_mine(&mut terminal);
    for tries_left in ["8 tries left", "7 tries left"] {
        terminal.screen().wait_for(tries_left);
        terminal.type_line("0000");
    }
    login.wait().code(255);
    let told = found_everywhere(&agent, Some(&terminal), Code::PinGuard);
    let asked = format!("log in as {} on the host with key {}", env.user(), device.fingerprint());
    assert_eq!(told["asked"], format!("{asked}, with key {}", key.fingerprint()));
    assert!(told["destination"].as_str().unwrap().contains("on the host with key "), "{told}");
}

/// What comes through a host is told from what is asked here.
#[test]
fn a_host_that_would_manage_the_keys() {
    let env = Env::new();
    let agent = env.agent().without_prompter().start();
    let terminal = attach(&agent, &[]);
    let (device, key) = (env.host("device"), env.plain_key());
    device.authorize(&key);
    agent.ssh_add(&key);
    agent.ssh(["-A", "device", "ssh-add", "-D"]).run().code(1);
    let told = found_everywhere(&agent, Some(&terminal), Code::ForwardedManagement);
    assert_eq!((&told["asked"], &told["setting"]), (&json!("remove all"), &json!("forwarded_management")));
    let by = told["by"].as_str().unwrap();
    assert!(by.starts_with("ssh (") && by.contains(&device.fingerprint()), "{by}");
}

/// Over both sockets.
#[test]
fn a_locked_agent() {
    let env = Env::new();
    let agent = env.agent().without_prompter().start();
    let terminal = attach(&agent, &[]);
    let key = env.plain_key();
    agent.program("ssh-add").arg("-x").asking(&env.person_who_types("secret")).run().success();
    agent.program("ssh-add").arg(key.path()).run().code(1);
    let told = found_everywhere(&agent, Some(&terminal), Code::Locked);
    assert_eq!(told["asked"], "add");
    let refused = agent.cli(["-S", "add"]).arg(key.path()).run().code(1);
    let [.., latest] = &why(&agent, &[])[..] else { panic!("there are some") };
    assert_eq!((&latest["asked"], &latest["code"]), (&json!("add a key file"), &json!("locked")));
    assert!(refused.stderr.contains(&format!("`agent-cli why {}`", latest["id"])), "{}", refused.stderr);
}

/// Whoever has no terminal is told afterwards, even by an agent that runs no more.
#[test]
fn without_anybody_to_ask_and_without_an_agent() {
    let Scene { env, agent, device: _device, token: _token, .. } =
        Scene::with(TokenKind::PinOnly, &Recipe::ed25519().verify_required(), AgentOptions::without_prompter);
    agent.ssh(["device", "true"]).run().code(255);
    let told = found_everywhere(&agent, None, Code::NoPrompter);
    let socket = agent.socket().to_owned();
    agent.terminate();
    let cli = || env.program(built("agent-cli")).env("SSH_AUTH_SOCK", &socket);
    let printed = cli().args(["why", "--json"]).run().success().stdout;
    let json: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(json["refusals"], json!([told]));
    let none = cli().args(["why", "999"]).run().code(1);
    assert!(none.stderr.contains("there is no refusal #999 in "), "{}", none.stderr);
    cli().args(["why", "what"]).run().code(64);
    cli().args(["why", "-n", "1", "2"]).run().code(64);
}

/// What can't be understood leaves a record too: whoever gets a failure can find out why.
#[test]
fn messages_that_make_no_sense() {
    let agent = Env::new().agent().start();
    let mut client = agent.connect();
    assert_eq!(client.ask(&[200]), [FAILURE]);
    assert_eq!(client.sign(b"no key", b"data"), [FAILURE]);
    client.extension("session-bind@openssh.com", b"rubbish");
    let told: Vec<_> = why(&agent, &[]).into_iter().map(|one| (one["asked"].clone(), one["code"].clone())).collect();
    let expected = [
        (json!("read a message, of kind 200"), json!("malformed")),
        (json!("sign"), json!("malformed")),
        (json!("bind the connection to a host"), json!("binding-refused")),
    ];
    assert_eq!(told, expected);
    assert_eq!(why(&agent, &["-n", "1"]).len(), 1);
    assert!(agent.cli(["why", "-n", "0"]).run().success().stdout.contains("Nothing was refused."));
}

for_each_token! {
    /// Not with the refusals of others, and not in the middle of a request.
    fn attach_once_leaves_when_its_request_is_over(kind: TokenKind) {
        let recipe = Recipe::ed25519().verify_required().passphrase("correct horse");
        let Scene { env, token, key, agent, device: _device } =
            Scene::with_key_not_added(kind, &recipe, AgentOptions::without_prompter);
        agent.cli(["-S", "add"]).arg(key.path()).input("correct horse\n").run().success();
        agent.kill();
        let agent = env.agent().without_prompter().start();
        if kind == TokenKind::Fingerprint {
            token.block_uv();
        }
        let mut terminal = attach(&agent, &["--once"]);
        let unknown = env.plain_key();
        agent.program("ssh-add").arg("-d").arg(unknown.path()).run().code(1);
        terminal.screen().wait_for("(unknown-key)");

        let login = agent.ssh(["device", "true"]).start();
        terminal.screen().wait_for("Passphrase for ");
        agent.program("ssh-add").arg("-d").arg(unknown.path()).run().code(1);
        terminal.type_line("correct horse");
        it_is_mine(&mut terminal);
        terminal.screen().wait_for("8 tries left");
        terminal.type_line(PIN);
        terminal.screen().wait_for("Touch the token.");
        token.touch();
        login.wait().success();
        assert!(terminal.wait().success());
        let screen = terminal.screen().text();
        assert_eq!((screen.matches("(unknown-key)").count(), screen.matches("Signed: log in as ").count()), (2, 1), "{screen}");
    }
}

#[test]
fn attach_once_leaves_when_the_client_does_or_the_person_refuses() {
    let Scene { agent, token: _token, device: _device, env: _env, .. } =
        Scene::with(TokenKind::PinOnly, &Recipe::ed25519().verify_required(), AgentOptions::without_prompter);
    let mut terminal = attach(&agent, &["--once"]);
    let mut login = agent.ssh(["device", "true"]).start();
    it_is_mine(&mut terminal);
    terminal.screen().wait_for("8 tries left");
    login.kill();
    assert!(terminal.wait().success());
    found_everywhere(&agent, Some(&terminal), Code::ClientGone);

    let mut terminal = attach(&agent, &["--once"]);
    let login = agent.ssh(["device", "true"]).start();
    terminal.screen().wait_for("8 tries left");
    terminal.type_line("");
    assert!(terminal.wait().success());
    login.wait().code(255);
    terminal.screen().wait_for("(prompt-refused)");
}
