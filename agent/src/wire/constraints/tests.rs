//! Statement 13 of `parse_key_constraints`, rule by rule.

use super::*;
use crate::identity::key_blob;
use crate::made_by_openssh::{addition, certificate, string};
use crate::wire::decode_addition;

/// Adds a software key, or one of a token, with these constraints.
fn add(on_token: bool, constraints: &[u8]) -> Result<Addition, WireError> {
    let frame = if on_token {
        let whole = addition("sk-ed25519");
        let provider = extension("sk-provider@openssh.com", &string(b"internal"));
        whole.strip_suffix(&provider[..]).unwrap().to_vec()
    } else {
        [&[25], &addition("ed25519")[1..]].concat()
    };
    decode_addition(&[&frame, constraints].concat())
}

fn lifetime(seconds: u32) -> Vec<u8> {
    [&[LIFETIME][..], &seconds.to_be_bytes()].concat()
}

fn extension(name: &str, body: &[u8]) -> Vec<u8> {
    [&[EXTENSION][..], &string(name.as_bytes()), body].concat()
}

fn restrict(destinations: &[Vec<u8>]) -> Vec<u8> {
    let list: Vec<u8> = destinations.iter().flat_map(|destination| string(destination)).collect();
    extension("restrict-destination-v00@openssh.com", &string(&list))
}

fn host_key(seed: u8) -> Vec<u8> {
    key_blob(&ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]).public.into())
}

/// An end of a constraint.
fn end(user: &[u8], host: &[u8], reserved: &[u8], keys: &[(Vec<u8>, u8)]) -> Vec<u8> {
    let keys = keys.iter().flat_map(|(key, authority)| [&string(key)[..], &[*authority]].concat());
    [string(user), string(host), string(reserved), keys.collect()].concat()
}

fn nowhere() -> Vec<u8> {
    end(b"", b"", b"", &[])
}

fn to_leaf() -> Vec<u8> {
    end(b"", b"leaf", b"", &[(host_key(1), 0)])
}

fn destination(from: &[u8], to: &[u8], reserved: &[u8]) -> Vec<u8> {
    [from, to, reserved].map(string).concat()
}

#[test]
fn what_ssh_add_asks_for_is_understood() {
    let added = decode_addition(&addition("constrained")).unwrap();
    assert_eq!((added.confirm, added.lifetime), (true, Some(Duration::from_secs(60))));
    let destinations = added.destinations.unwrap();
    let [first, second] = &destinations[..] else { panic!("{destinations:?}") };
    assert_eq!((&first.from, &first.user, first.to.hostname.as_str()), (&None, &None, "leaf"));
    assert!(!first.to.keys[0].is_authority && first.to.keys.len() == 1);
    assert_eq!(second.from.as_ref(), Some(&first.to));
    assert_eq!((second.user.as_deref(), second.to.hostname.as_str()), (Some("me"), "spine.example.com"));
    assert!(second.to.keys[0].is_authority, "known_hosts has an authority for it");
}

#[test]
fn each_constraint_once_and_in_any_order() {
    let provider = extension("sk-provider@openssh.com", &string(b"internal"));
    let leaf = restrict(&[destination(&nowhere(), &to_leaf(), b"")]);
    let confirm = vec![CONFIRM];
    let all = [&lifetime(60), &confirm, &provider, &leaf];
    let turned = [&leaf, &provider, &confirm, &lifetime(60)];
    for order in [all.map(|part| part.clone()), turned.map(|part| part.clone())] {
        let added = add(true, &order.concat()).unwrap();
        assert_eq!((added.confirm, added.lifetime), (true, Some(Duration::from_secs(60))));
        assert_eq!((added.provider.as_deref(), added.destinations.unwrap().len()), (Some("internal"), 1));
    }
    for (twice, name) in all.into_iter().zip(["lifetime", "confirm", "provider", "destination"]) {
        assert!(add(true, twice).is_ok(), "{name}");
        assert!(add(true, &[&twice[..], twice].concat()).is_err(), "{name} twice");
    }
    let plain = add(false, &[]).unwrap();
    assert_eq!((plain.confirm, plain.lifetime, plain.destinations), (false, None, None));
}

