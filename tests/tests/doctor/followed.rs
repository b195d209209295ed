//! Somebody at whose place much is broken does what the doctor says, one thing after the other, and ends at ready.

use std::fs;

use soft_token::{Device, TokenOptions};
use tests::{Env, Host, KeyFile, PIN, Program, Running, built};

use crate::Doctor;

/// What a person does not have to be told twice.
const MOST_STEPS: usize = 20;

/// Nothing is as it should be.
struct Broken {
    /// Lines of the shell's start-up file.
    profile: String,
    agent: Option<Running>,
    terminal: Option<Running>,
    token: Option<Device>,
    device: Host,
    env: Env,
}

impl Broken {
    fn new() -> Self {
        let env = Env::new();
        let device = env.host("device");
        fs::remove_file(env.path("known_hosts")).unwrap();
        let ssh_config = fs::read_to_string(env.ssh_config()).unwrap();
        fs::write(env.ssh_config(), format!("ForwardAgent yes\n{ssh_config}")).unwrap();
        let broken = Self { profile: String::new(), agent: None, terminal: None, token: None, device, env };
        // It writes the settings, and the person adds to them.
        drop(broken.agent_to_start());
        let file = broken.settings();
        let settings = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("opake = \"deny\"\n{settings}")).unwrap();
        broken
    }

    fn settings(&self) -> std::path::PathBuf {
        self.env.path("config/fido-ssh-agent/config.toml")
    }

    /// Nobody but an attached terminal could be asked.
    fn agent_to_start(&self) -> Program {
        self.env.agent().without_prompter().program(["-D"])
    }

    /// What a new shell of theirs runs.
    fn in_shell(&self, command: &str) -> Program {
        let path = format!("{}:/usr/bin:/bin", built("agent-cli").parent().unwrap().display());
        self.env.program("sh").args(["-c", &format!("{}{command}", self.profile)]).env("PATH", path)
    }

    fn doctor(&self) -> Doctor {
        let config = self.env.ssh_config();
        Doctor(self.in_shell(&format!("exec agent-cli doctor --json -F {} device", config.display())))
    }

    /// Logs in with the agent's key, and types its PIN where the agent asks for it.
    fn log_in(&mut self, options: &str) {
        let ssh = format!("exec ssh -F {} {options} device true", self.env.ssh_config().display());
        let login = self.in_shell(&ssh).start();
        let terminal = self.terminal.as_mut().unwrap();
        let asked = terminal.stderr().text().matches("tries left): ").count();
        terminal.stderr().wait_for_times("tries left): ", asked + 1);
        terminal.type_line(PIN);
        login.wait().success();
    }

    /// Does what stands in the next action of this check.
    fn follow(&mut self, check: &str, next: &str) {
        let commands: Vec<_> = next.split('`').skip(1).step_by(2).collect();
        let run = |command: &str, input: String| {
            let scripted = command.replacen("agent-cli ", "agent-cli -S ", 1);
            assert!(commands.contains(&command), "{command} is not in {next}");
            self.in_shell(&scripted).input(input)
        };
        match check {
            "settings" => {
                assert!(next.starts_with("Mend the file"), "{next}");
                run("agent-cli config check", String::new()).run().code(1);
                let settings = fs::read_to_string(self.settings()).unwrap();
                fs::write(self.settings(), settings.replacen("opake = \"deny\"\n", "", 1)).unwrap();
                run("agent-cli config check", String::new()).run().success();
            }
            "agent" => {
                assert!(next.starts_with("Start the agent"), "{next}");
                // As the unit would; and it is not to write the settings anew.
                let settings = fs::read_to_string(self.settings()).unwrap();
                let agent = self.agent_to_start();
                fs::write(self.settings(), settings).unwrap();
                let agent = agent.start();
                agent.stdout().wait_for("SSH_AUTH_SOCK=");
                self.agent = Some(agent);
            }
            "socket" => {
                let export = commands.iter().find(|command| command.starts_with("export ")).unwrap();
                self.profile += &format!("{export}\n");
            }
            "prompts" => {
                let terminal = run("agent-cli attach", String::new()).interactive().start();
                terminal.stderr().wait_for("appear here");
                self.terminal = Some(terminal);
            }
            "tokens" => {
                assert_eq!(next, "Plug yours in.");
                self.token = Some(self.env.plug(TokenOptions::pin_only()));
            }
            "verification" => drop(run("agent-cli tokens set-pin", format!("{PIN}\n{PIN}\n")).run().success()),
            "keys" => {
                run("agent-cli gen-keys", format!("\n\n{PIN}\n")).run().success();
                // And whoever answers for the host lets the key in.
                self.device.authorize(&KeyFile::new(self.env.path("home/.ssh/id_ed25519_sk"), true));
            }
            "ssh-config" => {
                assert!(next.starts_with("Forward it to your jump hosts only"), "{next}");
                let config = fs::read_to_string(self.env.ssh_config()).unwrap();
                fs::write(self.env.ssh_config(), config.replacen("ForwardAgent yes\n", "", 1)).unwrap();
            }
            "known-hosts" => {
                assert!(next.starts_with("Log in there once now"), "{next}");
                self.log_in("-o StrictHostKeyChecking=accept-new");
            }
            other => panic!("nothing is done here about {other}: {next}"),
        }
    }
}

#[test]
fn who_does_what_the_doctor_says_ends_at_ready() {
    let mut place = Broken::new();
    let mut steps = Vec::new();
    loop {
        // No agent can be reached, until one runs.
        let code = if place.agent.is_none() { 2 } else { 1 };
        let ended = place.doctor().0.run();
        if ended.status.success() {
            break;
        }
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stdout);
        let answer: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        let findings = answer["findings"].as_array().unwrap();
        let first = findings.iter().find(|finding| finding["verdict"] == "bad").unwrap();
        let (check, next) = (first["check"].as_str().unwrap().to_owned(), first["next"].as_str().unwrap().to_owned());
        assert!(steps.len() < MOST_STEPS && !steps.contains(&check), "{check} again, after {steps:?}: {first:#}");
        place.follow(&check, &next);
        steps.push(check);
    }
    let expected =
        ["settings", "agent", "socket", "prompts", "tokens", "verification", "keys", "ssh-config", "known-hosts"];
    assert_eq!(steps, expected);
    place.doctor().finds_all_ready();
    place.log_in("");
}
