//! The audit records of one request: an intent, its attempts, exactly one outcome.
//!
//! Types hold the invariant: a signature leaves its [`Signed`] through [`Trail::end`] alone, which takes the trail with
//! it, and there is no [`Signed`] without an intent that is on disk already or goes there with the outcome.

use crate::audit::record::{
    Assertion, Attempt, Evidence, Intent, Outcome, RecordId, RequestId, Signer, Subject, Verification,
};
use crate::audit::{AuditError, AuditLog};
use crate::denial::{Code, Denial};
use crate::refusal::Refusal;
use crate::token::protocol::{Bytes, Failure};

pub(super) struct Trail<'a> {
    log: &'a dyn AuditLog,
    request: RequestId,
    subject: Subject,
    evidence: Evidence,
    intent_written: bool,
}

/// The request's intent is on disk: [`Trail::intent`] says so, and nobody else can.
#[must_use]
pub(super) struct Intended(());

/// A signature that does not leave before its outcome is on disk.
#[must_use]
pub(super) struct Signed {
    signature: Vec<u8>,
    assertion: Option<Assertion>,
    /// The destination that the intent is still to name; none where it is on disk.
    unrecorded: Option<String>,
}

impl Signed {
    /// A token's, and what the token says of it.
    pub(super) fn by_token(_: Intended, signature: Vec<u8>, assertion: Assertion) -> Self {
        Self { signature, assertion: Some(assertion), unrecorded: None }
    }

    /// Another agent's.
    pub(super) fn by_upstream(_: Intended, signature: Vec<u8>) -> Self {
        Self { signature, assertion: None, unrecorded: None }
    }

    /// The agent's own, made in memory: nothing outside has happened, so the intent may come with the outcome.
    pub(super) fn by_software(destination: String, signature: Vec<u8>) -> Self {
        Self { signature, assertion: None, unrecorded: Some(destination) }
    }
}

impl<'a> Trail<'a> {
    pub(super) fn begin(log: &'a dyn AuditLog, request: RequestId, subject: Subject, evidence: Evidence) -> Self {
        Self { log, request, subject, evidence, intent_written: false }
    }

    /// Writes the intent, once.
    pub(super) async fn intent(&mut self, destination: String, signer: Signer) -> Result<Intended, Denial> {
        if !self.intent_written {
            let (subject, evidence) = (self.subject.clone(), self.evidence.clone());
            let intent = Intent { subject, evidence, destination, signer };
            self.log.intent(self.request, intent).await.map_err(unwritable)?;
            self.intent_written = true;
        }
        Ok(Intended(()))
    }

    pub(super) async fn attempt(&self, tried: Verification, failure: &Failure) -> Result<(), Denial> {
        let attempt =
            Attempt { user_verification: tried, error: failure.error.to_string(), ctap_status: failure.ctap_status };
        self.log.attempt(self.request, attempt).await.map_err(unwritable)
    }

    /// Writes the outcome, and the intent where it is still to be written. A signature whose outcome can't be written
    /// stays here.
    pub(super) async fn end(self, result: Result<Signed, Denial>) -> Result<Vec<u8>, Refusal> {
        let (id, denial) = match result {
            Ok(signed) => match self.signed(&signed).await {
                Ok(()) => return Ok(signed.signature),
                Err(denial) => (None, denial),
            },
            Err(denial) => (self.refused(&denial).await, denial),
        };
        Err(Refusal::of_signature(id, &self.subject, denial))
    }

    async fn signed(&self, signed: &Signed) -> Result<(), Denial> {
        let outcome = Outcome::Signed { assertion: signed.assertion, signature: Bytes(signed.signature.clone()) };
        let written = match &signed.unrecorded {
            Some(destination) if !self.intent_written => {
                let (subject, evidence) = (self.subject.clone(), self.evidence.clone());
                let intent = Intent { subject, evidence, destination: destination.clone(), signer: Signer::Software };
                self.log.intent_and_outcome(self.request, intent, outcome).await
            }
            _ => self.log.outcome(self.request, outcome).await.map(drop),
        };
        written.map_err(unwritable)
    }

    async fn refused(&self, denial: &Denial) -> Option<RecordId> {
        let subject = (!self.intent_written).then(|| self.subject.clone());
        let outcome = Outcome::Refused { denial: denial.clone(), subject };
        let written = self.log.outcome(self.request, outcome).await;
        written.map_err(|error| tracing::error!(%error, "the refusal can't be recorded")).ok()
    }
}

