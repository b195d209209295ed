//! How a token verifies its user, as configured: by key or in general. The token's own log is the witness.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use agent::audit::record::{Attempt, Event, Outcome, Signer, Verification};
use agent::denial::Code;
use soft_token::{Command, Device, Finger, Touch, What};
use tests::{Agent, Env, Host, KeyFile, Kind, PIN, Recipe, TokenKind, for_each_token};

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;

/// A token with a key, an agent with settings about it, and a host to log in to.
struct Scene {
    env: Env,
    token: Device,
    key: KeyFile,
    device: Host,
    agent: Agent,
    /// What the token saw before the agent.
    before: usize,
}

impl Scene {
    fn new(kind: TokenKind, recipe: &Recipe, settings: impl Fn(&KeyFile) -> String) -> Self {
        let env = Env::new();
        let token = env.plug(kind.options());
        let key = env.ssh_keygen(recipe);
        let device = env.host("device");
        device.authorize(&key);
        let agent = env.agent().setting(&settings(&key)).start();
        agent.ssh_add(&key);
        let before = token.events().len();
        Self { env, token, key, device, agent, before }
    }

    fn in_general(kind: TokenKind, recipe: &Recipe, mode: &str) -> Self {
        Self::new(kind, recipe, |_| format!("user_verification = \"{mode}\""))
    }

    /// How the user was verified, as the token saw it: in which order, and how often.
    fn seen(&self) -> Vec<What> {
        let verifying = |what: &What| {
            matches!(
                what,
                What::PinOk | What::PinWrong { .. } | What::FingerMatch | What::FingerMismatch | What::Denied
            )
        };
        self.token.events().into_iter().skip(self.before).map(|event| event.what).filter(verifying).collect()
    }

    /// The last line of each question for a PIN.
    fn questions(&self) -> Vec<String> {
        let last_line = |text: String| text.lines().last().unwrap_or_default().to_owned();
        self.env.person().texts(Kind::Secret).into_iter().map(last_line).collect()
    }

    fn signature(&self) -> (u8, Verification) {
        let signatures = self.agent.audit().signatures();
        let [(intent, Outcome::Signed { assertion: Some(assertion), .. })] = signatures.as_slice() else {
            panic!("one signature, not {signatures:?}")
        };
        assert_eq!(intent.subject.key, self.key.fingerprint());
        let Signer::Token { user_verification, .. } = intent.signer else { panic!("{intent:?}") };
        // What is intended may become the PIN after all.
        assert!(user_verification == assertion.user_verification || user_verification == Verification::BuiltIn);
        (assertion.flags, assertion.user_verification)
    }

    fn attempts(&self) -> Vec<Attempt> {
        let attempt = |event| match event {
            Event::Attempt { attempt, .. } => Some(attempt),
            _ => None,
        };
        self.agent.audit().records().into_iter().filter_map(|record| attempt(record.event)).collect()
    }

    fn log_in(&self) {
        assert_eq!(self.agent.ssh(["device", "echo", "hello"]).run().success().stdout, "hello\n");
    }

    fn is_refused(&self, code: Code) {
        self.agent.ssh(["device", "true"]).run().code(255);
        assert_eq!(self.agent.audit().wait_for_refusal().code, code);
        assert!(!self.device.log().contains("Accepted publickey"));
    }
}

/// What comes of a mode: how the user is verified, or why the key is not used.
fn expected(mode: &str, kind: TokenKind, verify_required: bool) -> Result<Verification, Code> {
    let own_way = match kind {
        TokenKind::PinOnly => Verification::Pin,
        TokenKind::Fingerprint => Verification::BuiltIn,
    };
    let by_finger = |verification| match kind {
        TokenKind::PinOnly => Err(Code::NoFingerprint),
        TokenKind::Fingerprint => Ok(verification),
    };
    match mode {
        "as-key-asks" if !verify_required => Ok(Verification::None),
        "as-key-asks" | "built-in-then-pin" => Ok(own_way),
        "pin" => Ok(Verification::Pin),
        "built-in" => by_finger(Verification::BuiltIn),
        "pin-and-built-in" => by_finger(Verification::PinAndBuiltIn),
        other => panic!("{other}"),
    }
}

