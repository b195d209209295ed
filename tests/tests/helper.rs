//! Helpers and tokens that fail or lie: the agent gives out no signature, says so, and goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use agent::denial::Code;
use agent::identity::SkFlags;
use soft_token::{Command, Fault, Touch, What};
use ssh_key::private::{KeypairData, SkEd25519};
use ssh_key::{LineEnding, PrivateKey};
use tests::{
    AgentOptions, FAILURE, Kind, PATIENCE, PIN, Recipe, SIGN_RESPONSE, Scene, TokenKind, for_each_token, sshsig,
};

fn scene(kind: TokenKind, way: &str) -> Scene {
    let recipe = Recipe::ed25519().verify_required();
    let scene = Scene::with(kind, &recipe, |agent| agent.touch_seconds(2).misbehaving_helper(way));
    scene.env.person().always_types(PIN);
    scene
}

/// Asks for a signature and gets a refusal, which is on record; the agent lives on.
fn is_refused(scene: &Scene, code: Code) {
    let mut client = scene.agent.connect();
    assert_eq!(client.sign(&scene.key.blob(), &sshsig("file")), [FAILURE]);
    assert_eq!(scene.agent.audit().wait_for_refusal().code, code);
    assert_eq!(scene.agent.audit().signatures(), []);
    assert_eq!(client.number_of_keys(), 1, "the same connection is served on");
    scene.env.person().wait_until_nothing_is_shown();
}

macro_rules! refused {
    ($($name:ident: $way:literal, $code:ident;)*) => {
        $(
            #[test]
            fn $name() {
                let scene = scene(TokenKind::Fingerprint, $way);
                scene.token.set_touch(Touch::Always);
                is_refused(&scene, Code::$code);
            }
        )*
    };
}

/// No device is taken from it that is none, so there is no token, and nobody who could be asked to plug one in.
#[test]
fn a_helper_that_names_a_file_as_device() {
    let helper = |agent: AgentOptions| agent.without_prompter().misbehaving_helper("names-a-file-as-device");
    let scene = Scene::with(TokenKind::Fingerprint, &Recipe::ed25519().verify_required(), helper);
    is_refused(&scene, Code::TokenAbsent);
}

refused! {
    a_helper_that_hangs_before_hello: "hangs-before-hello", HelperFailed;
    a_helper_that_dies_before_hello: "dies-before-hello", HelperFailed;
    a_helper_that_speaks_another_version: "speaks-another-version", HelperFailed;
    a_helper_that_says_rubbish_for_hello: "says-rubbish-for-hello", HelperFailed;
    a_helper_that_hangs: "hangs", HelperFailed;
    a_helper_that_dies: "dies", HelperFailed;
    a_helper_that_talks_rubbish: "talks-rubbish", HelperFailed;
    a_helper_that_talks_no_text: "talks-no-text", HelperFailed;
    a_helper_that_talks_without_end: "talks-without-end", HelperFailed;
    a_helper_that_answers_something_else: "answers-something-else", HelperFailed;
    a_helper_that_opens_another_device: "opens-another-device", HelperFailed;
    a_helper_that_changes_the_signature: "changes-the-signature", TokenUnproven;
    a_helper_that_leaves_the_signature_out: "leaves-the-signature-out", TokenUnproven;
    a_helper_that_names_another_credential: "names-another-credential", TokenUnproven;
    a_helper_that_cuts_the_data: "cuts-the-data", TokenUnproven;
    a_helper_that_hides_both_flags: "hides-both-flags", TokenUnproven;
    a_helper_that_asks_for_another_signature: "asks-for-another-signature", TokenUnproven;
}

/// Every notice is a program that is started, so they are not started as fast as a helper can shout.
#[test]
fn a_helper_that_shouts_for_a_touch() {
    let scene = scene(TokenKind::Fingerprint, "shouts-for-a-touch");
    is_refused(&scene, Code::TouchTimeout);
    assert_eq!(scene.env.person().texts(Kind::Notice).len(), 1);
}

