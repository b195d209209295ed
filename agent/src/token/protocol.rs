//! What the daemon and an `sk-helper` say to each other.
//!
//! The daemon starts a helper for one request of a client and talks to it in lines of JSON: commands on the helper's
//! standard input, messages on its standard output. The helper's first line is a [`Hello`]; after that each
//! [`Command`] is answered by any number of [`Message::Progress`] and exactly one [`Message::Reply`] or
//! [`Message::Failed`]. At the end of its input the helper exits.
//!
//! The daemon believes none of it: see `assertion` for what is checked before a signature is used.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::TokenError;

/// The version of these messages. A helper of another version is not used.
pub const VERSION: u32 = 1;

/// The longest line either side accepts, in bytes: an SSH agent frame of 256 KiB in base64, and its wrapping.
pub const MAX_LINE: usize = 512 * 1024;

/// The helper's first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Must be [`VERSION`].
    pub version: u32,
}

/// What the daemon asks. Every command that names a `path` opens that device anew and closes it again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// Which FIDO devices are plugged in. Answered by [`Reply::Devices`].
    List,
    /// authenticatorGetInfo (CTAP 2.1 § 6.4) and both retry counters. Answered by [`Reply::State`].
    GetState {
        /// The device.
        path: String,
    },
    /// authenticatorGetAssertion with `up` false: does the token hold this credential? Costs no touch and no PIN try.
    /// Answered by [`Reply::Assertion`], or [`TokenError::NoCredentials`].
    Probe {
        /// The device.
        path: String,
        /// The relying party id.
        application: String,
        /// The credential id.
        key_handle: Bytes,
        /// Hashed to make clientDataHash: a fresh nonce of the daemon's, so that an answer can be proven fresh.
        data: Bytes,
    },
    /// authenticatorSelection (CTAP 2.1 § 6.9) on all of these at once. Answered by [`Reply::Selected`] with the one
    /// that was touched; the others are cancelled.
    Select {
        /// The devices.
        paths: Vec<String>,
    },
    /// authenticatorGetAssertion with a touch (CTAP 2.1 § 6.2). Answered by [`Reply::Assertion`].
    GetAssertion {
        /// The device.
        path: String,
        /// The relying party id.
        application: String,
        /// The credential id.
        key_handle: Bytes,
        /// What is to be signed; its SHA-256 is the clientDataHash (OpenSSH PROTOCOL.u2f).
        data: Bytes,
        /// How the person proves who they are.
        verification: Verification,
    },
    /// authenticatorClientPIN, getPinToken (CTAP 2.1 § 6.5.5.7.1): proves the PIN to the token, and does nothing with what
    /// that gives. Answered by [`Reply::PinVerified`].
    VerifyPin {
        /// The device.
        path: String,
        /// The PIN.
        pin: Pin,
    },
    /// authenticatorMakeCredential (CTAP 2.1 § 6.1). Answered by [`Reply::Credential`].
    MakeCredential {
        /// The device.
        path: String,
        /// The credential to make.
        options: NewCredential,
        /// How the person proves who they are.
        verification: Verification,
    },
    /// All resident credentials whose relying party id is `ssh:` or begins with it (CTAP 2.1 § 6.8).
    /// Answered by [`Reply::Credentials`].
    EnumerateCredentials {
        /// The device.
        path: String,
        /// Enumeration needs the PIN: ctap-hid-fido2 can't obtain a token by fingerprint.
        pin: Pin,
    },
}

impl Command {
    /// The devices it names.
    #[must_use]
    pub fn paths(&self) -> Vec<&str> {
        match self {
            Self::List => Vec::new(),
            Self::Select { paths } => paths.iter().map(String::as_str).collect(),
            Self::GetState { path }
            | Self::Probe { path, .. }
            | Self::GetAssertion { path, .. }
            | Self::MakeCredential { path, .. }
            | Self::VerifyPin { path, .. }
            | Self::EnumerateCredentials { path, .. } => vec![path],
        }
    }

    /// The device that it sends a PIN to.
    #[must_use]
    pub fn sends_pin_to(&self) -> Option<&str> {
        match self {
            Self::GetAssertion { path, verification: Verification::Pin(_), .. }
            | Self::MakeCredential { path, verification: Verification::Pin(_), .. }
            | Self::VerifyPin { path, .. }
            | Self::EnumerateCredentials { path, .. } => Some(path),
            Self::List
            | Self::GetState { .. }
            | Self::Probe { .. }
            | Self::Select { .. }
            | Self::GetAssertion { .. }
            | Self::MakeCredential { .. } => None,
        }
    }

