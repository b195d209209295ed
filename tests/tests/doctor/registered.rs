//! Whether what is registered is a key that the agent holds; only where the settings name a place.

use std::fs;

use serde_json::{Value, json};
use soft_token::TokenOptions;
use tests::graph::{self, Graph, TOKEN, refusal};
use tests::{Agent, AgentOptions, Doctor, Env, Examination, KeyFile, PIN, Recipe};

/// A key in OpenSSH's own place, on a named token.
struct Place {
    agent: Agent,
    key: KeyFile,
    _token: soft_token::Device,
    env: Env,
}

impl Place {
    fn with(setting: impl FnOnce(&Env, AgentOptions) -> AgentOptions) -> Self {
        let env = Env::new();
        let agent = setting(&env, env.agent()).start();
        let token = env.plug(TokenOptions::pin_only().pin(PIN));
        agent.cli(["-S", "tokens", "name", "mine"]).run().success();
        agent.cli(["-S", "gen-keys", "--no-passphrase"]).input(format!("{PIN}\n")).run().success();
        let key = KeyFile::new(env.path("home/.ssh/id_ed25519_sk"), true);
        env.person().always_types(PIN);
        Self { agent, key, _token: token, env }
    }

    fn doctor(&self) -> Doctor {
        Doctor(self.cli(&["doctor", "--json"]))
    }

    fn cli(&self, arguments: &[&str]) -> tests::Program {
        let path = format!("{}:/usr/bin:/bin", self.env.path("bin").display());
        self.agent.cli(arguments.iter().copied()).env("PATH", path)
    }
}

/// What is said of it.
fn published(Examination(findings): &Examination) -> Value {
    let mut found = findings.iter().filter(|finding| finding["check"] == "published");
    let finding = found.next().unwrap().clone();
    assert!(found.next().is_none());
    finding
}

/// A file that hosts read. Whoever does what they are told ends at ready.
#[test]
fn a_key_that_is_not_registered() {
    let place =
        Place::with(|env, agent| agent.setting(&format!("publish.place = \"{}\"", env.path("registered").display())));
    let registered = place.env.path("registered");
    fs::write(&registered, "").unwrap();
    let (reason, next) = place.doctor().finds_bad("published");
    assert_eq!(reason, format!("{}: No key is published", registered.display()));
    assert_eq!(next, format!("`agent-cli publish {}`", place.key.public_path().display()));
    place.cli(&["publish", "--yes"]).arg(place.key.public_path()).run().success();
    let good = published(&place.doctor().examine(0));
    assert_eq!(good["verdict"], "good");
    assert!(good["reason"].as_str().unwrap().contains(&place.key.fingerprint()), "{good}");

    // It logs in; and yet its file is missed.
    fs::rename(place.key.public_path(), place.env.path("away.pub")).unwrap();
    let (reason, next) = place.doctor().finds_worth_a_look("published");
    assert!(reason.ends_with("is in no file") && next.contains("ssh-keygen -K"), "{reason}\n{next}");
}

/// An account: another key stands there; and nothing that goes wrong on the way there is taken for a key that does not log in.
#[test]
fn an_account_with_another_key_or_without_an_answer() {
    let graph = Graph::start();
    let place = Place::with(|_, agent| graph.in_settings(agent.setting("publish.place = \"graph\"")));
    graph::signed_in(&place.env);
    let other = place.env.ssh_keygen(&Recipe::ecdsa());
    graph.has(json!({"publicKey": format!("{}\n", other.public_line())}));
    let (reason, next) = place.doctor().finds_bad("published");
    assert_eq!(reason, "Microsoft Graph: The key that is published is none that is here");
    assert_eq!(next, format!("`agent-cli publish {}`", place.key.public_path().display()));
    assert!(graph.writes().is_empty());

    graph.answers("GET", refusal(403, "insufficient_claims"));
    let (reason, next) = place.doctor().finds_worth_a_look("published");
    assert!(
        reason.starts_with("it could not be looked at: ") && next.contains("Conditional Access"),
        "{reason}\n{next}"
    );
    graph::azure_cli(&place.env, "echo 'Please run az login' >&2; exit 1");
    let (reason, next) = place.doctor().finds_worth_a_look("published");
    assert!(next.contains("Please run az login") && !next.contains(TOKEN), "{reason}\n{next}");

    graph::signed_in(&place.env);
    place.cli(&["publish", "--yes"]).arg(place.key.public_path()).run().success();
    assert_eq!(published(&place.doctor().examine(0))["verdict"], "good");
}

/// Nothing goes over a network of which the settings say nothing.
#[test]
fn nobody_is_asked_where_no_place_is_set() {
    let graph = Graph::start();
    let place = Place::with(|_, agent| graph.in_settings(agent));
    graph::signed_in(&place.env);
    let finding = published(&place.doctor().examine(0));
    assert_eq!(finding["verdict"], "not-checked", "{finding}");
    assert!(graph.asked().is_empty() && !place.env.path("az-calls").exists());
}
