//! OpenSSH certificates (OpenSSH PROTOCOL.certkeys). ssh-key 0.6 parses none that is valid forever.

use ssh_encoding::{Decode, Encode, Reader};
use ssh_key::Algorithm;
use ssh_key::public::KeyData;

use crate::pattern::wildcard;
use crate::verify::verifies;

/// SSH2_CERT_TYPE_USER.
const USER: u32 = 1;
/// SSH2_CERT_TYPE_HOST.
const HOST: u32 = 2;

/// The most principals of a certificate (sshkey.c, SSHKEY_CERT_MAX_PRINCIPALS).
const MOST_PRINCIPALS: usize = 256;

/// What is looked at in a certificate. Its authority's signature was verified when it was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certified key.
    pub public_key: KeyData,
    /// The authority's key.
    pub authority: KeyData,
    kind: u32,
    principals: Vec<String>,
    valid_after: u64,
    valid_before: u64,
    has_critical_options: bool,
}

impl Certificate {
    /// Parses a certificate and verifies its authority's signature, as `cert_parse` in sshkey.c does. None for anything else.
    #[must_use]
    pub fn parse(blob: &[u8]) -> Option<Self> {
        let mut rest = blob;
        let (_, public_key) = certified_key(&mut rest)?;
        let _serial = u64::decode(&mut rest).ok()?;
        let kind = u32::decode(&mut rest).ok()?;
        let _key_id = Vec::<u8>::decode(&mut rest).ok()?;
        let principals = strings(&Vec::<u8>::decode(&mut rest).ok()?)?;
        let valid_after = u64::decode(&mut rest).ok()?;
        let valid_before = u64::decode(&mut rest).ok()?;
        let critical_options = Vec::<u8>::decode(&mut rest).ok()?;
        let extensions = Vec::<u8>::decode(&mut rest).ok()?;
        let _reserved = Vec::<u8>::decode(&mut rest).ok()?;
        let authority_blob = Vec::<u8>::decode(&mut rest).ok()?;
        let (signed, _) = blob.split_at_checked(blob.len() - rest.len())?;
        let signature = Vec::<u8>::decode(&mut rest).ok()?;
        let authority = key_data(&authority_blob)?;
        let good = rest.is_empty()
            && matches!(kind, USER | HOST)
            && are_options(&critical_options)
            && are_options(&extensions)
            && verifies(&authority, signed, &signature);
        let has_critical_options = !critical_options.is_empty();
        good.then_some(Self {
            public_key,
            authority,
            kind,
            principals,
            valid_after,
            valid_before,
            has_critical_options,
        })
    }

    /// The names it is for, with wildcards.
    #[must_use]
    pub fn principals(&self) -> &[String] {
        &self.principals
    }

    /// Whether this is a host certificate for `host`, good at `now` (seconds since 1970), as `sshkey_cert_check_host` has it.
    /// Principals may hold wildcards.
    #[must_use]
    pub fn names_host(&self, host: &str, now: u64) -> bool {
        self.kind == HOST
            && (self.valid_after..self.valid_before).contains(&now)
            && !self.has_critical_options
            && self.principals.iter().any(|principal| wildcard(principal, host))
    }
}

/// What a certificate says of itself, or what is to become one says: its authority has not been asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Its key id. It need not be UTF-8.
    pub id: Vec<u8>,
    /// Its serial number.
    pub serial: u64,
    /// The key of its authority.
    pub authority: KeyData,
    /// From when on it is valid, in seconds since 1970.
    pub valid_after: u64,
    /// Up to when, exclusively.
    pub valid_before: u64,
}

impl Claims {
    /// Reads them. What stands behind the authority's key is not looked at.
    #[must_use]
    pub fn read(blob: &[u8]) -> Option<Self> {
        let mut rest = blob;
        certified_key(&mut rest)?;
        let serial = u64::decode(&mut rest).ok()?;
        let _kind = u32::decode(&mut rest).ok()?;
        let id = Vec::<u8>::decode(&mut rest).ok()?;
        let _principals = Vec::<u8>::decode(&mut rest).ok()?;
        let (valid_after, valid_before) = (u64::decode(&mut rest).ok()?, u64::decode(&mut rest).ok()?);
        for _critical_options_extensions_reserved in 0..3 {
            Vec::<u8>::decode(&mut rest).ok()?;
        }
        let authority = key_data(&Vec::<u8>::decode(&mut rest).ok()?)?;
        Some(Self { id, serial, authority, valid_after, valid_before })
    }
}

/// The plain public key of a blob that holds a key or a certificate. Of a certificate nothing else is looked at: who signed
/// it says nothing about who holds the key.
#[must_use]
pub fn plain_public_key(blob: &[u8]) -> Option<KeyData> {
    let mut rest = blob;
    match certified_key(&mut rest) {
        Some((_, key)) => Some(key),
        None => key_data(blob),
    }
}

/// Whether a key type's name is that of a certificate.
#[must_use]
pub fn is_certificate(blob: &[u8]) -> bool {
    String::decode(&mut &*blob).is_ok_and(|name| Algorithm::new_certificate(&name).is_ok())
}

/// The plain public key of a blob that holds one, and nothing else.
pub(crate) fn key_data(mut blob: &[u8]) -> Option<KeyData> {
    let key = KeyData::decode(&mut blob).ok()?;
    blob.is_empty().then_some(key)
}

/// The beginning of a certificate: its type, a nonce, and the plain key's fields. Leaves `rest` behind them.
fn certified_key(rest: &mut &[u8]) -> Option<(Algorithm, KeyData)> {
    let algorithm = Algorithm::new_certificate(&String::decode(rest).ok()?).ok()?;
    rest.drain_prefixed().ok()?;
    let mut plain = Vec::with_capacity(rest.len());
    algorithm.as_str().encode(&mut plain).ok()?;
    plain.extend_from_slice(rest);
    let mut behind = plain.as_slice();
    let key = KeyData::decode(&mut behind).ok()?;
    let (_, left) = rest.split_at_checked(rest.len() - behind.len())?;
    *rest = left;
    Some((algorithm, key))
}

/// Names and values, in turn.
fn are_options(mut list: &[u8]) -> bool {
    while !list.is_empty() {
        if list.drain_prefixed().is_err() || list.drain_prefixed().is_err() {
            return false;
        }
    }
    true
}

fn strings(mut list: &[u8]) -> Option<Vec<String>> {
    let mut strings = Vec::new();
    while !list.is_empty() {
        if strings.len() == MOST_PRINCIPALS {
            return None;
        }
        strings.push(text(&mut list)?);
    }
    Some(strings)
}

/// Names are compared, so bytes that are not UTF-8 must not be replaced by others.
fn text(rest: &mut &[u8]) -> Option<String> {
    String::from_utf8(Vec::decode(rest).ok()?).ok()
}

#[cfg(test)]
mod tests;
