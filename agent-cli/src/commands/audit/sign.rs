//! Signatures over a head, made by a key that the agent holds: a person is asked for them as for any other.

use agent::audit::chain::Head;
use agent::audit::checkpoint::{Checkpoint, to_be_signed};

use crate::agent_socket::{AgentSocket, Held};
use crate::problem::Problem;

/// Has the head signed by the key with this fingerprint, or by the only one there is. Gives that key's, too.
pub(super) fn sign_head(head: Head, key: Option<&str>) -> Result<(Checkpoint, String), Problem> {
    let mut agent = AgentSocket::connect()?;
    let key = chosen(agent.list()?, key)?.key;
    let Some(signature) = agent.sign(&key, &to_be_signed(head))? else {
        return Err(Problem::failed("the agent refused to sign the head").next("`agent-cli why` tells the reason."));
    };
    let checkpoint = Checkpoint { head, key: key.blob, signature };
    let by = checkpoint
        .verified()
        .map_err(|error| Problem::failed(format!("the agent answered with a wrong signature: {error}")))?;
    Ok((checkpoint, by))
}

/// Without a name: the only key on a token, or the only one at all.
fn chosen(held: Vec<Held>, key: Option<&str>) -> Result<Held, Problem> {
    let mut held: Vec<_> = held.into_iter().filter(|held| !held.key.type_name.ends_with("-CERT")).collect();
    if let Some(wanted) = key {
        held.retain(|held| held.key.fingerprint == wanted);
    } else if held.iter().any(|held| held.key.application.is_some()) {
        held.retain(|held| held.key.application.is_some());
    }
    match (held.len(), key) {
        (1, _) => Ok(held.remove(0)),
        (0, Some(key)) => Err(Problem::failed(format!("the agent holds no key with the fingerprint {key}"))
            .next("See `agent-cli list`, and add it with `ssh-add`.")),
        (0, None) => Err(Problem::failed("the agent holds no key").next("Add yours with `ssh-add`.")),
        _ => Err(Problem::failed("the agent holds several keys")
            .next("Name the one that signs with --key SHA256:…, as `agent-cli list` shows it.")),
    }
}
