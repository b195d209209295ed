//! Statements 8 to 10: which bytes are a login, and what keys sign beside logins.

use agent::denial::Code;
use tests::{Client, Env, FAILURE, KeyFile, Recipe, SIGN_RESPONSE, Scene, TokenKind, login, sshsig, string};

use crate::{FakeHost, Restricted};

/// The session id, the host key and the user have to be those of the last binding and of the constraint.
#[test]
fn a_constrained_key_logs_in_where_the_last_binding_leads() {
    let restricted = Restricted::new();
    let Restricted { agent, key, a, b, other, .. } = &restricted;
    let (a_key, b_key, other_key) = (a.key(), b.key(), other.key());
    let mut refused = Vec::new();
    for (what, path, data, expected) in [
        ("not bound", &[][..], login(b"1", key, None), Err(Code::DestinationNotPermitted)),
        ("not bound, no login", &[], sshsig("file"), Err(Code::DestinationNotPermitted)),
        ("not bound, opaque", &[], b"opaque".to_vec(), Err(Code::DestinationNotPermitted)),
        ("a login", &[a][..], login(b"1", key, None), Ok(())),
        ("a login that names the host", &[a], login(b"1", key, Some(&a_key)), Ok(())),
        ("another session", &[a], login(b"2", key, Some(&a_key)), Err(Code::SessionMismatch)),
        ("another host", &[a], login(b"1", key, Some(&other_key)), Err(Code::HostKeyMismatch)),
        ("no login", &[a], sshsig("file"), Err(Code::SessionMismatch)),
        ("opaque", &[a], b"opaque".to_vec(), Err(Code::SessionMismatch)),
        ("behind a host", &[a, b], login(b"2", key, Some(&b_key)), Ok(())),
        ("the same without the host's key", &[a, b], login(b"2", key, None), Err(Code::DestinationNotPermitted)),
        ("the first session", &[a, b], login(b"1", key, Some(&a_key)), Err(Code::SessionMismatch)),
        ("the first host's key", &[a, b], login(b"2", key, Some(&a_key)), Err(Code::HostKeyMismatch)),
        ("where it may not", &[a, other], login(b"2", key, Some(&other_key)), Err(Code::DestinationNotPermitted)),
    ] {
        let answer = restricted.bound(path, false).sign(&key.blob(), &data);
        match expected {
            Ok(()) => assert_eq!(answer[0], SIGN_RESPONSE, "{what}"),
            Err(code) => {
                assert_eq!(answer, [FAILURE], "{what}");
                refused.push(code);
                assert_eq!(agent.audit().refusal_codes(), refused, "{what}");
            }
        }
    }
    let mut forwarded = restricted.bound(&[a], true);
    assert_eq!(forwarded.sign(&key.blob(), &login(b"1", key, Some(&a_key))), [FAILURE], "a hop is not a login");
}

/// One part of a login's data.
#[derive(Clone)]
enum Part {
    Str(Vec<u8>),
    Byte(u8),
}

fn bytes(parts: &[Part]) -> Vec<u8> {
    let encode = |part: &Part| match part {
        Part::Str(bytes) => string(bytes),
        Part::Byte(byte) => vec![*byte],
    };
    parts.iter().flat_map(encode).collect()
}

/// RFC 4252 § 7, and what OpenSSH adds to it.
#[test]
fn a_login_with_one_field_changed_is_none() {
    let restricted = Restricted::new();
    let Restricted { key, a, .. } = &restricted;
    let other = restricted.env().plain_key();
    let str = |text: &[u8]| Part::Str(text.to_vec());
    let hostbound = "publickey-hostbound-v00@openssh.com";
    let login = vec![
        str(b"1"),
        Part::Byte(50),
        str(b"me"),
        str(b"ssh-connection"),
        str(hostbound.as_bytes()),
        Part::Byte(1),
        str(b"ssh-ed25519"),
        Part::Str(key.blob()),
        Part::Str(a.key()),
    ];
    let mut client = restricted.bound(&[a], false);
    let mut signs = |data: &[u8]| client.sign(&key.blob(), data)[0] == SIGN_RESPONSE;
    assert!(signs(&bytes(&login)), "unchanged");
    for (what, place, part) in [
        ("an empty session", 0, str(b"")),
        ("another session", 0, str(b"12")),
        ("another message", 1, Part::Byte(51)),
        ("another service", 3, str(b"ssh-userauth")),
        ("no service", 3, str(b"")),
        ("another method", 4, str(b"hostbased")),
        ("a method of a later version", 4, str(b"publickey-hostbound-v01@openssh.com")),
        ("a method with a host key that it has not", 4, str(b"publickey")),
        ("no signature follows", 5, Part::Byte(0)),
        ("something else follows", 5, Part::Byte(2)),
        ("another algorithm", 6, str(b"ssh-rsa")),
        ("a certificate's algorithm", 6, str(b"ssh-ed25519-cert-v01@openssh.com")),
        ("no algorithm", 6, str(b"")),
        ("another key", 7, Part::Str(other.blob())),
        ("no key", 7, str(b"")),
        ("another host", 8, Part::Str(other.blob())),
        ("a host key that is none", 8, str(b"rubbish")),
    ] {
        let mut changed = login.clone();
        changed[place] = part;
        assert!(!signs(&bytes(&changed)), "{what}");
    }
    let whole = bytes(&login);
    for length in (0..whole.len()).rev().step_by(11) {
        assert!(!signs(&whole[..length]), "{length} bytes of it");
    }
    assert!(!signs(&[&whole[..], &[0]].concat()), "a byte more");
    assert!(signs(&whole), "unchanged still");
}

