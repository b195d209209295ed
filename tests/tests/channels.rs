//! The ways to a person: an attached terminal, pinentry, askpass, and what happens when one of them hangs, is killed, or
//! dies while a PIN is typed. Each ends as said, on record, within its time, and leaves a terminal that can be used.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

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

mod an_attached_pane {
    use super::*;

    /// A pane in which the PIN is asked for, and who waits for it.
    fn asked(scene: &Scene) -> (Tmux<'_>, Running) {
        let tmux = Tmux::start(&scene.agent);
        tmux.type_line("agent-cli attach");
        tmux.wait_for("Prompts appear here from now on.");
        let login = log_in(scene);
        tmux.wait_for(IS_IT_YOURS);
        tmux.type_line("y");
        tmux.wait_for(PIN_QUESTION);
        (tmux, login)
    }

    #[test]
    fn asks_for_the_pin() {
        let scene = scene(|agent| agent);
        let (tmux, login) = asked(&scene);
        tmux.type_line(PIN);
        tmux.wait_for("Touch the token.");
        scene.token.touch();
        login.wait().success();
        tmux.wait_for("(done waiting)");
        tmux.press("C-c");
        tmux.assert_usable();
        assert!(!tmux.screen().contains(PIN));
        assert!(scene.env.person().asked().is_empty(), "askpass comes behind an attached terminal");
    }

    #[test]
    fn is_cleared_when_the_client_leaves() {
        let scene = scene(|agent| agent);
        let (tmux, mut login) = asked(&scene);
        tmux.type_keys("12");
        login.kill();
        tmux.wait_for("(withdrawn)");
        nothing_else_happened_after(&scene, Code::ClientGone);
        tmux.press("C-c");
        tmux.assert_usable();
    }

    /// Whoever is stopped finds the question withdrawn when it goes on.
    #[test]
    fn that_hangs_ends_with_the_time_limit() {
        let scene = scene(|agent| agent.prompt_seconds(2));
        let (tmux, login) = asked(&scene);
        let cli = child_of(tmux.shell(), "agent-cli").unwrap();
        kill_process(cli, Signal::STOP).unwrap();
        login.wait().code(255);
        nothing_else_happened_after(&scene, Code::PromptTimeout);
        kill_process(cli, Signal::CONT).unwrap();
        tmux.type_line("fg");
        tmux.wait_for("(withdrawn)");
        tmux.press("C-c");
        tmux.assert_usable();
    }

    #[test]
    fn that_is_killed_mid_pin_ends_the_request() {
        let scene = scene(|agent| agent);
        let (tmux, login) = asked(&scene);
        tmux.type_keys("12");
        kill_process(child_of(tmux.shell(), "agent-cli").unwrap(), Signal::KILL).unwrap();
        login.wait().code(255);
        let denial = scene.agent.audit().wait_for_refusal();
        assert_eq!(denial.reason, "the attached terminal went away before there was an answer");
        nothing_else_happened(&scene, Code::PromptLost);
        tmux.wait_for("Killed");
        tmux.assert_usable();
    }

    /// The pane is closed, as by a person who does not want this terminal any more.
    #[test]
    fn that_is_closed_mid_pin_ends_the_request() {
        let scene = scene(|agent| agent);
        let (tmux, login) = asked(&scene);
        drop(tmux);
        login.wait().code(255);
        nothing_else_happened_after(&scene, Code::PromptLost);
    }
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

mod pinentry_on_a_terminal {
    use super::*;

    const FLAVOURS: [&str; 2] = ["curses", "tty"];

    fn scene(flavour: &str) -> Scene {
        super::scene(|agent| agent.setting(&pinentry(flavour)).prompt_seconds(5))
    }

    /// A pane in which the PIN is asked for.
    fn asked(scene: &Scene) -> Tmux<'_> {
        let tmux = handed_over(scene);
        tmux.type_line(&log_in_line(scene));
        tmux.wait_for(IS_IT_YOURS);
        tmux.press(if tmux.screen().contains("<Allow>") { "Enter" } else { "a" });
        tmux.wait_for(PIN_QUESTION);
        tmux
    }

    /// The pinentry that asks.
    fn process(scene: &Scene) -> Pid {
        child_of(scene.agent.pid(), "pinentry-").expect("a pinentry runs")
    }

    #[test]
    fn asks_for_the_pin_and_gives_the_terminal_back() {
        for flavour in FLAVOURS {
            let scene = scene(flavour);
            let tmux = asked(&scene);
            let screen = tmux.screen();
            assert!(
                screen.contains("Log in as") && screen.contains(&scene.device.fingerprint()),
                "{flavour}: {screen}"
            );
            tmux.type_line(PIN);
            scene.token.wait_until_waiting();
            scene.token.touch();
            tmux.wait_for("status 0");
            tmux.assert_usable();
            assert_eq!(scene.env.person().texts(Kind::Secret), [""; 0], "{flavour}");
        }
    }

