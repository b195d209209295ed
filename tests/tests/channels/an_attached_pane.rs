//! A terminal that was attached: a pane of tmux.

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
