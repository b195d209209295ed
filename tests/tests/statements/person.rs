//! Statements 11 and 12: what a person is asked, by which program, and what counts as a yes.

use std::fs;

use agent::denial::Code;
use tests::{Agent, Answer, Env, FAILURE, KeyFile, Kind, SIGN_RESPONSE, SUCCESS, login, sshsig, string};

use crate::{FakeHost, Restricted};

/// A software key that asks for consent.
fn asking_key(agent: &Agent) -> KeyFile {
    let key = agent.env().plain_key();
    agent.program("ssh-add").args(["-q", "-c"]).arg(key.path()).run().success();
    key
}

/// As `ask_permission` of OpenSSH takes it, from programs that answer in their own ways.
#[test]
fn only_yes_and_silence_agree() {
    let env = Env::new();
    let answer = env.path("answer");
    let askpass = env.script("askpass", &format!("#!/bin/sh\n. {}\n", answer.display()));
    let agent = env.agent().mutes_nobody().variable("SSH_ASKPASS", askpass).start();
    let (key, mut client) = (asking_key(&agent), agent.connect());
    for (what, script, expected) in [
        ("yes", "echo yes", SIGN_RESPONSE),
        ("yes without a line's end", "printf yes", SIGN_RESPONSE),
        ("YES", "echo YES", SIGN_RESPONSE),
        ("nothing", "exit 0", SIGN_RESPONSE),
        ("an empty line", "echo", SIGN_RESPONSE),
        ("yes on the first of two lines", "printf 'yes\\nno\\n'", SIGN_RESPONSE),
        ("no", "echo no", FAILURE),
        ("y", "echo y", FAILURE),
        ("yes, and more", "echo yes please", FAILURE),
        ("a space before it", "echo ' yes'", FAILURE),
        ("yes, but another status", "echo yes; exit 1", FAILURE),
        ("nothing, and another status", "exit 255", FAILURE),
        ("its own end", "kill -9 $$", FAILURE),
        ("the longest answer", "head -c 1023 /dev/zero | tr '\\0' x", FAILURE),
        ("an answer without end", "yes", FAILURE),
        ("a question that wants consent", "[ \"$SSH_ASKPASS_PROMPT\" = confirm ]; exit $?", SIGN_RESPONSE),
        ("a question in one argument", "[ $# = 1 ]; exit $?", SIGN_RESPONSE),
        ("a program that knows no secret of the agent's", "[ -z \"$LISTEN_FDS\" ]; exit $?", SIGN_RESPONSE),
    ] {
        fs::write(&answer, script).unwrap();
        assert_eq!(client.sign(&key.blob(), &sshsig("file"))[0], expected, "{what}");
    }
    let lost = agent.audit().refusal_codes().into_iter().filter(|code| *code != Code::PromptRefused);
    assert_eq!(lost.collect::<Vec<_>>(), [Code::PromptLost], "the one that was killed, and said neither yes nor no");
}

/// Where nobody can be asked, that is said at once.
#[test]
fn a_prompt_needs_a_display_or_force() {
    let (asked, not_asked) = (SIGN_RESPONSE, FAILURE);
    for (variables, expected) in [
        (&[("SSH_ASKPASS_REQUIRE", "force")][..], asked),
        (&[("SSH_ASKPASS_REQUIRE", ""), ("DISPLAY", ":0")], asked),
        (&[("SSH_ASKPASS_REQUIRE", ""), ("WAYLAND_DISPLAY", "wayland-0")], asked),
        (&[("SSH_ASKPASS_REQUIRE", "prefer"), ("DISPLAY", ":0")], asked),
        (&[("SSH_ASKPASS_REQUIRE", "")], not_asked),
        (&[("SSH_ASKPASS_REQUIRE", "prefer")], not_asked),
        (&[("SSH_ASKPASS_REQUIRE", "never"), ("DISPLAY", ":0")], not_asked),
        (&[("SSH_ASKPASS_REQUIRE", "force"), ("SSH_ASKPASS", "/not/there")], not_asked),
    ] {
        let env = Env::new();
        env.person().always_types("yes");
        let mut options = env.agent();
        for (name, value) in variables {
            options = options.variable(name, value);
        }
        let agent = options.start();
        let key = asking_key(&agent);
        assert_eq!(agent.connect().sign(&key.blob(), &sshsig("file"))[0], expected, "{variables:?}");
        let questions = env.person().texts(Kind::Confirm).len();
        match expected == asked {
            true => assert_eq!(questions, 1, "{variables:?}"),
            false => {
                assert_eq!((questions, agent.audit().refusal_codes()), (0, vec![Code::NoPrompter]), "{variables:?}")
            }
        }
    }
}