    #[test]
    fn is_taken_down_when_the_client_leaves() {
        for flavour in FLAVOURS {
            let scene = scene(flavour);
            let tmux = asked(&scene);
            tmux.type_keys("12");
            kill_process(child_of(tmux.shell(), "ssh").unwrap(), Signal::KILL).unwrap();
            nothing_else_happened_after(&scene, Code::ClientGone);
            // With curses, what the shell has written meanwhile was on the dialog's screen.
            tmux.type_line("");
            tmux.assert_usable();
        }
    }

    #[test]
    fn that_hangs_ends_with_the_time_limit() {
        for flavour in FLAVOURS {
            let scene = scene(flavour);
            let tmux = asked(&scene);
            kill_process(process(&scene), Signal::STOP).unwrap();
            tmux.wait_for("status 255");
            nothing_else_happened_after(&scene, Code::PromptTimeout);
            tmux.assert_usable();
        }
    }

    #[test]
    fn that_nobody_answers_ends_with_the_time_limit() {
        for flavour in FLAVOURS {
            let scene = scene(flavour);
            let tmux = asked(&scene);
            tmux.wait_for("status 255");
            nothing_else_happened_after(&scene, Code::PromptTimeout);
            tmux.assert_usable();
        }
    }

    #[test]
    fn that_is_killed_mid_pin_ends_the_request() {
        for (flavour, signal) in
            [("curses", Signal::KILL), ("tty", Signal::KILL), ("curses", Signal::TERM), ("tty", Signal::TERM)]
        {
            let scene = scene(flavour);
            let tmux = asked(&scene);
            tmux.type_keys("12");
            kill_process(process(&scene), signal).unwrap();
            tmux.wait_for("status 255");
            let denial = scene.agent.audit().wait_for_refusal();
            assert!(denial.reason.contains(&format!("pinentry-{flavour}: it ended")), "{denial}");
            nothing_else_happened(&scene, Code::PromptLost);
            tmux.assert_usable();
        }
    }

    /// A person who cancels has said no.
    #[test]
    fn that_is_cancelled_is_a_no() {
        for (flavour, keys) in [("curses", &["Tab", "Tab", "Enter"][..]), ("tty", &["C-d"])] {
            let scene = scene(flavour);
            let tmux = asked(&scene);
            keys.iter().for_each(|key| tmux.press(key));
            tmux.wait_for("status 255");
            nothing_else_happened_after(&scene, Code::PromptRefused);
            tmux.assert_usable();
        }
    }

    #[test]
    fn asks_for_a_yes() {
        for (flavour, yes, no) in [("curses", &["Enter"][..], &["Tab", "Enter"][..]), ("tty", &["a"], &["r"])] {
            let env = Env::new();
            let agent = env.agent().setting(&pinentry(flavour)).start();
            let key = env.plain_key();
            agent.program("ssh-add").args(["-q", "-c"]).arg(key.path()).run().success();
            let tmux = Tmux::start(&agent);
            tmux.type_line("agent-cli attach --env");
            tmux.wait_for("Handed over: terminal /dev/pts/");
            for (pressed, status) in [(no, 255), (yes, 0)] {
                tmux.type_line("clear");
                tmux.wait_until_gone("ssh-keygen");
                tmux.type_line(&format!(
                    "ssh-keygen -Y sign -n n -f {} </dev/null; echo \"status $?\"",
                    key.public_path().display()
                ));
                tmux.wait_for("Refuse");
                pressed.iter().for_each(|key| tmux.press(key));
                tmux.wait_for(&format!("status {status}"));
                tmux.assert_usable();
            }
            assert_eq!(agent.audit().refusal_codes(), [Code::PromptRefused], "{flavour}");
        }
    }
}

mod askpass {
    use super::*;

    fn asked() -> (Scene, Running) {
        let scene = scene(|agent| agent.prompt_seconds(2));
        let login = log_in(&scene);
        scene.env.person().wait_until_asked(Kind::Secret);
        (scene, login)
    }

    fn process(scene: &Scene) -> Pid {
        child_of(scene.agent.pid(), "scripted-askpa").expect("an askpass program runs")
    }

    fn ended_with(scene: &Scene, code: Code) {
        scene.env.person().wait_until_nothing_is_shown();
        assert_eq!(scene.agent.audit().wait_for_refusal().code, code);
        assert_eq!(scene.token.pin_retries(), 8);
        assert_eq!(scene.env.person().texts(Kind::Secret).len(), 1);
    }

    #[test]
    fn that_hangs_ends_with_the_time_limit() {
        let (scene, login) = asked();
        kill_process(process(&scene), Signal::STOP).unwrap();
        login.wait().code(255);
        ended_with(&scene, Code::PromptTimeout);
    }

