//! `agent-cli remove`.

use std::path::Path;
use std::process::ExitCode;

use crate::agent_socket::AgentSocket;
use crate::named_key::in_file;
use crate::problem::Problem;
use crate::public_key::PublicKey;
use crate::safe::safe;

/// What to remove.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Key files (the private or the public one), or fingerprints as `agent-cli list` shows them
    #[arg(value_name = "FILE|FINGERPRINT", required_unless_present = "all", conflicts_with = "all")]
    keys: Vec<String>,
    /// Remove all keys
    #[arg(long)]
    all: bool,
}

/// Removes every key it can, and fails when one could not be removed.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Problem> {
    let mut agent = AgentSocket::connect()?;
    if options.all {
        if !agent.remove_all()? {
            return Err(Problem::failed("Failed to remove all identities.").next(REFUSED));
        }
        eprintln!("All identities removed.");
        return Ok(ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    for name in &options.keys {
        if let Err(problem) = remove(&mut agent, name) {
            problem.show();
            code = problem.end();
        }
    }
    Ok(code)
}

/// The protocol has no room for the agent's reason.
const REFUSED: &str = "See `agent-cli list`, and the agent's messages for the reason.";

fn remove(agent: &mut AgentSocket, name: &str) -> Result<(), Problem> {
    let (key, comment) = if name.starts_with("SHA256:") { held(agent, name)? } else { in_file(Path::new(name))? };
    if !agent.remove(&key)? {
        return Err(
            Problem::failed(format!("Could not remove identity \"{name}\": agent refused operation")).next(REFUSED)
        );
    }
    eprintln!("Identity removed: {} {} ({})", safe(name), key.type_name, safe(&comment));
    Ok(())
}

/// The key with this fingerprint, and not its certificates.
fn held(agent: &mut AgentSocket, fingerprint: &str) -> Result<(PublicKey, String), Problem> {
    let mut keys = agent.list()?.into_iter();
    let found = keys.find(|held| held.key.fingerprint == fingerprint && !held.key.type_name.ends_with("-CERT"));
    found.map(|held| (held.key, held.comment)).ok_or_else(|| {
        Problem::failed(format!("the agent holds no key with the fingerprint {fingerprint}"))
            .next("See `agent-cli list`.")
    })
}
