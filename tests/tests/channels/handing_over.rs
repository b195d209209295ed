//! Handing over a display or terminal: on record, announced, and refused where it could not be used.

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
    assert_eq!(cli.stdout, "Handed over: display wayland-7. Prompts appear through askpass.\n\n".replace("\n\n", "\n"));
    sign();
    let seen = fs::read_to_string(seen).unwrap();
    assert!(
        seen.contains("WAYLAND_DISPLAY=wayland-7\n") && seen.contains("DBUS_SESSION_BUS_ADDRESS=unix:path=/run/bus\n"),
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