/// Another agent says no more than the key's fingerprint.
#[test]
fn the_question_says_what_for() {
    let restricted = Restricted::new();
    let (agent, key) = (&restricted.agent, asking_key(&restricted.agent));
    let sign = |mut client: tests::Client, data: Vec<u8>| {
        client.begin_to_sign(&key.blob(), &data);
        let question = agent.env().person().wait_until_asked(Kind::Confirm).text;
        agent.env().person().answer(&Answer::Type("yes".into()));
        assert_eq!(client.answer().unwrap()[0], SIGN_RESPONSE);
        assert!(question.contains(&format!("key: {} plain", key.fingerprint())), "{question}");
        assert!(question.ends_with("\nAllow this? "), "{question}");
        question
    };
    let fingerprint = |host: &FakeHost| host.0.public_key().fingerprint(ssh_key::HashAlg::Sha256).to_string();
    let Restricted { a, b, .. } = &restricted;

    let here = sign(agent.connect(), sshsig("file"));
    assert!(
        here.starts_with("Sign a message or file (namespace file)\n  asked on this machine [reported]\n"),
        "{here}"
    );
    let on_a = sign(restricted.bound(&[a], false), login(b"1", &key, Some(&a.key())));
    assert!(on_a.starts_with("Log in as me\n"), "{on_a}");
    assert!(
        on_a.contains(&format!("on the host with key {} [verified], not in known_hosts\n", fingerprint(a))),
        "{on_a}"
    );
    let behind_a = sign(restricted.bound(&[a, b], false), login(b"2", &key, Some(&b.key())));
    let through = format!(
        "on the host with key {} [verified], not in known_hosts\n  forwarded through the host with key {} [verified], not in known_hosts\n",
        fingerprint(b),
        fingerprint(a)
    );
    assert!(behind_a.contains(&through), "{behind_a}");
}

/// The question would be needless, and who is asked often says yes.
#[test]
fn nobody_is_asked_for_what_is_refused() {
    let restricted = Restricted::new();
    let Restricted { agent, a, .. } = &restricted;
    let key = asking_key(agent);
    let env = agent.env();
    let elsewhere = login(b"another session", &key, Some(&a.key()));
    assert_eq!(restricted.bound(&[a], false).sign(&key.blob(), &elsewhere), [FAILURE]);
    assert_eq!(restricted.bound(&[a], true).sign(&key.blob(), b"opaque"), [FAILURE]);
    let mut client = agent.connect();
    assert_eq!(client.ask(&[&[22][..], &string(b"password")].concat()), [SUCCESS]);
    assert_eq!(client.sign(&key.blob(), &sshsig("file")), [FAILURE]);
    assert_eq!(client.ask(&[&[23][..], &string(b"password")].concat()), [SUCCESS]);
    assert_eq!(env.person().asked(), []);

    // While the person thinks, the key is removed: their yes comes too late.
    client.begin_to_sign(&key.blob(), &sshsig("file"));
    env.person().wait_until_asked(Kind::Confirm);
    agent.program("ssh-add").args(["-q", "-D"]).run().success();
    env.person().answer(&Answer::Type("yes".into()));
    assert_eq!(client.answer().unwrap(), [FAILURE]);
    let expected = [Code::SessionMismatch, Code::OpaqueData, Code::Locked, Code::KeyGone];
    assert_eq!(agent.audit().refusal_codes(), expected);
}