    /// Whether it may wait for a person. The others are answered at once.
    #[must_use]
    pub fn waits_for_person(&self) -> bool {
        !matches!(self, Self::List | Self::GetState { .. } | Self::Probe { .. } | Self::VerifyPin { .. })
    }
}

/// How a token is to verify its user.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verification {
    /// Not at all: a touch is enough.
    None,
    /// With the token's own sensor (`uv` true).
    BuiltIn,
    /// With a pinUvAuthToken obtained with this PIN.
    Pin(Pin),
}

/// The parameters of a new credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewCredential {
    /// The relying party id: `ssh:` or `ssh:NAME`.
    pub application: String,
    /// The key type.
    pub algorithm: Algorithm,
    /// Whether the token keeps the credential (a discoverable credential).
    pub resident: bool,
    /// Whether the token is asked for credProtect 3, userVerificationRequired (CTAP 2.1 § 12.1).
    pub verify_required: bool,
    /// The user handle: random, 32 bytes.
    pub user_id: Bytes,
    /// The name shown for the user.
    pub user_name: String,
    /// Hashed to make clientDataHash.
    pub challenge: Bytes,
}

/// The key types that OpenSSH knows for FIDO2 tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// `sk-ssh-ed25519@openssh.com` (COSE EdDSA).
    Ed25519,
    /// `sk-ecdsa-sha2-nistp256@openssh.com` (COSE ES256).
    EcdsaP256,
}

/// What the helper says after its [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Something the person or the daemon should know while the command runs.
    Progress(Progress),
    /// The command's result.
    Reply(Reply),
    /// The command did not succeed; the helper is still there for another one.
    Failed(Failure),
}

/// What goes on while a command runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The CTAPHID channel the command uses: what a cancel has to name, even after this helper was killed.
    Channel {
        /// The device.
        path: String,
        /// The channel id, 4 bytes.
        channel: Bytes,
    },
    /// The token waits for its person (keep-alive status UPNEEDED, CTAP 2.1 § 11.2.9.2.5): for a touch, or for a
    /// fingerprint where the command asked for built-in user verification.
    PresenceNeeded,
}

/// A command's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Command::List`].
    Devices(Vec<Device>),
    /// To [`Command::GetState`].
    State(State),
    /// To [`Command::Select`]: the device that was touched.
    Selected {
        /// The device.
        path: String,
    },
    /// To [`Command::Probe`] and [`Command::GetAssertion`].
    Assertion(RawAssertion),
    /// To [`Command::VerifyPin`].
    PinVerified,
    /// To [`Command::MakeCredential`].
    Credential(RawCredential),
    /// To [`Command::EnumerateCredentials`].
    Credentials(Vec<ResidentCredential>),
}

impl Reply {
    /// Whether it is of the kind that `command` is answered by.
    #[must_use]
    pub fn answers(&self, command: &Command) -> bool {
        match self {
            Self::Devices(_) => matches!(command, Command::List),
            Self::State(_) => matches!(command, Command::GetState { .. }),
            Self::Selected { .. } => matches!(command, Command::Select { .. }),
            Self::Assertion(_) => matches!(command, Command::Probe { .. } | Command::GetAssertion { .. }),
            Self::PinVerified => matches!(command, Command::VerifyPin { .. }),
            Self::Credential(_) => matches!(command, Command::MakeCredential { .. }),
            Self::Credentials(_) => matches!(command, Command::EnumerateCredentials { .. }),
        }
    }
}

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What happened.
    pub error: TokenError,
    /// The CTAP status byte, where the token gave one.
    pub ctap_status: Option<u8>,
    /// The words of the library or system, for the log.
    pub detail: String,
}

impl Failure {
    /// A failure without a CTAP status.
    #[must_use]
    pub fn new(error: TokenError, detail: impl Into<String>) -> Self {
        Self { error, ctap_status: None, detail: detail.into() }
    }
}

/// Bytes, in base64 on the wire. Debug shows their length only: a key handle is nobody's business.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A PIN on its way to the token. The line that carries it is wiped by whoever wrote or read it.
#[derive(Debug, Clone)]
pub struct Pin(pub SecretString);

impl Serialize for Pin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl<'de> Deserialize<'de> for Pin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|pin| Self(pin.into()))
    }
}
