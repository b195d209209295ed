//! Values that take care on their way: bytes that are nobody's business, and PINs.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

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

/// A PIN on its way to the token. The line that carries it is wiped by whoever wrote or read it. It goes in base64: a parser
/// unescapes what has quotes in it in a buffer of its own, which nobody wipes.
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
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(self.0.expose_secret())))
    }
}

impl<'de> Deserialize<'de> for Pin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(PinVisitor)
    }
}

struct PinVisitor;

impl Visitor<'_> for PinVisitor {
    type Value = Pin;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a PIN in base64")
    }

    /// Errors quote nothing of it.
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Pin, E> {
        let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
        let length = STANDARD.decode_slice(text, &mut bytes).map_err(|_| E::custom("this is no base64"))?;
        let pin = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
        pin.map(|pin| Pin(pin.into())).ok_or_else(|| E::custom("this is no text"))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Pin, E> {
        self.visit_str(&Zeroizing::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_goes_through_json_unescaped_and_no_error_quotes_it() {
        for pin in ["1234", "a\"b\\c", "größer", ""] {
            let json = serde_json::to_string(&Pin(pin.into())).unwrap();
            assert!(!json.contains('\\'), "{json}");
            let read: Pin = serde_json::from_str(&json).unwrap();
            assert_eq!(read.0.expose_secret(), pin);
        }
        for none in ["\"secret?\"", "\"/w==\"", "17"] {
            let error = serde_json::from_str::<Pin>(none).unwrap_err().to_string();
            assert!(!error.contains("secret") && !error.contains("/w"), "{error}");
        }
    }
}
