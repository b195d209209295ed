//! `agent-cli remove`.

use std::path::Path;
use std::process::ExitCode;

use ssh_key::PrivateKey;
use zeroize::Zeroizing;

use crate::agent_socket::AgentSocket;
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

/// The public key of a key file, which stands in clear in the private one too, its comment does not always.
fn in_file(file: &Path) -> Result<(PublicKey, String), Problem> {
    let text = match std::fs::read(file) {
        Ok(text) => Zeroizing::new(text),
        Err(error) => return beside(file).ok_or_else(|| Problem::failed(format!("{}: {error}", file.display()))),
    };
    let public = || std::str::from_utf8(&text).ok().and_then(PublicKey::read_line);
    let private = || {
        let key = PrivateKey::from_openssh(&text).ok()?;
        let (key_read, comment) = PublicKey::read_line(&key.public_key().to_openssh().ok()?)?;
        Some((key_read, comment))
    };
    beside(file).or_else(public).or_else(private).ok_or_else(|| {
        Problem::failed(format!("{} is no key file", file.display()))
            .next("Name the file of the key, or its fingerprint from `agent-cli list`.")
    })
}

fn beside(file: &Path) -> Option<(PublicKey, String)> {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    PublicKey::read_line(&std::fs::read_to_string(Path::new(&name)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOouqtQZ4Ul3fkCrMS5h5g+t0sG+ESSAYjvHuPwcSyfV on paper\n";

    #[test]
    fn a_key_is_known_by_either_file() {
        let folder = tempfile::tempdir().unwrap();
        let (private, public) = (folder.path().join("id"), folder.path().join("id.pub"));
        assert!(in_file(&private).is_err());
        std::fs::write(&public, PUBLIC).unwrap();
        let expected = PublicKey::read_line(PUBLIC).unwrap();
        assert_eq!(expected.1, "on paper");
        assert_eq!(in_file(&public).unwrap(), expected);
        assert_eq!(in_file(&private).unwrap(), expected);
        std::fs::remove_file(&public).unwrap();
        std::fs::write(&private, "no key").unwrap();
        assert!(in_file(&private).is_err());
    }
}
