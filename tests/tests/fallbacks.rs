//! What is left when something is lost: the README's list, in its order. Each is tried with the programs that it names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::path::{Path, PathBuf};

use agent::audit::record::Signer;
use soft_token::{Device, Unplugged};
use tests::{Agent, Answer, Env, Host, KeyFile, PIN, Program, Rival, TokenKind, for_each_token};

/// A key on a token that is lost, its backup on one that is at hand, and a host that knows both.
struct Lost {
    agent: Agent,
    original: KeyFile,
    backup: KeyFile,
    device: Host,
    _lost: Unplugged,
    _at_hand: Device,
    env: Env,
}

impl Lost {
    /// All of it by `agent-cli`.
    fn the_first_token(kind: TokenKind) -> Self {
        let env = Env::new();
        let agent = env.agent().start();
        let gen_keys = |options: &[&str], typed: &str| {
            let program = agent.cli(["-S", "gen-keys", "--no-passphrase"]).args(options);
            program.input(typed).run().success();
        };
        let first = env.plug(kind.options());
        agent.cli(["-S", "tokens", "name", "red"]).run().success();
        gen_keys(&[], &format!("{PIN}\n"));
        let lost = first.unplug();
        let original = KeyFile::new(env.path("home/.ssh/id_ed25519_sk"), true);
        let at_hand = env.plug(kind.options());
        gen_keys(&["--backup-of", &original.fingerprint()], &format!("{PIN}\nblue\n"));
        let backup = KeyFile::new(env.path("home/.ssh/id_ed25519_sk_backup"), true);
        let device = env.host("device");
        let lines = agent.cli(["export", "authorized-keys"]).arg(original.path()).run().success().stdout;
        assert_eq!(lines.lines().filter(|line| line.starts_with("verify-required sk-")).count(), 2, "{lines}");
        device.authorize_line(&lines);
        Self { agent, original, backup, device, _lost: lost, _at_hand: at_hand, env }
    }

    /// The host let the backup in, so often by now, and never the other.
    fn let_in(&self, times: usize) {
        let log = self.device.log();
        let accepted = |key: &KeyFile| {
            log.lines().filter(|line| line.contains("Accepted publickey") && line.contains(&key.fingerprint())).count()
        };
        assert_eq!((accepted(&self.backup), accepted(&self.original)), (times, 0), "{log}");
    }
}

/// OpenSSH's own `ssh`, without any agent, with this key file.
fn stock_ssh(env: &Env, key: &Path) -> Program {
    let ssh = env.program_with_tokens("ssh").asking(&env.person_who_types(PIN)).arg("-F").arg(env.ssh_config());
    let ssh = ssh.args(["-o", "BatchMode=no", "-o", "IdentityAgent=none", "-o", "IdentitiesOnly=yes", "-i"]).arg(key);
    ssh.args(["device", "true"])
}

/// `ssh-keygen -K` in a folder where nothing is yet, as on another machine; the key files that it writes there.
fn taken_from_the_token(env: &Env) -> Vec<PathBuf> {
    let folder = env.path("another-machine");
    fs::create_dir(&folder).unwrap();
    let keygen = env.program_with_tokens("ssh-keygen").asking(&env.person_who_types(PIN)).args(["-K", "-N", ""]);
    keygen.current_dir(&folder).run().success();
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_none()).collect()
}

for_each_token! {
    /// With the agent; and then without it, by OpenSSH with the same file.
    fn the_second_token(kind: TokenKind) {
        let lost = Lost::the_first_token(kind);
        let Lost { agent, env, .. } = &lost;
        env.person().always_types(PIN);
        let login = agent.ssh(["device", "true"]).start();
        // The first key comes first, and its token is asked for by its name. It is lost, so the answer is no.
        let question = env.person().wait_until_a_token_is_wanted();
        assert!(question.text.contains("Plug in token red"), "{}", question.text);
        env.person().answer(&Answer::Refuse);
        login.wait().success();
        lost.let_in(1);
        let listed = agent.cli(["list"]).run().success().stdout;
        assert!(listed.contains("on token blue; last used 2") && listed.contains("; never tried"), "{listed}");

        stock_ssh(env, lost.backup.path()).run().success();
        lost.let_in(2);
    }

    /// The agent is lost: `ssh-agent` takes the same file. Behind our agent, as an upstream, it signs with it as well.
    fn another_agent(kind: TokenKind) {
        let lost = Lost::the_first_token(kind);
        let Lost { env, agent, backup, .. } = &lost;
        let rival = Rival::start(env);
        rival.ssh_add(backup);
        rival.program("ssh").arg("-F").arg(env.ssh_config()).args(["device", "true"]).run().success();
        lost.let_in(1);

        agent.cli(["remove", "--all"]).run().success();
        let Lost { agent, env, device: _device, _at_hand, .. } = lost;
        agent.terminate();
        let agent = env.agent().upstream(rival.socket()).start();
        agent.ssh(["device", "true"]).run().success();
        let (intent, _) = agent.audit().signatures().pop().unwrap();
        assert!(matches!(intent.signer, Signer::Upstream { .. }), "{intent:?}");
    }

    /// The files are lost: any machine has the key back from the token. Where that has a sensor, `ssh-keygen -K` does not write that
    /// the key is verify-required, and OpenSSH can't use the file; the agent takes the key from the token itself.
    fn the_key_taken_from_the_token(kind: TokenKind) {
        let lost = Lost::the_first_token(kind);
        let Lost { env, agent, backup, .. } = &lost;
        let files = taken_from_the_token(env);
        assert_eq!(files.len(), 1, "{files:?}");
        let key = KeyFile::new(files[0].clone(), true);
        assert_eq!(key.fingerprint(), backup.fingerprint());
        let login = stock_ssh(env, key.path()).run();
        let stock = match kind {
            TokenKind::PinOnly => {
                login.success();
                1
            }
            TokenKind::Fingerprint => {
                let told = login.code(255).stderr;
                assert!(told.contains("signing failed"), "{told}");
                0
            }
        };
        lost.let_in(stock);

        for file in [&lost.original, backup] {
            fs::remove_file(file.path()).unwrap();
        }
        agent.cli(["remove", "--all"]).run().success();
        agent.cli(["-S", "add", "--resident"]).input(format!("{PIN}\n")).run().success();
        env.person().always_types(PIN);
        agent.ssh(["device", "true"]).run().success();
        lost.let_in(stock + 1);
    }
}
