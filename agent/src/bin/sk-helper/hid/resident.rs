//! authenticatorCredentialManagement (CTAP 2.1 § 6.8): the resident credentials made for SSH.

use agent::token::TokenError;
use agent::token::protocol::{Bytes, Pin, ResidentCredential, ResidentCredentials};
use ctap_hid_fido2::FidoKeyHid;
use ctap_hid_fido2::fidokey::credential_management::credential_management_params::{
    Credential, CredentialProtectionPolicy, Rp,
};
use ctap_hid_fido2::public_key_credential_descriptor::PublicKeyCredentialDescriptor;
use secrecy::ExposeSecret;
use ssh_key::sha2::{Digest, Sha256};

use super::credential::public_key;
use super::info::{CredentialManagement, Info, manages_credentials};
use super::{ANSWERS_WITH_PIN, fits, job};
use crate::attempt::Job;
use crate::failure::{Trouble, complain};

/// NO_CREDENTIALS, in the library's words.
const NO_CREDENTIALS: &str = "0x2E CTAP2_ERR_NO_CREDENTIALS";

/// All resident credentials whose relying party is SSH, and how many others there are.
pub(crate) fn enumerate_credentials(path: &str, pin: Pin) -> Job<ResidentCredentials> {
    let job = job(path, move |key| enumerate(key, pin.0.expose_secret()));
    Job { sends_pin: true, ..job }
}

/// Removes a resident credential (CTAP 2.1 § 6.8.5).
pub(crate) fn delete_credential(path: &str, pin: Pin, key_handle: Vec<u8>) -> Job<()> {
    let run = move |key: &mut FidoKeyHid| {
        fits(&[&key_handle])?;
        prepare(key)?;
        let credential = PublicKeyCredentialDescriptor { id: key_handle.clone(), ctype: "public-key".into() };
        Ok(key.credential_management_delete_credential(Some(pin.0.expose_secret()), credential)?)
    };
    Job { sends_pin: true, preceding: ANSWERS_WITH_PIN, read: Some(Box::new(|_| Ok(()))), ..job(path, run) }
}

/// Tells the library which of the two commands the token has, and which PIN protocol.
fn prepare(key: &mut FidoKeyHid) -> Result<(), Trouble> {
    let info = Info::get(key)?;
    info.prepare_for_pin(key)?;
    let command = manages_credentials(&info)
        .ok_or(Trouble::Known(TokenError::Unsupported, "the token can't list its resident keys"))?;
    key.use_pre_credential_management = command == CredentialManagement::Preview;
    Ok(())
}

fn enumerate(key: &mut FidoKeyHid, pin: &str) -> Result<ResidentCredentials, Trouble> {
    prepare(key)?;
    let parties = match key.credential_management_enumerate_rps(Some(pin)) {
        Err(error) if error.to_string().contains(NO_CREDENTIALS) => return Ok(ResidentCredentials::default()),
        parties => parties?,
    };
    let (ssh, others): (Vec<_>, Vec<_>) = parties.iter().partition(|party| is_ssh(party));
    let mut credentials = Vec::new();
    for party in ssh {
        for credential in key.credential_management_enumerate_credentials(Some(pin), &party.rpid_hash)? {
            credentials.extend(resident(credential, &party.public_key_credential_rp_entity.id)?);
        }
    }
    Ok(ResidentCredentials { ssh: credentials, other_parties: u32::try_from(others.len()).unwrap_or(u32::MAX) })
}

/// A token may cut a long relying party id short (CTAP 2.1 § 6.8.7). Such a key can't be used, for its application is part
/// of the key.
fn is_ssh(party: &Rp) -> bool {
    let id = &party.public_key_credential_rp_entity.id;
    let whole = party.rpid_hash == *Sha256::digest(id);
    if id.starts_with("ssh:") && !whole {
        complain("a resident key's application is cut short, it is left out");
    }
    id.starts_with("ssh:") && whole
}

/// A credential in the protocol's form; None when its key type is none of SSH's.
fn resident(credential: Credential, application: &str) -> Result<Option<ResidentCredential>, Trouble> {
    let key_handle = credential.public_key_credential_descriptor.id;
    if key_handle.is_empty() {
        return Err(Trouble::Nonsense("a resident credential has no id"));
    }
    let Ok((algorithm, public_key)) = public_key(credential.public_key) else {
        return Ok(None);
    };
    let user = credential.public_key_credential_user_entity;
    Ok(Some(ResidentCredential {
        application: application.to_owned(),
        key_handle: Bytes(key_handle),
        algorithm,
        public_key,
        user_id: Bytes(user.id),
        user_name: user.name,
        protection: match credential.cred_protect {
            // A token without credProtect leaves it out, and protects at the first level.
            CredentialProtectionPolicy::Unknown | CredentialProtectionPolicy::UserVerificationOptional => 1,
            CredentialProtectionPolicy::UserVerificationOptionalWithCredentialIdList => 2,
            CredentialProtectionPolicy::UserVerificationRequired => 3,
        },
    }))
}
