//! The ways to a person: an attached terminal, pinentry, askpass, and what happens when one of them hangs, is killed, or
//! dies while a PIN is typed. Each ends as said, on record, within its time, and leaves a terminal that can be used.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

mod an_attached_pane;
mod askpass;
mod handing_over;
mod pinentry_on_a_terminal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use agent::audit::record::Act;
use agent::denial::Code;
use rustix::process::{Pid, Signal, kill_process};
use tests::{
    Agent, AgentOptions, Answer, Env, Kind, PIN, Recipe, Running, Scene, Terminal, Tmux, TokenKind, built, child_of,
};

/// What is asked first: the token was never seen by this agent.
const IS_IT_YOURS: &str = "Is it yours";

const PIN_QUESTION: &str = "PIN (8 tries left):";

/// A PIN is asked for at each login, by an agent started so.
fn scene(agent: impl FnOnce(AgentOptions) -> AgentOptions) -> Scene {
    Scene::with(TokenKind::PinOnly, &Recipe::ed25519().verify_required(), agent)
}

fn log_in(scene: &Scene) -> Running {
    scene.agent.ssh(["device", "true"]).start()
}

/// What a person types in the pane to log in, and to hand the pane's terminal over first.
fn log_in_line(scene: &Scene) -> String {
    format!("ssh -n -F {} device true; echo \"status $?\"", scene.env.ssh_config().display())
}

fn pinentry(flavour: &str) -> String {
    format!("[prompts]\npinentry = \"/usr/bin/pinentry-{flavour}\"")
}

/// A pane from which the terminal was handed over.
fn handed_over(scene: &Scene) -> Tmux<'_> {
    let tmux = Tmux::start(&scene.agent);
    tmux.type_line("agent-cli attach --env");
    tmux.wait_for("Handed over: terminal /dev/pts/");
    tmux.type_line("clear");
    tmux.wait_until_gone("Handed over");
    tmux
}

/// No try was lost, nobody else was asked, and the next login is as if nothing had happened.
fn nothing_else_happened(scene: &Scene, code: Code) {
    assert_eq!(scene.agent.audit().refusal_codes(), [code]);
    assert_eq!(scene.token.pin_retries(), 8);
    assert!(scene.env.person().asked().is_empty(), "askpass was asked instead: {:#?}", scene.env.person());
}

/// The same, once the outcome is on record.
fn nothing_else_happened_after(scene: &Scene, code: Code) {
    scene.agent.audit().wait_for_refusal();
    nothing_else_happened(scene, code);
}

/// `tmux display-popup` ends when its program does.
#[test]
fn a_popup_asks_once_and_goes_away() {
    let scene = scene(AgentOptions::without_prompter);
    let tmux = Tmux::start(&scene.agent);
    let mut person = tmux.attach();
    let popup = format!("{} attach --once", built("agent-cli").display());
    let popup = tmux.command(["display-popup", "-E", "-w", "90%", "-h", "90%", &popup]).start();
    person.screen().wait_for("Prompts appear here from now on.");
    let login = log_in(&scene);
    person.screen().wait_for(IS_IT_YOURS);
    person.type_line("y");
    person.screen().wait_for(PIN_QUESTION);
    person.type_line(PIN);
    person.screen().wait_for("Touch the token.");
    scene.token.touch();
    login.wait().success();
    popup.wait().success();
    tmux.assert_usable();
}

/// At once, and with what stands in the way of each channel.
#[test]
fn without_a_channel_the_request_is_refused_at_once() {
    let scene = scene(|agent| agent.without_prompter().setting("[prompts]\nchannels = [\"pinentry\", \"terminal\"]"));
    let began = Instant::now();
    log_in(&scene).wait().code(255);
    assert!(began.elapsed() < Duration::from_secs(30), "that is half of what a prompt may take");
    let denial = scene.agent.audit().wait_for_refusal();
    let reason = "pinentry has neither a display nor a terminal to appear on, and no terminal is attached";
    assert_eq!((denial.code, denial.reason.as_str()), (Code::NoPrompter, reason));
}

/// Which channel would ask is what `agent-cli status` says, and what happens.
#[test]
fn the_channels_order_is_a_setting() {
    for (channels, first) in [("\"askpass\", \"terminal\"", "askpass"), ("\"terminal\", \"askpass\"", "terminal")] {
        let scene = scene(|agent| agent.setting(&format!("[prompts]\nchannels = [{channels}]")));
        let terminal = Terminal::run(scene.agent.cli(["attach"]));
        terminal.screen().wait_for("Prompts appear here from now on.");
        let status = scene.agent.cli(["status"]).run().success().stdout;
        let mut login = log_in(&scene);
        match first {
            "askpass" => drop(scene.env.person().wait_until_asked(Kind::Secret)),
            _ => terminal.screen().wait_for(IS_IT_YOURS),
        }
        let expected = if first == "askpass" { "through askpass" } else { "in the attached terminal" };
        assert!(status.contains(&format!("\nprompts    {expected}\n")), "{status}");
        assert_eq!(terminal.screen().text().contains(IS_IT_YOURS), first == "terminal");
        assert_eq!(scene.env.person().asked().is_empty(), first == "terminal");
        login.kill();
    }
}

/// One that can't be started, or can't show anything, is passed over; the question has not been asked by then.
#[test]
fn a_channel_that_can_not_ask_is_passed_over() {
    for program in ["/bin/false", "/bin/cat", "/usr/bin/pinentry-curses"] {
        let setting = format!("[prompts]\npinentry = \"{program}\"");
        // Without a terminal's type, curses can't show anything.
        let scene = scene(|agent| agent.setting(&setting).variable("DISPLAY", ":99").prompt_seconds(5));
        let tmux = Tmux::start(&scene.agent);
        tmux.type_line("TERM=none agent-cli attach --env");
        tmux.wait_for("Handed over:");
        scene.env.person().types([PIN]);
        let login = log_in(&scene);
        if program == "/bin/cat" {
            // It repeats what it is told, which is no greeting; and says nothing as long as it is told nothing.
            login.wait().code(255);
            nothing_else_happened_after(&scene, Code::PromptTimeout);
            continue;
        }
        scene.env.person().approve(&scene.token);
        login.wait().success();
        tmux.assert_usable();
    }
}

/// Whoever attaches would see the next PIN asked.
#[test]
fn another_user_can_not_attach() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: it takes root to be somebody else");
        return;
    }
    let scene = scene(|agent| agent);
    let control = scene.agent.control_socket();
    let open = |path: &std::path::Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    let cli = scene.env.copy_of(built("agent-cli"), "cli");
    let as_nobody = || {
        let program = scene.agent.program("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        program.arg(&cli).arg("attach").run()
    };
    open(&scene.env.path(""));
    open(&cli);
    let refused = as_nobody();
    assert!(refused.stderr.contains("Permission denied"), "the folder keeps others out: {refused:?}");
    for path in control.ancestors().take_while(|path| *path != scene.env.path("")) {
        open(path);
    }
    let refused = as_nobody();
    assert!(!refused.status.success() && !refused.stdout.contains("Prompts appear here"), "{refused:?}");
    scene.agent.messages().wait_for("a connection of another user was closed");
    assert!(scene.agent.audit().acts().iter().all(|act| !matches!(act, Act::Attach { .. })));
    let status = scene.agent.cli(["status"]).run().success().stdout;
    assert!(status.contains("terminals  0 attached"), "{status}");
}
