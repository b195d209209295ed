//! Why it was not tested whether a host demands that the token verifies its user.

use crate::commands::rehearse::result::Finding;

/// The reason. They never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    NotAskedFor,
    LoginFailed,
    TokenVerifiesAlways,
    NoKey,
    LeftUntested,
    KeyRefused,
    EachKeyTaken,
    NotSigned,
    Unclear,
}

impl Reason {
    #[cfg(test)]
    const ALL: [Self; 9] = [
        Self::NotAskedFor,
        Self::LoginFailed,
        Self::TokenVerifiesAlways,
        Self::NoKey,
        Self::LeftUntested,
        Self::KeyRefused,
        Self::EachKeyTaken,
        Self::NotSigned,
        Self::Unclear,
    ];

    fn code(self) -> &'static str {
        match self {
            Self::NotAskedFor => "not-asked-for",
            Self::LoginFailed => "login-failed",
            Self::TokenVerifiesAlways => "token-verifies-always",
            Self::NoKey => "no-throw-away-key",
            Self::LeftUntested => "left-untested",
            Self::KeyRefused => "throw-away-key-refused",
            Self::EachKeyTaken => "each-key-taken",
            Self::NotSigned => "throw-away-key-not-signed",
            Self::Unclear => "throw-away-login-unclear",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::NotAskedFor => "that takes a key that is made for it, and put there by you",
            Self::LoginFailed => "the login has failed",
            Self::TokenVerifiesAlways => "this token verifies you for every login, whatever its key asks (alwaysUv)",
            Self::NoKey => "no key could be made for it",
            Self::LeftUntested => "you have left it so",
            Self::KeyRefused => "it does not take the key that was made for it",
            Self::EachKeyTaken => "it says of each key that it would take it, of one too that it can't know",
            Self::NotSigned => "ssh got no signature by the key that was made for it",
            Self::Unclear => "the login with the key that was made for it came to no end",
        }
    }

    fn next(self) -> &'static str {
        match self {
            Self::NotAskedFor => "Rehearse with --throw-away-key.",
            Self::LoginFailed => "Rehearse again once it does not.",
            Self::TokenVerifiesAlways => "Rehearse with --throw-away-key and another token.",
            Self::NoKey | Self::LeftUntested => "Rehearse with --throw-away-key again.",
            Self::KeyRefused => {
                "See that the line stands there whole, for the user you log in as, and where the host looks for your own key; and \
                 that its clock is right. Then repeat: each time has a line of its own."
            }
            Self::EachKeyTaken => "Ask its administrator: of such a host a refusal tells nothing.",
            Self::NotSigned => {
                "Leave the token that the key was made on plugged in, and touch it when you are told to. ssh needs its helper for \
                 tokens (ssh-sk-helper), and you the right to open the token's device."
            }
            Self::Unclear => "Repeat; `ssh -v` says what is wrong on the way.",
        }
    }

    /// With more on what happened, where there is more.
    pub(super) fn finding(self, host: &str, more: Option<&str>) -> Finding {
        let what = more.map_or_else(|| self.what().to_owned(), |more| format!("{}: {more}", self.what()));
        Finding { code: self.code().into(), host: Some(host.to_owned()), what, next: self.next().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_has_each_reason() {
        let guide = include_str!("../../../../../docs/guide.md");
        for reason in Reason::ALL {
            assert!(guide.contains(&format!("| `{}` |", reason.code())), "{}", reason.code());
        }
    }
}
