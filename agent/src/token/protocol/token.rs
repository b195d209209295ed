//! What a token says of itself and what it made, in the helper's words.

use serde::{Deserialize, Serialize};

use super::{Algorithm, Bytes};

/// A FIDO device as the system shows it. None of this proves which token it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its node, e.g. `/dev/hidraw0`.
    pub path: String,
    /// Its product name.
    pub product: String,
    /// Its USB serial number; empty when it has none.
    pub serial: String,
    /// USB vendor id.
    pub vendor_id: u16,
    /// USB product id.
    pub product_id: u16,
}

/// What authenticatorGetInfo and authenticatorClientPIN say of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// `FIDO_2_0`, `FIDO_2_1`, …
    pub versions: Vec<String>,
    /// The model's identifier, 16 bytes.
    pub aaguid: Bytes,
    /// `clientPin`: None when the token has no PIN, false when none was set yet.
    pub pin_set: Option<bool>,
    /// `uv`: None when the token has no sensor, false when nothing is enrolled yet.
    pub built_in_uv: Option<bool>,
    /// `alwaysUv`: the token verifies its user for every signature, whatever the key asks.
    pub always_uv: bool,
    /// `credMgmt`, or its preview: resident credentials can be enumerated.
    pub credential_management: bool,
    /// `forcePINChange`: the PIN has to be changed before it is accepted for anything else.
    pub force_pin_change: bool,
    /// powerCycleState: no PIN is looked at until the token was pulled out and plugged in again.
    pub power_cycle_needed: bool,
    /// Wrong PINs left before the token locks itself for good; None when no PIN is set.
    pub pin_retries: Option<u32>,
    /// Failed fingerprints left before the token wants the PIN; None where there is no sensor.
    pub uv_retries: Option<u32>,
    /// `minPINLength`, in code points: 4 unless the token wants more (CTAP 2.1 § 6.4).
    pub shortest_pin: u32,
    /// `remainingDiscoverableCredentials`: how many more resident keys it has room for; None when it does not say.
    pub resident_keys_left: Option<u32>,
    /// `bioEnroll`, or its preview: None when the token can't enrol fingerprints over this protocol, else whether any is
    /// enrolled.
    pub fingerprints: Option<bool>,
}

/// An assertion as the token gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawAssertion {
    /// The authenticator data: rpIdHash (32), flags (1), counter (4) (CTAP 2.1 § 6.2; WebAuthn § 6.1).
    pub auth_data: Bytes,
    /// Ed25519: 64 bytes; ES256: DER.
    pub signature: Bytes,
    /// The credential's id; a token may leave it out when it was asked for one credential only.
    pub credential_id: Bytes,
}

/// A new credential as the token gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawCredential {
    /// The authenticator data with the attested credential data.
    pub auth_data: Bytes,
    /// The credential's id.
    pub key_handle: Bytes,
    /// Ed25519: 32 bytes; P-256: the uncompressed point, 65 bytes.
    pub public_key: Bytes,
    /// The attestation certificates, the token's own first; empty with self-attestation.
    pub certificates: Vec<Bytes>,
    /// The attestation's signature.
    pub attestation_signature: Bytes,
}

/// A credential kept by the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResidentCredential {
    /// The relying party id.
    pub application: String,
    /// The credential's id.
    pub key_handle: Bytes,
    /// The key type.
    pub algorithm: Algorithm,
    /// As in [`RawCredential::public_key`].
    pub public_key: Bytes,
    /// The user handle.
    pub user_id: Bytes,
    /// The user's name.
    pub user_name: String,
    /// The credProtect level, 1 to 3; 3 is userVerificationRequired.
    pub protection: u8,
}

/// The resident credentials of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResidentCredentials {
    /// Those made for SSH.
    pub ssh: Vec<ResidentCredential>,
    /// How many relying parties it keeps others for, which are nobody's business here.
    pub other_parties: u32,
}

/// An enrolled fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// What the token calls it (a template id): any bytes.
    pub id: Bytes,
    /// What the person calls it; empty where it has no name.
    pub name: String,
}

/// The fingerprints of a token, and what it takes for another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprints {
    /// Those that are enrolled.
    pub enrolled: Vec<Fingerprint>,
    /// The longest name it takes, in bytes; None when it does not say.
    pub longest_name: Option<u32>,
    /// How many good samples another one may take; 0 when it does not say.
    pub samples: u32,
}