/// A login with a key that asks for verification and with one that does not.
fn in_mode(mode: &str, kind: TokenKind) {
    for recipe in [Recipe::ed25519(), Recipe::ed25519().verify_required()] {
        let scene = Scene::in_general(kind, &recipe, mode);
        scene.env.person().always_types(PIN);
        match expected(mode, kind, recipe.is_verify_required()) {
            Ok(verification) => {
                scene.log_in();
                let uv = if verification == Verification::None { 0 } else { USER_VERIFIED };
                assert_eq!(scene.signature(), (USER_PRESENT | uv, verification));
                let (pin, finger) = (What::PinOk, What::FingerMatch);
                let (seen, asked) = match verification {
                    Verification::None => (vec![], 0),
                    Verification::BuiltIn => (vec![finger], 0),
                    Verification::Pin => (vec![pin], 1),
                    Verification::PinAndBuiltIn => (vec![pin, finger], 1),
                };
                assert_eq!(scene.seen(), seen);
                assert_eq!(scene.questions(), vec!["PIN (8 tries left): "; asked]);
            }
            Err(code) => {
                scene.is_refused(code);
                assert_eq!(scene.seen(), []);
                assert_eq!(scene.questions(), Vec::<String>::new());
            }
        }
    }
}

for_each_token! {
    fn as_key_asks(kind: TokenKind) {
        in_mode("as-key-asks", kind);
    }

    fn pin(kind: TokenKind) {
        in_mode("pin", kind);
    }

    fn built_in(kind: TokenKind) {
        in_mode("built-in", kind);
    }

    fn built_in_then_pin(kind: TokenKind) {
        in_mode("built-in-then-pin", kind);
    }

    fn pin_and_built_in(kind: TokenKind) {
        in_mode("pin-and-built-in", kind);
    }

    /// A signature that does not say that the user was verified stays here, though the key itself would not ask.
    fn a_helper_that_leaves_the_verification_out_gets_nothing_released(kind: TokenKind) {
        let env = Env::new();
        let token = env.plug(kind.options());
        let key = env.ssh_keygen(&Recipe::ed25519());
        let agent = env.agent().setting("user_verification = \"built-in-then-pin\"");
        let agent = agent.misbehaving_helper("asks-without-verification").start();
        agent.ssh_add(&key);
        let device = env.host("device");
        device.authorize(&key);
        env.person().always_types(PIN);
        agent.ssh(["device", "true"]).run().code(255);

        let denial = agent.audit().wait_for_refusal();
        assert_eq!(denial.code, Code::TokenUnproven);
        assert_eq!(denial.reason, "the token's signature does not say that the user was verified");
        assert!(token.events().iter().any(|event| event.what == What::Command(Command::GetAssertion)));
        assert!(!device.log().contains("Accepted publickey"));
    }
}

/// The key's own entry goes before what holds in general; another key of the same token has no entry.
#[test]
fn a_keys_own_entry_wins() {
    let scene = Scene::new(TokenKind::Fingerprint, &Recipe::ed25519(), |key| {
        let own = format!("[[key]]\nfingerprint = \"{}\"\nuser_verification = \"pin\"", key.fingerprint());
        format!("user_verification = \"pin-and-built-in\"\n{own}")
    });
    scene.env.person().always_types(PIN);
    scene.log_in();
    assert_eq!(scene.signature(), (USER_PRESENT | USER_VERIFIED, Verification::Pin));
    assert_eq!(scene.seen(), [What::PinOk]);

    let other = scene.env.ssh_keygen(&Recipe::ed25519());
    scene.device.authorize(&other);
    let before = scene.token.events().len();
    scene.agent.program("ssh-add").args(["-q", "-d"]).arg(scene.key.path()).run().success();
    scene.agent.ssh_add(&other);
    scene.log_in();
    let seen = Scene { before, ..scene }.seen();
    assert_eq!(seen, [What::PinOk, What::FingerMatch]);
}

