//! Where the key is registered in an account, which holds one: the new key takes the old one's place there before it is known to
//! work, so it matters all the more that the old one is left alone until then.

use std::fs;

use serde_json::json;
use soft_token::Touch;
use tests::graph::{self, Graph, get, refusal, stores};
use tests::{Ended, KeyFile, PIN, TokenKind};

use crate::{Before, TRIED, TYPED, lines};

/// The old key is registered in an account.
struct Registered {
    graph: Graph,
    before: Before,
}

impl Registered {
    fn ready() -> Self {
        let graph = Graph::start();
        let before = Before::with(TokenKind::PinOnly, |agent| graph.in_settings(agent));
        graph::signed_in(&before.env);
        graph.has(json!({"publicKey": format!("{}\n", before.old_line)}));
        Self { graph, before }
    }

    /// `agent-cli refresh`, with a test login and without a passphrase, and with these lines typed.
    fn refresh(&self, typed: &[&str]) -> Ended {
        self.before.cli(&["-S", "refresh", "--no-passphrase"]).args(TRIED).input(lines(typed)).run()
    }

    /// The account has the old key's line.
    fn account_is_as_it_was(&self) {
        assert_eq!(self.graph.stored(), Some(format!("{}\n", self.before.old_line)));
    }

    /// The new key logs in, and is the only one that the agent holds.
    fn is_refreshed(&self) -> KeyFile {
        let Before { agent, old, old_line, .. } = &self.before;
        let new = KeyFile::new(old.path().to_owned(), true);
        assert_ne!(new.public_line(), *old_line);
        assert_eq!(agent.list().lines().count(), 1);
        assert!(agent.list().contains(&new.fingerprint()), "{}", agent.list());
        self.before.env.person().always_types(PIN);
        self.before.token.set_touch(Touch::Always);
        agent.ssh(["device", "true"]).run().success();
        new
    }
}

/// Made, stored as `az nexusidentity gen-keys` stores a key, tried by a login on a host that was told of it; then the old one goes.
#[test]
fn the_new_key_takes_the_old_one_s_place_there() {
    let registered = Registered::ready();
    let Registered { graph, before } = &registered;
    graph.tells(before.lines.clone());
    let ended = registered.refresh(&TYPED).success();
    let new = registered.is_refreshed();
    let (me, extensions) = (get("/v1.0/me"), get("/v1.0/me/extensions"));
    let stores_it = stores("PATCH", &new.public_line());
    assert_eq!(graph.asked(), [me, extensions.clone(), stores_it, extensions]);
    assert_eq!(fs::read_to_string(&before.lines).unwrap(), format!("{}\n", new.public_line()));
    assert!(before.device.log().contains(&new.fingerprint()), "{}", before.device.log());
    let published = format!("Published: {} (Microsoft Graph)\n", new.fingerprint());
    assert!(ended.stdout.contains(&published) && ended.stdout.contains("in no agent any more"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("stands in"), "an account has one key: {}", ended.stdout);
    let aside = before.aside();
    assert_eq!(fs::read_to_string(&aside[1]).unwrap().trim(), before.old_line);
}

/// The new key is in the account, and no host knows it yet: whoever has to log in meanwhile does so with the old one.
#[test]
fn hosts_that_learn_of_it_later() {
    let registered = Registered::ready();
    let Registered { graph, before } = &registered;
    let told = registered.refresh(&TYPED).code(1).stderr;
    assert!(told.contains("the test login on device with the new key failed"), "{told}");
    assert!(
        told.contains("Microsoft Graph has the new one in the place of the old one; `agent-cli publish "),
        "{told}"
    );
    let (new, line) = (before.new_key().fingerprint(), before.new_key().public_line());
    assert_eq!(graph.stored(), Some(format!("{line}\n")));
    before.is_as_it_was();
    assert!(before.aside().is_empty());

    fs::write(&before.lines, graph.stored().unwrap()).unwrap();
    graph.asked();
    let done = registered.refresh(&[PIN]).success();
    assert!(done.stdout.contains("Published already") && graph.writes().is_empty(), "{}", done.stdout);
    assert_eq!(registered.is_refreshed().fingerprint(), new);
}

/// Conditional Access wants more of the person, the account has gone, there is too much to do: the old key is where it was, in
/// the account too, and logs in. Once it is taken, the same new key takes its place.
#[test]
fn an_account_that_takes_nothing() {
    let registered = Registered::ready();
    let Registered { graph, before } = &registered;
    let mut new = None;
    for (method, status, code, told) in [
        ("PATCH", 403, "insufficient_claims", "Conditional Access"),
        ("PATCH", 404, "ResourceNotFound", "`agent-cli published`"),
        ("PATCH", 503, "ServiceUnavailable", "It may or may not have been stored"),
        ("GET", 401, "InvalidAuthenticationToken", "`az login`"),
    ] {
        graph.answers(method, refusal(status, code));
        // What is there already is not made again.
        let typed = if new.is_none() { &TYPED[..3] } else { &["y", PIN] };
        let ended = registered.refresh(typed).code(1);
        assert!(graph.has_answered() && ended.stderr.contains(told), "{code}: {}", ended.stderr);
        assert!(ended.stderr.contains("request-4711"), "{}", ended.stderr);
        let made = before.new_key();
        assert_eq!(new.get_or_insert_with(|| made.fingerprint()), &made.fingerprint(), "it is gone on with");
        let is_where = format!("The new key {} is in {}. ", made.fingerprint(), made.path().display());
        assert!(ended.stderr.contains(&is_where), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("is as it was, in ") && ended.stderr.contains("goes on with it."),
            "{}",
            ended.stderr
        );
        let tries = if method == "PATCH" { vec![stores("PATCH", &made.public_line())] } else { vec![] };
        assert_eq!(graph.writes(), tries);
        registered.account_is_as_it_was();
        before.is_as_it_was();
        assert!(before.aside().is_empty());
    }
    graph.tells(before.lines.clone());
    registered.refresh(&["y", PIN, PIN]).success();
    assert_eq!(Some(registered.is_refreshed().fingerprint()), new);
}
