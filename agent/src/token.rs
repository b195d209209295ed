//! FIDO2 tokens, as the rest of the daemon sees them.

pub mod helper;
pub(crate) mod hidraw;
pub mod known;
pub(crate) mod pluggings;
pub(crate) mod probe;
pub mod protocol;
mod quiet;
pub mod select;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::denial::{Code, Denial};
pub use hidraw::fido_nodes;
use protocol::{Command, Failure, Reply};

/// Where tokens are asked.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Begins a conversation with the tokens, for one request of a client. It ends when it is dropped.
    ///
    /// # Errors
    /// When the helper can't be started or is of another version.
    async fn begin(&self) -> Result<Box<dyn Exchange>, Failure>;

    /// How many assertions tokens have given so far: each raises a token's signature counter.
    fn assertions(&self) -> u64;
}

/// One conversation with the tokens.
#[async_trait]
pub trait Exchange: Send {
    /// Gives a command and waits for its end. `presence` is called when the token begins to wait for its person.
    ///
    /// # Errors
    /// What the token, the helper or its time limit said. After [`TokenError::HelperExited`] the conversation is over.
    async fn call(&mut self, command: Command, presence: &mut (dyn FnMut() + Send)) -> Result<Reply, Failure> {
        let mut follow = |step| match step {
            Step::PresenceNeeded => presence(),
            Step::Sample { .. } => {}
        };
        self.follow(command, &mut follow).await
    }

    /// The same, told each step.
    ///
    /// # Errors
    /// As with [`Exchange::call`].
    async fn follow(&mut self, command: Command, step: &mut (dyn FnMut(Step) + Send)) -> Result<Reply, Failure>;

    /// Cancels what the token waits for, and ends the conversation. Safe to call when a call's future was dropped.
    async fn cancel(&mut self);
}

/// What happens on a token while it is asked something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It begins to wait for its person.
    PresenceNeeded,
    /// It felt a touch of an enrolment: what was wrong with it (0 is nothing), and how many good ones are still needed.
    Sample {
        /// lastEnrollSampleStatus (CTAP 2.1 § 6.7.4).
        status: u8,
        /// remainingSamples.
        left: u32,
    },
}