/// With `pin-and-built-in`, no finger helps before the PIN is right, and the PIN is asked for once.
#[test]
fn the_pin_is_proven_before_the_finger_is_asked_for() {
    let scene = Scene::in_general(TokenKind::Fingerprint, &Recipe::ed25519().verify_required(), "pin-and-built-in");
    scene.token.set_touch(Touch::Manual);
    scene.token.set_finger(Finger::Mismatch);
    scene.env.person().types(["0000", PIN]);
    let login = scene.agent.ssh(["device", "true"]).start();
    scene.env.person().approve(&scene.token);
    scene.token.set_finger(Finger::Match);
    scene.env.person().approve(&scene.token);
    login.wait().success();

    let wrong = What::PinWrong { retries: 7 };
    assert_eq!(scene.seen(), [wrong, What::PinOk, What::FingerMismatch, What::FingerMatch]);
    assert_eq!(scene.questions(), ["PIN (8 tries left): ", "The PIN was wrong. PIN (7 tries left): "]);
    assert_eq!(scene.signature().1, Verification::PinAndBuiltIn);
    let attempts: Vec<_> = scene.attempts().into_iter().map(|a| (a.user_verification, a.ctap_status)).collect();
    assert_eq!(attempts, [(Verification::PinAndBuiltIn, Some(0x31)), (Verification::PinAndBuiltIn, Some(0x3f))]);
}

/// A right PIN is no substitute for the finger.
#[test]
fn both_means_both() {
    let scene = Scene::in_general(TokenKind::Fingerprint, &Recipe::ed25519(), "pin-and-built-in");
    scene.token.set_finger(Finger::Mismatch);
    scene.env.person().always_types(PIN);
    scene.is_refused(Code::FingerNotRecognised);
    assert_eq!(scene.seen(), [&[What::PinOk][..], &[What::FingerMismatch; 3]].concat());
    assert_eq!(scene.questions().len(), 1);
}

/// UV_BLOCKED, and a person who would type the PIN.
fn with_a_blocked_sensor(mode: &str) -> Scene {
    let scene = Scene::in_general(TokenKind::Fingerprint, &Recipe::ed25519(), mode);
    scene.token.block_uv();
    scene.env.person().always_types(PIN);
    scene
}

#[test]
fn a_blocked_sensor_is_the_end_with_built_in_alone() {
    let scene = with_a_blocked_sensor("built-in");
    scene.is_refused(Code::FingerBlocked);
    assert_eq!((scene.seen(), scene.questions()), (vec![], vec![]));
}

#[test]
fn a_blocked_sensor_leads_to_the_pin_which_says_so() {
    let scene = with_a_blocked_sensor("built-in-then-pin");
    scene.log_in();
    assert_eq!(scene.seen(), [What::PinOk]);
    assert_eq!(scene.questions(), ["The fingerprint sensor is blocked. PIN (8 tries left): "]);
}

#[test]
fn a_blocked_sensor_is_no_matter_by_pin() {
    let scene = with_a_blocked_sensor("pin");
    scene.log_in();
    assert_eq!(scene.questions(), ["PIN (8 tries left): "]);
}

/// The PIN gives the sensor its tries back, so that the finger can follow.
#[test]
fn where_both_are_asked_for_the_pin_unblocks_the_sensor() {
    let scene = with_a_blocked_sensor("pin-and-built-in");
    scene.log_in();
    assert_eq!(scene.seen(), [What::PinOk, What::FingerMatch]);
    assert_eq!(scene.questions(), ["The fingerprint sensor is blocked until the PIN is given. PIN (8 tries left): "]);
}

/// A finger that becomes unknown to the token in mid-request: the PIN is no way out where the finger was asked for.
#[test]
fn with_built_in_alone_no_pin_is_ever_asked_for() {
    let scene = Scene::in_general(TokenKind::Fingerprint, &Recipe::ed25519().verify_required(), "built-in");
    scene.token.set_finger(Finger::Mismatch);
    scene.env.person().always_types(PIN);
    scene.is_refused(Code::FingerNotRecognised);
    assert_eq!(scene.seen(), [What::FingerMismatch; 3]);
    assert_eq!(scene.questions(), Vec::<String>::new());
}

/// The person said no on the token: that is an answer, in every mode.
#[test]
fn a_no_on_the_token_is_a_refusal_in_every_mode() {
    for (mode, asked) in [("pin", 1), ("built-in", 0), ("built-in-then-pin", 0), ("pin-and-built-in", 1)] {
        let scene = Scene::in_general(TokenKind::Fingerprint, &Recipe::ed25519(), mode);
        scene.token.set_touch(Touch::Deny);
        scene.env.person().always_types(PIN);
        scene.is_refused(Code::DeclinedOnToken);
        assert_eq!(scene.questions().len(), asked, "{mode}");
        assert_eq!(scene.seen().iter().filter(|what| **what == What::Denied).count(), 1, "{mode}");
    }
}
