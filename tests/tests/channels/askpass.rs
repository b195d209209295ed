//! The program in SSH_ASKPASS.

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
