//! The constraints of a key that is to be added, statement by statement `parse_key_constraints` of ssh-agent.c: what is
//! unknown, given twice or contradictory refuses the key, which would otherwise be held with fewer constraints than meant.

use std::time::Duration;

use ssh_encoding::Decode;

use super::{AddedKey, Addition, WireError, c_string};
use crate::certificate::key_data;
use crate::destination::{DestinationConstraint, Hop, HopKey};
use crate::prompt::visible;
use crate::verify::can_verify;

/// SSH_AGENT_CONSTRAIN_LIFETIME.
const LIFETIME: u8 = 1;
/// SSH_AGENT_CONSTRAIN_CONFIRM.
const CONFIRM: u8 = 2;
/// SSH_AGENT_CONSTRAIN_EXTENSION.
const EXTENSION: u8 = 255;

/// The most destination constraints of a key (AGENT_MAX_DEST_CONSTRAINTS).
const MOST_DESTINATIONS: usize = 1024;
/// The longest user pattern, in bytes (AGENT_USER_CONSTRAINT_MAX_LEN).
const LONGEST_USER: usize = 256;

pub(super) fn decode(rest: &mut &[u8], addition: &mut Addition) -> Result<(), WireError> {
    while !rest.is_empty() {
        match u8::decode(rest)? {
            LIFETIME if addition.lifetime.is_none() => {
                addition.lifetime = Some(Duration::from_secs(u32::decode(rest)?.into()));
            }
            CONFIRM if !addition.confirm => addition.confirm = true,
            EXTENSION => extension(rest, addition)?,
            other => return Err(WireError::Constraint(format!("{other} (unknown, or twice)"))),
        }
    }
    Ok(())
}

fn extension(rest: &mut &[u8], addition: &mut Addition) -> Result<(), WireError> {
    let name = text(rest)?;
    match name.as_str() {
        "sk-provider@openssh.com" if addition.provider.is_none() => {
            if matches!(addition.key, AddedKey::Software(_)) {
                return Err(WireError::Constraint(format!("{name}, for a key that is not on a token,")));
            }
            addition.provider = Some(text(rest)?);
            Ok(())
        }
        "restrict-destination-v00@openssh.com" if addition.destinations.is_none() => {
            addition.destinations = Some(destinations(&Vec::<u8>::decode(rest)?)?);
            Ok(())
        }
        // associated-certs-v00@openssh.com is for the keys of smartcards alone.
        _ => Err(WireError::Constraint(format!("{} (unknown, twice, or not for keys)", visible(&name)))),
    }
}

fn destinations(mut list: &[u8]) -> Result<Vec<DestinationConstraint>, WireError> {
    let mut destinations = Vec::new();
    while !list.is_empty() {
        if destinations.len() == MOST_DESTINATIONS {
            return Err(WireError::Constraint("restrict-destination with so many destinations".into()));
        }
        destinations.push(destination(&Vec::<u8>::decode(&mut list)?)?);
    }
    Ok(destinations)
}

fn destination(mut constraint: &[u8]) -> Result<DestinationConstraint, WireError> {
    let rest = &mut constraint;
    let from = hop(&Vec::<u8>::decode(rest)?)?;
    let to = hop(&Vec::<u8>::decode(rest)?)?;
    reserved(rest)?;
    all_read(rest)?;
    let inconsistent = || WireError::Constraint("restrict-destination that contradicts itself".into());
    let from = match (from.user, from.hostname, from.keys) {
        (None, None, keys) if keys.is_empty() => None,
        (None, Some(hostname), keys) if !keys.is_empty() => Some(Hop { hostname, keys }),
        _ => return Err(inconsistent()),
    };
    match (to.hostname, to.keys) {
        (Some(hostname), keys) if !keys.is_empty() => {
            Ok(DestinationConstraint { from, to: Hop { hostname, keys }, user: to.user })
        }
        _ => Err(inconsistent()),
    }
}

/// One end of a constraint, as it is written.
struct End {
    user: Option<String>,
    hostname: Option<String>,
    keys: Vec<HopKey>,
}

fn hop(mut hop: &[u8]) -> Result<End, WireError> {
    let rest = &mut hop;
    let given = |text: String| (!text.is_empty()).then_some(text);
    let user = given(text(rest)?);
    let hostname = given(text(rest)?);
    reserved(rest)?;
    if user.as_ref().is_some_and(|user| user.len() > LONGEST_USER) {
        return Err(WireError::Constraint("restrict-destination with so long a user".into()));
    }
    let mut keys = Vec::new();
    while !rest.is_empty() {
        // A key that no host can have is a constraint that was damaged on its way.
        let key = key_data(&Vec::<u8>::decode(rest)?).filter(can_verify);
        let key = key.ok_or_else(|| WireError::Constraint("restrict-destination with a damaged host key".into()))?;
        keys.push(HopKey { key, is_authority: u8::decode(rest)? != 0 });
    }
    Ok(End { user, hostname, keys })
}

fn all_read(rest: &[u8]) -> Result<(), WireError> {
    if rest.is_empty() { Ok(()) } else { Err(WireError::LeftOver(rest.len())) }
}

/// Reserved fields are empty: what a later version puts there would restrict the key further.
fn reserved(rest: &mut &[u8]) -> Result<(), WireError> {
    let reserved = Vec::<u8>::decode(rest)?;
    if reserved.is_empty() {
        Ok(())
    } else {
        Err(WireError::Constraint("restrict-destination of a later version".into()))
    }
}

/// Names here are compared, so nothing in them may be replaced.
fn text(rest: &mut &[u8]) -> Result<String, WireError> {
    String::from_utf8(c_string(rest)?).map_err(|_| ssh_encoding::Error::CharacterEncoding.into())
}

#[cfg(test)]
mod tests;
