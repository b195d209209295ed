//! Refusals. Each has a stable code that the prompt, the audit log, the commands and the documentation share.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A refusal: what happened, and what to do next. It is a result of a request, not an error of the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// The stable code.
    pub code: Code,
    /// What happened, in this case.
    pub reason: String,
}

impl Denial {
    /// A refusal with its reason.
    #[must_use]
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// A refusal whose reason is no more than its code says.
    #[must_use]
    pub fn plain(code: Code) -> Self {
        Self::new(code, code.meaning())
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}). {}", self.reason, self.code, self.code.next())
    }
}

impl std::error::Error for Denial {}

macro_rules! codes {
    ($($variant:ident $name:literal $meaning:literal $next:literal $(=> $setting:literal)?)*) => {
        /// The stable code of a refusal. Codes are never renamed or given another meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = $meaning] #[serde(rename = $name)] $variant,)*
        }

        impl Code {
            /// All of them, for the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code itself.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means, without the case at hand.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What to do next.
            #[must_use]
            pub const fn next(self) -> &'static str {
                match self { $(Self::$variant => $next,)* }
            }

            /// The setting that decides it, where it is one that does.
            #[must_use]
            pub const fn setting(self) -> Option<&'static str> {
                const SETTINGS: &[&[&str]] = &[$(&[$($setting)?],)*];
                SETTINGS[self as usize].first().copied()
            }
        }
    };
}

