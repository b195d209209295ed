//! What a token says of itself: authenticatorGetInfo (CTAP 2.1 § 6.4) and the retry counters (§ 6.5.5.2, § 6.5.5.3).

use agent::token::TokenError;
use agent::token::protocol::{Bytes, State};
use ctap_hid_fido2::FidoKeyHid;

use super::job;
use crate::attempt::{Answers, Job};
use crate::failure::Trouble;

/// What is of use here in the answer to authenticatorGetInfo.
pub(super) struct Info {
    versions: Vec<String>,
    aaguid: Vec<u8>,
    extensions: Vec<String>,
    options: Vec<(String, bool)>,
    pin_protocols: Vec<u32>,
    force_pin_change: bool,
    shortest_pin: u32,
}

/// The shortest PIN, in code points, where a token does not say (CTAP 2.1 § 6.4).
const SHORTEST_PIN: u32 = 4;

/// remainingDiscoverableCredentials (CTAP 2.1 § 6.4).
const REMAINING_DISCOVERABLE_CREDENTIALS: i128 = 0x14;

impl Info {
    pub(super) fn get(key: &FidoKeyHid) -> Result<Self, Trouble> {
        let info = key.get_info()?;
        if info.versions.is_empty() || info.aaguid.len() != 16 {
            return Err(Trouble::Nonsense("the answer to getInfo lacks the version or the AAGUID"));
        }
        Ok(Self {
            versions: info.versions,
            aaguid: info.aaguid,
            extensions: info.extensions,
            options: info.options,
            pin_protocols: info.pin_uv_auth_protocols,
            force_pin_change: info.force_pin_change,
            shortest_pin: info.min_pin_length,
        })
    }

    /// An option's value: None where the token does not know it (CTAP 2.1 § 6.4).
    pub(super) fn option(&self, name: &str) -> Option<bool> {
        self.options.iter().find(|(key, _)| key == name).map(|&(_, value)| value)
    }

    /// The fewest code points that a new PIN may have.
    pub(super) fn shortest_pin(&self) -> u32 {
        self.shortest_pin.max(SHORTEST_PIN)
    }

    pub(super) fn has_extension(&self, name: &str) -> bool {
        self.extensions.iter().any(|extension| extension == name)
    }

    /// To be called before the library is given a PIN. Tokens without one differ in what they answer; one whose PIN has to
    /// be changed calls the right one wrong, at the library's getPinToken (CTAP 2.1 § 6.5.5.7.1).
    pub(super) fn prepare_for_pin(&self, key: &mut FidoKeyHid) -> Result<(), Trouble> {
        if self.force_pin_change {
            return Err(Trouble::Known(TokenError::PinChangeRequired, "the token wants its PIN changed first"));
        }
        match self.option("clientPin") {
            Some(true) => self.choose_pin_protocol(key),
            Some(false) => Err(Trouble::Known(TokenError::PinNotSet, "the token has no PIN yet")),
            None => Err(Trouble::Known(TokenError::Unsupported, "the token takes no PIN")),
        }
    }

    /// Lets the library speak the newest PIN/UV auth protocol that both know; its own choice is the first, always. A token
    /// of CTAP 2.0 names none and knows the first.
    pub(super) fn choose_pin_protocol(&self, key: &mut FidoKeyHid) -> Result<(), Trouble> {
        key.pin_protocol_version = match &self.pin_protocols {
            known if known.contains(&2) => 2,
            known if known.contains(&1) || known.is_empty() => 1,
            _ => return Err(Trouble::Known(TokenError::Unsupported, "the token knows neither PIN protocol 1 nor 2")),
        };
        Ok(())
    }
}

/// The token's state, for the person who is about to use it.
pub(crate) fn state(path: &str) -> Job<State> {
    let job = job(path, |key| {
        let info = Info::get(key)?;
        let (pin_set, built_in_uv) = (info.option("clientPin"), info.option("uv"));
        let mut pin_retries = None;
        let mut uv_retries = None;
        if built_in_uv == Some(true) {
            // Tokens of CTAP 2.0 with a sensor do not know this question.
            uv_retries = key.get_uv_retries().ok().map(tries).transpose()?;
        }
        // The last question: see `amend`.
        if pin_set == Some(true) {
            info.choose_pin_protocol(key)?;
            pin_retries = Some(tries(key.get_pin_retries()?)?);
        }
        Ok(State {
            always_uv: info.option("alwaysUv") == Some(true),
            credential_management: manages_credentials(&info).is_some(),
            pin_set,
            built_in_uv,
            force_pin_change: info.force_pin_change,
            power_cycle_needed: false,
            shortest_pin: info.shortest_pin(),
            fingerprints: enrols_fingerprints(&info).and_then(|command| info.option(command.option())),
            resident_keys_left: None,
            pin_retries,
            uv_retries,
            versions: info.versions,
            aaguid: Bytes(info.aaguid),
        })
    });
    let amend = |state: &mut State, answers: &Answers<'_>| {
        state.power_cycle_needed = state.pin_retries.is_some() && power_cycle_state(answers.last);
        // The library takes a missing number for zero, which would be "no room left".
        state.resident_keys_left = number(answers.first, REMAINING_DISCOVERABLE_CREDENTIALS);
    };
    Job { amend: Some(Box::new(amend)), ..job }
}

