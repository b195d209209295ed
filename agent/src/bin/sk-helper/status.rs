//! CTAP status codes in the agent's terms.

use agent::token::TokenError;

/// What a CTAP status (CTAP 2.1 § 8.2) means to the person who waits for the token.
///
/// A wrong PIN is always PIN_INVALID, at the step that trades it for a pinUvAuthToken (§ 6.5.5.7.1). So
/// PIN_AUTH_INVALID, which comes later and says that such a token was not accepted, says nothing about the PIN: asking
/// for it again would be wrong advice.
pub(crate) fn error(status: u8) -> TokenError {
    match status {
        // INVALID_COMMAND, UNSUPPORTED_EXTENSION
        0x01 | 0x16 => TokenError::Unsupported,
        // LIMIT_EXCEEDED, UNSUPPORTED_ALGORITHM, UNSUPPORTED_OPTION, INVALID_OPTION
        0x15 | 0x26 | 0x2b | 0x2c => TokenError::Unsupported,
        // REQUEST_TOO_LARGE, UP_REQUIRED, INVALID_SUBCOMMAND, UNAUTHORIZED_PERMISSION
        0x39 | 0x3b | 0x3e | 0x40 => TokenError::Unsupported,
        // INVALID_CREDENTIAL: a credential id that this token can't have made.
        0x22 | 0x2e => TokenError::NoCredentials,
        0x27 => TokenError::OperationDenied,
        // FP_DATABASE_FULL
        0x17 => TokenError::FingerprintsFull,
        0x28 => TokenError::KeyStoreFull,
        0x2d => TokenError::Cancelled,
        // USER_ACTION_TIMEOUT, ACTION_TIMEOUT
        0x2f | 0x3a => TokenError::UserTimeout,
        0x31 => TokenError::PinInvalid { retries: None },
        0x32 => TokenError::PinBlocked,
        0x34 => TokenError::PinAuthBlocked,
        0x35 => TokenError::PinNotSet,
        // PUAT_REQUIRED, formerly PIN_REQUIRED
        0x36 => TokenError::PinRequired,
        // PIN_POLICY_VIOLATION: where a PIN is given and none is set, it has to be changed first.
        0x37 => TokenError::PinChangeRequired,
        0x3c => TokenError::UvBlocked,
        0x3f => TokenError::UvInvalid { retries: None },
        _ => TokenError::Protocol,
    }
}

/// The same for authenticatorSelection, which came with CTAP 2.1 (§ 6.9): tokens before that call it an invalid command.
pub(crate) fn of_selection(error: TokenError) -> TokenError {
    if error == TokenError::Unsupported { TokenError::SelectionUnsupported } else { error }
}
