//! `agent-cli tokens list`.

use std::process::ExitCode;

use agent::control::{Event, Request, TokenStatus};
use agent::token::protocol::{Bytes, State};
use serde::Serialize;

use crate::control::{Control, unexpected};
use crate::output::{aligned, print, print_json};
use crate::problem::Problem;
use crate::safe::safe;

/// How to show it.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows the tokens.
pub(crate) fn run(options: Options) -> Result<ExitCode, Problem> {
    let tokens = match Control::connect()?.ask(&Request::Tokens)? {
        Event::Tokens { tokens } => tokens,
        other => return Err(unexpected(&other)),
    };
    if options.json {
        print_json(&Listing { tokens: tokens.iter().map(Entry::of).collect() })?;
    } else if tokens.is_empty() {
        print("No FIDO token is plugged in.")?;
    } else {
        print(&tokens.iter().map(describe).collect::<Vec<_>>().join("\n\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(token: &TokenStatus) -> String {
    let device = &token.device;
    let product = if device.product.is_empty() { "FIDO token" } else { &device.product };
    let serial = if device.serial.is_empty() { "none" } else { &device.serial };
    let mut rows = vec![
        ("name", token.name.clone().unwrap_or_else(|| "none".into())),
        ("device", device.path.clone()),
        ("serial", serial.to_owned()),
    ];
    if let Some(trouble) = &token.trouble {
        rows.push(("trouble", trouble.clone()));
    }
    if let Some(state) = &token.state {
        rows.extend([
            ("PIN", pin(state)),
            ("fingerprint", finger(state)),
            ("SSH keys", resident(state)),
            ("AAGUID", aaguid(&state.aaguid)),
            ("versions", state.versions.join(" ")),
        ]);
    }
    format!("{}\n{}", safe(product), aligned("  ", rows))
}

fn pin(state: &State) -> String {
    match (state.pin_set, state.pin_retries) {
        (None, _) => "this token has none".into(),
        (Some(false), _) => format!("not set; it takes {} characters or more", state.shortest_pin),
        (Some(true), Some(0)) => "blocked for good: the token has to be reset, which erases its keys".into(),
        (Some(true), left) => {
            let left = left.map(|left| format!(", {left} {} left", tries(left))).unwrap_or_default();
            let must = if state.force_pin_change { ", must be changed" } else { "" };
            format!("set{must}{left}")
        }
    }
}

fn resident(state: &State) -> String {
    let room = match state.resident_keys_left {
        Some(0) => "no room for another",
        Some(1) => "room for 1 more",
        Some(left) => &format!("room for {left} more"),
        None => "the token does not say how many more it could keep",
    };
    let listed = if state.credential_management { "" } else { "; it can't list them" };
    format!("{room}{listed}")
}

fn finger(state: &State) -> String {
    match (state.built_in_uv, state.uv_retries) {
        (None, _) => "this token has no sensor".into(),
        (Some(false), _) => "not enrolled".into(),
        (Some(true), None) => "enrolled".into(),
        (Some(true), Some(0)) => "blocked, until the PIN is entered once".into(),
        (Some(true), Some(left)) => format!("enrolled, {left} {} left", tries(left)),
    }
}

fn tries(count: u32) -> &'static str {
    if count == 1 { "try" } else { "tries" }
}

/// The model's identifier, as vendors write it (a UUID).
fn aaguid(bytes: &Bytes) -> String {
    let hex: String = bytes.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [hex.get(..8), hex.get(8..12), hex.get(12..16), hex.get(16..20), hex.get(20..32)];
    match parts.into_iter().collect::<Option<Vec<_>>>() {
        Some(parts) if hex.len() == 32 => parts.join("-"),
        _ => hex,
    }
}

#[derive(Debug, Serialize)]
struct Listing<'a> {
    tokens: Vec<Entry<'a>>,
}

/// A token in JSON. What only a token that answers can tell is null where it did not: `trouble` says why.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    /// Null where the person gave it none, or it was not proven to be the one with that name.
    name: Option<&'a str>,
    path: &'a str,
    product: &'a str,
    serial: &'a str,
    vendor_id: u16,
    product_id: u16,
    trouble: Option<&'a str>,
    state: Option<EntryState<'a>>,
}

