//! What the daemon asks a helper for.

use serde::{Deserialize, Serialize};

use super::{Bytes, Pin};
#[cfg(doc)]
use super::{Progress, Reply, TokenError};

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
    /// Removes a resident credential for good (CTAP 2.1 § 6.8.5). Answered by [`Reply::Done`].
    DeleteCredential {
        /// The device.
        path: String,
        /// Its PIN.
        pin: Pin,
        /// The credential id.
        key_handle: Bytes,
    },
    /// Sets the first PIN (CTAP 2.1 § 6.5.5.5). Answered by [`Reply::Done`].
    SetPin {
        /// The device.
        path: String,
        /// The PIN to set.
        new: Pin,
    },
    /// Changes the PIN (CTAP 2.1 § 6.5.5.6). A wrong old one costs a try. Answered by [`Reply::Done`].
    ChangePin {
        /// The device.
        path: String,
        /// The PIN that is set.
        old: Pin,
        /// The PIN to set.
        new: Pin,
    },
    /// The fingerprints that are enrolled (CTAP 2.1 § 6.7.6). Answered by [`Reply::Fingerprints`].
    ListFingerprints {
        /// The device.
        path: String,
        /// Its PIN.
        pin: Pin,
    },
    /// Enrols a fingerprint (CTAP 2.1 § 6.7.4): a touch for each sample, each told by [`Progress::Sample`]. Answered by
    /// [`Reply::Enrolled`].
    EnrollFingerprint {
        /// The device.
        path: String,
        /// Its PIN.
        pin: Pin,
        /// What to call the fingerprint.
        name: Option<String>,
        /// How long the token is to wait for each touch.
        touch_milliseconds: u16,
    },
    /// Calls a fingerprint something else (CTAP 2.1 § 6.7.7). Answered by [`Reply::Done`].
    RenameFingerprint {
        /// The device.
        path: String,
        /// Its PIN.
        pin: Pin,
        /// Its id.
        id: Bytes,
        /// What to call it.
        name: String,
    },
    /// Removes a fingerprint (CTAP 2.1 § 6.7.8). Answered by [`Reply::Done`].
    RemoveFingerprint {
        /// The device.
        path: String,
        /// Its PIN.
        pin: Pin,
        /// Its id.
        id: Bytes,
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
            | Self::EnumerateCredentials { path, .. }
            | Self::DeleteCredential { path, .. }
            | Self::SetPin { path, .. }
            | Self::ChangePin { path, .. }
            | Self::ListFingerprints { path, .. }
            | Self::EnrollFingerprint { path, .. }
            | Self::RenameFingerprint { path, .. }
            | Self::RemoveFingerprint { path, .. } => vec![path],
        }
    }

    /// The device that it sends the PIN to that is set there.
    #[must_use]
    pub fn sends_pin_to(&self) -> Option<&str> {
        match self {
            Self::GetAssertion { path, verification: Verification::Pin(_), .. }
            | Self::MakeCredential { path, verification: Verification::Pin(_), .. }
            | Self::VerifyPin { path, .. }
            | Self::EnumerateCredentials { path, .. }
            | Self::DeleteCredential { path, .. }
            | Self::ChangePin { path, .. }
            | Self::ListFingerprints { path, .. }
            | Self::EnrollFingerprint { path, .. }
            | Self::RenameFingerprint { path, .. }
            | Self::RemoveFingerprint { path, .. } => Some(path),
            Self::List
            | Self::GetState { .. }
            | Self::Probe { .. }
            | Self::Select { .. }
            | Self::GetAssertion { .. }
            | Self::MakeCredential { .. }
            | Self::SetPin { .. } => None,
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
