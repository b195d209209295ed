//! `agent-cli rehearse`: what it says of a way that is as it should be, and of each that is not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

mod anywhere;
mod causes;
mod network;
mod throw_away;

use std::fs;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use agent::audit::record::{Act, Event, Outcome};
use serde_json::{Value, json};
use soft_token::{Device, Touch};
use tests::{Agent, Env, Host, KeyFile, Kind, PIN, Program, Recipe, Running, Scene, TokenKind, for_each_token};

/// A jump host and a device, each with a key that lets in, and a token to be touched.
struct Way {
    agent: Agent,
    token: Device,
    key: KeyFile,
    jump: Host,
    device: Host,
    env: Env,
}

impl Way {
    /// On the loopback network.
    fn ready(kind: TokenKind, recipe: &Recipe) -> Self {
        Self::at(Env::new(), kind, recipe)
    }

    /// On a network of its own, where there can be one: the device is behind the jump host there.
    fn on_a_network(kind: TokenKind, recipe: &Recipe) -> Self {
        Self::at(Env::on_a_network(), kind, recipe)
    }

    fn at(env: Env, kind: TokenKind, recipe: &Recipe) -> Self {
        let Scene { agent, token, key, device, env } = Scene::at(env, kind, recipe);
        let jump = env.host("jump");
        jump.authorize(&key);
        // Nobody who logs in there has a home of this scenario's.
        let ssh = format!("#!/bin/sh\nexec /usr/bin/ssh -F '{}' \"$@\"\n", env.ssh_config().display());
        jump.program("ssh", &ssh);
        env.person().always_types(PIN);
        Self { agent, token, key, jump, device, env }
    }

    fn rehearse(&self, arguments: &[&str]) -> Program {
        self.agent.cli(["rehearse", "--json", "-F"]).arg(self.env.ssh_config()).args(arguments)
    }

    /// The agent holds another key of the same token, behind the first one.
    fn adds(&self, recipe: &Recipe) -> KeyFile {
        self.token.set_touch(Touch::Always);
        let key = self.env.ssh_keygen(recipe);
        self.token.set_touch(Touch::Manual);
        self.agent.ssh_add(&key);
        key
    }

    /// The person approves so many logins.
    fn approve(&self, times: usize) {
        for _ in 0..times {
            self.env.person().approve(&self.token);
        }
    }

    /// What it says once it has ended.
    fn told(&self, rehearsal: Running, code: i32) -> Value {
        let ended = rehearsal.wait().code(code);
        let told: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(told["passed"], code == 0, "{told:#}");
        add_up(&told);
        told
    }

    fn passes(&self, arguments: &[&str], approvals: usize) -> Value {
        let rehearsal = self.rehearse(arguments).start();
        self.approve(approvals);
        self.told(rehearsal, 0)
    }

    /// The code and the host of what it failed by.
    fn fails(&self, arguments: &[&str], approvals: usize) -> (String, String, Value) {
        let rehearsal = self.rehearse(arguments).start();
        self.approve(approvals);
        let told = self.told(rehearsal, 1);
        let text = |name: &str| told["cause"][name].as_str().unwrap_or_else(|| panic!("{told:#}")).to_owned();
        assert!(!text("next").is_empty());
        (text("code"), text("host"), told)
    }

    /// Another line in the place of one of ssh's configuration.
    fn reconfigure(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.env.ssh_config()).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(self.env.ssh_config(), text.replacen(from, to, 1)).unwrap();
    }
}

/// No part of the time is missing, and none is counted twice.
fn add_up(told: &Value) {
    let of = |name: &str| told["times"][name].as_u64().unwrap();
    assert_eq!(of("total_ms"), of("network_ms") + of("person_ms") + of("token_ms") + of("agent_ms"), "{told:#}");
}

