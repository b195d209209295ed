//! The person leaves: the machine sleeps, or their screen is locked. logind and its bus are the test's own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use agent::audit::record::{Act, Event, LeaveReason};
use agent::denial::Code;
use soft_token::What;
use tests::{
    ANOTHERS, Agent, AgentOptions, Env, Kind, Login, OURS, PATIENCE, PIN, Recipe, Scene, SystemBus, TokenKind,
};

const LOCK_ON: &str = "lock_on = [\"suspend\", \"screen-lock\"]";

/// An agent that has reached logind, and holds a key of its own.
fn agent_on(env: &Env, bus: &SystemBus) -> Agent {
    let agent = options(env.agent(), bus).start();
    agent.messages().wait_for("logind is asked when you leave");
    agent.program("ssh-add").arg("-q").arg(env.plain_key().path()).run().success();
    agent
}

fn options(agent: AgentOptions, bus: &SystemBus) -> AgentOptions {
    agent.setting(LOCK_ON).variable("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
}

fn wait_for_leave(agent: &Agent, reason: LeaveReason) {
    agent.audit().wait_for(|event| *event == Event::Act { act: Act::Leave { reason } });
}

fn wait_for_return(agent: &Agent, times: usize) {
    agent.audit().wait_for(|_| returns(agent).len() == times);
}

/// By which program each return was said; None for the session itself.
fn returns(agent: &Agent) -> Vec<Option<String>> {
    let program = |act| match act {
        Act::ComeBack { peer } => {
            Some(peer.map(|peer| peer.programs.first().map(|program| program.name.clone()).unwrap_or_default()))
        }
        _ => None,
    };
    agent.audit().acts().into_iter().filter_map(program).collect()
}

/// The agent lists no keys.
fn is_locked(agent: &Agent) -> bool {
    !agent.list().contains("SHA256:")
}

fn status(agent: &Agent) -> String {
    agent.cli(["status"]).run().success().stdout
}

#[test]
fn a_login_that_waits_for_a_touch_ends_when_the_screen_is_locked() {
    let env = Env::new();
    let bus = SystemBus::start(&env);
    let login1 = Login::start(&bus);
    let Scene { env, token, agent, device: _device, .. } =
        Scene::with(TokenKind::PinOnly, &Recipe::ed25519(), |agent| options(agent, &bus));
    agent.messages().wait_for("logind is asked when you leave");
    let login = agent.ssh(["device", "true"]).start();
    token.wait_until_waiting();

    login1.lock_session(OURS, true);
    token.wait_for(|what| what == What::Cancelled, PATIENCE);
    login.wait().code(255);
    let denial = agent.audit().wait_for_refusal();
    assert_eq!(
        (denial.code, denial.reason.as_str()),
        (Code::Locked, "the session was locked while the request waited")
    );
    env.person().wait_until_nothing_is_shown();
    assert!(is_locked(&agent));

    login1.lock_session(OURS, false);
    wait_for_return(&agent, 1);
    assert_eq!(returns(&agent), [None]);
    let login = agent.ssh(["device", "true"]).start();
    env.person().approve(&token);
    login.wait().success();
}

#[test]
fn a_pin_prompt_is_withdrawn_when_the_machine_goes_to_sleep() {
    let env = Env::new();
    let bus = SystemBus::start(&env);
    let login1 = Login::start(&bus);
    let Scene { env, token, agent, device: _device, .. } =
        Scene::with(TokenKind::PinOnly, &Recipe::ed25519().verify_required(), |agent| options(agent, &bus));
    agent.messages().wait_for("logind is asked when you leave");
    let login = agent.ssh(["device", "true"]).start();
    env.person().wait_until_asked(Kind::Secret);

    login1.sleep(true);
    login1.wait_until_nothing_holds_up_the_sleep();
    env.person().wait_until_nothing_is_shown();
    login.wait().code(255);
    let denial = agent.audit().wait_for_refusal();
    assert_eq!(
        (denial.code, denial.reason.as_str()),
        (Code::Locked, "the machine went to sleep while the request waited")
    );

    agent.cli(["unlock"]).run().success();
    env.person().types([PIN]);
    let login = agent.ssh(["device", "true"]).start();
    env.person().approve(&token);
    login.wait().success();
    assert_eq!(token.pin_retries(), 8);
}

/// It is locked before the machine sleeps, stays so when it wakes up, and holds up the next sleep as well.
#[test]
fn the_sleep_is_held_up_until_the_agent_is_locked() {
    let env = Env::new();
    let bus = SystemBus::start(&env);
    let login1 = Login::start(&bus);
    let agent = agent_on(&env, &bus);
    for round in 1..=2 {
        login1.sleep(true);
        login1.wait_until_nothing_holds_up_the_sleep();
        assert!(is_locked(&agent));
        login1.sleep(false);
        login1.wait_until_inhibited();
        assert!(is_locked(&agent), "that it woke up does not say who is there");
        assert!(status(&agent).contains("since the machine went to sleep"), "{}", status(&agent));

        agent.cli(["unlock"]).run().success();
        assert!(!is_locked(&agent));
        assert_eq!(returns(&agent), vec![Some("agent-cli".to_owned()); round]);
    }
    let refused = agent.cli(["unlock"]).run().code(1);
    assert!(refused.stderr.contains("the agent is not locked"), "{}", refused.stderr);
}

/// Desktops that lock their screen by themselves say so by a property.
#[test]
fn a_desktop_that_locks_its_screen_by_itself_locks_the_agent() {
    let env = Env::new();
    let bus = SystemBus::start(&env);
    let login1 = Login::start(&bus);
    let agent = agent_on(&env, &bus);
    login1.hint(ANOTHERS, true);
    login1.lock_session(ANOTHERS, true);
    login1.hint(OURS, true);
    wait_for_leave(&agent, LeaveReason::ScreenLock);
    let leaves = |act: &Act| matches!(act, Act::Leave { .. });
    assert!(is_locked(&agent));
    assert!(status(&agent).contains("since the session was locked"), "{}", status(&agent));

    login1.hint(ANOTHERS, false);
    login1.lock_session(ANOTHERS, false);
    login1.hint(OURS, false);
    wait_for_return(&agent, 1);
    assert!(!is_locked(&agent));
    // Signals come in their order, so those of another's session have changed nothing.
    assert_eq!(agent.audit().acts().iter().filter(|act| leaves(act)).count(), 1);
    assert_eq!(returns(&agent), [None]);
}

#[test]
fn an_agent_that_starts_behind_a_locked_screen_is_locked() {
    let env = Env::new();
    let bus = SystemBus::start(&env);
    let login1 = Login::start_locked(&bus);
    let agent = options(env.agent(), &bus).start();
    wait_for_leave(&agent, LeaveReason::ScreenLock);
    login1.hint(OURS, false);
    wait_for_return(&agent, 1);
}

/// The bus lets anybody send any signal, to one program even.
#[test]
fn what_a_stranger_on_the_bus_says_changes_nothing() {
    let env = Env::new();
    let bus = SystemBus::start(&env);
    let login1 = Login::start(&bus);
    let agent = agent_on(&env, &bus);
    let stranger = Login::stranger(&bus);
    for program in bus.programs() {
        stranger.hint_to(Some(&program), OURS, true);
    }
    agent.messages().wait_for("a program that is not logind says that you leave or come back");
    assert!(!is_locked(&agent));

    login1.lock_session(OURS, true);
    wait_for_leave(&agent, LeaveReason::ScreenLock);
    for program in bus.programs() {
        stranger.hint_to(Some(&program), OURS, false);
    }
    // It is locked still: a second lock changes nothing.
    login1.lock_session(OURS, true);
    login1.lock_session(OURS, false);
    wait_for_return(&agent, 1);
    assert_eq!(agent.audit().acts().iter().filter(|act| matches!(act, Act::Leave { .. })).count(), 1);
}

/// Each of the two locks holds for itself, and a password opens no more than its own.
#[test]
fn ssh_add_s_lock_is_another_one() {
    let env = Env::new();
    let bus = SystemBus::start(&env);
    let login1 = Login::start(&bus);
    let agent = agent_on(&env, &bus);
    let ssh_add = |option| agent.program("ssh-add").arg(option).asking(&env.person_who_types("secret")).run();

    login1.lock_session(OURS, true);
    wait_for_leave(&agent, LeaveReason::ScreenLock);
    ssh_add("-X").code(1);
    agent.messages().wait_for("unlock the session, or run `agent-cli unlock` on this machine");
    assert!(is_locked(&agent));
    ssh_add("-x").success();
    login1.lock_session(OURS, false);
    wait_for_return(&agent, 1);
    assert!(is_locked(&agent), "the password is still to be given");
    let refused = agent.cli(["unlock"]).run().code(1);
    assert!(refused.stderr.contains("`ssh-add -X`"), "{}", refused.stderr);
    ssh_add("-X").success();
    assert!(!is_locked(&agent));
}

#[test]
fn without_a_bus_it_says_so_and_runs_on() {
    let env = Env::new();
    let nowhere = format!("unix:path={}", env.path("nowhere").display());
    let agent = env.agent().setting(LOCK_ON).variable("DBUS_SYSTEM_BUS_ADDRESS", nowhere).start();
    agent.messages().wait_for("the agent is not locked when you leave, though `lock_on` says so");
    assert!(status(&agent).contains("lock on    nothing, though it is set up"), "{}", status(&agent));
    agent.program("ssh-add").arg("-q").arg(env.plain_key().path()).run().success();
    assert!(!is_locked(&agent));
}
