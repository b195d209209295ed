//! What is told of a new key in JSON.

use std::path::PathBuf;

use agent::control::Generated;
use agent::identity::SkFlags;
use serde::Serialize;

use crate::commands::publish::Published;
use crate::key_file::Place;
use crate::new_key::KeyFiles;
use crate::public_key::PublicKey;

/// A key that was made, and what came of it after that.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    fingerprint: String,
    #[serde(rename = "type")]
    type_name: String,
    application: String,
    comment: String,
    file: PathBuf,
    public_file: PathBuf,
    resident: bool,
    verify_required: bool,
    /// The name of the token that it is on; null where it has none.
    token: Option<String>,
    /// The fingerprint of the key of which it is a backup, where that is remembered.
    backup_of: Option<String>,
    /// Whether the agent holds it.
    pub(super) added: bool,
    /// Where it was published; null where it was not.
    pub(super) published: Option<Published>,
}

impl Told {
    pub(super) fn of(made: &Generated, files: &KeyFiles, place: &Place, comment: &str) -> Self {
        let flags = SkFlags(made.flags);
        Self {
            fingerprint: files.fingerprint.clone(),
            type_name: PublicKey::read_line(&files.public).map(|(key, _)| key.type_name).unwrap_or_default(),
            application: made.application.clone(),
            comment: comment.to_owned(),
            file: place.private.clone(),
            public_file: place.public.clone(),
            resident: flags.is_resident(),
            verify_required: flags.user_verification_required(),
            token: made.token_name.clone(),
            backup_of: made.backup_of.clone(),
            added: false,
            published: None,
        }
    }
}
