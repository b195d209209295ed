//! Values that take care on their way: bytes that are nobody's business, and PINs.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

impl Pin {
    /// Whether it can be right: a PIN has at least 4 code points and at most 63 bytes (CTAP 2.1 § 6.5.1). One that can't
    /// would cost a try all the same.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        const SHORTEST: usize = 4;
        const LONGEST: usize = 63;
        let pin = self.0.expose_secret();
        pin.len() <= LONGEST && pin.chars().count() >= SHORTEST
    }
}

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
