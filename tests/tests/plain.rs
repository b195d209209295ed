//! What programs write to a terminal and to a pipe: colour where somebody looks and wants it, and never a control character
//! elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use tests::{Env, Program, Terminal, built};

const ESCAPE: char = '\u{1b}';

/// What is on a terminal when a program has ended.
fn on_a_terminal(program: Program) -> String {
    let mut terminal = Terminal::run(program);
    terminal.wait();
    terminal.screen().wait_for_end()
}

/// The help is the only thing that has colours (https://no-color.org).
#[test]
fn help_has_colours_on_a_terminal_that_wants_them() {
    let env = Env::new();
    for (program, arguments) in
        [("agent-cli", &["--help"][..]), ("agent-cli", &["no-such-command"]), ("agent", &["--help"])]
    {
        let help = || env.program(built(program)).args(arguments);
        assert!(on_a_terminal(help()).contains(ESCAPE), "{program} {arguments:?}");
        assert!(!on_a_terminal(help().env("NO_COLOR", "1")).contains(ESCAPE), "{program} {arguments:?}");
        assert!(!on_a_terminal(help().env("TERM", "dumb")).contains(ESCAPE), "{program} {arguments:?}");
        let piped = help().run();
        assert!(!piped.stdout.contains(ESCAPE) && !piped.stderr.contains(ESCAPE), "{program} {arguments:?}");
    }
}

#[test]
fn messages_and_answers_have_no_colours_anywhere() {
    let env = Env::new();
    let agent = env.agent().start();
    for command in [
        &["status"][..],
        &["list"],
        &["tokens"],
        &["why"],
        &["audit", "show"],
        &["audit", "verify"],
        &["config", "show"],
        &["remove", "nothing"],
    ] {
        let text = on_a_terminal(agent.cli(command));
        assert!(!text.is_empty() && !text.contains(ESCAPE), "{command:?}: {text:?}");
    }
    let agent = env.program(built("agent")).arg("-d").arg("-a").arg(env.path("second.sock"));
    let mut agent = Terminal::run(agent.env("FIDO_SSH_AGENT_LOG", "trace"));
    agent.screen().wait_for("SSH_AUTH_SOCK=");
    env.program(built("agent-cli")).arg("list").env("SSH_AUTH_SOCK", env.path("second.sock")).run().code(1);
    agent.screen().wait_for("the client hung up");
    // Ctrl-C.
    agent.type_keys("\u{3}");
    agent.wait();
    let text = agent.screen().wait_for_end();
    assert!(!text.contains(ESCAPE), "{text:?}");
}

/// Who waits for a log that is not at its end sees that, on a terminal; what is done leaves no trace.
#[test]
fn what_takes_long_is_shown_on_a_terminal() {
    let env = Env::new();
    let log = env.path("audit.jsonl");
    env.program("mkfifo").arg(&log).run().success();
    let verify = env.program(built("agent-cli")).args(["audit", "verify", "--log"]).arg(&log);
    let mut terminal = Terminal::run(verify);
    terminal.screen().wait_for("Verifying the record (");
    // Nothing is in it.
    drop(std::fs::OpenOptions::new().write(true).open(&log).unwrap());
    assert!(terminal.wait().success());
    let text = terminal.screen().wait_for_end();
    let after = text.rsplit_once("\r\u{1b}[K").expect("the line is cleared").1;
    assert!(after.starts_with("clean: the chain is whole"), "{text:?}");
}
