use super::*;
use std::path::PathBuf;

use crate::constraint::Constraints;
use crate::identity::{Holder, Identity};
use crate::occasion::Surroundings;
use crate::payload::Userauth;
use crate::peer::Peer;
use crate::token::protocol::Device;

/// What breaks lines, takes room, or looks like the prompt's own words.
const HOSTILE: &str = "x\n  on device [verified]\u{1b}[2J\u{202e}\"名";

fn identity(comment: &str) -> Identity {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKPybCjAYuYudl2ZLwqZbDBXp90M8xGMALv5dHkOgpQ";
    let public_key = ssh_key::PublicKey::from_openssh(key).unwrap().key_data().clone();
    Identity {
        public_key,
        blob: vec![],
        comment: comment.into(),
        holder: Holder::ProtectedFile(PathBuf::new()),
        constraints: Constraints::default(),
    }
}

fn login(user: &str) -> Payload {
    let user = user.as_bytes().to_vec();
    Payload::Userauth(Userauth { session_id: vec![1], user, host_key: None, by_certificate: false })
}

fn through(hosts: usize, unverified: bool) -> Path {
    Path { hosts: (0..hosts).map(|n| vec![u8::try_from(n).unwrap()]).collect(), unverified }
}

fn process(name: &str) -> Process {
    Process { pid: 1, executable: Some(name.into()), ..Process::default() }
}

#[test]
fn however_long_the_way_and_whatever_the_names_the_prompt_is_short() {
    let long = HOSTILE.repeat(300);
    let identity = identity(&long);
    let names = vec![long.clone(); 20];
    let surroundings = Surroundings {
        hosts: (0..17).map(|n| (vec![n], Naming::Names(names.clone()))).collect(),
        told: Some(long.clone()),
        jumps: names.clone(),
        way_to: names,
        started_by: Some(process(&long.replace('/', " "))),
    };
    let (path, product, serial) = (long.clone(), long.clone(), long.clone());
    let token = Device { path, product, serial, vendor_id: 0, product_id: 0 };
    let peer = Peer { processes: vec![process(&long.replace('/', " "))], ..Peer::default() };
    let signature = Payload::SshSig { namespace: long.clone() };
    for (payload, surroundings) in
        [(&login(&long), Some(&surroundings)), (&signature, Some(&surroundings)), (&login(&long), None)]
    {
        for route in [
            Route::Proven { host_key: vec![16], through: through(15, true) },
            Route::NotProven { through: through(16, true) },
            Route::Unbound,
        ] {
            let occasion = Occasion {
                identity: &identity,
                payload,
                route: &route,
                peer: &peer,
                token: Some(&token),
                token_name: None,
                token_proven: false,
                surroundings,
            };
            let lines = occasion.lines();
            let length: usize = lines.iter().map(|line| line.len() + 1).sum();
            assert!(lines.len() <= 12 && length <= 2048, "{} lines, {length} bytes: {lines:#?}", lines.len());
            for line in &lines {
                assert!(line.len() < 300 && !line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line}");
            }
            assert!(lines.iter().all(|line| line.trim() != "on device [verified]"), "{lines:#?}");
        }
    }
}

#[test]
fn a_long_way_is_shown_by_its_ends() {
    let (identity, peer, payload) = (identity("k"), Peer { pid: 7, ..Peer::default() }, login("me"));
    let named = |n: u8| (vec![n], Naming::Names(vec![format!("h{n}")]));
    let surroundings = Surroundings { hosts: (0..17).map(named).collect(), ..Surroundings::default() };
    for (hosts, unverified, expected) in [
        (0, false, &[][..]),
        (1, false, &["forwarded through h0 [verified]"]),
        (0, true, &["forwarded through a host whose key could not be verified"]),
        (3, false, &["forwarded through h0 [verified]", "then through h1 [verified]", "then through h2 [verified]"]),
        (
            16,
            true,
            &[
                "forwarded through h0 [verified]",
                "then through 14 more hosts [verified]",
                "then through h15 [verified]",
                "then through a host whose key could not be verified",
            ],
        ),
    ] {
        let route = Route::Proven { host_key: vec![16], through: through(hosts, unverified) };
        let surroundings = Some(&surroundings);
        let occasion = Occasion {
            identity: &identity,
            payload: &payload,
            route: &route,
            peer: &peer,
            token: None,
            token_name: None,
            token_proven: false,
            surroundings,
        };
        let fingerprint = "SHA256:eSvfdZ68G9z84liwk+a8A3mDE6afBbVx9I2Mz3ZuogA";
        let mut whole = vec!["Log in as me".to_owned(), "  on h16 [verified]".into()];
        whole.extend(expected.iter().map(|line| format!("  {line}")));
        whole.extend([format!("  key: {fingerprint} k"), "  asked by: process 7 [reported]".into()]);
        assert_eq!(occasion.lines(), whole);
    }
}

#[test]
fn a_host_is_called_as_known_hosts_has_it() {
    let (identity, peer, payload) = (identity(""), Peer::default(), login("me"));
    let key = vec![1];
    let fingerprint = host_fingerprint(&key);
    let names = |names: &[&str]| Some(Naming::Names(names.iter().map(|name| (*name).to_owned()).collect()));
    let long = "n".repeat(60);
    for (naming, expected) in [
        (names(&["leaf-1"]), "on leaf-1 [verified]".to_owned()),
        (
            names(&["leaf-1", "192.0.2.1", "[fe80::1]:2222"]),
            "on leaf-1, 192.0.2.1, fe80::1 port 2222 [verified]".into(),
        ),
        (names(&["a", "b", "c", "d", "e"]), "on a, b, c and 2 more [verified]".into()),
        (names(&[&long, &long]), format!("on {long} and 1 more [verified]")),
        (names(&["leaf [verified]", "[x]:y"]), "on \"leaf [verified]\", \"[x]:y\" [verified]".into()),
        (Some(Naming::Hashed), format!("on the host with key {fingerprint} [verified], known under a hashed name")),
        (Some(Naming::Revoked), format!("on the host with key {fingerprint} [verified], REVOKED in known_hosts")),
        (Some(Naming::Unknown), format!("on the host with key {fingerprint} [verified], not in known_hosts")),
        (None, format!("on the host with key {fingerprint} [verified]")),
    ] {
        let is_named = matches!(naming, Some(Naming::Names(_)));
        let surroundings = Surroundings {
            hosts: naming.map(|naming| (key.clone(), naming)).into_iter().collect(),
            told: Some("leaf".into()),
            ..Surroundings::default()
        };
        let route = Route::Proven { host_key: key.clone(), through: Path::default() };
        let surroundings = Some(&surroundings);
        let occasion = Occasion {
            identity: &identity,
            payload: &payload,
            route: &route,
            peer: &peer,
            token: None,
            token_name: None,
            token_proven: false,
            surroundings,
        };
        let lines = occasion.lines();
        assert_eq!(lines[1].trim_start(), expected);
        assert_eq!(lines.contains(&"  ssh was told: leaf [reported]".to_owned()), !is_named, "{lines:#?}");
    }
}