/// powerCycleState in the answer to getPINRetries (CTAP 2.1 § 6.5.5.2), which the library passes over: a map of pinRetries
/// (3), which is at most 8, and of this (4), in the canonical encoding (§ 8).
fn power_cycle_state(answer: &[u8]) -> bool {
    matches!(answer, [0xa2, 0x03, 0..=23, 0x04, 0xf5])
}

/// Whether resident credentials can be enumerated; with `Preview` by the command that preceded CTAP 2.1 only (§ 6.13).
pub(super) fn manages_credentials(info: &Info) -> Option<CredentialManagement> {
    if info.option("credMgmt") == Some(true) {
        Some(CredentialManagement::Standard)
    } else if info.option("credentialMgmtPreview") == Some(true) {
        Some(CredentialManagement::Preview)
    } else {
        None
    }
}

/// Which authenticatorCredentialManagement a token has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CredentialManagement {
    Standard,
    Preview,
}

/// Whether fingerprints can be enrolled; with `Preview` by the command that preceded CTAP 2.1 only (§ 6.12).
pub(super) fn enrols_fingerprints(info: &Info) -> Option<Enrolment> {
    [Enrolment::Standard, Enrolment::Preview].into_iter().find(|command| info.option(command.option()).is_some())
}

/// Which authenticatorBioEnrollment a token has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enrolment {
    Standard,
    Preview,
}

impl Enrolment {
    /// The option that says so: present where the token has the command, and true once a fingerprint is enrolled.
    fn option(self) -> &'static str {
        match self {
            Self::Standard => "bioEnroll",
            Self::Preview => "userVerificationMgmtPreview",
        }
    }
}

/// A number in a CBOR map by its key; None where it is not there, or is none.
fn number(map: &[u8], wanted: i128) -> Option<u32> {
    let map: ciborium::Value = ciborium::from_reader(map).ok()?;
    let map = map.into_map().ok()?;
    let (_, value) = map.iter().find(|(key, _)| key.as_integer().map(i128::from) == Some(wanted))?;
    u32::try_from(i128::from(value.as_integer()?)).ok()
}

/// Wrong PINs left (CTAP 2.1 § 6.5.5.2).
pub(crate) fn pin_retries(path: &str) -> Job<u32> {
    job(path, |key| {
        Info::get(key)?.choose_pin_protocol(key)?;
        tries(key.get_pin_retries()?)
    })
}

/// Failed fingerprints left (CTAP 2.1 § 6.5.5.3).
pub(crate) fn uv_retries(path: &str) -> Job<u32> {
    job(path, |key| {
        Info::get(key)?.choose_pin_protocol(key)?;
        tries(key.get_uv_retries()?)
    })
}

fn tries(count: i32) -> Result<u32, Trouble> {
    count.try_into().map_err(|_| Trouble::Nonsense("a negative number of tries"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_power_cycle_state_is_found() {
        for (answer, needed) in [
            (&[0xa2, 0x03, 0x05, 0x04, 0xf5][..], true),
            (&[0xa2, 0x03, 0x05, 0x04, 0xf4], false),
            (&[0xa1, 0x03, 0x08], false),
            (&[], false),
        ] {
            assert_eq!(power_cycle_state(answer), needed, "{answer:x?}");
        }
    }

    #[test]
    fn a_missing_number_is_not_a_zero() {
        // {1: [], 20: 0}, {1: []}, {20: "x"}, {20: 7}, and nothing at all.
        assert_eq!(number(&[0xa2, 0x01, 0x80, 0x14, 0x00], 0x14), Some(0));
        assert_eq!(number(&[0xa1, 0x01, 0x80], 0x14), None);
        assert_eq!(number(&[0xa1, 0x14, 0x61, 0x78], 0x14), None);
        assert_eq!(number(&[0xa1, 0x14, 0x07], 0x14), Some(7));
        assert_eq!(number(&[], 0x14), None);
    }
}
