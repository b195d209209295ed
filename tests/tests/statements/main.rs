//! What a drop-in for ssh-agent must do, statement by statement, with the real agent over its socket.
//!
//! | | statement | shown by |
//! |---|---|---|
//! | 1 | frames, unknown messages | `protocol::a_message_of_256_kib_is_the_longest`, `protocol::an_empty_message_ends_the_connection`, `protocol::what_can_not_be_parsed_is_a_failure_and_no_more` |
//! | 1 | bytes that are not UTF-8 | `statements::additions::a_comment_is_any_bytes`, `statements::locking::a_password_is_any_bytes` |
//! | 2 | whose connections are served | `limits::the_agent_serves_its_own_user_and_nobody_else`, `limits::root_is_served_and_put_on_record_where_so_configured` |
//! | 2 | no descriptor left | `limits::a_process_that_opens_all_it_can_takes_nothing_from_others` |
//! | 3 | session bindings | `strangers::a_session_binding_that_does_not_hold_fails`, `statements::bindings::sixteen_bindings_and_no_more` |
//! | 3 | host keys of every type, host certificates | `statements::bindings::hosts_with_keys_of_every_type`, `statements::bindings::hosts_with_certificates` |
//! | 3 | a failed extension's answer | `protocol::an_extension_that_fails_says_that_it_is_one` |
//! | 4 | `query` | `protocol::query_names_the_extensions` |
//! | 5, 6 | destination constraints | `statements::destinations::each_step_is_permitted_or_refused`; with sshd: `sk_suite::restricted_to_hosts`, `sk_suite::restricted_to_users`, `sk_suite::restricted_to_a_host_s_certificate` |
//! | 7 | list, remove, add again | `statements::destinations::a_hidden_key_is_neither_listed_nor_removed_nor_replaced` |
//! | 7 | remove all | `statements::destinations::all_are_removed_hidden_ones_too` |
//! | 8 | what a constrained key signs | `statements::logins::a_constrained_key_logs_in_where_the_last_binding_leads` |
//! | 9 | what a login is | `statements::logins::a_login_with_one_field_changed_is_none` |
//! | 10 | what else keys sign | `statements::logins::what_is_neither_a_login_nor_a_signature_on_a_file`, `protocol::opaque_data_is_refused_for_a_token_s_key` |
//! | 11 | nobody is asked for what is refused | `statements::person::nobody_is_asked_for_what_is_refused` |
//! | 12 | askpass | `statements::person::only_yes_and_silence_agree`, `statements::person::a_prompt_needs_a_display_or_force`, `statements::person::the_question_says_what_for` |
//! | 12 | notices | `login::a_key_of_ssh_keygen_ed25519` |
//! | 13 | constraints | `statements::additions::a_constraint_that_is_not_understood_refuses_the_key` |
//! | 14 | providers | `statements::additions::no_library_is_loaded` |
//! | 15 | added again | `statements::additions::added_again_it_is_replaced` |
//! | 15 | lifetimes | `lifecycle::command_line::t_is_the_lifetime_of_keys_that_bring_none`, `sk_suite::a_lifetime_ends` |
//! | 16 | lock and unlock | `statements::locking::locked_it_lists_nothing_and_takes_bindings`, `statements::locking::locked_it_takes_no_keys_by_its_control_socket`, `sk_suite::locked_and_unlocked` |
//! | 16 | delays | `statements::locking::a_wrong_password_costs_its_caller_and_nobody_else` |
//! | 17 | RSA | `statements::rsa::flags_choose_the_hash`, `statements::rsa::ssh_logs_in_with_keys_of_every_type` |
//! | 18 | not dumpable | `lifecycle::an_agent_s_memory_is_its_own` |
//!
//! The rules themselves have tables beside the code: `agent/src/{certificate,destination,policy,software_key,verify}/tests.rs`
//! and `agent/src/wire/*/tests.rs`. OpenSSH's own suite is run by `tests/openssh`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

mod additions;
mod bindings;
mod destinations;
mod locking;
mod logins;
mod person;
mod rsa;

use std::fs;

use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, PrivateKey};
use tests::{Agent, AgentOptions, Client, Env, KeyFile, SUCCESS, session_bind, string};

/// SSH_AGENTC_REMOVE_IDENTITY.
const REMOVE: u8 = 18;

const SESSION_BIND: &str = "session-bind@openssh.com";

/// A host that the test plays.
struct FakeHost(PrivateKey);

impl FakeHost {
    fn new() -> Self {
        Self(PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap())
    }

    fn key(&self) -> Vec<u8> {
        self.0.public_key().to_bytes().unwrap()
    }

    fn bind(&self, client: &mut Client, session: &[u8], forwarding: bool) {
        let body = session_bind(&self.0, session, forwarding);
        assert_eq!(client.extension(SESSION_BIND, &body), [SUCCESS]);
    }
}

/// Writes the person's known_hosts, for `ssh-add -h`.
fn known_as(env: &Env, hosts: &[(&str, &FakeHost)]) {
    let line = |(name, host): &(&str, &FakeHost)| format!("{name} {}\n", host.0.public_key().to_openssh().unwrap());
    fs::write(env.path("known_hosts"), hosts.iter().map(line).collect::<String>()).unwrap();
}

/// `ssh-add -h PATH… FILE`.
fn restrict(agent: &Agent, paths: &[&str], key: &KeyFile) {
    let add = agent.program("ssh-add").arg("-q").args(paths.iter().flat_map(|path| ["-h", path]));
    add.arg("-H").arg(agent.env().path("known_hosts")).arg(key.path()).run().success();
}

/// A software key that may be used on host `a` by anybody, from there on host `b` as `me`, and nowhere else.
struct Restricted {
    agent: Agent,
    key: KeyFile,
    a: FakeHost,
    b: FakeHost,
    other: FakeHost,
}

impl Restricted {
    fn new() -> Self {
        Self::with(|agent| agent)
    }

    fn with(options: impl FnOnce(AgentOptions) -> AgentOptions) -> Self {
        let env = Env::new();
        let [a, b, other] = [(); 3].map(|()| FakeHost::new());
        known_as(&env, &[("a", &a), ("b", &b), ("other", &other)]);
        let (key, agent) = (env.plain_key(), options(env.agent().mutes_nobody()).start());
        restrict(&agent, &["a", "a>me@b"], &key);
        Self { agent, key, a, b, other }
    }

    fn env(&self) -> &Env {
        self.agent.env()
    }

    /// A connection that is bound to these hosts, one after the other, to be forwarded by all of them but the last. The
    /// sessions are called `1`, `2` and so on.
    fn bound(&self, path: &[&FakeHost], last_forwards: bool) -> Client {
        let mut client = self.agent.connect();
        for (n, host) in path.iter().enumerate() {
            let forwards = last_forwards || n + 1 < path.len();
            host.bind(&mut client, (n + 1).to_string().as_bytes(), forwards);
        }
        client
    }
}

/// Requests to remove a key.
fn remove(key: &KeyFile) -> Vec<u8> {
    [&[REMOVE][..], &string(&key.blob())].concat()
}