/// The part of a certificate that its authority signs.
fn to_be_certified(key: &KeyFile) -> Vec<u8> {
    let public = key.blob();
    [&string(b"ssh-ed25519-cert-v01@openssh.com")[..], &string(&[7; 32]), &public[15..], &[0; 40]].concat()
}

/// A token's key signs nothing that it can't name. A software key does as with ssh-agent, on this machine; sshd's own host
/// keys need it. An authority's key does nothing else.
#[test]
fn what_is_neither_a_login_nor_a_signature_on_a_file() {
    let Scene { env, agent, token, key: on_token, .. } = Scene::ready(TokenKind::PinOnly, &Recipe::ed25519());
    token.set_touch(soft_token::Touch::Always);
    drop(agent);
    let (plain, authority) = (env.plain_key(), env.plain_key());
    let is_authority = format!("[[key]]\nfingerprint = \"{}\"\nca = true", authority.fingerprint());
    for (opaque, extra) in [(SIGN_RESPONSE, ""), (FAILURE, "opaque = \"deny\"\n")] {
        let agent = env.agent().setting(&format!("{extra}{is_authority}")).start();
        [&on_token, &plain, &authority].iter().for_each(|key| agent.ssh_add(key));
        let (jump, yes, no) = (FakeHost::new(), SIGN_RESPONSE, FAILURE);
        let check = |client: &mut Client, key: &KeyFile, where_: &str, expected: [u8; 4]| {
            let data = [login(b"session", key, None), sshsig("file"), to_be_certified(key), b"opaque".to_vec()];
            let answers = data.map(|data| client.sign(&key.blob(), &data)[0]);
            assert_eq!(answers, expected, "{where_}, {extra:?}: login, signature, certificate, opaque");
        };
        check(&mut agent.connect(), &on_token, "on a token", [yes, yes, no, no]);
        check(&mut agent.connect(), &plain, "plain", [yes, yes, opaque, opaque]);
        check(&mut agent.connect(), &authority, "authority", [no, no, yes, no]);
        let mut forwarded = agent.connect();
        jump.bind(&mut forwarded, b"hop", true);
        check(&mut forwarded, &on_token, "on a token, forwarded", [yes, yes, no, no]);
        check(&mut forwarded, &plain, "plain, forwarded", [yes, yes, no, no]);
        check(&mut forwarded, &authority, "authority, forwarded", [no, no, no, no]);
        agent.terminate();
    }
}

/// OpenSSH asks so of keys that are not for `ssh:`; here all keys on tokens are asked so. The website's key is refused
/// before any token is looked for.
#[test]
fn a_website_s_key_signs_no_challenge() {
    let env = Env::new();
    // With somebody to ask it would wait for the token.
    let agent = env.agent().without_prompter().start();
    let mut client = agent.connect();
    let application = b"example.com";
    let public = [&string(b"sk-ssh-ed25519@openssh.com")[..], &string(&[7; 32]), &string(application)].concat();
    let private = [&public[..], &[1], &string(&[9; 64]), &string(b""), &string(b"a website's")].concat();
    assert_eq!(client.ask(&[&[17][..], &private].concat()), [tests::SUCCESS]);
    // What the browser would have signed: client data's hash.
    assert_eq!(client.sign(&public, &[0x5a; 32]), [FAILURE]);
    assert_eq!(client.sign(&public, &sshsig("file")), [FAILURE], "there is no token");
    assert_eq!(agent.audit().refusal_codes(), [Code::OpaqueData, Code::TokenAbsent]);
}
