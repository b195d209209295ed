//! The audit records of one request: an intent, its attempts, exactly one outcome.

use crate::assertion::Assertion;
use crate::audit::record::{Attempt, Intent, Outcome, RequestId, Subject, Verification};
use crate::audit::{AuditError, AuditLog};
use crate::denial::{Code, Denial};
use crate::token::protocol::Failure;

use super::Signed;

pub(super) struct Trail<'a> {
    log: &'a dyn AuditLog,
    request: RequestId,
    subject: Subject,
    intent_written: bool,
}

impl<'a> Trail<'a> {
    pub(super) fn begin(log: &'a dyn AuditLog, request: RequestId, subject: Subject) -> Self {
        Self { log, request, subject, intent_written: false }
    }

    /// Writes the intent, once.
    pub(super) async fn intent(&mut self, intent: impl FnOnce(Subject) -> Intent) -> Result<(), Denial> {
        if self.intent_written {
            return Ok(());
        }
        self.log.intent(self.request, intent(self.subject.clone())).await.map_err(unwritable)?;
        self.intent_written = true;
        Ok(())
    }

    pub(super) async fn attempt(&self, tried: Verification, failure: &Failure) -> Result<(), Denial> {
        let attempt =
            Attempt { user_verification: tried, error: failure.error.to_string(), ctap_status: failure.ctap_status };
        self.log.attempt(self.request, attempt).await.map_err(unwritable)
    }

    /// Writes the outcome. A signature whose outcome can't be written stays here.
    pub(super) async fn end(self, result: Result<Signed, Denial>) -> Result<Assertion, Denial> {
        match result {
            Ok(Signed { assertion, user_verification }) => {
                let outcome = Outcome::Signed { flags: assertion.flags, counter: assertion.counter, user_verification };
                self.log.outcome(self.request, outcome).await.map_err(unwritable)?;
                Ok(assertion)
            }
            Err(denial) => {
                let key = self.subject.key.clone();
                let subject = (!self.intent_written).then_some(self.subject);
                let outcome = Outcome::Refused { denial: denial.clone(), subject };
                if let Err(error) = self.log.outcome(self.request, outcome).await {
                    tracing::error!(%error, "the refusal can't be recorded");
                }
                tracing::warn!(code = denial.code.as_str(), key, "refused: {denial}");
                Err(denial)
            }
        }
    }
}

fn unwritable(error: AuditError) -> Denial {
    tracing::error!(%error, "the audit log can't be written");
    Denial::new(Code::AuditUnwritable, format!("the audit log can't be written: {error}"))
}
