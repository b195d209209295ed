//! authenticatorBioEnrollment (CTAP 2.1 § 6.7): the fingerprints that a token knows its person by.

use agent::token::TokenError;
use agent::token::protocol::{Bytes, Fingerprint, Fingerprints, Pin};
use ctap_hid_fido2::FidoKeyHid;
use secrecy::ExposeSecret;

use super::info::{Enrolment, Info, enrols_fingerprints};
use super::{ANSWERS_WITH_PIN, announcing_job, job};
use crate::attempt::{Announcer, Job, Sample};
use crate::failure::Trouble;

/// INVALID_OPTION, in the library's words: what a token answers that has no fingerprint to list (CTAP 2.1 § 6.7.6).
const INVALID_OPTION: &str = "0x2C CTAP2_ERR_INVALID_OPTION";

/// The sample's status for a finger that did not come (CTAP 2.1 § 6.7.4).
const NO_USER_ACTIVITY: u8 = 0x0d;

/// The most touches that an enrolment may take, bad ones included: a token that never has enough is given up on.
const MOST_SAMPLES: usize = 60;

/// The fingerprints that are enrolled, and what the token takes for another.
pub(crate) fn list_fingerprints(path: &str, pin: Pin) -> Job<Fingerprints> {
    let run = move |key: &mut FidoKeyHid| {
        prepare(key)?;
        let enrolled = enrolled(key, &pin)?;
        // Tokens that know the preview only may not tell.
        let sensor = key.bio_enrollment_get_fingerprint_sensor_info().unwrap_or_default();
        Ok(Fingerprints {
            enrolled,
            longest_name: Some(sensor.max_template_friendly_name).filter(|length| *length > 0),
            samples: sensor.max_capture_samples_required_for_enroll,
        })
    };
    Job { sends_pin: true, preceding: ANSWERS_WITH_PIN, ..job(path, run) }
}

/// Enrols a fingerprint; its id.
pub(crate) fn enroll_fingerprint(path: &str, pin: Pin, name: Option<String>, touch_milliseconds: u16) -> Job<Bytes> {
    let run = move |key: &mut FidoKeyHid, announcer: &Announcer| {
        prepare(key)?;
        let limit = Some(touch_milliseconds);
        let (enrolment, mut step) = key.bio_enrollment_begin(pin.0.expose_secret(), limit)?;
        let id = enrolment.template_id.clone();
        if id.is_empty() {
            return Err(Trouble::Nonsense("the enrolment has no template id"));
        }
        for _ in 0..MOST_SAMPLES {
            if step.status == NO_USER_ACTIVITY {
                return Err(Trouble::Known(TokenError::UserTimeout, "no finger came"));
            }
            let left = u16::try_from(step.remaining_samples).map_err(|_| Trouble::Nonsense("too many samples"))?;
            announcer.sample(Sample { status: step.status, left }).map_err(anyhow::Error::from)?;
            if step.is_finish {
                return finish(key, &pin, &id, name.as_deref());
            }
            step = key.bio_enrollment_next(&enrolment, limit)?;
        }
        Err(Trouble::Known(TokenError::EnrolmentFailed, "too many samples"))
    };
    Job { sends_pin: true, preceding: ANSWERS_WITH_PIN, once: true, ..announcing_job(path, run) }
}

/// Names the new fingerprint, and sees that the token has it: that an enrolment is over is told by a number that the library
/// takes for zero where it is missing.
fn finish(key: &mut FidoKeyHid, pin: &Pin, id: &[u8], name: Option<&str>) -> Result<Bytes, Trouble> {
    if let Some(name) = name {
        key.bio_enrollment_set_friendly_name(pin.0.expose_secret(), id, name)?;
    }
    if enrolled(key, pin)?.iter().any(|fingerprint| fingerprint.id.0 == id) {
        Ok(Bytes(id.to_vec()))
    } else {
        Err(Trouble::Nonsense("the enrolment ended, and the token does not list the fingerprint"))
    }
}

/// Ends an enrolment that was begun (CTAP 2.1 § 6.7.5). It takes no PIN.
pub(crate) fn cancel_enrollment(path: &str) -> Job<()> {
    let run = |key: &mut FidoKeyHid| {
        key.use_pre_bio_enrollment = enrols_fingerprints(&Info::get(key)?) == Some(Enrolment::Preview);
        Ok(key.bio_enrollment_cancel()?)
    };
    Job { preceding: 1, read: Some(Box::new(|_| Ok(()))), ..job(path, run) }
}

/// Gives a fingerprint another name.
pub(crate) fn rename_fingerprint(path: &str, pin: Pin, id: Bytes, name: String) -> Job<()> {
    change(path, move |key| Ok(key.bio_enrollment_set_friendly_name(pin.0.expose_secret(), &id.0, &name)?))
}

/// Removes a fingerprint.
pub(crate) fn remove_fingerprint(path: &str, pin: Pin, id: Bytes) -> Job<()> {
    change(path, move |key| Ok(key.bio_enrollment_remove(pin.0.expose_secret(), &id.0)?))
}

fn change(path: &str, run: impl Fn(&mut FidoKeyHid) -> Result<(), Trouble> + Send + Sync + 'static) -> Job<()> {
    let run = move |key: &mut FidoKeyHid| {
        prepare(key)?;
        run(key)
    };
    Job { sends_pin: true, preceding: ANSWERS_WITH_PIN, read: Some(Box::new(|_| Ok(()))), ..job(path, run) }
}

fn enrolled(key: &FidoKeyHid, pin: &Pin) -> Result<Vec<Fingerprint>, Trouble> {
    let templates = match key.bio_enrollment_enumerate_enrollments(pin.0.expose_secret()) {
        Err(error) if error.to_string().contains(INVALID_OPTION) => return Ok(Vec::new()),
        templates => templates?,
    };
    let fingerprints = templates.into_iter().map(|template| Fingerprint {
        id: Bytes(template.template_id),
        name: template.template_friendly_name.unwrap_or_default(),
    });
    let fingerprints: Vec<_> = fingerprints.collect();
    if fingerprints.iter().any(|fingerprint| fingerprint.id.0.is_empty()) {
        return Err(Trouble::Nonsense("a fingerprint has no template id"));
    }
    Ok(fingerprints)
}

/// Tells the library which of the two commands the token has, and which PIN protocol.
fn prepare(key: &mut FidoKeyHid) -> Result<(), Trouble> {
    let info = Info::get(key)?;
    let command = enrols_fingerprints(&info)
        .ok_or(Trouble::Known(TokenError::Unsupported, "the token can't enrol fingerprints"))?;
    info.prepare_for_pin(key)?;
    key.use_pre_bio_enrollment = command == Enrolment::Preview;
    Ok(())
}
