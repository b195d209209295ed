//! Messages as trees of strings, so that they can be damaged inside while the lengths around still hold.

use std::fmt;

/// A piece of a message.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Bytes as they are.
    Bytes(Vec<u8>),
    /// The parts, with their length in front.
    String(Vec<Part>),
}

/// What happens to a message on its way.
#[derive(Debug, Clone)]
pub(crate) enum Damage {
    /// To the n-th of its parts; the lengths of those around it are right afterwards.
    Inside(u16, Wound),
    /// To its bytes.
    Outside(Wound),
    /// Its own length says so much more, or less.
    Length(i8),
}

/// The damage itself. Places count from the beginning, and over again where the end is reached.
#[derive(Debug, Clone)]
pub(crate) enum Wound {
    Flip { place: u16, bits: u8 },
    Cut { behind: u16 },
    Extend(Vec<u8>),
    Lead(u8),
    Twice,
}

/// A string of bytes.
pub(crate) fn text(bytes: impl AsRef<[u8]>) -> Part {
    Part::String(vec![Part::Bytes(bytes.as_ref().to_vec())])
}

/// A number of 32 bits.
pub(crate) fn number(number: u32) -> Part {
    Part::Bytes(number.to_be_bytes().to_vec())
}

/// One byte.
pub(crate) fn byte(byte: u8) -> Part {
    Part::Bytes(vec![byte])
}

/// All parts, one after the other.
pub(crate) fn bytes(parts: &[Part]) -> Vec<u8> {
    parts.iter().flat_map(Part::bytes).collect()
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::String(parts) => tests::string(&bytes(parts)),
        }
    }
}

/// A message with its length in front, damaged or not.
pub(crate) fn message(mut parts: Vec<Part>, damage: Option<&Damage>) -> Vec<u8> {
    if let Some(Damage::Inside(which, wound)) = damage {
        let mut which = usize::from(*which) % leaves(&parts).max(1);
        wound_leaf(&mut parts, &mut which, wound);
    }
    let mut body = bytes(&parts);
    if let Some(Damage::Outside(wound)) = damage {
        wound.inflict(&mut body);
    }
    let mut message = tests::string(&body);
    if let Some(Damage::Length(more)) = damage {
        let length = u32::try_from(body.len()).unwrap().saturating_add_signed((*more).into());
        message[..4].copy_from_slice(&length.to_be_bytes());
    }
    message
}

fn leaves(parts: &[Part]) -> usize {
    let in_part = |part: &Part| match part {
        Part::Bytes(_) => 1,
        Part::String(parts) => leaves(parts),
    };
    parts.iter().map(in_part).sum()
}

/// Whether the leaf was among these; `which` counts down to it.
fn wound_leaf(parts: &mut [Part], which: &mut usize, wound: &Wound) -> bool {
    parts.iter_mut().any(|part| match part {
        Part::String(parts) => wound_leaf(parts, which, wound),
        Part::Bytes(bytes) if *which == 0 => {
            wound.inflict(bytes);
            true
        }
        Part::Bytes(_) => {
            *which -= 1;
            false
        }
    })
}

impl Wound {
    fn inflict(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Flip { place, bits } if !bytes.is_empty() => {
                let place = usize::from(*place) % bytes.len();
                bytes[place] ^= bits;
            }
            Self::Flip { .. } => {}
            Self::Cut { behind } => bytes.truncate(usize::from(*behind) % bytes.len().max(1)),
            Self::Extend(more) => bytes.extend(more),
            Self::Lead(byte) => bytes.insert(0, *byte),
            Self::Twice => bytes.extend(bytes.clone()),
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{}", bytes.escape_ascii()),
            Self::String(parts) => f.debug_list().entries(parts).finish(),
        }
    }
}
