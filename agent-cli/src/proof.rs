//! Whether a key does what it is for: it signs something new, through the agent, for its person.

use std::net::Shutdown;

use agent::assertion::USER_VERIFIED;
use agent::verify::verifies;
use ssh_encoding::{Decode, Encode};
use ssh_key::public::KeyData;
use ssh_key::rand_core::{OsRng, RngCore};
use ssh_key::sha2::{Digest, Sha512};

use crate::agent_socket::AgentSocket;
use crate::attended::while_asked_here;
use crate::problem::Problem;
use crate::public_key::PublicKey;
use crate::terminal::Terminal;

/// What else a key signs proves nothing, and what it signs for a proof is good for nothing else (PROTOCOL.sshsig).
const NAMESPACE: &str = "proof-of-key@fido-ssh-agent";

/// A key that has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof {
    /// Whether the token says that it has verified its user.
    pub(crate) user_verified: bool,
}

/// Has the key sign, which its person agrees to as to any other use of it. With `verify_required` the token has to say that
/// it has verified them.
pub(crate) fn prove(
    agent: &mut AgentSocket,
    key: &PublicKey,
    verify_required: bool,
    terminal: &mut Terminal,
) -> Result<Proof, Problem> {
    let data = fresh_message().map_err(|error| Problem::failed(error.to_string()))?;
    let connection =
        agent.handle().map_err(|error| Problem::failed(format!("the test signature can't be asked for: {error}")))?;
    // The agent cancels what it has begun.
    let hang_up = || drop(connection.shutdown(Shutdown::Both));
    let Some(signature) = while_asked_here(terminal, || agent.sign(key, &data), hang_up)? else {
        return Err(Problem::failed("the agent refused the test signature").next("`agent-cli why` tells the reason."));
    };
    let proof = judge(key, &data, &signature)
        .ok_or_else(|| Problem::failed("the agent's test signature is none of this key"))?;
    match proof.user_verified || !verify_required {
        true => Ok(proof),
        false => Err(Problem::failed("the token signed without having verified its user, which this key demands")
            .next("Make another key: hosts that want fingerprint or PIN would not take this one.")),
    }
}

/// The data of an SSHSIG signature over a random message.
fn fresh_message() -> Result<Vec<u8>, ssh_encoding::Error> {
    let mut nonce = [0; 32];
    OsRng.fill_bytes(&mut nonce);
    let mut data = b"SSHSIG".to_vec();
    NAMESPACE.encode(&mut data)?;
    "".encode(&mut data)?;
    "sha512".encode(&mut data)?;
    Sha512::digest(nonce).as_slice().encode(&mut data)?;
    Ok(data)
}

/// What the signature proves; None where it is no signature of that key over the data.
fn judge(key: &PublicKey, data: &[u8], signature: &[u8]) -> Option<Proof> {
    let public = KeyData::decode(&mut key.blob.as_slice()).ok()?;
    if !verifies(&public, data, signature) {
        return None;
    }
    // Flags and counter stand behind the signature of a key on a token, and are signed as well (PROTOCOL.u2f).
    let trailer = signature.len().checked_sub(5).and_then(|at| signature.get(at));
    let user_verified = key.application.is_some() && trailer.is_some_and(|flags| flags & USER_VERIFIED != 0);
    Some(Proof { user_verified })
}

#[cfg(test)]
mod tests {
    use signature::Signer;
    use ssh_key::private::Ed25519Keypair;
    use ssh_key::public::SkEd25519;
    use ssh_key::sha2::Sha256;

    use super::*;

    /// A key of a token, and its signature over some data with these flags.
    fn signed(data: &[u8], flags: u8) -> (PublicKey, Vec<u8>) {
        let pair = Ed25519Keypair::random(&mut OsRng);
        let end = [&[flags][..], &7u32.to_be_bytes()].concat();
        let message = [Sha256::digest("ssh:").as_slice(), &end, &Sha256::digest(data)].concat();
        let signature: [u8; 64] = ed25519_signature(&pair, &message);
        let mut encoded = Vec::new();
        "sk-ssh-ed25519@openssh.com".encode(&mut encoded).unwrap();
        signature.as_slice().encode(&mut encoded).unwrap();
        encoded.extend(end);
        let mut blob = Vec::new();
        KeyData::SkEd25519(SkEd25519::new(pair.public, "ssh:")).encode(&mut blob).unwrap();
        (PublicKey::read(&blob).unwrap(), encoded)
    }

    fn ed25519_signature(pair: &Ed25519Keypair, message: &[u8]) -> [u8; 64] {
        let signature: ssh_key::Signature = pair.try_sign(message).unwrap();
        signature.as_bytes().try_into().unwrap()
    }

    #[test]
    fn what_a_signature_proves() {
        let data = fresh_message().unwrap();
        for (flags, user_verified) in [(0x05, true), (0x01, false)] {
            let (key, signature) = signed(&data, flags);
            assert_eq!(judge(&key, &data, &signature), Some(Proof { user_verified }));
        }
    }

    #[test]
    fn what_proves_nothing() {
        let data = fresh_message().unwrap();
        assert_ne!(data, fresh_message().unwrap(), "an old signature is of another message");
        let (key, signature) = signed(&data, 0x01);
        let (other, _) = signed(&data, 0x01);
        assert_eq!(judge(&other, &data, &signature), None);
        assert_eq!(judge(&key, &fresh_message().unwrap(), &signature), None);
        assert_eq!(judge(&key, &data, &signature[..signature.len() - 1]), None);
        assert_eq!(judge(&key, &data, b""), None);
        let mut more = signature.clone();
        let flags = more.len() - 5;
        more[flags] |= USER_VERIFIED;
        assert_eq!(judge(&key, &data, &more), None, "a flag that was not signed");
    }
}