/// Why a token gave no answer. The names follow the CTAP 2.1 status codes (§ 8.2) where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenError {
    /// No such device, or it was unplugged.
    #[error("no token is plugged in, or it was pulled out")]
    NotFound,
    /// The device node can't be opened.
    #[error("the token's device node may not be opened by this user")]
    PermissionDenied,
    /// Another program is using the token (CHANNEL_BUSY, or its replies came between ours).
    #[error("another program is using the token")]
    Busy,
    /// PIN_REQUIRED: the token wants user verification.
    #[error("the token wants its PIN")]
    PinRequired,
    /// PIN_INVALID.
    #[error("the token did not accept the PIN")]
    PinInvalid {
        /// Tries left, where the token said so.
        retries: Option<u32>,
    },
    /// PIN_AUTH_BLOCKED: three wrong PINs in a row.
    #[error("the token takes no more PINs until it is pulled out and plugged in again")]
    PinAuthBlocked,
    /// PIN_BLOCKED: no tries left.
    #[error("the token's PIN is blocked for good")]
    PinBlocked,
    /// PIN_POLICY_VIOLATION, or `forcePINChange`: the PIN is accepted to be changed, and for nothing else.
    #[error("the token wants its PIN changed before anything else")]
    PinChangeRequired,
    /// PIN_NOT_SET.
    #[error("the token has no PIN yet")]
    PinNotSet,
    /// A PIN is set already, and can be changed only.
    #[error("the token has a PIN already")]
    PinAlreadySet,
    /// PIN_POLICY_VIOLATION: too short, too long, or one that the token does not want for another reason.
    #[error("the token does not take such a PIN")]
    PinPolicy,
    /// UV_INVALID: the finger was not recognised.
    #[error("the token did not recognise the finger")]
    UvInvalid {
        /// Tries left, where the token said so.
        retries: Option<u32>,
    },
    /// UV_BLOCKED: too many unrecognised fingers.
    #[error("the token's fingerprint sensor is blocked")]
    UvBlocked,
    /// OPERATION_DENIED: declined on the token itself.
    #[error("the request was declined on the token")]
    OperationDenied,
    /// USER_ACTION_TIMEOUT, ACTION_TIMEOUT, or our own deadline.
    #[error("the token was not touched in time")]
    UserTimeout,
    /// KEEPALIVE_CANCEL: cancelled, by us or by the token.
    #[error("the request was cancelled")]
    Cancelled,
    /// NO_CREDENTIALS: the token does not hold this key, or hides it until its user is verified.
    #[error("the token does not hold this key")]
    NoCredentials,
    /// KEY_STORE_FULL.
    #[error("the token has no room for another resident key")]
    KeyStoreFull,
    /// An enrolment that took too many touches.
    #[error("the token found too few of the touches good enough")]
    EnrolmentFailed,
    /// FP_DATABASE_FULL.
    #[error("the token has no room for another fingerprint")]
    FingerprintsFull,
    /// UNSUPPORTED_ALGORITHM, UNSUPPORTED_OPTION, INVALID_OPTION and the like.
    #[error("the token can't do this")]
    Unsupported,
    /// authenticatorSelection is not known to tokens older than CTAP 2.1.
    #[error("the tokens that are plugged in can't be told apart by touch: they are too old for that")]
    SelectionUnsupported,
    /// The helper process ended without an answer.
    #[error("the token helper ended without an answer")]
    HelperExited,
    /// An answer that makes no sense, or a status that is none of the above.
    #[error("the token gave an answer that can't be used")]
    Protocol,
    /// An answer that is well made, and false: its signature does not verify.
    #[error("the token claims to hold a key and does not prove it")]
    Unproven,
}

/// The refusal for a request that a token did not serve.
impl TokenError {
    /// How many tries the token has left of what was tried, where it said so.
    #[must_use]
    pub fn tries_left(&self) -> Option<u32> {
        match self {
            Self::PinInvalid { retries } | Self::UvInvalid { retries } => *retries,
            _ => None,
        }
    }
}

impl From<&Failure> for Denial {
    fn from(failure: &Failure) -> Self {
        let code = match &failure.error {
            TokenError::NotFound => Code::TokenAbsent,
            TokenError::PermissionDenied => Code::TokenPermission,
            TokenError::Busy => Code::TokenBusy,
            TokenError::PinRequired | TokenError::PinInvalid { .. } => Code::PinWrong,
            TokenError::PinAuthBlocked => Code::PinReplug,
            TokenError::PinBlocked => Code::PinBlocked,
            TokenError::PinChangeRequired => Code::PinChangeRequired,
            TokenError::PinNotSet => Code::PinNotSet,
            TokenError::PinAlreadySet => Code::PinAlreadySet,
            TokenError::PinPolicy => Code::PinPolicy,
            TokenError::EnrolmentFailed => Code::EnrolmentFailed,
            TokenError::FingerprintsFull => Code::FingerprintsFull,
            TokenError::UvInvalid { .. } => Code::FingerNotRecognised,
            TokenError::UvBlocked => Code::FingerBlocked,
            TokenError::OperationDenied | TokenError::Cancelled => Code::DeclinedOnToken,
            TokenError::UserTimeout => Code::TouchTimeout,
            TokenError::NoCredentials => Code::KeyNotOnToken,
            TokenError::KeyStoreFull => Code::TokenFull,
            TokenError::Unsupported => Code::TokenUnsupported,
            TokenError::SelectionUnsupported => Code::SelectionUnsupported,
            TokenError::HelperExited | TokenError::Protocol => Code::HelperFailed,
            TokenError::Unproven => Code::TokenUnproven,
        };
        tracing::debug!(detail = failure.detail, status = failure.ctap_status, "{}", failure.error);
        Self::new(code, failure.error.to_string())
    }
}