fn unwritable(error: AuditError) -> Denial {
    tracing::error!(%error, "the audit log can't be written");
    Denial::new(Code::AuditUnwritable, format!("the audit log can't be written: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::audit::record::{Act, Event};
    use crate::audit::samples::{self, evidence};

    /// What was written, each write with its records; or a disk that is full.
    #[derive(Default)]
    struct Disk {
        writes: Mutex<Vec<Vec<Event>>>,
        full: bool,
    }

    impl Disk {
        fn write(&self, events: Vec<Event>) -> Result<(), AuditError> {
            if self.full {
                return Err(AuditError { path: "log".into(), source: std::io::ErrorKind::StorageFull.into() });
            }
            self.writes.lock().unwrap().push(events);
            Ok(())
        }
    }

    #[async_trait]
    impl AuditLog for Disk {
        async fn intent(&self, request: RequestId, intent: Intent) -> Result<(), AuditError> {
            self.write(vec![Event::Intent { request, intent }])
        }
        async fn attempt(&self, request: RequestId, attempt: Attempt) -> Result<(), AuditError> {
            self.write(vec![Event::Attempt { request, attempt }])
        }
        async fn outcome(&self, request: RequestId, outcome: Outcome) -> Result<RecordId, AuditError> {
            self.write(vec![Event::Outcome { request, outcome }]).map(|()| RecordId(9))
        }
        async fn intent_and_outcome(
            &self,
            request: RequestId,
            intent: Intent,
            outcome: Outcome,
        ) -> Result<(), AuditError> {
            self.write(vec![Event::Intent { request, intent }, Event::Outcome { request, outcome }])
        }
        async fn act(&self, act: Act) -> Result<RecordId, AuditError> {
            self.write(vec![Event::Act { act }]).map(|()| RecordId(9))
        }
    }

    const REQUEST: RequestId = RequestId(7);

    fn subject() -> Subject {
        samples::subject("SHA256:x")
    }

    fn signature() -> Vec<u8> {
        vec![3; 64]
    }

    fn intent_by(signer: Signer) -> Event {
        Event::Intent { request: REQUEST, intent: samples::intent("SHA256:x", signer) }
    }

    fn signed() -> Event {
        Event::Outcome { request: REQUEST, outcome: samples::signed(false) }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn a_software_key_has_both_records_by_one_write() {
        let disk = Disk::default();
        let trail = Trail::begin(&disk, REQUEST, subject(), evidence());
        let released = run(trail.end(Ok(Signed::by_software("there".into(), signature()))));
        assert_eq!(released, Ok(signature()));
        assert_eq!(*disk.writes.lock().unwrap(), [[intent_by(Signer::Software), signed()]]);
    }

    #[test]
    fn an_upstream_agent_is_on_record_before_it_is_asked() {
        let disk = Disk::default();
        let mut trail = Trail::begin(&disk, REQUEST, subject(), evidence());
        let upstream = Signer::Upstream { socket: "/run/other".into() };
        let intended = run(trail.intent("there".into(), upstream.clone())).unwrap_or_else(|denial| panic!("{denial}"));
        assert_eq!(*disk.writes.lock().unwrap(), [[intent_by(upstream)]]);
        assert_eq!(run(trail.end(Ok(Signed::by_upstream(intended, signature())))), Ok(signature()));
        assert_eq!(disk.writes.lock().unwrap()[1..], [[signed()]]);
    }

    #[test]
    fn without_its_records_a_signature_stays_here() {
        let disk = Disk { full: true, ..Disk::default() };
        let trail = Trail::begin(&disk, REQUEST, subject(), evidence());
        let refused = run(trail.end(Ok(Signed::by_software("there".into(), signature()))));
        let refused = refused.unwrap_err();
        assert_eq!((refused.denial.code, refused.id), (Code::AuditUnwritable, None));
    }

    #[test]
    fn a_refusal_says_who_asked_where_no_intent_does() {
        let disk = Disk::default();
        let denial = Denial::plain(Code::UnknownKey);
        let refused = run(Trail::begin(&disk, REQUEST, subject(), evidence()).end(Err(denial.clone())));
        let told = Refusal::of_signature(Some(RecordId(9)), &subject(), denial.clone());
        assert_eq!(refused, Err(told), "it is called what its record is called");
        let outcome = Outcome::Refused { denial, subject: Some(subject()) };
        assert_eq!(*disk.writes.lock().unwrap(), [[Event::Outcome { request: REQUEST, outcome }]]);
    }
}
