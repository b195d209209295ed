//! A key in an account.

use std::time::{Duration, SystemTime};

use serde_json::json;
use soft_token::Touch;
use tests::graph::{ACCOUNT, Answer, TOKEN, get, refusal, stores};
use tests::{PIN, Recipe, TokenKind};

use crate::fabric::Fabric;

#[test]
fn a_key_is_created_and_one_that_is_there_is_replaced() {
    let fabric = Fabric::ready();
    let (me, extensions) = (get("/v1.0/me"), get("/v1.0/me/extensions"));
    let first = fabric.publish().success();
    assert_eq!(first.stdout, format!("Published: {} (Microsoft Graph)\n", fabric.key.fingerprint()));
    assert!(first.stderr.contains(&format!("account    {ACCOUNT}\n")), "{}", first.stderr);
    assert!(first.stderr.contains("there now  no key\n"), "{}", first.stderr);
    let line = fabric.key.public_line();
    let expected = [me.clone(), extensions.clone(), stores("POST", &line), extensions.clone()];
    assert_eq!(fabric.graph.asked(), expected);
    assert_eq!(fabric.az_calls(), "account get-access-token --resource https://graph.microsoft.com --output json\n");

    let second = fabric.env.ssh_keygen(&Recipe::ecdsa().verify_required());
    fabric.agent.ssh_add(&second);
    let replaced = fabric.publish_file(&second.public_path()).success();
    let there = format!("there now  256 {} by ssh-keygen (ED25519-SK)\n", fabric.key.fingerprint());
    assert!(replaced.stderr.contains(&there), "{}", replaced.stderr);
    assert!(replaced.stderr.contains("takes the place of the one that is there"), "{}", replaced.stderr);
    assert_eq!(fabric.graph.asked(), [me, extensions.clone(), stores("PATCH", &second.public_line()), extensions]);
    assert_eq!(fabric.graph.stored(), Some(format!("{}\n", second.public_line())));
    assert_eq!(fabric.signatures(), 2, "each has signed once");

    let again = fabric.publish_file(&second.public_path()).success();
    assert!(again.stdout.starts_with("Published already"), "{}", again.stdout);
    assert!(fabric.graph.writes().is_empty() && fabric.signatures() == 2);
}

#[test]
fn nothing_is_published_without_a_yes_or_without_a_proof() {
    let fabric = Fabric::ready();
    let refused = fabric.cli(&["publish"], "n\n").arg(fabric.key.public_path()).run().code(1);
    assert!(refused.stderr.contains("nothing was published"), "{}", refused.stderr);
    assert_eq!(fabric.signatures(), 0);

    fabric.token.set_touch(Touch::Deny);
    let denied = fabric.publish().code(1);
    assert!(denied.stderr.contains("the agent refused the test signature"), "{}", denied.stderr);
    assert!(denied.stderr.contains("`agent-cli why`"), "{}", denied.stderr);

    fabric.agent.program("ssh-add").args(["-q", "-d"]).arg(fabric.key.path()).run().success();
    let not_held = fabric.publish().code(1);
    assert!(not_held.stderr.contains("`agent-cli add "), "{}", not_held.stderr);
    assert!(fabric.graph.writes().is_empty());
}

/// Asked here, in a terminal that had not been attached before.
#[test]
fn the_pin_for_the_proof_is_asked_where_the_key_is_published() {
    let fabric = Fabric::with(TokenKind::PinOnly, |agent| agent.without_prompter());
    let typed = format!("yes\ny\n{PIN}\n");
    fabric.cli(&["publish"], &typed).arg(fabric.key.public_path()).run().success();
    assert_eq!(fabric.graph.stored(), Some(format!("{}\n", fabric.key.public_line())));
    let signatures = fabric.agent.audit().signatures();
    assert!(format!("{signatures:?}").contains("proof-of-key@fido-ssh-agent"), "{signatures:?}");
}

/// With --yes nobody is asked but for the token; and what is to be published has to be named.
#[test]
fn a_script_names_what_it_publishes() {
    let fabric = Fabric::ready();
    fabric.cli(&["publish", "--yes"], "").run().code(64);
    let several = fabric.cli(&["publish"], "y\n").run().code(64);
    assert!(several.stderr.contains("there is no public key of a token"), "{}", several.stderr);
    fabric.cli(&["publish", "--yes"], "").arg(fabric.key.path()).run().code(1);
    assert!(fabric.graph.asked().is_empty());
    fabric.cli(&["publish", "--yes"], "").arg(fabric.key.public_path()).run().success();
}

