//! The commands in terms of ctap-hid-fido2. That crate is named in this module and below it only.
//!
//! Each [`Job`] opens the device anew: the kernel queues other programs' reports on an open handle, and the library would
//! take the first of them for its answer.

mod assertion;
mod credential;
mod devices;
mod fingerprints;
mod info;
mod pin;
mod resident;

use std::sync::{Arc, Mutex, PoisonError};

use agent::token::TokenError;
use ctap_hid_fido2::{FidoKeyHid, FidoKeyHidFactory, HidParam, LibCfg};

use crate::attempt::{Announcer, Job};
use crate::failure::Trouble;

pub(crate) use assertion::{get_assertion, probe};
pub(crate) use credential::make_credential;
pub(crate) use devices::devices;
pub(crate) use fingerprints::{
    cancel_enrollment, enroll_fingerprint, list_fingerprints, remove_fingerprint, rename_fingerprint,
};
pub(crate) use info::{pin_retries, state, uv_retries};
pub(crate) use pin::{change_pin, set_pin, verify_pin};
pub(crate) use resident::{delete_credential, enumerate_credentials};

/// The most that a command's variable parts may have together. The library sends 101 reports, 5957 bytes, of whatever it
/// is given, without a word about the rest; the token would wait for it.
const LONGEST_PARTS: usize = 5000;

/// The answers before the one that counts where a PIN is used: to getInfo, getKeyAgreement and getPinToken.
const ANSWERS_WITH_PIN: usize = 3;

/// authenticatorSelection (CTAP 2.1 § 6.9): answered, with nothing, when the token is touched.
pub(crate) fn selection(path: &str) -> Job<()> {
    Job { read: Some(Box::new(|_| Ok(()))), ..job(path, |key| Ok(key.selection()?)) }
}

/// A job on a device that needs no PIN.
fn job<T>(path: &str, ask: impl Fn(&mut FidoKeyHid) -> Result<T, Trouble> + Send + Sync + 'static) -> Job<T> {
    announcing_job(path, move |key, _| ask(key))
}

/// The same, for one that has something to tell before it ends.
fn announcing_job<T>(
    path: &str,
    ask: impl Fn(&mut FidoKeyHid, &Announcer) -> Result<T, Trouble> + Send + Sync + 'static,
) -> Job<T> {
    let path = path.to_owned();
    let run = move |announcer: &Announcer| {
        let mut key = open(&path)?;
        let channel = key.get_cid()?;
        announcer.channel(channel).map_err(anyhow::Error::from)?;
        ask(&mut key, announcer)
    };
    Job { run: Arc::new(run), read: None, amend: None, preceding: 0, sends_pin: false, once: false }
}

fn open(path: &str) -> Result<FidoKeyHid, Trouble> {
    /// hidapi keeps its last error in a global that is not safe to write twice at once.
    static OPENING: Mutex<()> = Mutex::new(());
    let _opening = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    let config = LibCfg { enable_keep_alive_msg: false, ..LibCfg::init() };
    // The node itself was just opened (see `node`), so there is no question of permission here.
    FidoKeyHidFactory::create_by_params(&[HidParam::Path(path.to_owned())], &config)
        .map_err(|_| Trouble::Known(TokenError::NotFound, "the device is gone, or is none"))
}

/// Refuses what the library would cut off.
fn fits(parts: &[&[u8]]) -> Result<(), Trouble> {
    if parts.iter().map(|part| part.len()).sum::<usize>() > LONGEST_PARTS {
        return Err(Trouble::Known(TokenError::Unsupported, "too long for a message to a token"));
    }
    Ok(())
}
