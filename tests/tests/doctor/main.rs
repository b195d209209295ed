//! `agent-cli doctor`: on a good set-up, and on each that is broken in one way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

mod followed;
mod keys_and_tokens;
mod registered;
mod surroundings;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agent::denial::Code;
use rustix::process::Signal;
use serde_json::Value;
use soft_token::{Device, TokenOptions};
use tests::{Agent, Answer, Doctor, Env, Examination, Host, KeyFile, Kind, PIN, Recipe, built};

/// All is ready: a named token with a PIN is plugged in, the agent holds its key, and the host is known.
struct Ready {
    agent: Agent,
    token: Device,
    key: KeyFile,
    device: Host,
    env: Env,
}

impl Ready {
    fn new() -> Self {
        Self::with(|_, agent| agent)
    }

    fn with(options: impl FnOnce(&Env, tests::AgentOptions) -> tests::AgentOptions) -> Self {
        let env = Env::new();
        let agent = options(&env, env.agent()).start();
        let token = env.plug(TokenOptions::pin_only().pin(PIN));
        agent.cli(["-S", "tokens", "name", "mine"]).run().success();
        let key = agent.gen_keys(&Recipe::ed25519());
        let device = env.host("device");
        device.authorize(&key);
        Self { agent, token, key, device, env }
    }

    fn doctor(&self) -> Doctor {
        Doctor(self.agent.cli(["doctor", "--json", "-F"]).arg(self.env.ssh_config()))
    }

    /// A line before all that ssh's configuration says.
    fn ssh_setting(&self, line: &str) {
        let before = fs::read_to_string(self.env.ssh_config()).unwrap();
        fs::write(self.env.ssh_config(), format!("{line}\n{before}")).unwrap();
    }
}

