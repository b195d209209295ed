//! The tokens that the person has given names, each with a marker by which it is told from its twins: a credential that is
//! good for nothing else. Product and serial number are what a device says of itself, and prove nothing.

mod backups;

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use ssh_key::public::{KeyData, SkEcdsaSha2NistP256};

use super::protocol::Bytes;
use crate::denial::{Code, Denial};
use crate::identity::{Credential, KeyHandle, SkFlags};
use crate::state_file::StateFile;
pub use backups::{Backup, family, original_of};

/// The relying party id of markers. It does not begin with "ssh:", so no marker is ever a key that logs in.
pub const MARKER_APPLICATION: &str = "fido-ssh-agent:marker";

/// The longest name, in characters.
const LONGEST_NAME: usize = 32;

/// The most keys remembered of a token; the oldest are forgotten first.
const MOST_KEYS: usize = 1024;

/// A token with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownToken {
    /// Given by the person.
    pub name: String,
    /// What proves it.
    pub marker: Marker,
    /// The fingerprints of the keys that it is known to hold.
    pub keys: Vec<String>,
    /// Its product name, only to be shown.
    pub product: String,
    /// Its serial number, only to be shown.
    pub serial: String,
    /// Its model, only to be shown.
    pub aaguid: Bytes,
}

/// A credential that is not resident and asks for no user verification: a silent signature of it proves the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// The uncompressed point of a key of the type that every FIDO2 token makes, ES256.
    pub public_key: Bytes,
    /// The credential id.
    pub key_handle: Bytes,
}

impl Marker {
    /// Its public key; None where the bytes are none.
    #[must_use]
    pub fn key(&self) -> Option<KeyData> {
        let point = p256::EncodedPoint::from_bytes(&self.public_key.0).ok()?;
        Some(KeyData::SkEcdsaSha2NistP256(SkEcdsaSha2NistP256::new(point, MARKER_APPLICATION)))
    }

    /// How a token is asked for it.
    #[must_use]
    pub fn credential(&self) -> Credential {
        Credential {
            application: MARKER_APPLICATION.into(),
            key_handle: KeyHandle::new(self.key_handle.0.clone()),
            flags: SkFlags(0),
        }
    }
}

/// The one of `known` that holds the key with this fingerprint, as far as that is known.
#[must_use]
pub fn holder_of<'a>(known: &'a [KnownToken], fingerprint: &str) -> Option<&'a KnownToken> {
    known.iter().find(|token| token.keys.iter().any(|key| key == fingerprint))
}

/// The list of them: a file that all agents of a user share.
#[derive(Debug)]
pub struct KnownTokens {
    file: StateFile,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    version: u32,
    tokens: Vec<KnownToken>,
    /// Absent where there are none, as in the lists of agents that know of none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    backups: Vec<Backup>,
}

impl KnownTokens {
    /// The list below the folder `state`.
    #[must_use]
    pub fn below(state: &Path) -> Self {
        Self { file: StateFile::at(state.join("tokens.json")) }
    }

    /// All of them.
    ///
    /// # Errors
    /// When the list is there and can't be read. It is left as it is: whoever damaged it may want to mend it.
    pub fn list(&self) -> Result<Vec<KnownToken>, Denial> {
        Ok(self.whole()?.tokens)
    }

    /// Adds a token, or gives the one with this marker its new name.
    ///
    /// # Errors
    /// When the name is no name, or another token's; when the list can't be read or written.
    pub fn name(&self, token: KnownToken) -> Result<(), Denial> {
        check_name(&token.name)?;
        self.change(|List { tokens, .. }| {
            if tokens.iter().any(|other| other.name == token.name && other.marker != token.marker) {
                let reason = format!("another token is called {} already", crate::prompt::visible(&token.name));
                return Err(Denial::new(Code::TokenName, reason));
            }
            match tokens.iter_mut().find(|other| other.marker == token.marker) {
                Some(known) => known.name = token.name,
                None => tokens.push(token),
            }
            Ok(true)
        })
    }

    /// Forgets a token and what it holds.
    ///
    /// # Errors
    /// When there is none of that name; when the list can't be read or written.
    pub fn forget(&self, name: &str) -> Result<(), Denial> {
        self.change(|List { tokens, .. }| {
            let before = tokens.len();
            tokens.retain(|token| token.name != name);
            if tokens.len() == before {
                let reason = format!("no token is called {}", crate::prompt::visible(name));
                return Err(Denial::new(Code::TokenName, reason));
            }
            Ok(true)
        })
    }

    /// Remembers that the token with this name holds these keys, and no other token does: a key is on one token only.
    ///
    /// # Errors
    /// When the list can't be read or written.
    pub fn remember(&self, name: &str, keys: &[String]) -> Result<(), Denial> {
        self.change(|List { tokens, .. }| {
            let mut changed = false;
            for token in tokens.iter_mut() {
                let before = token.keys.len();
                if token.name == name {
                    let new: Vec<_> = keys.iter().filter(|key| !token.keys.contains(key)).cloned().collect();
                    token.keys.extend(new);
                    let excess = token.keys.len().saturating_sub(MOST_KEYS);
                    token.keys.drain(..excess);
                } else {
                    token.keys.retain(|key| !keys.contains(key));
                }
                changed |= token.keys.len() != before;
            }
            Ok(changed)
        })
    }

