//! What the last `ssh` on the way says of a login with one key, a line at a time. Its words are those of OpenSSH's own client.

/// What the login came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The host took the signature, whether or not it wants more than that.
    LetIn,
    /// The host would take the key, and did not take its signature.
    SignatureRefused,
    /// The host does not know the key.
    KeyRefused,
    /// There was no signature, as `ssh` says.
    NotSigned(String),
    /// It did not come to that; what `ssh` has said last.
    Unclear(Option<String>),
}

/// What was heard so far.
#[derive(Debug)]
pub(super) struct Heard {
    fingerprint: String,
    offered: bool,
    accepted: bool,
    outcome: Option<Outcome>,
    complaint: Option<String>,
}

/// As much of a complaint as is worth keeping.
const LONGEST_COMPLAINT: usize = 300;

impl Heard {
    pub(super) fn of(fingerprint: &str) -> Self {
        Self { fingerprint: fingerprint.into(), offered: false, accepted: false, outcome: None, complaint: None }
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
        let of_the_key =
            |begin| line.strip_prefix(begin).is_some_and(|key| key.split(' ').any(|word| word == self.fingerprint));
        if of_the_key("debug1: Offering public key: ") {
            self.offered = true;
        } else if of_the_key("debug1: Server accepts key: ") {
            self.accepted = true;
        } else if line.starts_with("debug1: Authentications that can continue: ") {
            // The first time it is what the host takes at all.
            return match (self.offered, self.accepted) {
                (_, true) => Some(Outcome::SignatureRefused),
                (true, false) => Some(Outcome::KeyRefused),
                (false, false) => None,
            };
        } else if line.starts_with("Authenticated ") {
            // With partial success the host wants something else as well.
            return Some(if self.accepted { Outcome::LetIn } else { Outcome::KeyRefused });
        } else if !line.starts_with("debug") && !line.starts_with("OpenSSH_") && !line.is_empty() {
            let complaint: String = line.chars().take(LONGEST_COMPLAINT).collect();
            return match () {
                () if self.accepted && line.contains("signing failed") => Some(Outcome::NotSigned(complaint)),
                // That is how a host refuses that takes one attempt only.
                () if self.accepted && line.contains("Too many authentication failures") => {
                    Some(Outcome::SignatureRefused)
                }
                () => {
                    self.complaint = Some(complaint);
                    None
                }
            };
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

    const OFFERED: &str = "OpenSSH_9.2p1 Debian
        debug1: Authentications that can continue: publickey
        debug1: Offering public key: /tmp/key ED25519-SK SHA256:key explicit\n";
    const ACCEPTED: &str = "debug1: Server accepts key: /tmp/key ED25519-SK SHA256:key explicit\n";
    const CONTINUE: &str = "debug1: Authentications that can continue: publickey\n";

    fn heard(lines: &str) -> Outcome {
        let mut heard = Heard::of("SHA256:key");
        let _ = lines.lines().any(|line| heard.hear(line.trim()));
        heard.outcome()
    }

    #[test]
    fn the_host_s_answer_to_the_signature_is_the_outcome() {
        for end in [
            "Authenticated to device ([192.0.2.1]:22) using \"publickey\".",
            "Authenticated using \"publickey\" with partial success.",
        ] {
            assert_eq!(heard(&format!("{OFFERED}{ACCEPTED}{end}\n{CONTINUE}")), Outcome::LetIn);
        }
        let too_many = "Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures";
        for end in [CONTINUE, too_many] {
            assert_eq!(heard(&format!("{OFFERED}{ACCEPTED}{end}")), Outcome::SignatureRefused);
        }
    }

    #[test]
    fn without_a_signature_nothing_is_known_of_the_host() {
        let said = "sign_and_send_pubkey: signing failed for ED25519-SK \"/tmp/key\": device not found";
        assert_eq!(heard(&format!("{OFFERED}{ACCEPTED}{said}\n{CONTINUE}")), Outcome::NotSigned(said.into()));
        assert_eq!(heard(&format!("{OFFERED}{CONTINUE}")), Outcome::KeyRefused);
        let gone = "Connection closed by 192.0.2.1 port 22";
        assert_eq!(heard(&format!("{OFFERED}{ACCEPTED}{gone}")), Outcome::Unclear(Some(gone.into())));
        assert_eq!(heard(""), Outcome::Unclear(None));
    }

    /// The person's settings may name keys for the host, which are of no account here.
    #[test]
    fn another_key_says_nothing_of_this_one() {
        let others = |said: &str| said.replace("SHA256:key", "SHA256:keys");
        let (offered, accepted) = (others(OFFERED), others(ACCEPTED));
        let let_in = "Authenticated to device ([192.0.2.1]:22) using \"publickey\".";
        assert_eq!(heard(&format!("{offered}{accepted}{let_in}")), Outcome::KeyRefused);
        assert_eq!(heard(&format!("{offered}{CONTINUE}{OFFERED}{ACCEPTED}{CONTINUE}")), Outcome::SignatureRefused);
    }
}