codes! {
    UnknownKey "unknown-key"
        "the agent does not hold this key"
        "See `agent-cli list`; add the key with `agent-cli add FILE`."
    KeyGone "key-gone"
        "the key was removed, replaced or expired while the request waited"
        "Add the key again and repeat."
    Locked "locked"
        "the agent is locked"
        "Unlock it and repeat: with `ssh-add -X` after `ssh-add -x`; after a suspend or screen lock, unlock the session or run `agent-cli unlock`."
    LockUnchanged "lock-unchanged"
        "the agent is in that state already, or the password is empty"
        "See with `agent-cli status` and `ssh-add -l` how it is; `ssh-add -x` locks under a password, and `-X` unlocks with it."
    OpaqueData "opaque-data"
        "the data is neither a login nor an SSHSIG message; FIDO keys sign nothing else, software keys only when asked on this machine"
        "Use `ssh-keygen -Y sign` for files. If you did not ask for this, find out which program did."
    Malformed "malformed"
        "the message can't be understood"
        "If an ordinary ssh sent it, its keys or messages are of a kind this agent does not know: see the README's limits. If you do not know the program, find out what it is."
    BindingRefused "binding-refused"
        "a host's proof of who it is does not hold"
        "Keys restricted to destinations are refused on this connection, and so is managing keys. If the host is yours, see that its key is one of the kinds in the README's limits."
    SessionMismatch "session-mismatch"
        "the login is for another session than the one this connection is bound to"
        "Do not approve it elsewhere: a host on the way may be trying to use your key for itself."
    HostKeyMismatch "host-key-mismatch"
        "the login names another host key than the one this connection is bound to"
        "Do not approve it elsewhere: a host on the way may be trying to use your key for itself."
    SessionReplayed "session-replayed"
        "a host on the way asked for a login to its own session"
        "Do not approve it elsewhere: a host on the way may be trying to use your key for itself."
    UnboundHop "unbound-hop"
        "the request came through a forwarding host and its destination is not proven"
        "Use OpenSSH 8.9 or later on the forwarding host, or allow it with `unbound_hop = \"allow\"`." => "unbound_hop"
    DestinationNotPermitted "destination-not-permitted"
        "the key is constrained to other destinations, or this one is not proven"
        "See how the key was added (`ssh-add -h`); on the way there, OpenSSH 8.9 or later is needed on each host."
    AuthorityKey "authority-key"
        "the key is set up to issue certificates, on this machine, and for nothing else"
        "Use another key, or remove `ca = true` from the key's entry in the configuration." => "[[key]] ca"
    Sha1 "sha1"
        "an RSA signature with SHA-1 was asked for, which servers of the last years do not accept"
        "Use a client and a server that know rsa-sha2-256 or rsa-sha2-512 (OpenSSH 7.2 or later), or another key type."
    ForwardedManagement "forwarded-management"
        "keys are not added or removed, and the agent is not locked or unlocked, over a forwarded connection"
        "Run the command on the machine where the agent runs, or allow it with `forwarded_management = \"allow\"`." => "forwarded_management"
    SoftwareKeysDenied "software-keys-denied"
        "this agent holds keys of FIDO tokens only"
        "Use a key on a token, or remove `software_keys = \"deny\"` from the configuration." => "software_keys"
    Provider "provider"
        "this agent loads no libraries: neither FIDO middleware nor PKCS#11 modules"
        "FIDO tokens need no provider. For a PKCS#11 module, run an agent that loads it and name its socket as an upstream."
    KeyRejected "key-rejected"
        "the key can't be added"
        "Check the key with `ssh-keygen -l -f FILE`, and the constraints it is added with."
    TooManyKeys "too-many-keys"
        "there is no room for another key: ssh's programs take a list of at most 2048 keys and 256 KiB"
        "Remove keys that you no longer use (`ssh-add -d`), or add this one with fewer constraints."
    NoPrompter "no-prompter"
        "a person has to be asked, and there is no way to ask"
        "Run `agent-cli attach` in a terminal; or hand a display or terminal over with `agent-cli attach --env`."
    PromptRefused "prompt-refused"
        "the person said no, or gave no answer"
        "Repeat the request and answer the prompt."
    PromptTimeout "prompt-timeout"
        "the prompt was not answered in time"
        "Repeat the request and answer the prompt." => "[limits] prompt_seconds"
    PromptLost "prompt-lost"
        "the prompt was closed, or its program ended, before there was an answer"
        "Repeat the request. It was not asked elsewhere, and no try was used."
    EnvironmentRejected "environment-rejected"
        "the display or terminal that was handed over can't be used"
        "Run `agent-cli attach --env` in a terminal of your own, or in your desktop session."
    WrongPassphrase "wrong-passphrase"
        "the passphrase does not open the key file"
        "Repeat the request with the key file's passphrase."
    KeyFile "key-file"
        "the key file can't be read"
        "Check that the file is there, is yours, and is an OpenSSH key of a FIDO token."
    ClientGone "client-gone"
        "the program that asked went away"
        "Nothing to do."
    AgentStopped "agent-stopped"
        "the agent was stopped while the request waited"
        "Start the agent, and repeat."
    Muted "muted"
        "the program was refused too often in a short time, and is refused everything for a while"
        "See with `agent-cli why` what it was refused. If it is a host that you forward the agent to, end that connection; else wait, and repeat." => "[mute]"
    RequestTimeout "request-timeout"
        "the request took too long in all"
        "Repeat the request." => "[limits] request_seconds"
    TokenAbsent "token-absent"
        "no token is plugged in, or it was pulled out"
        "Plug the token in and repeat."
    TokenPermission "token-permission"
        "the token's device node may not be opened by this user"
        "Install the udev rule for FIDO devices (Debian: package libfido2-1, or log in at the machine's own seat)."
    TokenBusy "token-busy"
        "another program is using the token"
        "Close the other program (often a browser or another agent) and repeat."
    KeyNotOnToken "key-not-on-token"
        "none of the tokens that are plugged in holds this key"
        "Plug in the token on which the key was generated."
    TokenName "token-name"
        "there is no token of that name, or it can't be a token's name"
        "See the names with `agent-cli tokens`; `agent-cli tokens forget NAME` makes a name free."
    TokenNotRecognisable "token-not-recognisable"
        "the token does not let itself be recognised without its PIN or a finger"
        "It works without a name: each time it is plugged in, you are asked once whether it is yours."
    BackupSameToken "backup-same-token"
        "this token holds the key already: whoever loses it loses both"
        "Pull it out, plug in another token, and repeat."
    KnownTokens "known-tokens"
        "the list of named tokens can't be used"
        "Mend the file or move it away, then name your tokens again with `agent-cli tokens name NAME`."
    TouchTimeout "touch-timeout"
        "the token was not touched in time"
        "Repeat, and touch the token while it blinks." => "[limits] touch_seconds"
    DeclinedOnToken "declined-on-token"
        "the request was declined on the token"
        "Repeat, if the request is yours."
    PinWrong "pin-wrong"
        "the token did not accept the PIN"
        "Repeat with the right PIN; `agent-cli tokens` shows how many tries are left."
    PinNotSet "pin-not-set"
        "the key asks for user verification, and the token has neither PIN nor fingerprint"
        "Set a PIN with `agent-cli tokens set-pin`, then repeat."
    PinAlreadySet "pin-already-set"
        "the token has a PIN already"
        "Change it with `agent-cli tokens change-pin`; a PIN that is forgotten goes with all keys when the token is reset."
    PinPolicy "pin-policy"
        "the token does not take such a PIN"
        "Choose a longer one: at least as many characters as the token asks for, and at most 63 bytes."
    NewPinsDiffer "new-pins-differ"
        "the two new PINs are not the same, so none was set"
        "Repeat, and type the same PIN twice."
    PinReplug "pin-replug"
        "the token takes no more PINs until it is plugged in again"
        "Pull the token out, plug it in, and repeat with the right PIN."
    PinGuard "pin-guard"
        "two wrong PINs were tried since the token was plugged in: a third one would lock it"
        "Find the right PIN; then pull the token out, plug it in, and repeat."
    PinFewTries "pin-few-tries"
        "few PIN tries are left before the token blocks its PIN for good, and no other one was insisted on"
        "Use your backup token, or find the right PIN before you try again: a blocked token has to be reset, which erases its keys."
    PinChangeRequired "pin-change-required"
        "the token wants its PIN changed before it is used for anything else"
        "Run `agent-cli tokens change-pin`, then repeat."
    PinBlocked "pin-blocked"
        "the token's PIN is blocked for good"
        "Use your backup token. This one has to be reset, which erases its keys."
    FingerNotRecognised "finger-not-recognised"
        "the token did not recognise the finger"
        "Repeat with an enrolled finger, clean and dry."
    FingerBlocked "finger-blocked"
        "the token's fingerprint sensor is blocked"
        "Enter the token's PIN once to unblock it."
    FingerprintsFull "fingerprints-full"
        "the token has no room for another fingerprint"
        "Remove one with `agent-cli tokens fingerprints remove`, and repeat."
    NoSuchFingerprint "no-such-fingerprint"
        "the token has no such fingerprint, or more than one of that name"
        "See `agent-cli tokens fingerprints`, and name it by its id."
    FingerprintName "fingerprint-name"
        "the fingerprint can't have that name"
        "Choose a shorter name, of one line, that no other fingerprint has."
    EnrolmentFailed "enrolment-failed"
        "the token found too few of the touches good enough"
        "Repeat, with a clean and dry finger, and lift it between the touches."
    NoSuchCredential "no-such-credential"
        "the token keeps no such SSH key"
        "See `agent-cli tokens credentials` for those it keeps."
    NoFingerprint "no-fingerprint"
        "the token has no fingerprint sensor, or no finger is enrolled, and this key is set up to be used by fingerprint"
        "Use a token with an enrolled finger, or change `user_verification` in the configuration."
    TokenFull "token-full"
        "the token has no room for another resident key"
        "Delete one that you no longer use with `agent-cli tokens credentials delete`, or generate with --no-resident."
    ResidentTwin "resident-twin"
        "the token already keeps a resident key for this application and user"
        "Choose another --application ssh:NAME or --user NAME, or pass --replace."
    TokenUnsupported "token-unsupported"
        "the token can't do this"
        "Use a FIDO2 token, or another key type (`--type ecdsa-sk`)."
    SelectionUnsupported "selection-unsupported"
        "several tokens are plugged in, and they are too old to be chosen from by touch"
        "Leave only the right token plugged in, and repeat."
    HelperFailed "helper-failed"
        "the token helper did not answer as it should"
        "Repeat; if it happens again, see the agent's own messages."
    TokenUnproven "token-unproven"
        "the token's answer did not stand up to verification"
        "Do not trust this token or cable until you know why."
    UpstreamRefused "upstream-refused"
        "the upstream agent refused or did not answer in time"
        "See what that agent says; `agent-cli status` shows whether it answers."
    UpstreamUnproven "upstream-unproven"
        "the upstream agent's signature is none of the key over what was asked for"
        "Do not use that upstream until you know why."
    AuditUnwritable "audit-unwritable"
        "the audit log can't be written, so no signature is given out"
        "Make room on the disk and check the state directory's owner and mode."
    NotSupported "not-supported"
        "this agent does not do that yet"
        "See the README's list of limits."
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_every_one_says_what_to_do() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert!(code.next().ends_with('.'), "{code}: the next step is a sentence");
            assert!(!code.meaning().ends_with('.'), "{code}: the meaning is put into sentences");
        }
    }
}