/// A key that is held with fewer constraints than were meant is worse than one that is not held.
#[test]
fn what_is_not_understood_refuses_the_key() {
    let associated = [&[1][..], &string(&string(&certificate("user")))].concat();
    let huge_lifetime = lifetime(u32::MAX);
    for (what, on_token, constraints) in [
        ("an unknown one", false, vec![3]),
        ("none at all", false, vec![0]),
        ("XMSS' number of signatures", false, vec![3, 0, 0, 0, 9]),
        ("an unknown extension", false, extension("made-up@example.com", b"")),
        ("an extension without a name", false, extension("", b"")),
        ("a lifetime that is cut", false, vec![LIFETIME, 0, 0, 1]),
        ("something behind a lifetime", false, [&huge_lifetime[..], &[9]].concat()),
        ("an extension that is cut", false, vec![EXTENSION, 0, 0, 0, 9, b'r']),
        ("a provider for a software key", false, extension("sk-provider@openssh.com", &string(b"internal"))),
        ("a provider without a name", true, extension("sk-provider@openssh.com", b"")),
        ("certificates of a smartcard", false, extension("associated-certs-v00@openssh.com", &associated)),
        ("the same for a token's key", true, extension("associated-certs-v00@openssh.com", &associated)),
        ("destinations without a length", false, extension("restrict-destination-v00@openssh.com", b"")),
    ] {
        assert!(add(on_token, &constraints).is_err(), "{what}");
    }
    assert_eq!(add(false, &huge_lifetime).unwrap().lifetime, Some(Duration::from_secs(u32::MAX.into())));
}

#[test]
fn a_destination_is_complete_and_consistent() {
    let leaf = [(host_key(1), 0)];
    let keys = [(host_key(1), 0), (host_key(2), 0), (host_key(3), 1)];
    let user = |length| vec![b'u'; length];
    let not_a_key = [(b"rubbish".to_vec(), 0)];
    let longer = [([&host_key(1)[..], &[0]].concat(), 0)];
    let certified = [(certificate("host"), 0)];
    let cut = to_leaf()[..to_leaf().len() - 1].to_vec();
    for (what, good, constraint) in [
        ("from here to a host", true, destination(&nowhere(), &to_leaf(), b"")),
        ("from a host to a host", true, destination(&to_leaf(), &to_leaf(), b"")),
        ("to a host of an authority", true, destination(&nowhere(), &end(b"", b"*", b"", &[(host_key(1), 1)]), b"")),
        ("to a host with keys", true, destination(&nowhere(), &end(b"", b"a", b"", &keys), b"")),
        ("as somebody", true, destination(&nowhere(), &end(b"me*", b"a", b"", &leaf), b"")),
        ("as a long name", true, destination(&nowhere(), &end(&user(LONGEST_USER), b"a", b"", &leaf), b"")),
        ("as a longer name", false, destination(&nowhere(), &end(&user(LONGEST_USER + 1), b"a", b"", &leaf), b"")),
        ("as a name that is not UTF-8", false, destination(&nowhere(), &end(b"\xff", b"a", b"", &leaf), b"")),
        ("to a host that is not UTF-8", false, destination(&nowhere(), &end(b"", b"\xff", b"", &leaf), b"")),
        ("from somebody", false, destination(&end(b"me", b"a", b"", &leaf), &to_leaf(), b"")),
        ("from somebody here", false, destination(&end(b"me", b"", b"", &[]), &to_leaf(), b"")),
        ("from a name without keys", false, destination(&end(b"", b"a", b"", &[]), &to_leaf(), b"")),
        ("from keys without a name", false, destination(&end(b"", b"", b"", &leaf), &to_leaf(), b"")),
        ("to nowhere", false, destination(&nowhere(), &nowhere(), b"")),
        ("to a name without keys", false, destination(&nowhere(), &end(b"", b"a", b"", &[]), b"")),
        ("to keys without a name", false, destination(&nowhere(), &end(b"", b"", b"", &leaf), b"")),
        ("of a later version", false, destination(&nowhere(), &to_leaf(), b"x")),
        ("from a later version", false, destination(&end(b"", b"a", b"x", &leaf), &to_leaf(), b"")),
        ("to a later version", false, destination(&nowhere(), &end(b"", b"a", b"x", &leaf), b"")),
        ("to a key that is none", false, destination(&nowhere(), &end(b"", b"a", b"", &not_a_key), b"")),
        ("to a key with more behind it", false, destination(&nowhere(), &end(b"", b"a", b"", &longer), b"")),
        ("to a certificate", false, destination(&nowhere(), &end(b"", b"a", b"", &certified), b"")),
        ("to a key of which it is not said whether it certifies", false, destination(&nowhere(), &cut, b"")),
        ("with more behind it", false, [&destination(&nowhere(), &to_leaf(), b"")[..], &[0]].concat()),
        ("nothing", false, vec![]),
        ("cut", false, string(&nowhere())),
    ] {
        assert_eq!(add(false, &restrict(&[constraint])).is_ok(), good, "{what}");
    }
}

#[test]
fn there_are_1024_destinations_at_most() {
    let leaf = destination(&nowhere(), &to_leaf(), b"");
    let many = vec![leaf; MOST_DESTINATIONS + 1];
    let added = add(false, &restrict(&many[1..])).unwrap();
    assert_eq!(added.destinations.map(|destinations| destinations.len()), Some(MOST_DESTINATIONS));
    assert!(add(false, &restrict(&many)).is_err());
    // As many as none at all: they restrict nothing, as with ssh-agent.
    assert_eq!(add(false, &restrict(&[])).unwrap().destinations, Some(vec![]));
}