#[test]
fn what_else_stands_there_is_named_before_it_is_removed() {
    let fabric = Fabric::ready();
    fabric.graph.has(json!({"publicKey": "rubbish \u{1b}[2J", "note": "keep me", "note@odata.type": "String"}));
    let published = fabric.publish().success();
    assert!(published.stderr.contains("there now  no key: rubbish \\u{1b}[2J\n"), "{}", published.stderr);
    assert!(published.stderr.contains("What else stands there is removed: note\n"), "{}", published.stderr);
    assert_eq!(fabric.graph.stored(), Some(format!("{}\n", fabric.key.public_line())));
}

/// What is refused, when, and what the person is told to do about it.
#[test]
fn a_refusal_says_what_to_do_and_changes_nothing() {
    let fabric = Fabric::ready();
    let claims =
        || refusal(401, "").header("WWW-Authenticate", "Bearer error=\"insufficient_claims\", claims=\"e30=\"");
    let late = |seconds: &str| refusal(429, "TooManyRequests").header("Retry-After", seconds);
    for (method, answer, told) in [
        ("GET", refusal(401, "InvalidAuthenticationToken"), "sign in again (`az login`)"),
        ("GET", claims(), "Conditional Access"),
        ("GET", refusal(403, "Authorization_RequestDenied"), "User.ReadWrite"),
        ("GET", refusal(404, "Request_ResourceNotFound"), "`az account show`"),
        ("GET", refusal(503, "ServiceUnavailable"), "publish again later"),
        ("POST", refusal(401, "InvalidAuthenticationToken"), "sign in again (`az login`)"),
        ("POST", refusal(403, "insufficient_claims"), "Conditional Access"),
        ("POST", refusal(403, "AccessDenied"), "User.ReadWrite"),
        ("POST", refusal(404, "ResourceNotFound"), "`agent-cli published`"),
        ("POST", refusal(409, "NameAlreadyExists"), "`agent-cli published`"),
        ("POST", refusal(400, "Directory_QuotaExceeded"), "two entries of an application"),
        ("POST", refusal(403, "ExtensionLimitExceeded"), "two entries of an application"),
        ("POST", refusal(429, "TooManyRequests"), "publish again later"),
        ("POST", late("86400"), "publish again after 86400 (Retry-After)"),
        ("POST", refusal(503, "ServiceUnavailable"), "It may or may not have been stored"),
        ("POST", refusal(500, "InternalServerError"), "It may or may not have been stored"),
        ("POST", Answer::new(418), "(status 418)"),
    ] {
        let code = format!("{answer:?}");
        fabric.graph.answers(method, answer);
        let ended = fabric.publish().code(1);
        assert!(ended.stderr.contains(told), "{method} {told}: {}", ended.stderr);
        let has_body = code.contains("request-4711") || !told.contains("418");
        assert!(
            !has_body || ended.stderr.contains("request id, for whoever looks into it there: request-4711"),
            "{}",
            ended.stderr
        );
        assert_eq!(ended.stdout, "");
        assert!(fabric.graph.has_answered(), "{method} {told}");
        let writes = fabric.graph.writes();
        let expected = if method == "GET" { vec![] } else { vec![stores("POST", &fabric.key.public_line())] };
        assert_eq!((writes, fabric.graph.stored()), (expected, None), "{method} {told}");
    }
    fabric.publish().success();
    assert!(fabric.key.path().exists() && fabric.agent.list().contains(&fabric.key.fingerprint()));
}

/// The one that is there stays until it is replaced.
#[test]
fn a_refused_update_leaves_the_key_that_is_there() {
    let fabric = Fabric::ready();
    for (status, code) in [(404, "ResourceNotFound"), (409, "Conflict"), (412, "PreconditionFailed")] {
        fabric.graph.has(json!({"publicKey": "ssh-ed25519 AAAA before"}));
        fabric.graph.answers("PATCH", refusal(status, code));
        fabric.publish().code(1);
        assert_eq!(fabric.graph.writes(), [stores("PATCH", &fabric.key.public_line())]);
        assert_eq!(fabric.graph.stored().as_deref(), Some("ssh-ed25519 AAAA before"));
    }
}

/// Both forms that it has, on the way in and for the key itself.
#[test]
fn retry_after_is_honoured() {
    let fabric = Fabric::ready();
    let soon = httpdate(SystemTime::now() + Duration::from_secs(1));
    for (method, status, after) in [("GET", 429, "0"), ("POST", 429, "1"), ("POST", 503, "0"), ("POST", 429, &soon)] {
        fabric.graph.answers(method, refusal(status, "TooManyRequests").header("Retry-After", after));
    }
    let published = fabric.publish().success();
    assert_eq!(published.stderr.matches("wants to be asked again in").count(), 4, "{}", published.stderr);
    assert_eq!(fabric.graph.writes(), vec![stores("POST", &fabric.key.public_line()); 4]);
    assert_eq!(fabric.signatures(), 1);
}

