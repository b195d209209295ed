//! authenticatorMakeCredential (CTAP 2.1 § 6.1).

use std::sync::Arc;

use agent::token::TokenError;
use agent::token::protocol::{Algorithm, Bytes, NewCredential, RawCredential, Verification};
use ctap_hid_fido2::FidoKeyHid;
use ctap_hid_fido2::fidokey::credential_management::credential_management_params::CredentialProtectionPolicy;
use ctap_hid_fido2::fidokey::make_credential::{Attestation, MakeCredentialArgs, make_credential_response};
use ctap_hid_fido2::fidokey::{CredentialExtension, CredentialSupportedKeyType};
use ctap_hid_fido2::public_key::{PublicKey, PublicKeyType};
use ctap_hid_fido2::public_key_credential_user_entity::PublicKeyCredentialUserEntity;
use secrecy::ExposeSecret;
use ssh_key::sha2::{Digest, Sha256};

use super::info::Info;
use super::{ANSWERS_WITH_PIN, fits, job};
use crate::attempt::Job;
use crate::failure::Trouble;

/// Makes a credential.
pub(crate) fn make_credential(path: &str, options: NewCredential, verification: Verification) -> Job<RawCredential> {
    let sends_pin = matches!(verification, Verification::Pin(_));
    let asked = Arc::new(options);
    let reader = Arc::clone(&asked);
    Job {
        sends_pin,
        preceding: match protection(&asked) {
            _ if sends_pin => ANSWERS_WITH_PIN,
            // getInfo tells whether the token can protect a key.
            Some(_) => 1,
            None => 0,
        },
        read: Some(Box::new(move |answer| credential(make_credential_response::parse_cbor(answer)?, &reader))),
        ..job(path, move |key| ask(key, &asked, &verification))
    }
}

fn ask(key: &mut FidoKeyHid, options: &NewCredential, verification: &Verification) -> Result<RawCredential, Trouble> {
    let name = options.user_name.as_str();
    fits(&[options.application.as_bytes(), &options.user_id.0, name.as_bytes(), name.as_bytes()])?;
    let pin = if let Verification::Pin(pin) = verification { Some(pin.0.expose_secret()) } else { None };
    let protection = protection(options);
    if pin.is_some() || protection.is_some() {
        let info = Info::get(key)?;
        if pin.is_some() {
            info.prepare_for_pin(key)?;
        }
        if protection.is_some() && !info.has_extension("credProtect") {
            const WORDS: &str = "the token can't protect a resident or verify-required key";
            return Err(Trouble::Known(TokenError::Unsupported, WORDS));
        }
    }
    // Not by the library's builder, which asks for built-in user verification unless told otherwise.
    let attestation = key.make_credential_with_args(&MakeCredentialArgs {
        rpid: options.application.clone(),
        challenge: options.challenge.0.clone(),
        pin,
        key_types: vec![match options.algorithm {
            Algorithm::Ed25519 => CredentialSupportedKeyType::Ed25519,
            Algorithm::EcdsaP256 => CredentialSupportedKeyType::Ecdsa256,
        }],
        uv: matches!(verification, Verification::BuiltIn).then_some(true),
        exclude_list: Vec::new(),
        user_entity: Some(PublicKeyCredentialUserEntity::new(Some(&options.user_id.0), Some(name), Some(name))),
        rk: Some(options.resident),
        extensions: protection.map(|policy| vec![CredentialExtension::CredProtect(Some(policy))]),
    })?;
    credential(attestation, options)
}

/// The credProtect level to ask for (CTAP 2.1 § 12.1), as OpenSSH's sk-usbhid.c chooses it: a verify-required key must not
/// sign without verification, and a resident one must not be found by whoever finds the token.
fn protection(options: &NewCredential) -> Option<CredentialProtectionPolicy> {
    if options.verify_required {
        Some(CredentialProtectionPolicy::UserVerificationRequired)
    } else if options.resident {
        Some(CredentialProtectionPolicy::UserVerificationOptionalWithCredentialIdList)
    } else {
        None
    }
}

/// Whether this answers the question at all, and its parts. The daemon verifies it.
fn credential(attestation: Attestation, options: &NewCredential) -> Result<RawCredential, Trouble> {
    let key_handle = attestation.credential_descriptor.id;
    if key_handle.is_empty() || attestation.rpid_hash != *Sha256::digest(&options.application) {
        return Err(Trouble::Nonsense("the credential is for another application"));
    }
    let (algorithm, public_key) = public_key(attestation.credential_publickey)?;
    if algorithm != options.algorithm {
        return Err(Trouble::Nonsense("the credential has another algorithm"));
    }
    Ok(RawCredential {
        auth_data: Bytes(attestation.auth_data),
        key_handle: Bytes(key_handle),
        public_key,
        certificates: attestation.attstmt_x5c.into_iter().map(Bytes).collect(),
        attestation_signature: Bytes(attestation.attstmt_sig),
    })
}

/// A public key in the protocol's form, which is what the library calls DER.
pub(super) fn public_key(key: PublicKey) -> Result<(Algorithm, Bytes), Trouble> {
    match (key.key_type, key.der.len()) {
        (PublicKeyType::Ed25519, 32) => Ok((Algorithm::Ed25519, Bytes(key.der))),
        (PublicKeyType::Ecdsa256, 65) => Ok((Algorithm::EcdsaP256, Bytes(key.der))),
        _ => Err(Trouble::Nonsense("the credential's public key is none that SSH knows")),
    }
}
