//! How long a signature takes, against Debian's ssh-agent on the same software token in the same run; and how long another
//! client waits for the list of keys while a touch is awaited. `make bench` runs it natively and in the virtual machine.
//!
//! The two take turns, so that whatever else the machine does meets both. The audit log is on.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that cannot go on ends, with a sentence that says why"
)]

use std::time::{Duration, Instant};

use soft_token::{Device, Touch};
use tests::{Algorithm, Client, Env, KeyFile, PIN, Recipe, Rival, TokenKind, sshsig};

/// How long the token is left waiting while another client lists the keys.
const TOUCH: Duration = Duration::from_secs(2);

fn main() {
    let turns = std::env::args().nth(1).map_or(200, |turns| turns.parse().expect("the number of turns is a number"));
    println!("One signature, no touch delay, median of {turns} turns:\n");
    println!("{:34} {:>10} {:>10} {:>7}  aim", "", "ssh-agent", "ours", "ratio");
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
        row(name, times.map(median), aim);
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
        row("list", times, "5 ms");
    });
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn row(name: &str, [rival, ours]: [Duration; 2], aim: &str) {
    let milliseconds = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
    let ratio = ours.as_secs_f64() / rival.as_secs_f64();
    println!("{name:34} {:>10} {:>10} {ratio:>7.2}  {aim}", milliseconds(rival), milliseconds(ours));
}
