//! What the agent knows of keys beside the keys themselves.

use serde::{Deserialize, Serialize};

/// So many are asked for at a time, at most: the answer is one line.
pub const MOST: usize = 64;

/// Where a key is, as far as the tokens that are plugged in say so without a PIN or a touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whereabouts {
    /// Its fingerprint.
    pub fingerprint: String,
    /// The node of the token that holds it, where one proves to.
    pub token: Option<String>,
    /// Those of tokens that may hold it, and do not say.
    pub perhaps: Vec<String>,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its fingerprint.
    pub fingerprint: String,
    /// The name of the token that it is on; None where none with a name is known to hold it.
    pub token: Option<String>,
    /// Whether each use of it takes a PIN or a finger; None where the agent does not hold its handle.
    pub verify_required: Option<bool>,
    /// The fingerprint of the key of which it is a backup.
    pub backup_of: Option<String>,
    /// The fingerprints of its backups.
    pub backups: Vec<String>,
}
