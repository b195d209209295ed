//! What is asked of a token itself over the control socket: its PIN, its fingerprints, the keys it keeps.

use serde::{Deserialize, Serialize};

use crate::token::protocol::{Algorithm, Device};

/// What a client asks. Where several tokens are plugged in, the person touches the one that is meant; the PIN is asked for
/// on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "token_request")]
pub enum Request {
    /// Sets the first PIN. Ends with [`Answer::Done`].
    SetPin,
    /// Changes the PIN. Ends with [`Answer::Done`].
    ChangePin,
    /// Which fingerprints are enrolled. Ends with [`Answer::Fingerprints`].
    Fingerprints,
    /// Enrols a fingerprint. Ends with [`Answer::Fingerprint`].
    AddFingerprint {
        /// What to call it.
        name: Option<String>,
    },
    /// Gives a fingerprint another name. Ends with [`Answer::Fingerprint`].
    RenameFingerprint {
        /// Its id or its name.
        fingerprint: String,
        /// The new name.
        name: String,
    },
    /// Removes a fingerprint. Ends with [`Answer::Fingerprint`].
    RemoveFingerprint {
        /// Its id or its name.
        fingerprint: String,
    },
    /// Which keys for SSH it keeps. Ends with [`Answer::Credentials`].
    Credentials,
    /// Deletes a key for SSH that it keeps. Ends with [`Answer::Deleted`].
    DeleteCredential {
        /// Its fingerprint, or its number in the list; else the person is asked.
        credential: Option<String>,
    },
}

/// What it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "token_answer")]
pub enum Answer {
    /// It is done.
    Done {
        /// The token.
        token: Device,
    },
    /// The fingerprints.
    Fingerprints {
        /// The token.
        token: Device,
        /// Those that are enrolled.
        fingerprints: Vec<Fingerprint>,
    },
    /// The fingerprint that was added, renamed or removed.
    Fingerprint {
        /// The token.
        token: Device,
        /// As it is now, or was last.
        fingerprint: Fingerprint,
    },
    /// The keys.
    Credentials {
        /// The token.
        token: Device,
        /// Those for SSH, by application and user name.
        credentials: Vec<Credential>,
        /// How many relying parties the token keeps others for.
        other_parties: u32,
    },
    /// The key that was deleted.
    Deleted {
        /// The token.
        token: Device,
        /// As it was.
        credential: Credential,
    },
}

/// A fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// What the token calls it, in hexadecimal.
    pub id: String,
    /// What the person calls it; empty where it has no name.
    pub name: String,
}

/// A key for SSH that a token keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Its fingerprint.
    pub fingerprint: String,
    /// The key type.
    pub algorithm: Algorithm,
    /// The FIDO application.
    pub application: String,
    /// The user's name.
    pub user_name: String,
    /// Whether the token wants its user verified for each signature (credProtect 3).
    pub verify_required: bool,
    /// Whether the agent holds it.
    pub held: bool,
}

impl Request {
    /// What is asked, for the record of a refusal.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SetPin => "set a token's PIN",
            Self::ChangePin => "change a token's PIN",
            Self::Fingerprints => "list a token's fingerprints",
            Self::AddFingerprint { .. } => "add a fingerprint to a token",
            Self::RenameFingerprint { .. } => "rename a token's fingerprint",
            Self::RemoveFingerprint { .. } => "remove a fingerprint from a token",
            Self::Credentials => "list a token's keys",
            Self::DeleteCredential { .. } => "delete a key from a token",
        }
    }
}