fn codes(findings: &Value) -> Vec<&str> {
    findings.as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

/// The bindings that the agent got with each request.
fn bindings(told: &Value) -> Vec<Value> {
    told["record"]["requests"].as_array().unwrap().iter().map(|request| request["bindings"].clone()).collect()
}

fn bound(host: &Host, forwarding: bool) -> Value {
    json!({"host_key": host.fingerprint(), "forwarding": forwarding})
}

for_each_token! {
    fn through_a_jump_host_and_by_the_forwarded_agent(kind: TokenKind) {
        let way = Way::on_a_network(kind, &Recipe::ed25519().verify_required());
        let Way { agent, key, jump, device, env, .. } = &way;
        let to_device = vec![json!([bound(jump, false)]), json!([bound(device, false)])];
        let from_jump = vec![json!([bound(jump, false)]), json!([bound(jump, true), bound(device, false)])];
        for (road, forwarded, expected) in [("-J", false, to_device), ("-A", true, from_jump)] {
            let began = Instant::now();
            let rehearsal = way.rehearse(&[road, "jump", "device"]).start();
            env.person().wait_until_asked(Kind::Notice);
            let asked = Instant::now();
            way.approve(1);
            env.person().wait_until_asked(Kind::Notice);
            // By the test's own clock: less than all of it, and more.
            let least = milliseconds(asked.elapsed());
            way.approve(1);
            let told = way.told(rehearsal, 0);
            let took = least..=milliseconds(began.elapsed());
            assert_eq!((&told["jumps"], &told["forwarded"]), (&json!(["jump"]), &forwarded.into()), "{told:#}");
            assert_eq!(bindings(&told), expected, "{told:#}");
            for (place, (name, host)) in [("jump", jump), ("device", device)].into_iter().enumerate() {
                let hop = &told["hops"][place];
                assert_eq!((&hop["host"], &hop["host_key"]), (&json!(name), &json!(host.fingerprint())), "{told:#}");
                for is in ["known", "let_in", "hostbound"] {
                    assert_eq!(hop[is], true, "{is} of {told:#}");
                }
                assert_eq!(hop["address"], host.address().to_string(), "{told:#}");
                assert_eq!((&hop["key"], &hop["user"]), (&json!(key.fingerprint()), &json!(env.user())), "{told:#}");
                assert_eq!(hop["methods"], json!(["publickey"]), "{told:#}");
                let request = &told["record"]["requests"][place];
                assert_eq!(hop["requests"], json!([request["record"]]), "{told:#}");
                assert_eq!((&request["signed"], &request["user_verified"]), (&json!(true), &json!(true)), "{told:#}");
                assert!(request["hostbound"].as_bool().unwrap() && request["token"]["product"].is_string(), "{told:#}");
            }
            let forwarding = if forwarded { json!(true) } else { Value::Null };
            assert_eq!((&told["hops"][0]["agent_forwarding"], &told["hops"][1]["agent_forwarding"]), (&forwarding, &Value::Null));
            assert_eq!((told["verify_required"].as_str(), codes(&told["remarks"])), (Some("not-tested"), vec![]), "{told:#}");
            assert_eq!(codes(&told["emergency"]), ["nothing-was-done", "one-token"], "{told:#}");
            times_are_those_of_the_record(agent, &told, took);
        }
        assert_eq!(rehearsals(agent), ["begun", "ended", "begun", "ended"]);
    }
}

/// What is the person's, the token's and the agent's stands in the record; the rest is the network's, of the wall clock.
fn times_are_those_of_the_record(agent: &Agent, told: &Value, took: RangeInclusive<u64>) {
    let of = |name: &str| told["times"][name].as_u64().unwrap();
    let begun = told["record"]["begun"].as_u64().unwrap();
    let records = agent.audit().records().into_iter().filter(|record| record.sequence > begun);
    let courses = records.filter_map(|record| match record.event {
        Event::Outcome { course: Some(course), outcome: Outcome::Signed { .. }, .. } => Some(course.times),
        _ => None,
    });
    let courses: Vec<_> = courses.collect();
    assert_eq!(courses.len(), 2);
    let (asked, person, token) =
        courses.iter().fold((0, 0, 0), |sum, one| (sum.0 + one.total, sum.1 + one.person, sum.2 + one.token));
    assert_eq!((of("person_ms"), of("token_ms")), (person, token), "{told:#}");
    assert_eq!(of("total_ms") - of("network_ms"), asked, "{told:#}");
    assert!(of("network_ms") > 0 && of("token_ms") > 0, "{told:#}");
    assert!(took.contains(&of("total_ms")), "{took:?} ms: {told:#}");
    let hops = told["hops"].as_array().unwrap().iter().map(|hop| hop["ms"].as_u64().unwrap());
    assert!(hops.sum::<u64>() <= of("total_ms"), "{told:#}");
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// What the record says of rehearsals, in its order.
fn rehearsals(agent: &Agent) -> Vec<&'static str> {
    let ended = |event: &Event| matches!(event, Event::Act { act: Act::RehearsalEnded { .. } });
    // It is written once the program is gone.
    agent.audit().wait_for(ended);
    let acts = agent.audit().acts().into_iter().filter_map(|act| match act {
        Act::RehearsalBegun { destination, peer } => {
            assert_eq!((destination.as_str(), peer.programs[0].name.as_str()), ("device", "agent-cli"));
            Some("begun")
        }
        Act::RehearsalEnded { .. } => Some("ended"),
        _ => None,
    });
    acts.collect()
}
