//! Statements 5 and 6: `identity_permitted` and what it asks, row by row.

use super::*;
use signature::Signer;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::rand_core::OsRng;
use ssh_key::{PrivateKey, Signature};

const NOW: u64 = 1_784_000_000;
const HOUR: u64 = 3600;

/// The key of a host or an authority is made from its name.
fn key(name: &str) -> PrivateKey {
    let mut seed = [0; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), "").unwrap()
}

/// What a host presents: `a` its plain key, `a:KIND` a certificate of it.
fn presented(host: &str) -> (PrivateKey, Vec<u8>) {
    let Some((name, kind)) = host.split_once(':') else {
        return (key(host), key(host).public_key().to_bytes().unwrap());
    };
    let (after, before) = match kind {
        "expired" => (NOW - HOUR, NOW),
        "future" => (NOW + 1, NOW + HOUR),
        _ => (NOW - HOUR, NOW + HOUR),
    };
    let mut builder = Builder::new_with_random_nonce(&mut OsRng, key(name).public_key(), after, before).unwrap();
    builder.cert_type(if kind == "user" { CertType::User } else { CertType::Host }).unwrap();
    match kind {
        "other-name" => builder.valid_principal("other").unwrap(),
        "wildcard" => builder.valid_principal(format!("{}?.example.com", &name[..1])).unwrap(),
        "anybody" => builder.all_principals_valid().unwrap(),
        _ => builder.valid_principal("other").unwrap().valid_principal(name).unwrap(),
    };
    if kind == "options" {
        builder.critical_option("new@example.com", "").unwrap();
    }
    let authority = if kind == "other-ca" { "other-ca" } else { "ca" };
    (key(name), builder.sign(&key(authority)).unwrap().to_bytes().unwrap())
}

/// A path of hosts, separated by spaces; the connection is forwarded to those that end in `+`. A binding of the host `!`
/// fails.
fn bound(path: &str) -> SessionBindings {
    let mut bindings = SessionBindings::default();
    for (n, host) in path.split_whitespace().enumerate() {
        if host == "!" {
            bindings.note_failure();
            continue;
        }
        let (private, presented) = presented(host.trim_end_matches('+'));
        let session = format!("session {n}");
        let signature: Signature = private.try_sign(session.as_bytes()).unwrap();
        let signature = Vec::try_from(signature).unwrap();
        bindings.bind(&presented, session.as_bytes(), &signature, host.ends_with('+')).unwrap();
    }
    bindings
}

/// A host of a constraint: its name, which is that of its key; after `=`, the keys it has instead, and `@` before those that
/// are authorities.
fn hop(text: &str) -> Hop {
    let (hostname, keys) = text.split_once('=').unwrap_or((text, text));
    let entry = |name: &str| HopKey {
        key: key(name.trim_start_matches('@')).public_key().key_data().clone(),
        is_authority: name.starts_with('@'),
    };
    Hop { hostname: hostname.into(), keys: keys.split(',').map(entry).collect() }
}

/// As with `ssh-add -h`: `TO`, `USER@TO` or `FROM>USER@TO`. Where hosts are written with keys, a `:` ends the user.
fn constraint(text: &str) -> DestinationConstraint {
    let (from, to) = text.split_once('>').map_or((None, text), |(from, to)| (Some(hop(from)), to));
    let (user, to) = to.split_once(':').map_or((None, to), |(user, to)| (Some(user.to_owned()), to));
    DestinationConstraint { from, to: hop(to), user }
}

/// What the key may be used for over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// Listed, and a login as `me` at its end.
    LogIn,
    /// Listed only.
    BeListed,
    /// Neither.
    Nothing,
}
use May::{BeListed, LogIn, Nothing};

fn check(constraints: &[&str], rows: &[(&str, May)]) {
    let destinations: Vec<_> = constraints.iter().map(|text| constraint(text)).collect();
    for (path, may) in rows {
        let bindings = bound(path);
        let listed = permitted(&destinations, &bindings, None, NOW);
        let signs = permitted(&destinations, &bindings, Some(b"me"), NOW);
        assert_eq!(listed, *may != Nothing, "{constraints:?}: listed at [{path}]");
        assert_eq!(signs, *may == LogIn, "{constraints:?}: logs in at [{path}]");
    }
}

#[test]
fn a_key_without_constraints_goes_anywhere() {
    check(&[], &[("", LogIn), ("!", LogIn), ("a", LogIn), ("a+ b", LogIn), ("a+ b+", LogIn), ("! a", LogIn)]);
}

/// Locally it is listed and can be removed. That it signs nothing there is for `policy` to say.
#[test]
fn without_a_binding_it_is_listed() {
    check(&["a"], &[("", BeListed)]);
}

/// Who is on the way is not known then, and a binding that succeeds later does not tell. (OpenSSH forgets the failure with
/// the first binding that succeeds.)
#[test]
fn after_a_binding_that_failed_it_is_hidden() {
    check(&["a", "b"], &[("!", Nothing), ("! a", Nothing), ("a+ ! b", Nothing), ("a !", Nothing)]);
}

#[test]
fn one_hop() {
    check(
        &["a"],
        &[("a", LogIn), ("b", Nothing), ("a+", Nothing), ("a+ a", Nothing), ("a+ b", Nothing), ("b+ a", Nothing)],
    );
    check(&["a", "b"], &[("a", LogIn), ("b", LogIn), ("c", Nothing), ("a+ b", Nothing)]);
}