    fn whole(&self) -> Result<List, Denial> {
        self.read().map_err(|error| self.denial(&error))
    }

    fn change(&self, change: impl FnOnce(&mut List) -> Result<bool, Denial>) -> Result<(), Denial> {
        let work = || {
            let mut list = self.read()?;
            Ok(change(&mut list)?.then_some(list))
        };
        self.file.change(work).map_err(|trouble| match trouble {
            Trouble::File(error) => self.denial(&error),
            Trouble::Refused(denial) => denial,
        })
    }

    fn read(&self) -> io::Result<List> {
        let none = List { version: 1, tokens: Vec::new(), backups: Vec::new() };
        let list = self.file.read()?.unwrap_or(none);
        match list.tokens.iter().find(|token| token.marker.key().is_none() || check_name(&token.name).is_err()) {
            Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a token in it has no name or no marker")),
            None => Ok(list),
        }
    }

    fn denial(&self, error: &io::Error) -> Denial {
        let path = self.file.path().display();
        Denial::new(Code::KnownTokens, format!("the list of named tokens can't be used: {path}: {error}"))
    }
}

enum Trouble {
    File(io::Error),
    Refused(Denial),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<Denial> for Trouble {
    fn from(denial: Denial) -> Self {
        Self::Refused(denial)
    }
}

/// Refuses what is no name: it stands in prompts and tables, in one line.
///
/// # Errors
/// Says what a name is.
pub fn check_name(name: &str) -> Result<(), Denial> {
    let plain = crate::prompt::visible(name) == name && name.trim() == name;
    if plain && (1..=LONGEST_NAME).contains(&name.chars().count()) {
        return Ok(());
    }
    let reason = format!("a token's name has 1 to {LONGEST_NAME} characters, none of them invisible");
    Err(Denial::new(Code::TokenName, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, marker: u8) -> KnownToken {
        let seed = p256::ecdsa::SigningKey::from_slice(&[marker; 32]).unwrap();
        let point = seed.verifying_key().to_encoded_point(false);
        KnownToken {
            name: name.into(),
            marker: Marker { public_key: Bytes(point.as_bytes().to_vec()), key_handle: Bytes(vec![marker; 8]) },
            keys: vec![],
            product: "Key".into(),
            serial: "7".into(),
            aaguid: Bytes(vec![0; 16]),
        }
    }

    fn names(known: &KnownTokens) -> Vec<(String, Vec<String>)> {
        known.list().unwrap().into_iter().map(|token| (token.name, token.keys)).collect()
    }

    #[test]
    fn a_token_has_one_name_and_a_key_one_token() {
        let folder = tempfile::tempdir().unwrap();
        let known = KnownTokens::below(folder.path());
        assert_eq!(names(&known), []);
        known.name(token("red", 1)).unwrap();
        known.name(token("blue", 2)).unwrap();
        assert_eq!(known.name(token("red", 3)).unwrap_err().code, Code::TokenName);
        known.name(token("green", 1)).unwrap();

        let key = || vec!["SHA256:k".to_owned()];
        known.remember("green", &key()).unwrap();
        known.remember("blue", &key()).unwrap();
        known.remember("blue", &key()).unwrap();
        assert_eq!(names(&known), [("green".into(), vec![]), ("blue".into(), key())]);
        let list = known.list().unwrap();
        assert_eq!(holder_of(&list, "SHA256:k").unwrap().name, "blue");
        assert!(holder_of(&list, "SHA256:other").is_none());

        known.forget("blue").unwrap();
        assert_eq!(known.forget("blue").unwrap_err().code, Code::TokenName);
        assert_eq!(names(&known), [("green".into(), vec![])]);
    }

    #[test]
    fn the_list_is_ours_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        KnownTokens::below(folder.path()).name(token("red", 1)).unwrap();
        let mode = folder.path().join("tokens.json").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_list_is_said_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let known = KnownTokens::below(folder.path());
        known.name(token("red", 1)).unwrap();
        let path = folder.path().join("tokens.json");
        let good = std::fs::read_to_string(&path).unwrap();
        for bad in ["", "{", "{}", "[]", &good.replace("red", ""), &good.replace("\"keys\"", "\"kezs\""), &good[..90]] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(known.list().unwrap_err().code, Code::KnownTokens, "{bad}");
            assert_eq!(known.name(token("blue", 2)).unwrap_err().code, Code::KnownTokens);
            assert_eq!(known.forget("red").unwrap_err().code, Code::KnownTokens);
            assert_eq!(known.remember("red", &["x".into()]).unwrap_err().code, Code::KnownTokens);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), bad);
        }
    }

    #[test]
    fn a_name_is_one_visible_line() {
        for bad in ["", " ", " red", "a\nb", "\u{1b}[2J", "\u{202e}der", &"x".repeat(33)] {
            assert_eq!(check_name(bad).unwrap_err().code, Code::TokenName, "{bad:?}");
        }
        for good in ["red", "Ersatz (Büro)", &"ü".repeat(32)] {
            check_name(good).unwrap();
        }
    }
}
