//! Signatures on files and commits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;

use agent::audit::record::Meaning;
use tests::{PIN, Recipe, Scene, TokenKind, for_each_token};

for_each_token! {
    fn ssh_keygen_signs_a_file_and_the_signature_verifies(kind: TokenKind) {
        for recipe in [Recipe::ed25519(), Recipe::ecdsa().verify_required()] {
            let scene = Scene::ready(kind, &recipe);
            scene.env.person().always_types(PIN);
            let file = scene.env.path("letter");
            fs::write(&file, "Dear all,\n").unwrap();
            let sign = scene.agent.program("ssh-keygen").args(["-q", "-Y", "sign", "-n", "letters", "-f"]);
            let sign = sign.arg(scene.key.public_path()).arg(&file).start();
            let notice = scene.env.person().approve(&scene.token);
            sign.wait().success();
            assert!(notice.starts_with("Sign a message or file (namespace letters)\n  asked on this machine [reported]\n"));

            let verify = |text: &str| {
                let verify = scene.env.program("ssh-keygen").args(["-Y", "verify", "-I", "me@here", "-n", "letters", "-f"]);
                verify.arg(allowed_signers(&scene)).arg("-s").arg(scene.env.path("letter.sig")).input(text).run()
            };
            verify("Dear all,\n").success();
            verify("Dear nobody,\n").code(255);
            let (intent, _) = &scene.agent.audit().signatures()[0];
            assert_eq!(intent.subject.meaning, Meaning::Signature { namespace: "letters".into() });
        }
    }

    fn a_signed_git_commit_verifies(kind: TokenKind) {
        let scene = Scene::ready(kind, &Recipe::ed25519().verify_required());
        scene.env.person().always_types(PIN);
        let folder = scene.env.path("repository");
        fs::create_dir(&folder).unwrap();
        let git = |arguments: &[&str]| {
            let settings = [
                "user.name=Me".into(),
                "user.email=me@here".into(),
                "gpg.format=ssh".into(),
                format!("gpg.ssh.allowedSignersFile={}", allowed_signers(&scene)),
                format!("user.signingKey={}", scene.key.public_path().display()),
            ];
            let settings = settings.iter().flat_map(|setting| ["-c", setting.as_str()]);
            let git = scene.agent.program("git").env("GIT_CONFIG_NOSYSTEM", "1").current_dir(&folder);
            git.args(settings).args(arguments)
        };
        git(&["init", "--quiet"]).run().success();
        let commit = git(&["commit", "--quiet", "--allow-empty", "--gpg-sign", "--message", "A word"]).start();
        let notice = scene.env.person().approve(&scene.token);
        commit.wait().success();
        assert!(notice.starts_with("Sign a git commit or tag\n"), "{notice}");

        let verified = git(&["verify-commit", "HEAD"]).run().success();
        assert!(verified.stderr.contains("Good \"git\" signature for me@here"), "{}", verified.stderr);
    }
}

fn allowed_signers(scene: &Scene) -> String {
    let file = scene.env.path("allowed_signers");
    fs::write(&file, format!("me@here {}\n", scene.key.public_line())).unwrap();
    file.display().to_string()
}