/// The format of dates in HTTP (RFC 9110 § 5.6.7).
fn httpdate(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).unwrap().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// However often it says so.
#[test]
fn a_server_that_always_has_too_much_to_do_is_given_up() {
    let fabric = Fabric::ready();
    for _ in 0..5 {
        fabric.graph.answers("POST", refusal(429, "TooManyRequests").header("Retry-After", "0"));
    }
    let given_up = fabric.publish().code(1);
    assert!(given_up.stderr.contains("publish again after 0 (Retry-After)"), "{}", given_up.stderr);
    assert!(fabric.graph.has_answered() && fabric.graph.stored().is_none());
}

#[test]
fn what_is_no_answer_of_graph_is_told_from_one() {
    let fabric = Fabric::ready();
    let page = || Answer::new(200).text("<html>Sign in to the hotel's network</html>");
    let huge = || Answer::new(200).text("x".repeat(1 << 20));
    let shown = json!({"userPrincipalName": "\u{202e}evil\u{1b}[2J"});
    for (answer, told) in [
        (page(), "does not say who you are"),
        (Answer::new(200).json(&json!({"userPrincipalName": 7})), "does not say who you are"),
        (huge(), "its answer is far too long"),
        (Answer::new(204), "does not say who you are"),
    ] {
        fabric.graph.answers("GET", answer);
        let ended = fabric.publish().code(1);
        assert!(ended.stderr.contains(told) && ended.stderr.contains("Nothing was changed"), "{}", ended.stderr);
    }
    fabric.graph.answers("GET", Answer::new(200).json(&shown));
    fabric.graph.answers("GET", page());
    let ended = fabric.publish().code(1);
    assert!(ended.stderr.contains("does not say what stands in your account"), "{}", ended.stderr);
    assert!(fabric.graph.writes().is_empty());

    // Any success is one, whatever comes with it; what counts is what is there afterwards.
    fabric.graph.answers("POST", page());
    let lost = fabric.publish().code(1);
    assert!(lost.stderr.contains("took the key, and does not show it"), "{}", lost.stderr);
    fabric.graph.has(json!({"publicKey": "ssh-ed25519 AAAA before"}));
    fabric.graph.forgets();
    let other = fabric.publish().code(1);
    assert!(other.stderr.contains("took the key, and does not show it"), "{}", other.stderr);
}

/// A key that a touch is enough for is published, and the person is told.
#[test]
fn a_key_without_verification_and_one_on_no_token() {
    let fabric = Fabric::ready();
    let by_touch = fabric.env.ssh_keygen(&Recipe::ed25519());
    let plain = fabric.env.plain_key();
    for (key, told) in [(&by_touch, "by a touch alone"), (&plain, "This key is on no token.")] {
        fabric.agent.ssh_add(key);
        let published = fabric.publish_file(&key.public_path()).success();
        assert!(published.stderr.contains(told), "{}", published.stderr);
        assert_eq!(fabric.graph.stored(), Some(format!("{}\n", key.public_line())));
    }
}

#[test]
fn only_a_public_key_is_published() {
    let fabric = Fabric::ready();
    let line = fabric.key.public_line();
    for (text, told) in [
        ("", "no file of one public key"),
        ("no key", "this is no public key"),
        (&format!("{line}\n{line}\n"), "no file of one public key"),
        (&format!("{line} \u{7}"), "this is no public key"),
        (&format!("verify-required {line}"), "this is no public key"),
    ] {
        let file = fabric.env.path("some.pub");
        std::fs::write(&file, text).unwrap();
        let refused = fabric.publish_file(&file).code(1);
        assert!(refused.stderr.contains(told), "{text:?}: {}", refused.stderr);
    }
    let private = fabric.publish_file(fabric.key.path()).code(1);
    assert!(private.stderr.contains("Name the public key's file"), "{}", private.stderr);
    assert!(fabric.graph.asked().is_empty() && fabric.az_calls().is_empty());
}

/// It is in no place where others could read it.
#[test]
fn the_access_token_is_shown_nowhere() {
    let fabric = Fabric::with(TokenKind::Fingerprint, |agent| agent.talkative());
    let published = fabric.publish().success();
    fabric.graph.answers("PATCH", refusal(401, "InvalidAuthenticationToken"));
    fabric.graph.has(json!({"publicKey": "another"}));
    let refused = fabric.publish().code(1);
    for text in [&published.stdout, &published.stderr, &refused.stderr, &fabric.agent.messages().text()] {
        assert!(!text.contains(TOKEN), "{text}");
    }
}
