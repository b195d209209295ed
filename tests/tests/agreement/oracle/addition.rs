//! A key that is to be added (statements 13 and 15).

use super::destination::{Destination, destinations};
use super::reader::Reader;
use super::reason::{Notes, Reason};
use crate::cast::{Identity, KEYS, cast};
use crate::part::bytes;
use crate::request::RESTRICT_DESTINATION;

/// What is read of it.
pub(super) struct Addition {
    /// None for a key that is nobody's.
    pub(super) identity: Option<Identity>,
    pub(super) comment: Vec<u8>,
    pub(super) constraints: Constraints,
}

/// What the key is restricted to.
#[derive(Default)]
pub(super) struct Constraints {
    pub(super) is_given: bool,
    pub(super) confirm: bool,
    pub(super) lifetime: Option<u32>,
    pub(super) destinations: Vec<Destination>,
}

/// Reads a key, its comment and its constraints.
pub(super) fn read(body: &[u8], notes: &mut Notes) -> Option<Addition> {
    let identities = KEYS.into_iter().flat_map(|key| [false, true].map(|certified| Identity { key, certified }));
    let begins = |identity: Identity| body.strip_prefix(bytes(&cast().addition(identity)).as_slice());
    let found = identities.into_iter().find_map(|identity| Some((identity, begins(identity)?)));
    let Some((identity, rest)) = found else {
        return Some(Addition { identity: None, comment: vec![], constraints: Constraints::default() });
    };
    let mut rest = Reader(rest);
    let comment = rest.name()?.to_vec();
    let constraints = constraints(rest, notes)?;
    Some(Addition { identity: Some(identity), comment, constraints })
}

fn constraints(mut rest: Reader<'_>, notes: &mut Notes) -> Option<Constraints> {
    const LIFETIME: u8 = 1;
    const CONFIRM: u8 = 2;
    const EXTENSION: u8 = 255;
    let mut constraints = Constraints { is_given: !rest.is_empty(), ..Constraints::default() };
    let mut restricted = false;
    while !rest.is_empty() {
        match rest.byte()? {
            LIFETIME if constraints.lifetime.is_none() => constraints.lifetime = Some(rest.number()?),
            CONFIRM if !constraints.confirm => constraints.confirm = true,
            // sk-provider is for FIDO keys alone, associated-certs for smartcards.
            EXTENSION => match rest.name()? {
                name if name == RESTRICT_DESTINATION.as_bytes() && constraints.destinations.is_empty() => {
                    notes.note_if(restricted, Reason::Twice);
                    constraints.destinations = destinations(rest.string()?, notes)?;
                    restricted = true;
                }
                _ => return None,
            },
            _ => return None,
        }
    }
    Some(constraints)
}
