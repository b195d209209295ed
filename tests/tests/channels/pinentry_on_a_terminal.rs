//! Debian's pinentries, on a terminal that was handed over.

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
        assert!(screen.contains("Log in as") && screen.contains(&scene.device.fingerprint()), "{flavour}: {screen}");
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
