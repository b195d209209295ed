//! Another program at work on the same token all the time, as a browser, `fido2-token` or an `ssh-keygen` may be: each login
//! goes through, or is refused with the reason, and no signature is wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use agent::denial::Code;
use soft_token::Touch;
use tests::{Ended, Program, Recipe, Scene, TokenKind, for_each_token};

/// How often somebody logs in. The virtual machine of tests/vm has no real processor, and three programs at a time on it.
fn logins() -> usize {
    if std::env::var_os("VM").is_some() { 5 } else { 20 }
}

/// How long a finger takes.
const TOUCH: Duration = Duration::from_millis(50);

/// What came of it.
#[derive(Debug)]
struct Count {
    logged_in: usize,
    /// Refused because another program has the token.
    busy: usize,
    /// How often the others did what they wanted, and how often they did not.
    others: [usize; 2],
}

for_each_token! {
    fn programs_that_look_at_tokens(kind: TokenKind) {
        let scene = scene(kind);
        let path = scene.token.path().to_owned();
        let list = || scene.env.program_with_tokens("fido2-token").arg("-L");
        let look = || scene.env.program_with_tokens("fido2-token").arg("-I").arg(&path);
        let count = log_in_beside(&scene, &[&list, &look], |_| {});
        say("fido2-token -L and -I", kind, &count);
        assert_eq!(count.logged_in + count.busy, logins(), "{count:?}");
        assert!(count.others[0] > 0, "{count:?}");
    }

    fn a_program_that_signs_with_the_token(kind: TokenKind) {
        let scene = scene(kind);
        scene.token.set_touch(Touch::Always);
        let theirs = scene.env.ssh_keygen(&Recipe::ed25519());
        scene.token.set_touch(Touch::After(TOUCH));
        let signers = scene.env.path("allowed_signers");
        fs::write(&signers, format!("me@here {}\n", theirs.public_line())).unwrap();
        let sign = || {
            let sign = scene.env.program_with_tokens("ssh-keygen").args(["-q", "-Y", "sign", "-n", "letters", "-f"]);
            sign.arg(theirs.path()).input("Dear all,\n")
        };
        let verify = |signed: &Ended| {
            let signature = scene.env.path("signature");
            fs::write(&signature, &signed.stdout).unwrap();
            let verify = scene.env.program("ssh-keygen").args(["-Y", "verify", "-I", "me@here", "-n", "letters", "-f"]);
            verify.arg(&signers).arg("-s").arg(&signature).input("Dear all,\n").run().success();
        };
        let count = log_in_beside(&scene, &[&sign], verify);
        say("ssh-keygen -Y sign", kind, &count);
        assert_eq!(count.logged_in + count.busy, logins(), "{count:?}");
        assert!(count.others[0] > 0, "{count:?}");
    }
}

fn scene(kind: TokenKind) -> Scene {
    let scene = Scene::ready(kind, &Recipe::ed25519());
    scene.token.set_touch(Touch::After(TOUCH));
    scene
}

/// Logs in again and again while each of these programs runs again and again, and looks at what those have made.
fn log_in_beside(scene: &Scene, others: &[&(dyn Fn() -> Program + Sync)], look: impl Fn(&Ended) + Sync) -> Count {
    let over = AtomicBool::new(false);
    let run = |program: &(dyn Fn() -> Program + Sync)| {
        let mut counts = [0, 0];
        while !over.load(Ordering::Relaxed) {
            let ended = program().run();
            let well = ended.status.success();
            if well {
                look(&ended);
            }
            counts[usize::from(!well)] += 1;
        }
        counts
    };
    let run = &run;
    let (outcomes, others) = thread::scope(|scope| {
        let others: Vec<_> = others.iter().map(|program| scope.spawn(move || run(*program))).collect();
        // The others end where a login fails the test, too.
        let end = End(&over);
        let outcomes: Vec<_> = (0..logins()).map(|_| log_in(scene)).collect();
        drop(end);
        let counts = others.into_iter().map(|other| other.join().expect("what others make is right"));
        (outcomes, counts.fold([0, 0], |[a, b], [c, d]| [a + c, b + d]))
    });
    let logged_in = outcomes.iter().filter(|outcome| **outcome).count();
    let refusals = scene.agent.audit().refusal_codes();
    assert!(refusals.iter().all(|code| *code == Code::TokenBusy), "{refusals:?}");
    assert_eq!(scene.agent.audit().signatures().len(), logged_in, "each signature was right, and served a login");
    assert_eq!(refusals.len(), logins() - logged_in, "each login that failed has its reason");
    Count { logged_in, busy: refusals.len(), others }
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether the device lets the key in. Where the agent refuses, nobody has touched the token for it.
fn log_in(scene: &Scene) -> bool {
    let login = scene.agent.ssh(["device", "echo", "hello"]).run();
    match login.status.success() {
        true => assert_eq!(login.stdout, "hello\n"),
        false => assert!(login.stderr.contains("agent refused operation"), "{}", login.stderr),
    }
    login.status.success()
}

/// Unlike `println!`, a test that passes shows this too.
fn say(beside: &str, kind: TokenKind, count: &Count) {
    let (Count { logged_in, busy, others: [well, ill] }, logins) = (count, logins());
    let line = format!(
        "beside {beside} ({kind:?}): {logged_in} of {logins} logins, {busy} refused as token-busy; \
         the other program did its work {well} times, and failed {ill} times\n"
    );
    std::io::stdout().lock().write_all(line.as_bytes()).expect("somebody reads what is printed");
}
