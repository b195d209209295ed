//! Whether a signature is what its records say, by the public key alone.

use super::super::record::{Assertion, Binding, BindingEvidence, Evidence, Intent, Signer};
use crate::certificate::plain_public_key;
use crate::identity::{application, fingerprint};
use crate::occasion;
use crate::payload::{Payload, Userauth};
use crate::verify::verifies;

/// The length of flags and counter at the end of a FIDO key's signature (OpenSSH PROTOCOL.u2f).
const TRAILER: usize = 5;

/// What a signature that is good proves: always the key and what was signed, a login's user among it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proof {
    /// It is a login, and the host is proven too: the signed data names its key, or it has signed the session's identifier.
    pub(super) host: bool,
}

/// Holds a signature against its records; None where they have no room for what was signed. The error is a clause: "the
/// signature …".
pub(super) fn check(
    intent: &Intent,
    assertion: Option<Assertion>,
    signature: &[u8],
) -> Result<Option<Proof>, &'static str> {
    let Evidence { key, data, bindings } = &intent.evidence;
    let (Some(blob), Some(data)) = (key.bytes(), data.bytes()) else {
        return Ok(None);
    };
    let key = plain_public_key(blob).ok_or("is of no key that can be read")?;
    if fingerprint(&key) != intent.subject.key {
        return Err("is of another key than the record says");
    }
    if !verifies(&key, data, signature) {
        return Err("does not verify");
    }
    if occasion::certificate(blob) != intent.subject.certificate {
        return Err("is for another certificate than the record says");
    }
    let payload = Payload::parse(data, blob);
    if occasion::meaning(&payload) != intent.subject.meaning {
        return Err("is over something else than the record says");
    }
    if occasion::application(&key) != intent.subject.application || !bound_alike(bindings, &intent.subject.bindings) {
        return Err("has another key's application or another connection's bindings than the record says");
    }
    match (application(&key), assertion) {
        (Some(_), Some(assertion)) if says(signature) == Some((assertion.flags, assertion.counter)) => {}
        (None, None) => {}
        // Another agent's token: what it says is in the signature alone.
        (Some(_), None) if matches!(intent.signer, Signer::Upstream { .. }) => {}
        _ => return Err("says something else of the token than the record"),
    }
    let host = match &payload {
        Payload::Userauth(login) => login.host_key.is_some() || bindings.iter().any(|binding| proves(binding, login)),
        _ => false,
    };
    Ok(Some(Proof { host }))
}

/// Whether these are the hosts that the record names. Of one whose key has no room there, only whether it forwards is known.
fn bound_alike(evidence: &[BindingEvidence], named: &[Binding]) -> bool {
    let alike = |(evidence, named): (&BindingEvidence, &Binding)| {
        let host = evidence.host_key.bytes().is_none_or(|blob| occasion::is_host(&named.host_key, blob));
        host && evidence.forwarding == named.forwarding
    };
    evidence.len() == named.len() && evidence.iter().zip(named).all(alike)
}

/// Flags and counter of a FIDO key's signature.
fn says(signature: &[u8]) -> Option<(u8, u32)> {
    let trailer: [u8; TRAILER] = *signature.last_chunk()?;
    let [flags, counter @ ..] = trailer;
    Some((flags, u32::from_be_bytes(counter)))
}

/// Whether a host has signed the identifier of the session that the login is for.
fn proves(binding: &BindingEvidence, login: &Userauth) -> bool {
    let key = binding.host_key.bytes().and_then(plain_public_key);
    binding.session_id.0 == login.session_id
        && key.is_some_and(|key| verifies(&key, &binding.session_id.0, &binding.signature.0))
}
