//! A login with one key alone, by the `ssh` that the person uses, with their own configuration.

use std::ffi::OsString;

use crate::agent_socket::AgentSocket;
use crate::login::{self, CONNECT_TIMEOUT, HARMLESS, OPTIONS};
use crate::places::find;
use crate::problem::Problem;
use crate::publication::Candidate;
use crate::terminal::Terminal;
use agent::environment::socket_in_environment;

/// What holds beside [`OPTIONS`]: the new key comes first, through the agent; and nothing is forwarded.
const OURS: [&str; 5] = [
    "ForwardAgent=no",
    "IdentitiesOnly=yes",
    "IdentityAgent=SSH_AUTH_SOCK",
    "PreferredAuthentications=publickey",
    "StdinNull=yes",
];

/// Logs in with this key. Where the configuration names other keys, a login with one of those does not count.
pub(super) fn log_in(destination: &str, key: &Candidate, terminal: &mut Terminal) -> Result<(), Problem> {
    // That it is there, and where: `ssh` is told the same.
    drop(AgentSocket::connect()?);
    let socket = match socket_in_environment() {
        Some(socket) => socket,
        None => find(None)?.socket,
    };
    terminal.say(&format!("Logging in on {destination} with the new key only."));
    let options = OPTIONS.iter().chain(&OURS).flat_map(|option| ["-o".into(), OsString::from(option)]);
    let mut arguments: Vec<OsString> = options.collect();
    arguments.extend(["-o".into(), format!("ConnectTimeout={CONNECT_TIMEOUT}").into()]);
    arguments.extend(["-i".into(), key.file.clone().into()]);
    arguments.extend(["--", destination, HARMLESS].map(OsString::from));
    let ended = login::run(&arguments, Some(&socket), terminal)?;
    judge(destination, &key.key.fingerprint, ended.code == Some(0), &ended.words())
}

/// The last key that a host took is that of the destination: a jump host comes before it.
fn judge(destination: &str, fingerprint: &str, succeeded: bool, words: &str) -> Result<(), Problem> {
    if !succeeded {
        let problem = Problem::failed(format!("the test login on {destination} with the new key failed"));
        let said: Vec<_> = words.lines().filter(|line| !line.starts_with("debug") && !line.trim().is_empty()).collect();
        let said = said.iter().rev().take(3).rev();
        return Err(said.fold(problem, |problem, line| problem.next(format!("ssh: {}", line.trim_end()))).next(
            "If hosts learn of new keys only after a while, repeat then. `agent-cli why` tells what the agent refused.",
        ));
    }
    let accepted = words.lines().rev().find_map(|line| line.strip_prefix("debug1: Server accepts key: "));
    match accepted {
        Some(key) if key.split_whitespace().any(|word| word == fingerprint) => Ok(()),
        _ => Err(Problem::failed(format!(
            "{destination} let you in, but not by the new key, so that is not known to work"
        ))
        .next("Take other keys for that host out of ~/.ssh/config (IdentityFile), and repeat.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_new_key_s_own_login_counts() {
        let accepts =
            |key: &str| format!("debug1: Server accepts key: /home/me/.ssh/id ED25519-SK {key} explicit agent\r\n");
        let words = |keys: &[&str]| {
            format!("OpenSSH_9.2p1\n{}debug1: Authenticated\n", keys.iter().map(|key| accepts(key)).collect::<String>())
        };
        let judge = |succeeded, words: &str| {
            judge("device", "SHA256:new", succeeded, words).map_err(|problem| problem.to_string())
        };
        assert_eq!(judge(true, &words(&["SHA256:jump", "SHA256:new"])), Ok(()));
        for wrong in
            [words(&["SHA256:old"]), words(&["SHA256:new", "SHA256:old"]), words(&["SHA256:newer"]), words(&[])]
        {
            assert!(judge(true, &wrong).unwrap_err().contains("not by the new key"), "{wrong}");
        }
        let refused =
            judge(false, &(words(&["SHA256:new"]) + "me@device: Permission denied (publickey).\r\n")).unwrap_err();
        assert!(refused.contains("\n  ssh: me@device: Permission denied (publickey).\n"), "{refused}");
    }
}
