//! The one way to write a record as text: the JSON Canonicalization Scheme (RFC 8785), so that two who have the same record
//! have the same bytes, and the same hash.
//!
//! Only integers below 2⁵³ are written as numbers, as RFC 8785 § 3.2.2.3 and every JavaScript reader can take them; what may
//! be bigger is text in the record's own type.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The first integer that not every reader of JSON can tell from its neighbour (RFC 7493 § 2.2).
const TOO_BIG: u64 = 1 << 53;

/// Why something can't be written.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// It holds a number that is no integer below 2⁵³.
    #[error("{0} is no integer below 2⁵³")]
    Number(serde_json::Number),
    /// It is nothing that JSON can say.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// The canonical text of a value, without a line's end.
///
/// # Errors
/// When it holds a number that other readers could take for another one.
pub fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, CanonicalError> {
    let value = serde_json::to_value(value)?;
    check(&value)?;
    // The order of names and the escapes are what RFC 8785 § 3.2.2.2 and § 3.2.3 ask for: names are kept sorted by their
    // bytes, which for ASCII is the order of UTF-16, and a test below holds both.
    Ok(serde_json::to_vec(&value)?)
}

/// What this text says, where it is what [`to_vec`] makes of that: with no member more or less, and none in other words.
#[must_use]
pub fn read<T: Serialize + DeserializeOwned>(text: &[u8]) -> Option<T> {
    let value = serde_json::from_slice(text).ok()?;
    to_vec(&value).is_ok_and(|again| again == text).then_some(value)
}

fn check(value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Number(number) => {
            let small = number.as_i64().is_some_and(|number| number.unsigned_abs() < TOO_BIG);
            if small { Ok(()) } else { Err(CanonicalError::Number(number.clone())) }
        }
        Value::Array(values) => values.iter().try_for_each(check),
        Value::Object(members) => members.values().try_for_each(check),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::chain::{Hash, Head};

    #[test]
    fn the_text_is_that_of_rfc_8785() {
        let value = json!({
            "string": "\u{20ac}$\u{000f}\u{000a}A'\u{0042}\u{0022}\u{005c}\\\"/\u{7f}",
            "literals": [null, true, false],
            "b": {"z": -1, "a": 9_007_199_254_740_991_u64},
            "a": "\u{8}\t\u{c}\r",
        });
        let expected = r#"{"a":"\b\t\f\r","b":{"a":9007199254740991,"z":-1},"literals":[null,true,false],"string":"€$\u000f\nA'B\"\\\\\"/"#;
        assert_eq!(String::from_utf8(to_vec(&value).unwrap()).unwrap(), format!("{expected}\u{7f}\"}}"));
    }

    #[test]
    fn numbers_that_readers_differ_about_are_refused() {
        for number in [json!(TOO_BIG), json!(1.5), json!(-9_007_199_254_740_992_i64), json!(u64::MAX), json!(1e2)] {
            assert!(matches!(to_vec(&json!([{"n": number}])), Err(CanonicalError::Number(_))), "{number}");
        }
        assert!(to_vec(&json!(TOO_BIG - 1)).is_ok());
    }

    #[test]
    fn there_is_one_text_for_each_value() {
        for (text, canonical) in [
            (r#"{"a":1,"b":"x"}"#, true),
            (r#"{"b":"x","a":1}"#, false),
            (r#"{"a": 1}"#, false),
            (r#"{"a":1,"a":1}"#, false),
            (r#"{"a":1.0}"#, false),
            (r#"{"a":"\u0041"}"#, false),
            (r#"{"a":"\/"}"#, false),
            (r#"{"a":"\u001F"}"#, false),
            (r#"{"a":"\u001f"}"#, true),
            (r#"{"a":1}x"#, false),
            ("", false),
        ] {
            assert_eq!(read::<Value>(text.as_bytes()).is_some(), canonical, "{text}");
        }
    }

    #[test]
    fn nothing_is_read_that_its_type_does_not_say() {
        let head = Head { sequence: 7, hash: Hash::of(b"x") };
        let text = String::from_utf8(to_vec(&head).unwrap()).unwrap();
        assert_eq!(read(text.as_bytes()), Some(head));
        for other in [text.replace("}", ",\"z\":1}"), text.replace("{", "{\"a\":null,"), text.replace("7", "7.0")] {
            assert_eq!(read::<Head>(other.as_bytes()), None, "{other}");
        }
    }
}