#[derive(Debug, Serialize)]
struct EntryState<'a> {
    versions: &'a [String],
    aaguid: String,
    /// Null where the token can have no PIN.
    pin_set: Option<bool>,
    pin_tries_left: Option<u32>,
    pin_must_be_changed: bool,
    pin_characters_at_least: u32,
    /// Null where the token has no sensor.
    fingerprint_enrolled: Option<bool>,
    fingerprint_tries_left: Option<u32>,
    always_verifies_user: bool,
    lists_resident_keys: bool,
    /// Null where the token does not say.
    resident_keys_left: Option<u32>,
    enrols_fingerprints: bool,
}

impl<'a> Entry<'a> {
    fn of(token: &'a TokenStatus) -> Self {
        let state = token.state.as_ref().map(|state| EntryState {
            versions: &state.versions,
            aaguid: aaguid(&state.aaguid),
            pin_set: state.pin_set,
            pin_tries_left: state.pin_retries,
            pin_must_be_changed: state.force_pin_change,
            pin_characters_at_least: state.shortest_pin,
            fingerprint_enrolled: state.built_in_uv,
            fingerprint_tries_left: state.uv_retries,
            always_verifies_user: state.always_uv,
            lists_resident_keys: state.credential_management,
            resident_keys_left: state.resident_keys_left,
            enrols_fingerprints: state.fingerprints.is_some(),
        });
        Self {
            name: token.name.as_deref(),
            path: &token.device.path,
            product: &token.device.product,
            serial: &token.device.serial,
            vendor_id: token.device.vendor_id,
            product_id: token.device.product_id,
            trouble: token.trouble.as_deref(),
            state,
        }
    }
}

#[cfg(test)]
mod tests {
    use agent::token::protocol::Device;

    use super::*;

    fn token() -> TokenStatus {
        TokenStatus {
            name: Some("blue one".into()),
            device: Device {
                path: "/dev/hidraw3".into(),
                product: "Key\u{1b}[2J".into(),
                serial: String::new(),
                vendor_id: 0x1050,
                product_id: 0x0407,
            },
            state: Some(State {
                versions: vec!["FIDO_2_0".into(), "FIDO_2_1".into()],
                aaguid: Bytes((0..16).collect()),
                pin_set: Some(true),
                credential_management: true,
                pin_retries: Some(1),
                resident_keys_left: Some(21),
                shortest_pin: 6,
                ..State::default()
            }),
            trouble: None,
        }
    }

    #[test]
    fn a_token_for_a_person() {
        let expected = "\
Key\\u{1b}[2J
  name         blue one
  device       /dev/hidraw3
  serial       none
  PIN          set, 1 try left
  fingerprint  this token has no sensor
  SSH keys     room for 21 more
  AAGUID       00010203-0405-0607-0809-0a0b0c0d0e0f
  versions     FIDO_2_0 FIDO_2_1";
        assert_eq!(describe(&token()), expected);
    }

    #[test]
    fn states_of_a_pin() {
        let state = |pin_set, pin_retries, force_pin_change| State {
            pin_set,
            pin_retries,
            force_pin_change,
            shortest_pin: 6,
            ..State::default()
        };
        for (state, words) in [
            (state(None, None, false), "this token has none"),
            (state(Some(false), None, false), "not set; it takes 6 characters or more"),
            (state(Some(true), Some(8), false), "set, 8 tries left"),
            (state(Some(true), Some(8), true), "set, must be changed, 8 tries left"),
            (state(Some(true), None, true), "set, must be changed"),
        ] {
            assert_eq!(pin(&state), words);
        }
        assert!(pin(&state(Some(true), Some(0), false)).starts_with("blocked for good"));
    }

    #[test]
    fn room_for_resident_keys() {
        let state = |credential_management, resident_keys_left| State {
            credential_management,
            resident_keys_left,
            ..State::default()
        };
        assert_eq!(resident(&state(true, Some(0))), "no room for another");
        assert_eq!(resident(&state(false, Some(1))), "room for 1 more; it can't list them");
        assert!(resident(&state(true, None)).contains("does not say"));
    }

    #[test]
    fn a_token_that_does_not_answer() {
        let token = TokenStatus { state: None, trouble: Some("in use".into()), ..token() };
        assert!(describe(&token).ends_with("  trouble  in use"));
        let json = serde_json::to_value(Entry::of(&token)).unwrap();
        assert_eq!((&json["trouble"], &json["state"]), (&"in use".into(), &serde_json::Value::Null));
    }

    #[test]
    fn a_short_aaguid_is_no_uuid() {
        assert_eq!(aaguid(&Bytes(vec![1, 2])), "0102");
    }
}
