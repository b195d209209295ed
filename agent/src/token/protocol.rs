//! What the daemon and an `sk-helper` say to each other.
//!
//! The daemon starts a helper for one request of a client and talks to it in lines of JSON: commands on the helper's
//! standard input, messages on its standard output. The helper's first line is a [`Hello`]; after that each
//! [`Command`] is answered by any number of [`Message::Progress`] and exactly one [`Message::Reply`] or
//! [`Message::Failed`]. At the end of its input the helper exits.
//!
//! The daemon believes none of it: see `assertion` for what is checked before a signature is used.

mod command;
mod token;
mod value;

use serde::{Deserialize, Serialize};

use super::TokenError;
pub use command::{Algorithm, Command, NewCredential, Verification};
pub use token::{
    Device, Fingerprint, Fingerprints, RawAssertion, RawCredential, ResidentCredential, ResidentCredentials, State,
};
pub use value::{Bytes, Pin};

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
    /// A touch of an enrolment was felt.
    Sample {
        /// lastEnrollSampleStatus (CTAP 2.1 § 6.7.4): 0 for a good one, else what was wrong with it.
        status: u8,
        /// The good ones that are still needed; none when the fingerprint is enrolled.
        left: u32,
    },
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
    Credentials(ResidentCredentials),
    /// To [`Command::ListFingerprints`].
    Fingerprints(Fingerprints),
    /// To [`Command::EnrollFingerprint`].
    Enrolled {
        /// The new fingerprint's id.
        id: Bytes,
    },
    /// To the commands that change something and have nothing to tell.
    Done,
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
            Self::Fingerprints(_) => matches!(command, Command::ListFingerprints { .. }),
            Self::Enrolled { .. } => matches!(command, Command::EnrollFingerprint { .. }),
            Self::Done => matches!(
                command,
                Command::SetPin { .. }
                    | Command::ChangePin { .. }
                    | Command::DeleteCredential { .. }
                    | Command::RenameFingerprint { .. }
                    | Command::RemoveFingerprint { .. }
            ),
        }
    }
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