#[test]
fn each_step_of_a_path_has_its_constraint() {
    check(
        &["a", "a>b", "b>c"],
        &[
            ("a", LogIn),
            ("a+ b", LogIn),
            ("a+ b+ c", LogIn),
            ("b", Nothing),
            ("c", Nothing),
            ("b+ c", Nothing),
            ("a+ c", Nothing),
            ("a+ a", Nothing),
            ("a+ b+ a", Nothing),
            ("a+ b+ b", Nothing),
            ("a+ b+ c+ c", Nothing),
            ("a+ c+ b", Nothing),
        ],
    );
    // The first hop begins here: a constraint that begins elsewhere is none for it, even where it begins at the same host.
    check(&["a>b", "b>a"], &[("a", Nothing), ("b", Nothing), ("a+ b", Nothing), ("b+ a", Nothing)]);
    // As in agent-restrict.sh of OpenSSH's tests.
    check(&["a", "a>b", "b>a", "a>a", "a>c"], &[("a+ b+ a+ a+ c", LogIn), ("a+ b+ c", Nothing)]);
}

/// At a forwarding host it is shown where it may be used behind it, and used there never: a login needs a binding of its
/// own.
#[test]
fn at_a_host_that_forwards() {
    check(
        &["a", "a>b"],
        &[("a+", BeListed), ("a", LogIn), ("a+ b", LogIn), ("a+ b+", Nothing), ("b+", Nothing), ("a+ c", Nothing)],
    );
    check(&["a", "b>c"], &[("a+", Nothing)]);
    check(&["a", "a>me:b"], &[("a+", BeListed)]);
    check(&["a", "a>you:b"], &[("a+", BeListed), ("a+ b", BeListed)]);
}

/// It is not known as whom the login to a host on the way was.
#[test]
fn a_user_counts_at_the_end() {
    for (pattern, fits) in
        [("me", true), ("m*", true), ("?e", true), ("*", true), ("you", false), ("m", false), ("ME", false)]
    {
        let may = if fits { LogIn } else { BeListed };
        check(&[&format!("{pattern}:a")], &[("a", may), ("b", Nothing)]);
        check(&["a", &format!("a>{pattern}:b")], &[("a+ b", may), ("a+", BeListed)]);
        check(&[&format!("{pattern}:a"), "a>b"], &[("a+ b", LogIn), ("a", may)]);
    }
    // Of two constraints for one host, one suffices.
    check(&["you:a", "me:a"], &[("a", LogIn)]);
}

#[test]
fn a_host_s_plain_key_is_not_an_authority_s() {
    check(&["a=@a"], &[("a", Nothing)]);
    check(&["a=@b,a"], &[("a", LogIn), ("b", Nothing)]);
    check(&["a=x,a,y"], &[("a", LogIn), ("x", LogIn), ("b", Nothing)]);
    // Its name is not looked at: that is what ssh-add found its keys by.
    check(&["b=a"], &[("a", LogIn), ("b", Nothing)]);
}

#[test]
fn a_host_s_certificate_is_one_of_an_authority() {
    check(
        &["a=@ca"],
        &[
            ("a:good", LogIn),
            ("a", Nothing),
            ("ca", Nothing),
            ("b:good", Nothing),
            ("a:other-ca", Nothing),
            ("a:other-name", Nothing),
            ("a:anybody", Nothing),
            ("a:expired", Nothing),
            ("a:future", Nothing),
            ("a:user", Nothing),
            ("a:options", Nothing),
        ],
    );
    // The key itself, or the authority without the mark, is not enough for a certificate.
    check(&["a"], &[("a:good", Nothing)]);
    check(&["a=ca"], &[("a:good", Nothing), ("ca", LogIn)]);
    check(&["a=a,@ca"], &[("a:good", LogIn), ("a", LogIn), ("a:expired", Nothing)]);
    check(&["a=@other-ca,@ca"], &[("a:good", LogIn), ("a:other-ca", LogIn)]);
    check(&["a1.example.com=@ca"], &[("a1:wildcard", LogIn), ("a2:wildcard", LogIn), ("b1:wildcard", Nothing)]);
    check(&["example.com=@ca"], &[("a1:wildcard", Nothing)]);
}

#[test]
fn certificates_on_the_way() {
    check(
        &["a=@ca", "a=@ca>b=@ca", "b=@ca>c"],
        &[
            ("a:good+", BeListed),
            ("a:good+ b:good", LogIn),
            ("a:good+ b:good+ c", LogIn),
            ("a:good+ b", Nothing),
            ("a+ b:good", Nothing),
            ("a:expired+ b:good", Nothing),
            ("a:good+ b:expired", Nothing),
            ("a:good+ b:good+ c:good", Nothing),
            ("a:expired+", Nothing),
        ],
    );
}

/// A certificate is looked at when it counts, not when it was bound.
#[test]
fn a_certificate_expires_while_the_connection_lasts() {
    let (destinations, bindings) = ([constraint("a=@ca")], bound("a:good"));
    for (now, expected) in [(NOW, true), (NOW + HOUR - 1, true), (NOW + HOUR, false), (NOW - HOUR - 1, false)] {
        assert_eq!(permitted(&destinations, &bindings, Some(b"me"), now), expected, "{now}");
    }
}
