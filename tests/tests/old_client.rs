//! A jump host whose SSH client knows nothing of session-bind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use agent::audit::record::Binding;
use agent::denial::Code;
use tests::{Env, Host, Kind, PIN, Program, Recipe, Scene, TokenKind, for_each_token};

/// Debian's python3-paramiko, with the forwarded agent and nothing else.
const CLIENT: &str = r#"
import sys, paramiko
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", int(sys.argv[1]), sys.argv[2], look_for_keys=False, timeout=60, banner_timeout=60, auth_timeout=60)
print(client.exec_command("echo hello")[1].read().decode(), end="")
client.close()
"#;

fn through_jump(scene: &Scene) -> Program {
    let script = scene.env.script("client.py", CLIENT);
    let port = scene.device.port().to_string();
    scene.agent.ssh(["-A", "jump", "/usr/bin/python3"]).arg(script).args([&port, scene.env.user()])
}

fn jump(env: &Env, scene: &Scene) -> Host {
    let jump = env.host("jump");
    jump.authorize(&scene.key);
    jump
}

for_each_token! {
    fn its_login_works_and_says_what_is_not_proven(kind: TokenKind) {
        let scene = Scene::ready(kind, &Recipe::ed25519().verify_required());
        scene.env.person().always_types(PIN);
        let jump = jump(&scene.env, &scene);
        let login = through_jump(&scene).start();
        scene.env.person().approve(&scene.token);
        let notice = scene.env.person().approve(&scene.token);
        assert_eq!(login.wait().success().stdout, "hello\n");

        let hop = format!("forwarded through the host with key {} [verified], not in known_hosts", jump.fingerprint());
        let lines: Vec<_> = notice.lines().map(str::trim).collect();
        assert_eq!(lines[1..3], ["destination not proven", hop.as_str()], "{notice}");
        let destination = format!("through {} [verified], destination not proven", jump.fingerprint());
        let signatures = scene.agent.audit().signatures();
        assert_eq!(signatures.len(), 2);
        let (intent, _) = &signatures[1];
        assert_eq!(intent.destination, destination);
        assert_eq!(intent.subject.bindings, [Binding { host_key: jump.fingerprint(), forwarding: true }]);
    }
}

#[test]
fn it_is_refused_where_the_configuration_says_so() {
    let scene =
        Scene::with(TokenKind::Fingerprint, &Recipe::ed25519(), |agent| agent.setting("unbound_hop = \"deny\""));
    let _jump = jump(&scene.env, &scene);
    let login = through_jump(&scene).start();
    scene.env.person().approve(&scene.token);
    let refused = login.wait().code(1);
    assert!(refused.stderr.contains("paramiko.ssh_exception"), "{}", refused.stderr);
    assert_eq!(scene.agent.audit().wait_for_refusal().code, Code::UnboundHop);
    assert_eq!(scene.env.person().texts(Kind::Notice).len(), 1, "nobody is asked for what is refused");
}
