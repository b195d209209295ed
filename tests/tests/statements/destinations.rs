//! Statements 5 to 7, over the socket: the rules themselves have their tables in agent/src/destination/tests.rs.

use tests::{Client, FAILURE, KeyFile, SIGN_RESPONSE, SUCCESS, login};

use crate::{FakeHost, REMOVE, Restricted, remove, restrict};

/// SSH_AGENTC_REMOVE_ALL_RSA_IDENTITIES and SSH_AGENTC_REMOVE_ALL_IDENTITIES.
const REMOVE_ALL: [u8; 2] = [9, 19];

/// Where the key is listed, and where it logs in.
#[test]
fn each_step_is_permitted_or_refused() {
    let restricted = Restricted::new();
    let Restricted { key, a, b, other, .. } = &restricted;
    for (what, path, last_forwards, listed, signs) in [
        ("here", &[][..], false, true, false),
        ("on a", &[a][..], false, true, true),
        ("on b, straight", &[b], false, false, false),
        ("behind a", &[a], true, true, false),
        ("from a to b", &[a, b], false, true, true),
        ("behind b", &[a, b], true, false, false),
        ("from a to another", &[a, other], false, false, false),
        ("from another to a", &[other, a], false, false, false),
        ("from b to a", &[b, a], false, false, false),
        ("through a twice", &[a, b, a], false, false, false),
    ] {
        let mut client = restricted.bound(path, last_forwards);
        assert_eq!(client.keys() == [key.blob()], listed, "{what}");
        let session = path.len().to_string();
        let host_key = path.last().map(|host| host.key());
        let answer = client.sign(&key.blob(), &login(session.as_bytes(), key, host_key.as_deref()));
        assert_eq!(answer[0] == SIGN_RESPONSE, signs, "{what}");
        assert!(signs || answer == [FAILURE], "{what}");
    }
}

/// A message with which `ssh-add` adds the key without constraints.
fn add(key: &KeyFile) -> Vec<u8> {
    use ssh_encoding::Encode;
    let mut message = vec![17];
    ssh_key::PrivateKey::read_openssh_file(key.path()).unwrap().key_data().encode(&mut message).unwrap();
    [message, tests::string(b"added again")].concat()
}

/// Who is on the way to one host learns nothing of a key for another, and can't set it free.
#[test]
fn a_hidden_key_is_neither_listed_nor_removed_nor_replaced() {
    let restricted = Restricted::with(|agent| agent.setting("forwarded_management = \"allow\""));
    let Restricted { agent, key, a, b, other, .. } = &restricted;
    let free = restricted.env().plain_key();
    agent.ssh_add(&free);
    let from = |path: &[&FakeHost], last_forwards| restricted.bound(path, last_forwards);
    let hidden: [Client; 4] = [from(&[b], false), from(&[other], true), from(&[a, b], true), from(&[a, other], false)];
    for mut client in hidden {
        assert_eq!(client.keys(), [free.blob()]);
        assert_eq!(client.ask(&remove(key)), [FAILURE]);
        assert_eq!(client.ask(&add(key)), [FAILURE]);
        assert_eq!(client.ask(&remove(&free)), [SUCCESS], "what is shown can be removed");
        agent.ssh_add(&free);
    }
    let list = agent.list();
    assert!(list.contains(&key.fingerprint()) && !list.contains("added again"), "{list}");
    let signs = |client: &mut Client| client.sign(&key.blob(), b"opaque")[0];
    assert_eq!(signs(&mut agent.connect()), FAILURE, "it is constrained still");

    assert_eq!(from(&[a], false).ask(&add(key)), [SUCCESS], "where it is shown, it can be replaced");
    assert_eq!(signs(&mut agent.connect()), SIGN_RESPONSE, "and has no constraints then");
}

/// There is nothing to be learned from it.
#[test]
fn all_are_removed_hidden_ones_too() {
    let restricted = Restricted::new();
    for remove_all in REMOVE_ALL {
        restrict(&restricted.agent, &["a"], &restricted.key);
        let mut client = restricted.bound(&[&restricted.other], false);
        assert_eq!(client.number_of_keys(), 0);
        assert_eq!(restricted.agent.connect().number_of_keys(), 1);
        assert_eq!(client.ask(&[remove_all]), [SUCCESS]);
        assert_eq!(restricted.agent.connect().number_of_keys(), 0, "after message {remove_all}");
    }
    assert_eq!(restricted.agent.connect().ask(&[REMOVE, 0, 0, 0, 0]), [FAILURE]);
}
