//! What the last `ssh` on the way says of a login with the key that was made, a line at a time. Its words are those of OpenSSH's
//! own client.
//!
//! A host may refuse a signature for other reasons than that its token has verified nobody: it says of each key that it would take
//! it, or it takes the line no longer. So `ssh` offers three keys, of which only the second can sign: one that no host knows, the
//! key, and the key again. The refusal counts where the first was not taken, and the last was still.
//!
//! Until the host is known, whoever is on the way can write what looks like these words (SSH_MSG_DEBUG). They do not know where the
//! keys' files are, which `ssh` names with each key.

use std::path::{Path, PathBuf};

/// What the login came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The host took the signature, whether or not it wants more than that.
    LetIn,
    /// The host would take the key before and after, and did not take its signature.
    SignatureRefused,
    /// The host does not know the key.
    KeyRefused,
    /// The host would take a key that it can't know.
    EachKeyTaken,
    /// There was no signature, as `ssh` says.
    NotSigned(String),
    /// It did not come to that; what `ssh` has said last.
    Unclear(Option<String>),
}

/// The files of the keys that are offered, in this order. They are in a folder whose name is by chance.
#[derive(Debug)]
pub(super) struct Offers {
    /// A public key that no host knows.
    pub(super) unknown: PathBuf,
    /// The key.
    pub(super) key: PathBuf,
    /// Its public half: it is offered, and can't sign.
    pub(super) again: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    Unknown,
    Key,
    Again,
}

impl Offers {
    /// Which of them `ssh` speaks of in words that begin so.
    fn named(&self, line: &str, begin: &str) -> Option<Offer> {
        let named = line.strip_prefix(begin)?;
        let is = |path: &Path| {
            path.to_str().and_then(|path| named.strip_prefix(path)).is_some_and(|rest| rest.starts_with(' '))
        };
        let each = [(Offer::Unknown, &self.unknown), (Offer::Key, &self.key), (Offer::Again, &self.again)];
        each.into_iter().find(|(_, path)| is(path)).map(|(offer, _)| offer)
    }
}

/// What was heard so far.
#[derive(Debug)]
pub(super) struct Heard {
    offers: Offers,
    offered: Option<Offer>,
    accepted: bool,
    signature_refused: bool,
    outcome: Option<Outcome>,
    complaint: Option<String>,
}

/// As much of a complaint as is worth keeping.
const LONGEST_COMPLAINT: usize = 300;

impl Heard {
    pub(super) fn of(offers: Offers) -> Self {
        Self { offers, offered: None, accepted: false, signature_refused: false, outcome: None, complaint: None }
    }

    /// Whether the host would take the key, so that the token is asked for a signature.
    pub(super) fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// Takes a line, and says whether no more is to be heard: `ssh` goes on with other keys of the person's.
    pub(super) fn hear(&mut self, line: &str) -> bool {
        self.outcome = self.outcome.take().or_else(|| self.read(line));
        self.outcome.is_some()
    }

    fn read(&mut self, line: &str) -> Option<Outcome> {
        if let Some(offer) = self.offers.named(line, "debug1: Offering public key: ") {
            self.offered = Some(offer);
        } else if let Some(offer) = self.offers.named(line, "debug1: Server accepts key: ") {
            match offer {
                Offer::Unknown => return Some(Outcome::EachKeyTaken),
                Offer::Key => self.accepted = true,
                Offer::Again => return self.signature_refused.then_some(Outcome::SignatureRefused),
            }
        } else if line.starts_with("debug1: Authentications that can continue: ") {
            // The first time it is what the host takes at all.
            match self.offered {
                Some(Offer::Key) if self.accepted => self.signature_refused = true,
                Some(Offer::Key) => return Some(Outcome::KeyRefused),
                Some(Offer::Again) => {
                    return Some(Outcome::Unclear(Some("it took the key at first, then no more".into())));
                }
                Some(Offer::Unknown) | None => {}
            }
        } else if line.starts_with("Authenticated ") {
            // With partial success the host wants something else as well.
            return Some(match self.offered {
                Some(Offer::Key) if self.accepted && !self.signature_refused => Outcome::LetIn,
                _ => Outcome::Unclear(Some("another key let in, or none was needed".into())),
            });
        } else if !line.starts_with("debug") && !line.starts_with("OpenSSH_") && !line.is_empty() {
            let complaint: String = line.chars().take(LONGEST_COMPLAINT).collect();
            if self.accepted && !self.signature_refused && line.contains("signing failed") {
                return Some(Outcome::NotSigned(complaint));
            }
            self.complaint = Some(complaint);
        }
        None
    }

