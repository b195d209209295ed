//! Which keys are backups of which: keys on a second token, for the day on which the first is lost.

use serde::{Deserialize, Serialize};

use super::{KnownTokens, List};
use crate::denial::Denial;

/// The most that are remembered; the oldest are forgotten first.
const MOST_BACKUPS: usize = 64;

/// A key that is there for the day on which another is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Its fingerprint.
    pub key: String,
    /// The fingerprint of the other: never one that is a backup itself.
    pub original: String,
}

/// The key of which this one is a backup.
#[must_use]
pub fn original_of<'a>(backups: &'a [Backup], key: &str) -> Option<&'a str> {
    backups.iter().find(|backup| backup.key == key).map(|backup| backup.original.as_str())
}

/// All that stand for one another: the original first, then its backups in the order in which they were made.
#[must_use]
pub fn family(backups: &[Backup], key: &str) -> Vec<String> {
    let original = original_of(backups, key).unwrap_or(key);
    let its = backups.iter().filter(|backup| backup.original == original).map(|backup| backup.key.clone());
    std::iter::once(original.to_owned()).chain(its).collect()
}

impl KnownTokens {
    /// All backups.
    ///
    /// # Errors
    /// When the list can't be read.
    pub fn backups(&self) -> Result<Vec<Backup>, Denial> {
        Ok(self.whole()?.backups)
    }

    /// Remembers that a key is a backup of another, or of that one's own original.
    ///
    /// # Errors
    /// When the list can't be read or written.
    pub fn add_backup(&self, key: &str, of: &str) -> Result<(), Denial> {
        self.change(|List { backups, .. }| {
            let original = original_of(backups, of).unwrap_or(of).to_owned();
            backups.retain(|backup| backup.key != key);
            backups.push(Backup { key: key.to_owned(), original });
            let excess = backups.len().saturating_sub(MOST_BACKUPS);
            backups.drain(..excess);
            Ok(true)
        })
    }

    /// Has a new key take the place of an old one, as a backup and as an original.
    ///
    /// # Errors
    /// When the list can't be read or written.
    pub fn succeed(&self, old: &str, new: &str) -> Result<(), Denial> {
        self.change(|List { backups, .. }| {
            let mut changed = false;
            for name in backups.iter_mut().flat_map(|backup| [&mut backup.key, &mut backup.original]) {
                if *name == old {
                    new.clone_into(name);
                    changed = true;
                }
            }
            Ok(changed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denial::Code;

    #[test]
    fn a_backup_s_backup_is_one_of_the_original() {
        let folder = tempfile::tempdir().unwrap();
        let known = KnownTokens::below(folder.path());
        assert_eq!(family(&known.backups().unwrap(), "a"), ["a"]);
        known.add_backup("b", "a").unwrap();
        known.add_backup("c", "b").unwrap();
        let backups = known.backups().unwrap();
        for one in ["a", "b", "c"] {
            assert_eq!(family(&backups, one), ["a", "b", "c"], "{one}");
        }
        assert_eq!((original_of(&backups, "c"), original_of(&backups, "a")), (Some("a"), None));
    }

    #[test]
    fn a_new_key_takes_the_place_of_an_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let known = KnownTokens::below(folder.path());
        known.succeed("a", "b").unwrap();
        assert!(!folder.path().join("tokens.json").exists(), "there is nothing to remember");
        known.add_backup("b", "a").unwrap();
        known.succeed("a", "new a").unwrap();
        known.succeed("b", "new b").unwrap();
        assert_eq!(family(&known.backups().unwrap(), "new a"), ["new a", "new b"]);
    }

    #[test]
    fn they_are_in_the_list_of_tokens_and_as_many_as_have_room() {
        let folder = tempfile::tempdir().unwrap();
        let known = KnownTokens::below(folder.path());
        for number in 0..MOST_BACKUPS + 2 {
            known.add_backup(&number.to_string(), "original").unwrap();
        }
        let backups = known.backups().unwrap();
        assert_eq!((backups.len(), backups[0].key.as_str()), (MOST_BACKUPS, "2"));
        std::fs::write(folder.path().join("tokens.json"), "{").unwrap();
        assert_eq!(known.add_backup("b", "a").unwrap_err().code, Code::KnownTokens);
        assert_eq!(known.backups().unwrap_err().code, Code::KnownTokens);
    }
}
