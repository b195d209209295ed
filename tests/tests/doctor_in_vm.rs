//! `agent-cli doctor` on what only a machine of its own can have broken: the kernel's device nodes, and the clock.
//!
//! They run in the virtual machine alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use soft_token::{Device, TokenOptions};
use tests::{Agent, Doctor, Env, PIN, Recipe, skipped};

/// A good set-up whose programs are held to files' permissions.
struct Ready {
    agent: Agent,
    token: Device,
    env: Env,
}

impl Ready {
    /// None where the machine is not the scenario's own.
    fn in_vm() -> Option<Self> {
        if std::env::var_os("VM").is_none() {
            skipped("the devices and the clock are changed in the virtual machine only");
            return None;
        }
        let env = Env::new();
        let agent = env.agent().bound_by_permissions().start();
        let token = env.plug(TokenOptions::pin_only().pin(PIN));
        agent.cli(["-S", "tokens", "name", "mine"]).run().success();
        agent.gen_keys(&Recipe::ed25519());
        Some(Self { agent, token, env })
    }

    fn doctor(&self) -> Doctor {
        Doctor(self.agent.cli_bound_by_permissions(["doctor", "--json", "-F"]).arg(self.env.ssh_config()))
    }
}

/// No udev rule has given the person the device.
#[test]
fn a_device_that_its_person_may_not_use() {
    let Some(ready) = Ready::in_vm() else { return };
    ready.doctor().finds_all_ready();
    let node = ready.token.path().to_owned();
    ready.token.forbid();
    let (reason, next) = ready.doctor().finds_bad("devices");
    assert_eq!(reason, format!("you may not use {}", node.display()));
    assert!(next.starts_with("Install the udev rule 70-fido-ssh-agent.rules") && next.contains("plugdev"), "{next}");

    // What the rule does.
    fs::set_permissions(&node, fs::Permissions::from_mode(0o660)).unwrap();
    ready.doctor().finds_all_ready();
}

/// A clock that is set otherwise for a while.
struct Shifted(i64);

impl Shifted {
    fn by(seconds: i64) -> Self {
        let now = clock_gettime(ClockId::Realtime);
        clock_settime(ClockId::Realtime, Timespec { tv_sec: now.tv_sec + seconds, ..now }).unwrap();
        Self(seconds)
    }
}

impl Drop for Shifted {
    fn drop(&mut self) {
        let now = clock_gettime(ClockId::Realtime);
        let _ = clock_settime(ClockId::Realtime, Timespec { tv_sec: now.tv_sec - self.0, ..now });
    }
}

/// It is behind the record.
#[test]
fn a_clock_that_is_wrong() {
    let Some(ready) = Ready::in_vm() else { return };
    let behind = Shifted::by(-3600);
    let last = ready.agent.audit().records().last().unwrap().time;
    let (reason, next) = ready.doctor().finds_bad("clock");
    assert!(reason.ends_with(&format!(", and the last record is of {last}")), "{reason}");
    assert!(next.starts_with("Set the clock: `sudo timedatectl set-ntp true`"), "{next}");
    drop(behind);
    ready.doctor().finds_all_ready();
}