    pub(super) fn outcome(self) -> Outcome {
        self.outcome.unwrap_or(Outcome::Unclear(self.complaint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "OpenSSH_9.2p1 Debian
        debug1: Authentications that can continue: publickey
        debug1: Offering public key: /tmp/r/unknown.pub ED25519-SK SHA256:unknown explicit\n";
    const OFFERED: &str = "debug1: Offering public key: /tmp/r/key ED25519-SK SHA256:key explicit\n";
    const ACCEPTED: &str = "debug1: Server accepts key: /tmp/r/key ED25519-SK SHA256:key explicit\n";
    const OFFERED_AGAIN: &str = "debug1: Offering public key: /tmp/r/key.pub ED25519-SK SHA256:key explicit\n";
    const ACCEPTED_AGAIN: &str = "debug1: Server accepts key: /tmp/r/key.pub ED25519-SK SHA256:key explicit\n";
    const CONTINUE: &str = "debug1: Authentications that can continue: publickey\n";
    const LET_IN: &str = "Authenticated to device ([192.0.2.1]:22) using \"publickey\".\n";

    fn heard(lines: &[&str]) -> Outcome {
        let file = |name: &str| Path::new("/tmp/r").join(name);
        let mut heard = Heard::of(Offers { unknown: file("unknown.pub"), key: file("key"), again: file("key.pub") });
        let _ = lines.concat().lines().any(|line| heard.hear(line.trim()));
        heard.outcome()
    }

    fn unclear(said: &str) -> Outcome {
        Outcome::Unclear(Some(said.into()))
    }

    #[test]
    fn the_host_s_answer_to_the_signature_is_the_outcome() {
        for end in [LET_IN, "Authenticated using \"publickey\" with partial success.\n"] {
            assert_eq!(heard(&[BEGIN, CONTINUE, OFFERED, ACCEPTED, end, CONTINUE]), Outcome::LetIn);
        }
        let refused = [BEGIN, CONTINUE, OFFERED, ACCEPTED, CONTINUE, OFFERED_AGAIN, ACCEPTED_AGAIN];
        assert_eq!(heard(&refused), Outcome::SignatureRefused);
        assert_eq!(heard(&[BEGIN, CONTINUE, OFFERED, CONTINUE]), Outcome::KeyRefused);
    }

    #[test]
    fn a_refusal_that_may_have_other_reasons_counts_for_nothing() {
        // The line's time is over meanwhile, say.
        let no_more = heard(&[BEGIN, CONTINUE, OFFERED, ACCEPTED, CONTINUE, OFFERED_AGAIN, CONTINUE]);
        assert_eq!(no_more, unclear("it took the key at first, then no more"));
        // A host that takes one attempt only.
        let too_many = "Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures";
        assert_eq!(heard(&[BEGIN, CONTINUE, OFFERED, ACCEPTED, too_many]), unclear(too_many));
        let each = ACCEPTED.replace("/tmp/r/key ", "/tmp/r/unknown.pub ");
        assert_eq!(heard(&[BEGIN, &each]), Outcome::EachKeyTaken);
    }

    #[test]
    fn without_a_signature_nothing_is_known_of_the_host() {
        let said = "sign_and_send_pubkey: signing failed for ED25519-SK \"/tmp/r/key\": device not found";
        let not_signed = [BEGIN, CONTINUE, OFFERED, ACCEPTED, said, "\n", CONTINUE];
        assert_eq!(heard(&not_signed), Outcome::NotSigned(said.into()));
        let gone = "Connection closed by 192.0.2.1 port 22";
        assert_eq!(heard(&[BEGIN, CONTINUE, OFFERED, ACCEPTED, gone]), unclear(gone));
        assert_eq!(heard(&[]), Outcome::Unclear(None));
    }

    /// The person's settings may name keys for the host, certificates among them, which come first.
    #[test]
    fn another_key_says_nothing_of_this_one() {
        let other = |said: &str| said.replace("/tmp/r/key", "/home/me/.ssh/key");
        let (offered, accepted) = (other(OFFERED), other(ACCEPTED));
        assert_eq!(heard(&[&offered, &accepted, LET_IN]), unclear("another key let in, or none was needed"));
        let refused = [&offered, CONTINUE, BEGIN, CONTINUE, OFFERED, ACCEPTED, CONTINUE, OFFERED_AGAIN, ACCEPTED_AGAIN];
        assert_eq!(heard(&refused), Outcome::SignatureRefused);
    }

    /// Whoever is on the way knows the key's fingerprint, and not where its file is.
    #[test]
    fn words_of_strangers_come_to_nothing() {
        let forged = |said: &str| said.replace("/tmp/r/", "");
        let lines = [BEGIN, OFFERED, ACCEPTED, CONTINUE, OFFERED_AGAIN, ACCEPTED_AGAIN, CONTINUE].map(forged);
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let closed = "Connection closed by 192.0.2.1 port 22";
        assert_eq!(heard(&[&lines[..], &[closed]].concat()), unclear(closed));
        assert_ne!(heard(&[&lines[..3], &[LET_IN]].concat()), Outcome::LetIn);
    }
}
