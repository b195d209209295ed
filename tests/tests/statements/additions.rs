//! Statements 13 to 15: how keys are added, and added again.

use agent::audit::record::Act;
use agent::denial::Code;
use ssh_encoding::Encode;
use ssh_key::PrivateKey;
use tests::{Agent, Answer, Env, FAILURE, KeyFile, Kind, Recipe, SIGN_RESPONSE, SUCCESS, TokenKind, sshsig, string};

use crate::{FakeHost, known_as, restrict};

/// SSH_AGENTC_ADD_IDENTITY and SSH_AGENTC_ADD_ID_CONSTRAINED.
const ADD: [u8; 2] = [17, 25];

/// What `ssh-add` sends for a key, with these constraints.
fn add(key: &KeyFile, comment: &[u8], constraints: &[u8]) -> Vec<u8> {
    let mut message = vec![ADD[usize::from(!constraints.is_empty())]];
    PrivateKey::read_openssh_file(key.path()).unwrap().key_data().encode(&mut message).unwrap();
    [&message[..], &string(comment), constraints].concat()
}

/// Why requests to add were refused.
fn refusals(agent: &Agent) -> Vec<Code> {
    let refused = |act| match act {
        Act::Refused { request, denial, .. } if request == "add" => Some(denial.code),
        _ => None,
    };
    agent.audit().acts().into_iter().filter_map(refused).collect()
}

#[test]
fn a_comment_is_any_bytes() {
    let env = Env::new();
    let (agent, key) = (env.agent().start(), env.plain_key());
    for (comment, shown) in [(&b"caf\xe9"[..], "caf\u{fffd}"), (b"", ""), ("schlüssel".as_bytes(), "schlüssel")] {
        assert_eq!(agent.connect().ask(&add(&key, comment, b"")), [SUCCESS]);
        assert_eq!(agent.list(), format!("256 {} {shown} (ED25519)\n", key.fingerprint()));
    }
}

/// It would be held with fewer constraints than were meant. What each rule is, is tested beside the code.
#[test]
fn a_constraint_that_is_not_understood_refuses_the_key() {
    let env = Env::new();
    let (agent, key) = (env.agent().start(), env.plain_key());
    let extension = |name: &str, body: &[u8]| [&[255][..], &string(name.as_bytes()), body].concat();
    let confirm = vec![2];
    let lifetime = vec![1, 0, 0, 1, 0];
    for (what, constraints, expected) in [
        ("confirm", confirm.clone(), SUCCESS),
        ("a lifetime", lifetime.clone(), SUCCESS),
        ("no destination", extension("restrict-destination-v00@openssh.com", &string(b"")), SUCCESS),
        ("an unknown one", vec![99], FAILURE),
        ("an unknown extension", extension("later@openssh.com", b""), FAILURE),
        ("confirm twice", [&confirm[..], &confirm].concat(), FAILURE),
        ("two lifetimes", [&lifetime[..], &lifetime].concat(), FAILURE),
        ("a lifetime that is cut", lifetime[..3].to_vec(), FAILURE),
        ("a token's provider", extension("sk-provider@openssh.com", &string(b"internal")), FAILURE),
        ("a smartcard's certificates", extension("associated-certs-v00@openssh.com", &[1, 0, 0, 0, 0]), FAILURE),
        ("a destination that is none", extension("restrict-destination-v00@openssh.com", &string(b"leaf")), FAILURE),
    ] {
        let mut client = agent.connect();
        assert_eq!(client.ask(&add(&key, b"", &constraints)), [expected], "{what}");
        assert_eq!(client.number_of_keys(), u32::from(expected == SUCCESS), "{what}");
        client.ask(&[19]);
    }
    assert_eq!(refusals(&agent), [Code::KeyRejected; 8]);
}

