//! End-to-end tests: OpenSSH's own programs, the agent, its helper and its command line, and a token made of software.
//!
//! This is what the scenarios in `tests/tests` are written with. Each scenario is written once and runs in two places: in
//! plain `cargo test`, where programs see the token by way of a preload library, and in the virtual machine of `tests/vm`
//! (`TOKEN_BUS=uhid`), where it is a real hidraw device; and there, hosts can have a network of their own (`NETWORK=namespaces`).
//!
//! ```no_run
//! use tests::{Recipe, Scene, TokenKind};
//!
//! let Scene { env, token, agent, .. } = Scene::ready(TokenKind::Fingerprint, &Recipe::ed25519());
//! let login = agent.ssh(["device", "echo", "hello"]).start();
//! let notice = env.person().approve(&token);
//! assert!(notice.contains("Log in as"));
//! assert_eq!(login.wait().success().stdout, "hello\n");
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on ends, with a sentence that says why"
)]

mod agent_process;
mod audit;
mod authority;
mod built;
mod doctor;
mod env;
pub mod graph;
mod host;
mod keys;
mod login;
mod network;
mod output;
mod person;
mod program;
mod protocol;
mod rival;
mod scene;
mod skipped;
mod strace;
mod terminal;
mod tmux;
mod token;
mod verifiers;

pub use agent_process::{Agent, AgentOptions};
pub use audit::Audit;
pub use authority::Authority;
pub use built::built;
pub use doctor::{Doctor, Examination};
pub use env::Env;
pub use host::Host;
pub use keys::{Algorithm, KeyFile, Recipe};
pub use login::{ANOTHERS, Login, OURS, SystemBus};
pub use network::{End, Network};
pub use output::Output;
pub use person::{Answer, Asked, Kind, Person};
pub use program::{Ended, Program, Running, child_of, peak_memory};
pub use protocol::{
    Client, FAILURE, REQUEST_IDENTITIES, SIGN_RESPONSE, SUCCESS, connect_within, login, login_as, session_bind, sshsig,
    string,
};
pub use rival::Rival;
pub use scene::Scene;
pub use skipped::skipped;
pub use strace::{Strace, Thread};
pub use terminal::Terminal;
pub use tmux::Tmux;
pub use token::{PIN, TokenKind};
pub use verifiers::{SecondVerifier, first_verdict};

use std::time::Duration;

/// How long anything is waited for that has to happen. Nothing is expected to take so long; a machine that is busy, or
/// made of software, may.
pub const PATIENCE: Duration = Duration::from_secs(60);
