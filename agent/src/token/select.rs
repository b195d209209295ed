//! Which of the tokens that are plugged in holds a key: found out silently, at the cost of no touch and no PIN try.

use ssh_key::public::KeyData;
use ssh_key::rand_core::{OsRng, RngCore};

use super::hidraw::Plugging;
use super::protocol::{Bytes, Command, Device, Failure, RawAssertion, Reply};
use super::{Exchange, TokenError};
use crate::assertion::Assertion;
use crate::identity::Credential;
use crate::policy::{Requirements, UserVerification};

/// The token that is going to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The device.
    pub device: Device,
    /// The name that the person gave it, where it is known to be that token.
    pub name: Option<String>,
    /// How well it is known.
    pub standing: Standing,
    /// The plugging-in of which all this is known.
    pub(crate) plugging: Plugging,
}

impl Selected {
    /// Whether it is proven to be the token that holds the key.
    #[must_use]
    pub fn proven(&self) -> bool {
        self.standing == Standing::ByKey
    }

    /// Whether the device is still the one that was plugged in then, as far as its node tells.
    #[must_use]
    pub(crate) fn is_plugged(&self) -> bool {
        Plugging::of(&self.device.path).as_ref() == Some(&self.plugging)
    }
}

/// How well a device is known to be the token that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It proved to hold the key, with a signature over a nonce of ours. Verify-required resident keys hide from a silent
    /// question, so these can't.
    ByKey,
    /// Nothing is known of it but what it says of itself.
    FirstSeen,
}

/// A silent signature has neither flag.
const SILENT: Requirements =
    Requirements { confirm: false, user_presence: false, user_verification: UserVerification::NotRequired };

/// Asks every token whether it holds the credential, and believes only a signature that verifies. When none answers and
/// the key may be hiding, the only token there is taken, or the person chooses one by touch: `on_choice` is called when
/// that begins.
///
/// # Errors
/// [`TokenError::NotFound`] without tokens, [`TokenError::NoCredentials`] when none holds the key, and what the tokens
/// said otherwise.
pub async fn select(
    exchange: &mut dyn Exchange,
    credential: &Credential,
    key: &KeyData,
    on_choice: &mut (dyn FnMut() + Send),
) -> Result<Selected, Failure> {
    let devices = list(exchange).await?;
    if devices.is_empty() {
        return Err(Failure::new(TokenError::NotFound, "no FIDO device is plugged in"));
    }
    let mut trouble = Failure::new(TokenError::NoCredentials, "no token answered the probe");
    // Those that may hold the key all the same.
    let mut hiding = Vec::new();
    for device in devices {
        // Before it is asked: what it then proves is proven of this plugging-in.
        let Some(plugging) = Plugging::of(&device.path) else {
            continue;
        };
        match probe(exchange, &device, credential, key).await {
            Ok(true) => return Ok(Selected { device, name: None, standing: Standing::ByKey, plugging }),
            Ok(false) if credential.flags.user_verification_required() => hiding.push(device),
            Ok(false) => {}
            // A token with alwaysUv says nothing before its user is verified (CTAP 2.1 § 7.2).
            Err(failure) if failure.error == TokenError::PinRequired => hiding.push(device),
            // One that does not answer as it should does not stand between the person and another.
            Err(failure) => trouble = failure,
        }
    }
    let device = match hiding.len() {
        0 => return Err(trouble),
        1 => hiding.remove(0),
        _ => choose(exchange, &hiding, on_choice).await?,
    };
    let plugging = Plugging::of(&device.path).ok_or_else(|| Failure::new(TokenError::NotFound, "it was pulled out"))?;
    Ok(Selected { device, name: None, standing: Standing::FirstSeen, plugging })
}

/// The FIDO devices that are plugged in, in the order of their nodes.
///
/// # Errors
/// What the helper said.
pub async fn list(exchange: &mut dyn Exchange) -> Result<Vec<Device>, Failure> {
    match exchange.call(Command::List, &mut || ()).await? {
        Reply::Devices(mut devices) => {
            devices.retain(|device| super::hidraw::is_fido_node(&device.path));
            devices.sort_by(|a, b| (a.path.len(), &a.path).cmp(&(b.path.len(), &b.path)));
            Ok(devices)
        }
        _ => Err(unexpected()),
    }
}

/// Lets the person choose one of several tokens by touching it.
///
/// # Errors
/// What the tokens said; [`TokenError::UserTimeout`] when none was touched.
pub async fn choose(
    exchange: &mut dyn Exchange,
    devices: &[Device],
    on_choice: &mut (dyn FnMut() + Send),
) -> Result<Device, Failure> {
    on_choice();
    let paths = devices.iter().map(|device| device.path.clone()).collect();
    match exchange.call(Command::Select { paths }, &mut || ()).await? {
        Reply::Selected { path } => devices.iter().find(|device| device.path == path).cloned().ok_or_else(unexpected),
        _ => Err(unexpected()),
    }
}

async fn probe(
    exchange: &mut dyn Exchange,
    device: &Device,
    credential: &Credential,
    key: &KeyData,
) -> Result<bool, Failure> {
    let mut nonce = [0u8; 32];
    OsRng.fill_bytes(&mut nonce);
    let command = Command::Probe {
        path: device.path.clone(),
        application: credential.application.clone(),
        key_handle: Bytes(credential.key_handle.as_bytes().to_vec()),
        data: Bytes(nonce.to_vec()),
    };
    match exchange.call(command, &mut || ()).await {
        Ok(Reply::Assertion(raw)) => Ok(proves(&raw, credential, key, &nonce)),
        Ok(_) => Err(unexpected()),
        Err(failure) if failure.error == TokenError::NoCredentials => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn proves(raw: &RawAssertion, credential: &Credential, key: &KeyData, nonce: &[u8]) -> bool {
    Assertion::read(key, credential, &raw.auth_data.0, &raw.signature.0, &raw.credential_id.0)
        .is_ok_and(|assertion| assertion.verify(key, nonce, &SILENT).is_ok())
}

fn unexpected() -> Failure {
    Failure::new(TokenError::Protocol, "the helper answered something else")
}