/// A key of which the token itself asks no verification, while its file does: what the agent asks is all there is.
fn scene_where_the_token_asks_nothing(kind: TokenKind, way: &str) -> Scene {
    let agent = |agent: AgentOptions| agent.misbehaving_helper(way);
    let scene = Scene::with_key_not_added(kind, &Recipe::ed25519(), agent);
    let key = PrivateKey::read_openssh_file(scene.key.path()).unwrap();
    let KeypairData::SkEd25519(sk) = key.key_data() else { panic!("{key:?}") };
    let flags = sk.flags() | SkFlags::USER_VERIFICATION_REQUIRED;
    let demanding = SkEd25519::new(sk.public().clone(), flags, sk.key_handle().to_vec()).unwrap();
    let demanding = PrivateKey::new(KeypairData::SkEd25519(demanding), key.comment()).unwrap();
    demanding.write_openssh_file(scene.key.path(), LineEnding::LF).unwrap();
    scene.agent.ssh_add(&scene.key);
    scene.env.person().always_types(PIN);
    scene.token.set_touch(Touch::Always);
    scene
}

for_each_token! {
    /// The token signs, rightly, that it has verified nobody.
    fn a_helper_that_asks_without_verification(kind: TokenKind) {
        let scene = scene_where_the_token_asks_nothing(kind, "asks-without-verification");
        is_refused(&scene, Code::TokenUnproven);
        let signed = scene.token.events().iter().any(|event| event.what == What::Command(Command::GetAssertion));
        assert!(signed, "the token was asked, and signed");
    }

    /// The token signs, rightly, that nobody has touched it.
    fn a_helper_that_asks_without_touch(kind: TokenKind) {
        let scene = scene_where_the_token_asks_nothing(kind, "asks-without-touch");
        is_refused(&scene, Code::TokenUnproven);
    }

    /// The agent frees the token itself, by a CANCEL on the channel that the helper had opened.
    fn a_helper_that_dies_at_the_touch(kind: TokenKind) {
        let scene = scene(kind, "dies-at-the-touch");
        is_refused(&scene, Code::HelperFailed);
        scene.token.wait_for(|what| what == What::Cancelled, PATIENCE);
    }

    fn a_helper_that_hangs_at_the_touch(kind: TokenKind) {
        let scene = scene(kind, "hangs-at-the-touch");
        is_refused(&scene, Code::TouchTimeout);
        scene.token.wait_for(|what| what == What::Cancelled, PATIENCE);
    }

    /// The helper is the real one; the token, or what is on the cable, is not.
    fn a_token_that_lies(kind: TokenKind) {
        let scene = Scene::ready(kind, &Recipe::ecdsa().resident().verify_required());
        scene.env.person().always_types(PIN);
        scene.token.set_touch(Touch::Always);
        let mut client = scene.agent.connect();
        for fault in [
            Fault::WrongSignature,
            Fault::WrongCredential,
            Fault::NoUvFlag,
            Fault::NoUpFlag,
            Fault::ShortAuthData(36),
            Fault::EmptyReply,
            Fault::TruncatedCbor,
            Fault::GarbledReport,
        ] {
            // The silent question is the first, which a key that is verify-required and resident hides from.
            scene.token.inject(fault.on(Command::GetAssertion).times(9));
            assert_eq!(client.sign(&scene.key.blob(), &sshsig("file")), [FAILURE], "{fault:?}");
            let denial = scene.agent.audit().refusals().pop().unwrap();
            assert!(matches!(denial.code, Code::TokenUnproven | Code::HelperFailed), "{fault:?}: {denial}");
            scene.token.clear_faults();
            let signed = client.sign(&scene.key.blob(), &sshsig("file"));
            assert_eq!(signed[0], SIGN_RESPONSE, "after {fault:?}, the next request is served");
        }
    }

    /// A reply that is lost on the way: our deadline, and the token is free again.
    fn a_token_that_falls_silent(kind: TokenKind) {
        let scene = Scene::with(kind, &Recipe::ed25519(), |agent| agent.touch_seconds(2));
        scene.token.inject(Fault::Stall.on(Command::GetAssertion).times(2));
        assert_eq!(scene.agent.connect().sign(&scene.key.blob(), &sshsig("file")), [FAILURE]);
        scene.agent.audit().wait_for_refusal();
        scene.token.clear_faults();
        scene.token.set_touch(Touch::Always);
        assert_eq!(scene.agent.connect().sign(&scene.key.blob(), &sshsig("file"))[0], SIGN_RESPONSE);
    }
}