    #[test]
    fn that_is_killed_ends_the_request() {
        let (scene, login) = asked();
        kill_process(process(&scene), Signal::KILL).unwrap();
        login.wait().code(255);
        ended_with(&scene, Code::PromptLost);
    }

    /// By its contract, an end with another status than 0 is a no, whatever was typed.
    #[test]
    fn that_fails_is_a_no() {
        let (scene, login) = asked();
        scene.env.person().answer(&Answer::Refuse);
        login.wait().code(255);
        ended_with(&scene, Code::PromptRefused);
    }
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

mod handing_over {
    use super::*;

    fn attaches(agent: &Agent) -> Vec<Option<String>> {
        let attach = |act| match act {
            Act::Attach { handed_over, .. } => Some(handed_over),
            _ => None,
        };
        agent.audit().acts().into_iter().filter_map(attach).collect()
    }

    /// The terminal that prompts appeared on so far is told, and so is the agent's log.
    #[test]
    fn is_on_record_and_announced() {
        let scene = scene(|agent| agent.setting(&pinentry("tty")));
        let first = handed_over(&scene);
        let second = Terminal::run(scene.agent.cli(["attach", "--env"]));
        second.screen().wait_for("Handed over: terminal /dev/pts/");
        first.wait_for("fido-ssh-agent: Prompts appear elsewhere from now on: terminal /dev/pts/");
        scene.agent.messages().wait_for("Prompts appear elsewhere from now on");
        let places = attaches(&scene.agent);
        assert_eq!(places.len(), 2);
        assert_eq!(places[0], Some(format!("terminal {}", first.tty().display())));
        assert_ne!(places[0], places[1]);

        first.type_line("clear; agent-cli attach --env");
        first.wait_for("Handed over:");
        let third = Terminal::run(scene.agent.cli(["attach"]));
        third.screen().wait_for("Prompts appear here from now on.");
        first.wait_for("fido-ssh-agent: Prompts appear in another terminal from now on, until it leaves.");
        assert_eq!(attaches(&scene.agent)[2..], [places[0].clone(), None]);
    }

    /// The display and the bus go along, to askpass too; what was there before is gone.
    #[test]
    fn gives_askpass_the_display() {
        let env = Env::new();
        let seen = env.path("seen");
        let text = format!("#!/bin/sh\nenv >{}\nexit 1\n", seen.display());
        let askpass = env.script("askpass", &text);
        let agent = env.agent();
        let agent =
            agent.variable("SSH_ASKPASS", askpass).variable("SSH_ASKPASS_REQUIRE", "").variable("XAUTHORITY", "/old");
        let agent = agent.setting("[prompts]\nchannels = [\"askpass\"]").start();
        let key = env.plain_key();
        agent.program("ssh-add").args(["-q", "-c"]).arg(key.path()).run().success();
        let sign = || {
            agent
                .program("ssh-keygen")
                .args(["-Y", "sign", "-n", "n", "-f"])
                .arg(key.public_path())
                .input("x")
                .run()
                .code(255)
        };
        sign();
        assert!(!seen.exists(), "without a display there is no askpass");
        let cli = agent.cli(["attach", "--env"]).env("WAYLAND_DISPLAY", "wayland-7");
        let cli = cli.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/bus").run().success();
        assert_eq!(
            cli.stdout,
            "Handed over: display wayland-7. Prompts appear through askpass.\n\n".replace("\n\n", "\n")
        );
        sign();
        let seen = fs::read_to_string(seen).unwrap();
        assert!(
            seen.contains("WAYLAND_DISPLAY=wayland-7\n")
                && seen.contains("DBUS_SESSION_BUS_ADDRESS=unix:path=/run/bus\n"),
            "{seen}"
        );
        assert!(!seen.contains("XAUTHORITY"), "{seen}");
    }

    #[test]
    fn is_refused_where_it_can_not_be_used() {
        let agent = Env::new().agent().start();
        let nothing = agent.cli(["attach", "--env"]).run().code(1);
        assert!(
            nothing.stderr.contains("neither a display nor a terminal was handed over (environment-rejected)"),
            "{}",
            nothing.stderr
        );
        for (tty, why) in [
            ("/dev/null", "is no terminal"),
            ("/dev/tty", "does not name one terminal"),
            ("/etc/passwd", "does not name one terminal"),
        ] {
            let refused = agent.cli(["attach", "--env"]).env("GPG_TTY", tty).env("DISPLAY", ":0").run().code(1);
            assert!(refused.stderr.contains(why), "{}", refused.stderr);
        }
        assert_eq!(attaches(&agent), []);
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
    let cli = scene.env.path("cli");
    fs::copy(built("agent-cli"), &cli).unwrap();
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
