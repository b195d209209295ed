//! The audit records of one request: an intent, its attempts, exactly one outcome.
//!
//! Types hold the invariant: a signature leaves its [`Signed`] through [`Trail::end`] alone, which takes the trail with
//! it, and there is no [`Signed`] without an intent that is on disk already or goes there with the outcome.

use std::sync::Arc;

use crate::audit::record::{
    Assertion, Attempt, Evidence, Intent, Outcome, RecordId, RequestId, Signer, Subject, Verification,
};
use crate::audit::{AuditError, AuditLog};
use crate::course::{self, Course, Phase};
use crate::denial::{Code, Denial};
use crate::policy::Ground;
use crate::refusal::Refusal;
use crate::token::protocol::{Bytes, Failure};

pub(super) struct Trail<'a> {
    log: &'a dyn AuditLog,
    request: RequestId,
    course: Arc<Course>,
    subject: Subject,
    evidence: Evidence,
    intent_written: bool,
}

/// What was allowed: for where, in the words of the prompt, and why.
pub(super) struct Allowed {
    pub(super) destination: String,
    pub(super) rule: Ground,
}

/// The request's intent is on disk: [`Trail::intent`] says so, and nobody else can.
#[must_use]
pub(super) struct Intended(());

/// A signature that does not leave before its outcome is on disk.
#[must_use]
pub(super) struct Signed {
    signature: Vec<u8>,
    assertion: Option<Assertion>,
    /// What the intent is still to say; none where it is on disk.
    unrecorded: Option<Allowed>,
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
    pub(super) fn by_software(allowed: Allowed, signature: Vec<u8>) -> Self {
        Self { signature, assertion: None, unrecorded: Some(allowed) }
    }
}

impl<'a> Trail<'a> {
    pub(super) fn begin(
        log: &'a dyn AuditLog,
        request: RequestId,
        course: Arc<Course>,
        subject: Subject,
        evidence: Evidence,
    ) -> Self {
        Self { log, request, course, subject, evidence, intent_written: false }
    }

    /// Writes the intent, once.
    pub(super) async fn intent(&mut self, allowed: Allowed, signer: Signer) -> Result<Intended, Denial> {
        if !self.intent_written {
            let intent = self.about_to(allowed, signer);
            let _disk = course::clock(Phase::Disk);
            self.log.intent(self.request, intent).await.map_err(unwritable)?;
            self.intent_written = true;
        }
        Ok(Intended(()))
    }

    pub(super) async fn attempt(&self, tried: Verification, failure: &Failure) -> Result<(), Denial> {
        let attempt = Attempt {
            user_verification: tried,
            error: failure.error.to_string(),
            ctap_status: failure.ctap_status,
            tries_left: failure.error.tries_left(),
        };
        let _disk = course::clock(Phase::Disk);
        self.log.attempt(self.request, attempt).await.map_err(unwritable)
    }

    /// Writes the outcome, and the intent where it is still to be written. A signature whose outcome can't be written
    /// stays here.
    pub(super) async fn end(self, result: Result<Signed, Denial>) -> Result<Vec<u8>, Refusal> {
        let (id, denial) = match result {
            Ok(mut signed) => match self.signed(&mut signed).await {
                Ok(()) => return Ok(signed.signature),
                Err(denial) => (None, denial),
            },
            Err(denial) => (self.refused(&denial).await, denial),
        };
        Err(Refusal::of_signature(id, &self.subject, denial))
    }

    async fn signed(&self, signed: &mut Signed) -> Result<(), Denial> {
        let outcome = Outcome::Signed { assertion: signed.assertion, signature: Bytes(signed.signature.clone()) };
        let course = self.course.so_far();
        let written = match signed.unrecorded.take() {
            Some(allowed) if !self.intent_written => {
                let intent = self.about_to(allowed, Signer::Software);
                self.log.intent_and_outcome(self.request, intent, outcome, course).await
            }
            _ => self.log.outcome(self.request, outcome, course).await.map(drop),
        };
        written.map_err(unwritable)
    }

    fn about_to(&self, Allowed { destination, rule }: Allowed, signer: Signer) -> Intent {
        Intent { subject: self.subject.clone(), evidence: self.evidence.clone(), destination, rule, signer }
    }

