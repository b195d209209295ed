//! How keys come to the agent, and what it asks for then and later.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use tests::{Kind, Recipe, Scene, TokenKind, for_each_token};

for_each_token! {
    /// A passphrase is asked for by whoever reads the file; the agent never needs it again.
    fn a_key_under_a_passphrase(kind: TokenKind) {
        let recipe = Recipe::ed25519().passphrase("correct horse");
        let scene = Scene::with_key_not_added(kind, &recipe, |agent| agent);
        for added_by in ["ssh-add", "agent-cli"] {
            match added_by {
                "ssh-add" => {
                    let typist = scene.env.person_who_types("correct horse");
                    scene.agent.program("ssh-add").asking(&typist).arg(scene.key.path()).run().success();
                    assert!(typist.texts(Kind::Secret)[0].starts_with("Enter passphrase for"));
                }
                _ => {
                    let add = scene.agent.cli(["-S", "add"]).arg(scene.key.path());
                    add.input("correct horse\n").run().success();
                }
            }
            let login = scene.agent.ssh(["device", "true"]).start();
            scene.env.person().approve(&scene.token);
            login.wait().success();
            assert_eq!(scene.env.person().texts(Kind::Secret), Vec::<String>::new());
            scene.agent.program("ssh-add").arg("-D").run().success();
        }
    }

    /// `ssh-add -c`: a person has to agree before the token is asked.
    fn a_key_added_with_confirmation(kind: TokenKind) {
        let scene = Scene::with_key_not_added(kind, &Recipe::ed25519(), |agent| agent);
        scene.agent.program("ssh-add").args(["-q", "-c"]).arg(scene.key.path()).run().success();
        scene.env.person().types(["no"]);
        scene.agent.ssh(["device", "true"]).run().code(255);
        assert!(!scene.token.is_waiting());

        scene.env.person().types(["yes"]);
        let login = scene.agent.ssh(["device", "true"]).start();
        scene.env.person().approve(&scene.token);
        login.wait().success();
        let questions = scene.env.person().texts(Kind::Confirm);
        assert_eq!(questions.len(), 2);
        assert!(questions[0].contains(&scene.device.fingerprint()), "{}", questions[0]);
    }
}

#[test]
fn added_with_agent_cli() {
    let scene = Scene::with_key_not_added(TokenKind::PinOnly, &Recipe::ecdsa(), |agent| agent);
    scene.agent.cli(["-S", "add"]).arg(scene.key.path()).run().success();
    let login = scene.agent.ssh(["device", "true"]).start();
    scene.env.person().approve(&scene.token);
    login.wait().success();
}
