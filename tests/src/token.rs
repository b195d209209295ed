//! The tokens that scenarios run with.

use soft_token::TokenOptions;

/// The PIN of every token here.
pub const PIN: &str = "1234";

/// The two kinds of token that verify their user differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// By PIN.
    PinOnly,
    /// By an enrolled finger; there is a PIN as well.
    Fingerprint,
}

impl TokenKind {
    /// A token of this kind, with a PIN, that is touched at once.
    #[must_use]
    pub fn options(self) -> TokenOptions {
        match self {
            Self::PinOnly => TokenOptions::pin_only().pin(PIN),
            Self::Fingerprint => TokenOptions::fingerprint().pin(PIN),
        }
    }
}

/// Makes two tests of each scenario: `scenario::pin_only` and `scenario::fingerprint`.
///
/// ```
/// # use tests::{TokenKind, for_each_token};
/// for_each_token! {
///     /// What is shown.
///     fn something_works(kind: TokenKind) {
///         let _token = kind.options();
///     }
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! for_each_token {
    ($($(#[$about:meta])* fn $name:ident($kind:ident: $type:ty) $body:block)*) => {
        $(
            $(#[$about])*
            mod $name {
                #[allow(unused_imports, reason = "a scenario uses what its file imports")]
                use super::*;

                fn scenario($kind: $type) $body

                #[test]
                fn pin_only() {
                    scenario(<$type>::PinOnly);
                }

                #[test]
                fn fingerprint() {
                    scenario(<$type>::Fingerprint);
                }
            }
        )*
    };
}
