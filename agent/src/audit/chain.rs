//! The chain: each record holds the hash of the one before it, so that whoever knows a record knows all before it.
//!
//! This stops nobody who can write the file and knows this page: they chain anew what they have changed. What stops them is
//! the head kept elsewhere (see `anchor`), and the tokens' signatures in the records.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ssh_key::sha2::{Digest, Sha256};

/// The SHA-256 of a record's line, without its end. In text it is in hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What the first record of all names as its predecessor.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of a line.
    #[must_use]
    pub fn of(line: &[u8]) -> Self {
        Self(Sha256::digest(line).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Only the text that [`fmt::Display`] makes: another one would be another record with the same meaning.
impl std::str::FromStr for Hash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<Self, NoHash> {
        let digits = text.as_bytes();
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let bytes = digits.chunks_exact(2).map(|pair| Some((digit(pair[0])? << 4) | digit(pair[1])?));
        let bytes: Option<Vec<u8>> = bytes.collect();
        let hash = bytes.filter(|_| digits.len() == 64).and_then(|bytes| bytes.try_into().ok());
        hash.map(Self).ok_or(NoHash)
    }
}

/// What was to be a hash is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash has 64 lower-case hexadecimal digits")]
pub struct NoHash;

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The end of a chain: who knows it can tell whether a log is, or begins with, the one that ended so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of the last record; 0 before the first.
    pub sequence: u64,
    /// That record's hash.
    pub hash: Hash,
}

/// That of a log without records.
impl Default for Head {
    fn default() -> Self {
        Self { sequence: 0, hash: Hash::NONE }
    }
}

impl Head {
    /// The head after this line, which holds the next record.
    #[must_use]
    pub fn after(self, line: &[u8]) -> Self {
        Self { sequence: self.sequence.saturating_add(1), hash: Hash::of(line) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_one_text() {
        let hash = Hash::of(b"");
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.parse(), Ok(hash));
        for wrong in [&text[1..], &text.to_uppercase(), &text.replace('e', "g"), "", &format!("{text}00"), "é"] {
            assert_eq!(wrong.parse::<Hash>(), Err(NoHash), "{wrong}");
        }
    }
}