/// Not even its file is looked at.
#[test]
fn no_library_is_loaded() {
    let env = Env::new();
    let _token = env.plug(TokenKind::PinOnly.options());
    let key = env.ssh_keygen(&Recipe::ed25519());
    let agent = env.agent().start();
    let with_provider = |provider: &str| agent.program("ssh-add").args(["-S", provider]).arg(key.path()).run();
    for provider in ["/usr/lib/x86_64-linux-gnu/libc.so.6", "/not/there.so", "internal.so"] {
        assert!(!with_provider(provider).status.success(), "{provider}");
    }
    assert_eq!(refusals(&agent), [Code::Provider; 3]);
    assert_eq!(agent.connect().number_of_keys(), 0);
    with_provider("internal").success();
    assert_eq!(agent.connect().ask(&add(&key, b"without any", b"")), [SUCCESS]);
    assert!(agent.list().contains("without any"));

    // PKCS#11: added, with certificates, removed.
    let typist = env.person_who_types("1234");
    let module = |option: &str| agent.program("ssh-add").args([option, "/usr/lib/module.so"]).asking(&typist).run();
    assert!(!module("-s").status.success() && !module("-e").status.success());
    let names = [&b"/usr/lib/module.so"[..], b"1234"].map(string).concat();
    let certificates = [&[255][..], &string(b"associated-certs-v00@openssh.com"), &[1], &string(b"")].concat();
    let mut client = agent.connect();
    for message in [[&[26][..], &names, &certificates].concat(), [&[26][..], &names, &[2]].concat(), vec![20], vec![21]]
    {
        assert_eq!(client.ask(&message), [FAILURE]);
    }
    let refused = |act: &Act| matches!(act, Act::Refused { request, denial, .. } if request == "use PKCS#11" && denial.code == Code::Provider);
    assert_eq!(agent.audit().acts().iter().filter(|act| refused(act)).count(), 6);
    assert_eq!(client.number_of_keys(), 1);
}

/// Comment, consent, lifetime and destinations are those of the last time; the others' place in the list stays.
#[test]
fn added_again_it_is_replaced() {
    let env = Env::new();
    let host = FakeHost::new();
    known_as(&env, &[("a", &host)]);
    let (agent, key, second) = (env.agent().start(), env.plain_key(), env.plain_key());
    let order = || agent.connect().keys();
    let add = |options: &[&str]| {
        agent.program("ssh-add").arg("-q").args(options).arg(key.path()).run().success();
    };
    add(&[]);
    agent.ssh_add(&second);
    let sign = || agent.connect().sign(&key.blob(), &sshsig("file"))[0];
    assert_eq!(sign(), SIGN_RESPONSE);

    add(&["-c"]);
    env.person().types(["no"]);
    assert_eq!(sign(), FAILURE, "it asks now");
    restrict(&agent, &["a"], &key);
    assert_eq!(sign(), FAILURE, "it is for a host now");
    assert_eq!(env.person().texts(Kind::Confirm).len(), 1, "and does not ask any more");

    let rename = env.program("ssh-keygen").args(["-q", "-c", "-C", "another name", "-f"]).arg(key.path());
    rename.run().success();
    add(&[]);
    assert_eq!(sign(), SIGN_RESPONSE, "no constraint is left");
    assert_eq!(order(), [key.blob(), second.blob()]);
    assert!(agent.list().contains("another name"), "{}", agent.list());

    // A lifetime that is over takes no key with it that was added again meanwhile.
    add(&["-t", "1"]);
    add(&["-t", "1000"]);
    agent.program("ssh-add").args(["-q", "-t", "1"]).arg(second.path()).run().success();
    let end = std::time::Instant::now() + tests::PATIENCE;
    while order() != [key.blob()] {
        assert!(std::time::Instant::now() < end && order().contains(&key.blob()));
    }
}

/// A person who thinks about one use is not thinking about another: it is the key as it was added that they were asked for.
#[test]
fn a_question_does_not_outlast_what_it_was_about() {
    let env = Env::new();
    let (agent, key) = (env.agent().start(), env.plain_key());
    let add = || agent.program("ssh-add").args(["-q", "-c"]).arg(key.path()).run().success();
    add();
    let mut client = agent.connect();
    client.begin_to_sign(&key.blob(), &sshsig("file"));
    env.person().wait_until_asked(Kind::Confirm);
    add();
    env.person().answer(&Answer::Type("yes".into()));
    assert_eq!(client.answer().unwrap(), [FAILURE]);
    assert_eq!(agent.audit().wait_for_refusal().code, Code::KeyGone);
}