    async fn refused(&self, denial: &Denial) -> Option<RecordId> {
        let subject = (!self.intent_written).then(|| Box::new(self.subject.clone()));
        let outcome = Outcome::Refused { denial: denial.clone(), subject };
        let written = self.log.outcome(self.request, outcome, self.course.so_far()).await;
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
    use crate::audit::Unwritable;
    use crate::audit::record::{self, Act, Event};
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
        async fn outcome(
            &self,
            request: RequestId,
            outcome: Outcome,
            _: record::Course,
        ) -> Result<RecordId, AuditError> {
            self.write(vec![Event::Outcome { request, outcome, course: None }]).map(|()| RecordId(9))
        }
        async fn intent_and_outcome(
            &self,
            request: RequestId,
            intent: Intent,
            outcome: Outcome,
            _: record::Course,
        ) -> Result<(), AuditError> {
            self.write(vec![Event::Intent { request, intent }, Event::Outcome { request, outcome, course: None }])
        }
        fn note(&self, _: Event) {}
        async fn act(&self, act: Act) -> Result<RecordId, AuditError> {
            self.write(vec![Event::Act { act }]).map(|()| RecordId(9))
        }
        fn trouble(&self) -> Option<Unwritable> {
            None
        }
    }

    const REQUEST: RequestId = RequestId(7);

    fn subject() -> Subject {
        samples::subject("SHA256:x")
    }

    fn begin(disk: &Disk) -> Trail<'_> {
        Trail::begin(disk, REQUEST, Course::begin(REQUEST), subject(), evidence())
    }

    fn allowed() -> Allowed {
        Allowed { destination: "there".into(), rule: Ground::ThisMachine }
    }

    fn signature() -> Vec<u8> {
        vec![3; 64]
    }

    fn intent_by(signer: Signer) -> Event {
        Event::Intent { request: REQUEST, intent: samples::intent("SHA256:x", signer) }
    }

    fn signed() -> Event {
        Event::Outcome { request: REQUEST, outcome: samples::signed(false), course: None }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn a_software_key_has_both_records_by_one_write() {
        let disk = Disk::default();
        let trail = begin(&disk);
        let released = run(trail.end(Ok(Signed::by_software(allowed(), signature()))));
        assert_eq!(released, Ok(signature()));
        assert_eq!(*disk.writes.lock().unwrap(), [[intent_by(Signer::Software), signed()]]);
    }

    #[test]
    fn an_upstream_agent_is_on_record_before_it_is_asked() {
        let disk = Disk::default();
        let mut trail = begin(&disk);
        let upstream = Signer::Upstream { socket: "/run/other".into() };
        let intended = run(trail.intent(allowed(), upstream.clone())).unwrap_or_else(|denial| panic!("{denial}"));
        assert_eq!(*disk.writes.lock().unwrap(), [[intent_by(upstream)]]);
        assert_eq!(run(trail.end(Ok(Signed::by_upstream(intended, signature())))), Ok(signature()));
        assert_eq!(disk.writes.lock().unwrap()[1..], [[signed()]]);
    }

    #[test]
    fn without_its_records_a_signature_stays_here() {
        let disk = Disk { full: true, ..Disk::default() };
        let trail = begin(&disk);
        let refused = run(trail.end(Ok(Signed::by_software(allowed(), signature()))));
        let refused = refused.unwrap_err();
        assert_eq!((refused.denial.code, refused.id), (Code::AuditUnwritable, None));
    }

    #[test]
    fn a_refusal_says_who_asked_where_no_intent_does() {
        let disk = Disk::default();
        let denial = Denial::plain(Code::UnknownKey);
        let refused = run(begin(&disk).end(Err(denial.clone())));
        let told = Refusal::of_signature(Some(RecordId(9)), &subject(), denial.clone());
        assert_eq!(refused, Err(told), "it is called what its record is called");
        let outcome = Outcome::Refused { denial, subject: Some(Box::new(subject())) };
        assert_eq!(*disk.writes.lock().unwrap(), [[Event::Outcome { request: REQUEST, outcome, course: None }]]);
    }
}
