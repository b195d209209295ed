//! Where the access token comes from.

use tests::TokenKind;
use tests::graph::TOKEN;

use crate::fabric::Fabric;

/// Whatever the Azure CLI does, what it says is shown, and nothing is asked of the account.
#[test]
fn a_command_that_has_no_token_is_named_with_what_it_says() {
    let fabric = Fabric::with(TokenKind::Fingerprint, |agent| agent.setting("publish.token_seconds = 1"));
    let huge =
        format!("echo '{{\"accessToken\": \"'; head -c 200000 /dev/zero | tr '\\0' x; echo '\"}}'; echo {TOKEN} >&2");
    for (script, told) in [
        ("echo 'Please run az login to setup account.' >&2; exit 1", "> Please run az login to setup account."),
        ("exit 1", "failed: exit status: 1"),
        ("kill -9 $$", "failed: signal: 9"),
        ("echo token", "does not print an access token"),
        ("echo '{\"token\": \"a\"}'", "does not print an access token"),
        ("echo '{\"accessToken\": \"\"}'", "does not print an access token"),
        ("echo '{\"accessToken\": \"a\\nX-Header: b\"}'", "does not print an access token"),
        ("echo '[]'", "does not print an access token"),
        ("", "does not print an access token"),
        (&huge, "prints more than any access token"),
        ("echo 'Waiting for you' >&2; exec sleep 1000", "did not end within 1 seconds\n  > Waiting for you"),
        ("sleep 1000 & sleep 1000", "did not end within 1 seconds"),
    ] {
        fabric.az(script);
        let ended = fabric.publish().code(1);
        assert!(ended.stderr.contains(told), "{script}: {}", ended.stderr);
        assert!(ended.stderr.contains("`az account get-access-token"), "{}", ended.stderr);
        assert!(!ended.stderr.contains(TOKEN), "{}", ended.stderr);
    }
    std::fs::remove_file(fabric.env.path("bin/az")).unwrap();
    let missing = fabric.publish().code(1);
    assert!(missing.stderr.contains("can't be run: No such file"), "{}", missing.stderr);
    assert!(
        missing.stderr.contains("publish.token_command") && missing.stderr.contains("--token-stdin"),
        "{}",
        missing.stderr
    );
    assert!(fabric.graph.asked().is_empty() && fabric.signatures() == 0);
}

/// As the Azure CLI does, which sends its statistics in the background.
#[test]
fn what_the_command_leaves_running_is_not_waited_for() {
    let fabric = Fabric::ready();
    fabric.az(&format!("sleep 1000 & echo '{{\"accessToken\": \"{TOKEN}\"}}'"));
    fabric.publish().success();
}

#[test]
fn a_command_of_ones_own_is_run_without_a_shell() {
    let script = "publish.token_command = [\"./bin/other\", \"a b\", \"$HOME\"]";
    let fabric = Fabric::with(TokenKind::Fingerprint, |agent| agent.setting(script));
    let print =
        format!("#!/bin/sh\necho \"$#,$1,$2\" >&2\n[ \"$2\" = '$HOME' ] && echo '{{\"accessToken\": \"{TOKEN}\"}}'\n");
    fabric.env.script("bin/other", &print);
    fabric.publish().success();
    assert_eq!(fabric.az_calls(), "");
}

#[test]
fn a_token_is_taken_from_the_first_line_of_standard_input() {
    let fabric = Fabric::ready();
    let publish = |typed: &str| fabric.cli(&["publish", "--token-stdin"], typed).arg(fabric.key.public_path()).run();
    for typed in ["", "\n", "two words\n", &format!("{{\"accessToken\": \"{TOKEN}\"}}\n"), &"x".repeat(20_000)] {
        let ended = publish(typed).code(1);
        assert!(ended.stderr.contains("is no access token"), "{}", ended.stderr);
    }
    assert!(fabric.graph.asked().is_empty());
    publish(&format!("{TOKEN}\r\ny\n")).success();
    assert_eq!(fabric.az_calls(), "");
    assert!(fabric.graph.stored().is_some());
}
