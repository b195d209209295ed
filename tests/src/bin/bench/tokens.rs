//! Signatures of the software token, with ssh-agent's ssh-sk-helper and with ours.

use std::time::{Duration, Instant};

use soft_token::{Device, Touch};
use tests::{Algorithm, Client, Env, KeyFile, PIN, Recipe, Rival, TokenKind, sshsig};

use crate::table::{median, milliseconds};

/// How long the token is left waiting while another client lists the keys.
const TOUCH: Duration = Duration::from_secs(2);

pub(crate) fn run(turns: usize) {
    println!("One signature of a token, no touch delay, median of {turns} turns:\n");
    crate::table::head();
    let verified = |algorithm| Recipe::of(algorithm).verify_required();
    let aim = if std::env::var_os("TOKEN_BUS").is_some() { "0.75" } else { "0.6" };
    signatures("ed25519-sk", aim, TokenKind::PinOnly, &Recipe::ed25519(), turns);
    signatures("ecdsa-sk", aim, TokenKind::PinOnly, &Recipe::ecdsa(), turns);
    let kind = TokenKind::Fingerprint;
    signatures("verify-required, fingerprint", "0.6", kind, &verified(Algorithm::Ed25519), turns);
    signatures("verify-required, PIN", "0.4", TokenKind::PinOnly, &verified(Algorithm::Ed25519), turns);
    println!("\nAnother client's list while a touch of {} s is awaited:\n", TOUCH.as_secs());
    lists();
}

/// One place with a token, a key in both agents, and a connection to each.
fn with_both(kind: TokenKind, recipe: &Recipe, measure: impl FnOnce(&Device, &KeyFile, [&dyn Fn() -> Client; 2])) {
    let env = Env::new();
    let token = env.plug(kind.options());
    let key = env.ssh_keygen(recipe);
    env.person().always_types(PIN);
    let ours = env.agent().quiet().start();
    let rival = Rival::start(&env);
    ours.ssh_add(&key);
    rival.ssh_add(&key);
    measure(&token, &key, [&|| rival.connect(), &|| ours.connect()]);
}

fn signatures(name: &str, aim: &str, kind: TokenKind, recipe: &Recipe, turns: usize) {
    with_both(kind, recipe, |_, key, connect| {
        let mut clients = connect.map(|connect| connect());
        let mut times = [Vec::new(), Vec::new()];
        let sign = |client: &mut Client| {
            let began = Instant::now();
            let answer = client.sign(&key.blob(), &sshsig("bench"));
            assert_eq!(answer.first(), Some(&tests::SIGN_RESPONSE), "a signature was refused");
            began.elapsed()
        };
        for client in &mut clients {
            sign(client);
        }
        for _ in 0..turns {
            for (client, times) in clients.iter_mut().zip(&mut times) {
                times.push(sign(client));
            }
        }
        milliseconds(name, times.map(median), aim);
    });
}

fn lists() {
    with_both(TokenKind::PinOnly, &Recipe::ed25519(), |token, key, connect| {
        token.set_touch(Touch::After(TOUCH));
        let times = connect.map(|connect| {
            let (mut signer, mut other) = (connect(), connect());
            signer.begin_to_sign(&key.blob(), &sshsig("bench"));
            token.wait_until_waiting();
            let began = Instant::now();
            assert_eq!(other.number_of_keys(), 1);
            let listed = began.elapsed();
            assert!(signer.answer().is_some(), "the signature comes in the end");
            listed
        });
        milliseconds("list", times, "5 ms");
    });
}