#[test]
fn a_good_set_up_is_ready() {
    let ready = Ready::new();
    let examination = ready.doctor().args(["device"]).examine(0);
    let verdict_of = |check: &str| {
        let found: Vec<_> = examination.0.iter().filter(|finding| finding["check"] == check).collect();
        found.iter().map(|finding| finding["verdict"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (check, times) in [
        ("socket", 1),
        ("agent", 1),
        ("helper", 1),
        ("settings", 1),
        ("lock", 1),
        ("prompts", 1),
        ("tokens", 1),
        ("verification", 1),
        ("tries", 1),
        ("keys", 1),
        ("at-hand", 1),
        ("record", 1),
        ("room", 1),
        ("clock", 1),
        ("ssh-config", 2),
        ("known-hosts", 1),
    ] {
        assert_eq!(verdict_of(check), vec!["good"; times], "{check}: {:#?}", examination.0);
    }
    let text = ready.agent.cli(["doctor"]).run().success().stdout;
    assert!(text.starts_with("good  socket ") && text.ends_with("\nready\n"), "{text}");
    assert_eq!(ready.token.pin_retries(), 8);
    assert!(ready.env.person().asked().is_empty(), "nobody is asked anything");
}

/// All is ready with the default agent, which needs no variable to be found; that of SSH_AUTH_SOCK alone is another matter.
struct ByDefault {
    _agent: tests::Running,
    _token: Device,
    env: Env,
}

impl ByDefault {
    fn new() -> Self {
        let env = Env::new();
        let agent = env.agent().program(["-D"]).start();
        agent.stdout().wait_for("SSH_AUTH_SOCK=");
        let token = env.plug(TokenOptions::pin_only().pin(PIN));
        let cli = |arguments: &[&str]| {
            env.program(built("agent-cli")).args(arguments).input(format!("{PIN}\n")).run().success();
        };
        cli(&["-S", "tokens", "name", "mine"]);
        cli(&["-S", "gen-keys", "--no-passphrase", "--no-resident", "--no-verify-required"]);
        Self { _agent: agent, _token: token, env }
    }

    fn doctor(&self, socket: Option<&Path>) -> Doctor {
        let doctor = self.env.program(built("agent-cli")).args(["doctor", "--json", "-F"]).arg(self.env.ssh_config());
        Doctor(match socket {
            Some(socket) => doctor.env("SSH_AUTH_SOCK", socket),
            None => doctor,
        })
    }
}

#[test]
fn ssh_asks_no_agent_or_another_one() {
    let place = ByDefault::new();
    let env = &place.env;
    let ours = env.path("run/fido-ssh-agent/default/agent.sock");
    let advice_names_ours = |next: &str| next.contains(&format!("export SSH_AUTH_SOCK={}`", ours.display()));

    let (reason, next) = place.doctor(None).finds_bad("socket");
    assert!(reason.starts_with("SSH_AUTH_SOCK is not set") && advice_names_ours(&next), "{reason}\n{next}");
    place.doctor(Some(&ours)).finds_all_ready();

    let gone = env.path("gone.sock");
    let (reason, next) = place.doctor(Some(&gone)).finds_bad("socket");
    assert!(reason.contains("whose agent has ended") && advice_names_ours(&next), "{reason}\n{next}");
    drop(std::os::unix::net::UnixListener::bind(&gone).unwrap());
    let (reason, next) = place.doctor(Some(&gone)).finds_bad("socket");
    assert!(reason.contains("whose agent has ended") && advice_names_ours(&next), "a socket that is left: {reason}");

    // They are told by the file of their program.
    for (name, advice) in [
        ("ssh-agent", "Take what starts ssh-agent out"),
        ("gpg-agent", "enable-ssh-support"),
        ("gnome-keyring-daemon", "gcr-ssh-agent.socket"),
    ] {
        let program = env.copy_of("/usr/bin/ssh-agent", name);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let socket = env.path(&format!("{name}.sock"));
        let other = env.program(&program).args(["-D", "-a"]).arg(&socket).start();
        other.stdout().wait_for("SSH_AUTH_SOCK=");
        let (reason, next) = place.doctor(Some(&socket)).finds_bad("socket");
        assert!(reason.ends_with(&format!("which {name} (process {}) serves", other.pid())), "{reason}");
        assert!(next.contains(advice) && advice_names_ours(&next), "{next}");
    }
}

#[test]
fn no_agent_runs() {
    let ready = Ready::new();
    let (socket, config) = (ready.agent.socket().to_owned(), ready.env.ssh_config());
    let doctor = || {
        let doctor = ready.env.program(built("agent-cli")).env("SSH_AUTH_SOCK", &socket);
        Doctor(doctor.args(["doctor", "--json", "-F"]).arg(&config))
    };
    ready.agent.kill();
    let (reason, next) = doctor().examine(2).only("bad", "agent");
    assert!(reason.contains("it can't be asked") && next.contains("systemctl --user start"), "{reason}\n{next}");

    // As somebody does who follows the advice.
    let again = ready.env.agent().start();
    assert_eq!(again.socket(), socket);
    doctor().finds_all_ready();
}

#[test]
fn the_agent_is_locked() {
    let ready = Ready::new();
    let person = ready.env.person_who_types("password");
    ready.agent.program("ssh-add").arg("-x").asking(&person).run().success();
    let (_, next) = ready.doctor().finds_bad("lock");
    assert_eq!(next, "Unlock it with `ssh-add -X`.");
    ready.agent.program("ssh-add").arg("-X").asking(&person).run().success();
    ready.doctor().finds_all_ready();
}

#[test]
fn nobody_can_be_asked() {
    let ready = Ready::with(|_, agent| agent.without_prompter());
    let (reason, next) = ready.doctor().finds_bad("prompts");
    assert!(reason.starts_with("you could not be asked") && next.contains("agent-cli attach"), "{reason}\n{next}");
    let mut terminal = ready.agent.cli(["-S", "attach"]).interactive().start();
    terminal.stderr().wait_for("appear here");
    ready.doctor().finds_all_ready();
    terminal.kill();
}

/// On request, with a question that has no consequence.
#[test]
fn a_person_is_asked_something_harmless() {
    let ready = Ready::new();
    let asked = |answer: Answer| {
        let doctor = ready.agent.cli(["doctor", "--json", "--ask"]).start();
        let question = ready.env.person().wait_until_asked(Kind::Confirm);
        assert!(question.text.contains("Nothing is signed."), "{}", question.text);
        ready.env.person().answer(&answer);
        let answer: Value = serde_json::from_str(&doctor.wait().success().stdout).unwrap();
        let findings = answer["findings"].as_array().unwrap().clone();
        let question = findings.iter().find(|finding| finding["check"] == "question").unwrap();
        question["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(asked(Answer::Type(String::new())), "you were asked, and said yes");
    assert_eq!(asked(Answer::Refuse), "you were asked, and said no");
}

/// Also on request, since it may cost a try of a PIN.
#[test]
fn a_test_signature() {
    let ready = Ready::new();
    let (reason, next) = ready.doctor().args(["--sign"]).finds_worth_a_look("signature");
    assert!(reason.ends_with("hosts that demand verify-required refuse that"), "{reason}\n{next}");
    assert!(next.contains("`user_verification`") && next.ends_with("`agent-cli gen-keys`."), "{next}");

    let verifying = ready.agent.gen_keys(&Recipe::ed25519().resident().verify_required());
    ready.env.person().always_types(PIN);
    let examination = ready.doctor().args(["--sign"]).examine(0);
    let good: Vec<_> = examination.of("good").into_iter().filter(|finding| finding["check"] == "signature").collect();
    let expected = format!("{} signs, and its token verified you", verifying.fingerprint());
    assert!(good.len() == 1 && good[0]["reason"] == expected, "{:#?}", examination.0);

    ready.env.person().always_refuses();
    let (reason, next) = ready.doctor().args(["--sign"]).finds_bad("signature");
    assert!(reason.starts_with(&verifying.fingerprint()), "{reason}");
    assert_eq!(next, "See with `agent-cli why` why it was refused.");
}

#[test]
fn settings_that_can_t_be_read() {
    let ready = Ready::new();
    let file = ready.env.path("config/fido-ssh-agent/config.toml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("opake = \"deny\"\n{good}")).unwrap();
    ready.agent.signal(Signal::HUP);
    ready.agent.messages().wait_for("the settings stay as they were");
    let (reason, next) = ready.doctor().finds_bad("settings");
    assert!(reason.contains("config.toml:1: ") && next.contains("SIGHUP"), "{reason}\n{next}");
    fs::write(&file, good).unwrap();
    ready.agent.signal(Signal::HUP);
    ready.agent.messages().wait_for("the settings were read again");
    ready.doctor().finds_all_ready();
}

/// The agent was updated and goes on as it was; so does a helper.
#[test]
fn an_agent_or_a_helper_of_another_version() {
    let Ready { agent, token: _token, env, .. } = Ready::new();
    let config = env.ssh_config();
    let doctor = |agent: &Agent| Doctor(agent.cli(["doctor", "--json", "-F"]).arg(&config));
    agent.terminate();
    // It keeps its key over a restart.
    let other = env.agent().of_another_version("9.8.7").start();
    let own = env!("CARGO_PKG_VERSION");
    let (reason, next) = doctor(&other).finds_bad("agent");
    assert_eq!(reason, format!("it is of version 9.8.7, and this program of {own}"));
    assert!(next.starts_with("Restart the agent: it has been updated"), "{next}");
    other.terminate();

    let other = env.agent().misbehaving_helper("speaks-another-version").start();
    let (reason, next) = doctor(&other).finds_bad("helper");
    assert!(reason.starts_with("the agent can't look for tokens: "), "{reason}");
    assert_eq!(next, Code::HelperFailed.next());
    other.terminate();

    doctor(&env.agent().start()).finds_all_ready();
}

#[test]
fn what_a_token_lacks() {
    let Ready { agent, token, env, .. } = Ready::new();
    let doctor = || Doctor(agent.cli(["doctor", "--json"]));
    token.waste_pin_tries(6);
    let (reason, next) = doctor().finds_bad("tries");
    assert!(
        reason.contains("mine has 2 of its PIN's tries left") && next.contains("right PIN once"),
        "{reason}\n{next}"
    );
    token.block_pin();
    let (reason, next) = doctor().finds_bad("tries");
    assert!(reason.contains("blocked for good") && next.contains("backup"), "{reason}\n{next}");

    let token = token.unplug();
    let (reason, next) = doctor().finds_bad("tokens");
    assert_eq!((reason.as_str(), next.as_str()), ("no FIDO token is plugged in", "Plug yours in."));
    drop(token);

    let token = env.plug(TokenOptions::pin_only());
    agent.cli(["-S", "tokens", "name", "new"]).run().success();
    agent.gen_keys(&Recipe::ed25519());
    let (reason, next) = doctor().finds_bad("verification");
    assert!(reason.ends_with("has no PIN, so it can't verify you") && next.contains("set-pin"), "{reason}\n{next}");
    agent.cli(["-S", "tokens", "set-pin"]).input(format!("{PIN}\n{PIN}\n")).run().success();
    doctor().finds_all_ready();

    token.demand_pin_change();
    let (_, next) = doctor().finds_bad("verification");
    assert!(next.contains("change-pin"), "{next}");
}

#[test]
fn a_token_without_a_name() {
    let ready = Ready::new();
    ready.agent.cli(["tokens", "forget", "mine"]).run().success();
    let (reason, next) = ready.doctor().finds_worth_a_look("tokens");
    assert!(reason.contains("has no name") && next.contains("agent-cli tokens name"), "{reason}\n{next}");
}

#[test]
fn an_agent_without_keys_of_tokens() {
    let ready = Ready::new();
    ready.agent.program("ssh-add").arg("-D").run().success();
    ready.agent.ssh_add(&ready.env.plain_key());
    let (_, next) = ready.doctor().finds_bad("keys");
    assert!(next.contains("agent-cli add FILE"), "{next}");
    ready.agent.cli(["add"]).arg(ready.key.path()).run().success();
    ready.doctor().finds_all_ready();
}

#[test]
fn certificates_end() {
    let ready = Ready::new();
    let authority = ready.env.authority();
    let certified = |validity: &str| {
        authority.certify(&ready.key, &["-n", ready.env.user(), "-V", validity]);
        ready.agent.program("ssh-add").arg("-q").arg(ready.key.path()).run().success();
    };
    certified("-2d:-1d");
    let (reason, next) = ready.doctor().finds_bad("certificates");
    assert!(reason.ends_with("has expired") && next.contains("new one"), "{reason}\n{next}");
    ready.agent.program("ssh-add").arg("-D").run().success();
    certified("-1d:+1d");
    let (reason, next) = ready.doctor().finds_worth_a_look("certificates");
    assert!(reason.contains("expires at ") && next.contains("new one"), "{reason}\n{next}");
}

#[test]
fn a_record_that_was_changed() {
    let ready = Ready::new();
    let log = ready.agent.audit().path().to_owned();
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("ssh:", "ssh_", 1)).unwrap();
    let (reason, next) = ready.doctor().finds_bad("record");
    assert!(reason.starts_with("it is not whole") && next.contains("audit verify"), "{reason}\n{next}");
}

#[test]
fn a_clock_that_nobody_sets() {
    let ready = Ready::new();
    let timedatectl = ready.env.script("timedatectl", "#!/bin/sh\necho no\n");
    let path = format!("{}:/usr/bin:/bin", timedatectl.parent().unwrap().display());
    let doctor = || Doctor(ready.agent.cli(["doctor", "--json"]).env("PATH", &path));
    let (reason, next) = doctor().finds_worth_a_look("clock");
    assert!(reason.contains("does not synchronize") && next.contains("set-ntp"), "{reason}\n{next}");
    ready.env.script("timedatectl", "#!/bin/sh\necho yes\n");
    doctor().finds_all_ready();
}

#[test]
fn a_host_that_is_not_known() {
    let ready = Ready::new();
    ready.ssh_setting("Host other\n  ProxyJump device");
    let (reason, next) = ready.doctor().args(["other"]).finds_bad("known-hosts");
    assert!(reason.starts_with("other is not known") && next.contains("compare its fingerprint"), "{reason}\n{next}");
    ready.doctor().args(["device"]).finds_all_ready();
    // The host on the way is looked at as well.
    fs::write(ready.env.path("known_hosts"), format!("other {}\n", ready.device.key().to_openssh().unwrap())).unwrap();
    let (reason, next) = ready.doctor().args(["other"]).finds_bad("known-hosts");
    assert!(reason.contains("device is not known") && next.contains("compare its fingerprint"), "{reason}\n{next}");
}

/// Each host is looked at, and once, however often it is named or on the way; a way that leads back does not end the look.
#[test]
fn hosts_that_are_met_again() {
    let ready = Ready::new();
    let known = |names: &str| {
        let key = ready.device.key().to_openssh().unwrap();
        fs::write(ready.env.path("known_hosts"), format!("{names} {key}\n")).unwrap();
    };
    let looked_at = |named: &[&str], code: i32| {
        let Examination(findings) = ready.doctor().args(named.iter().copied()).examine(code);
        let of_hosts = findings.iter().filter(|finding| finding["check"] == "known-hosts");
        let name = |finding: &Value| finding["reason"].as_str().unwrap().split(' ').next().unwrap().to_owned();
        of_hosts.map(name).collect::<Vec<_>>()
    };
    ready.ssh_setting("Host one two\n  ProxyJump device");
    known("one,two,device");
    assert_eq!(looked_at(&["one", "two", "device", "one"], 0), ["one", "device", "two"]);
    known("one,device");
    assert_eq!(looked_at(&["one", "two"], 1), ["one", "device", "two"]);

    ready.ssh_setting("Host far\n  ProxyJump near,back\nHost back\n  ProxyJump far");
    known("far,back");
    assert_eq!(looked_at(&["far"], 1), ["far", "back", "near"]);
    let (reason, next) = ready.doctor().args(["far"]).finds_bad("known-hosts");
    assert!(reason.starts_with("near is not known") && next.contains("compare its fingerprint"), "{reason}\n{next}");
}

/// The way of the last one is one that the person mistyped: no name server is asked for what can be no name.
#[test]
fn a_rehearsal_that_failed() {
    let ready = Ready::new();
    let rehearse = |argument: &[&str]| {
        ready.agent.cli(["rehearse", "-F"]).arg(ready.env.ssh_config()).arg("nowhere..invalid").args(argument).run()
    };
    rehearse(&[]).code(1);
    let (reason, next) = ready.doctor().finds_worth_a_look("rehearsal");
    assert!(
        reason.starts_with("the last one of nowhere..invalid was at ") && reason.contains("it failed: its name"),
        "{reason}"
    );
    let command = "agent-cli rehearse nowhere..invalid";
    assert_eq!(next, format!("Rehearse it again: `{command}`. If you no longer go that way: `{command} --forget`."));
    rehearse(&["--forget"]).success();
    assert_eq!(ready.doctor().examine(0).of("warning").iter().filter(|told| told["check"] == "rehearsal").count(), 0);
}

/// What of ssh's configuration would keep the agent from its work.
#[test]
fn an_ssh_config_that_defeats_it() {
    for (setting, hosts, says, advice) in [
        ("IdentityAgent none", &[][..], "switches agents off for all hosts", "IdentityAgent "),
        ("ForwardAgent yes", &[][..], "forwarded to every host", "agent-cli ssh-config --jump"),
        ("Host device\n  IdentityAgent none", &["device"][..], "no agent is asked", "Take that out"),
        ("Host device\n  IdentityAgent /run/other.sock", &["device"], "/run/other.sock", "Let it name "),
        ("Host device\n  PubkeyAuthentication no", &["device"], "PubkeyAuthentication is off", "Take that out"),
        ("Host device\n  IdentitiesOnly yes", &["device"], "the agent holds none of them", "IdentityFile"),
    ] {
        let ready = Ready::new();
        ready.ssh_setting(setting);
        let check = if setting == "IdentityAgent none" { "socket" } else { "ssh-config" };
        let examination = ready.doctor().args(hosts.iter().copied()).examine(1);
        let (reason, next) = examination.only("bad", check);
        assert!(reason.contains(says) && next.contains(advice), "{setting}: {reason}\n{next}");
    }
    let ready = Ready::new();
    ready.ssh_setting("Host device\n  IdentitiesOnly yes");
    ready.ssh_setting(&format!("IdentityFile {}", ready.key.path().display()));
    ready.doctor().args(["device"]).finds_all_ready();
    ready.ssh_setting("ControlMaster auto");
    let (reason, next) = ready.doctor().finds_worth_a_look("ssh-config");
    assert!(reason.contains("connections are shared") && next.contains("Take ControlMaster out"), "{reason}\n{next}");
    fs::write(ready.env.ssh_config(), "Host\n").unwrap();
    let (reason, next) = ready.doctor().finds_bad("ssh-config");
    assert!(
        reason.starts_with("ssh can't use its configuration") && next.contains("`ssh -G HOST`"),
        "{reason}\n{next}"
    );
}

#[test]
fn its_arguments() {
    let env = Env::new();
    let doctor = |argument: &str| env.program(built("agent-cli")).args(["doctor", "--", argument]).run();
    assert!(doctor("-oProxyCommand=x").code(64).stderr.contains("is no host's name"));
    let missing: PathBuf = env.path("missing");
    let broken = env.program(built("agent-cli")).args(["doctor", "-F"]).arg(&missing).run().code(2);
    assert!(broken.stdout.contains("ssh can't use its configuration"), "{}", broken.stdout);
}
