//! Public keys, by their encodings.

use super::reader::Reader;
use super::reason::{Notes, Reason};
use crate::part::{bytes, text};

/// A plain key's only encoding, whatever that of `blob`: ssh-agent knows a key by what is in it, ours by its bytes. What is
/// no plain key is left as it is.
pub(super) fn canonical(blob: &[u8], notes: &mut Notes) -> Vec<u8> {
    let canonical = rewritten(blob).unwrap_or_else(|| blob.to_vec());
    notes.note_if(canonical != blob, Reason::Encoding);
    canonical
}

fn rewritten(blob: &[u8]) -> Option<Vec<u8>> {
    let mut fields = Reader(blob);
    let name = fields.name()?;
    // All of a certificate is signed, its name as well.
    if name.ends_with(b"-cert-v01@openssh.com") {
        return None;
    }
    let mut parts = vec![text(name)];
    if name == b"ssh-rsa" {
        parts.extend([text(number(fields.string()?)?), text(number(fields.string()?)?)]);
    }
    Some([&bytes(&parts)[..], fields.0].concat())
}

/// A positive number as it is written (RFC 4251 § 5), whatever the zeros in front of it (`sshbuf_get_bignum2`).
fn number(number: &[u8]) -> Option<Vec<u8>> {
    if number.first().is_some_and(|first| *first >= 0x80) {
        return None;
    }
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits = &number[zeros..];
    let sign: &[u8] = if digits.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    Some([sign, digits].concat())
}

/// Whether these bytes are a public key that is nobody's, as one may stand in a constraint: a point that somebody has
/// damaged is not on its curve.
pub(super) fn is_another(canonical: &[u8]) -> bool {
    let mut fields = Reader(canonical);
    let is_key = match fields.string() {
        Some(b"ssh-ed25519") => fields.string().is_some_and(|key| key.len() == 32),
        Some(b"ssh-rsa") => {
            let numbers = [fields.string(), fields.string()];
            // 1024 bits are the least, with a zero in front where the first of them is set.
            let bits = |n: &[u8]| 8 * n.len() - n.first().map_or(0, |first| first.leading_zeros() as usize);
            matches!(numbers, [Some(e), Some(n)] if number(e).is_some() && number(n).is_some() && bits(n) >= 1024)
        }
        _ => false,
    };
    is_key && fields.is_empty()
}
