//! What a check came to.

use serde::Serialize;

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// As it should be.
    Good,
    /// Good enough to log in, and yet worth a look.
    Warning,
    /// It would fail in an emergency.
    Bad,
    /// It was not looked at, for a reason.
    NotChecked,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at. These names never change their meaning.
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    /// What was seen.
    pub(super) reason: String,
    /// What to do about it; null where there is nothing to do.
    pub(super) next: Option<String>,
}

impl Finding {
    pub(super) fn good(check: &'static str, reason: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, reason: reason.into(), next: None }
    }

    pub(super) fn warning(check: &'static str, reason: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, reason: reason.into(), next: Some(next.into()) }
    }

    pub(super) fn bad(check: &'static str, reason: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Bad, reason: reason.into(), next: Some(next.into()) }
    }

    pub(super) fn not_checked(check: &'static str, reason: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::NotChecked, reason: reason.into(), next: None }
    }
}
