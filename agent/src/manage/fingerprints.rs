//! The fingerprints that a token knows its person by.

use std::fmt::Write as _;
use std::time::Duration;

use secrecy::SecretString;

use super::Management;
use super::at_hand::AtHand;
use crate::audit::record::TokenChange;
use crate::control::token::{Answer, Fingerprint};
use crate::denial::{Code, Denial};
use crate::occasion::describe_device;
use crate::prompt::{Prompt, Prompter};
use crate::token::protocol::{self, Bytes, Command, Fingerprints, Pin, Reply};

/// How long an enrolment may take beyond what any request may: each touch has its own limit, and tokens want a dozen.
const ENROLMENT: Duration = Duration::from_secs(300);

impl Management<'_> {
    /// Which fingerprints are enrolled.
    pub(crate) async fn fingerprints(&self) -> Result<Answer, Denial> {
        let (token, _, found) = self.enrolled("Touch the token whose fingerprints are to be listed.").await?;
        Ok(Answer::Fingerprints { token: token.device, fingerprints: found.enrolled.iter().map(shown).collect() })
    }

    /// Enrols one more, touch by touch.
    pub(crate) async fn add_fingerprint(&self, name: Option<String>) -> Result<Answer, Denial> {
        let (mut token, pin, found) = self.enrolled("Touch the token that is to learn a fingerprint.").await?;
        if let Some(name) = &name {
            check_name(name, &found)?;
        }
        self.changing(&mut token, &TokenChange::AddFingerprint).await?;
        let milliseconds = self.agent.settings().limits.touch.as_millis();
        let command = Command::EnrollFingerprint {
            path: token.path(),
            pin: Pin(pin),
            name: name.clone(),
            touch_milliseconds: u16::try_from(milliseconds).unwrap_or(u16::MAX),
        };
        let lines = vec![format!("New fingerprint on {}", describe_device(&token.device))];
        let question = "Put the finger on the token's sensor, and lift it again after each touch.".into();
        let notice = Prompt { lines, question };
        token.still_there()?;
        let shown = self.terminal.notify_presence(&notice);
        let mut sample = |status, left| self.terminal.say(feedback(status, left));
        let reply = self.follow(token.exchange.as_mut(), &token.patience, command, None, &mut sample).await;
        drop(shown);
        let reply = reply?;
        let Reply::Enrolled { id } = reply else { return Err(Denial::plain(Code::HelperFailed)) };
        self.changed(&mut token, TokenChange::AddFingerprint).await;
        let fingerprint = Fingerprint { id: hex(&id), name: name.unwrap_or_default() };
        Ok(Answer::Fingerprint { token: token.device, fingerprint })
    }

    /// Gives one another name.
    pub(crate) async fn rename_fingerprint(&self, which: &str, name: String) -> Result<Answer, Denial> {
        let (mut token, pin, found) = self.enrolled("Touch the token that has the fingerprint.").await?;
        let fingerprint = find(which, &found)?;
        check_name(&name, &found)?;
        let (path, id) = (token.path(), fingerprint.id.clone());
        let change = TokenChange::RenameFingerprint { fingerprint: hex(&id) };
        let command = Command::RenameFingerprint { path, pin: Pin(pin), id, name: name.clone() };
        self.change(&mut token, change, command).await?;
        let fingerprint = Fingerprint { name, ..shown(fingerprint) };
        Ok(Answer::Fingerprint { token: token.device, fingerprint })
    }

    /// Removes one.
    pub(crate) async fn remove_fingerprint(&self, which: &str) -> Result<Answer, Denial> {
        let (mut token, pin, found) = self.enrolled("Touch the token that has the fingerprint.").await?;
        let fingerprint = find(which, &found)?;
        let (path, id) = (token.path(), fingerprint.id.clone());
        let change = TokenChange::RemoveFingerprint { fingerprint: hex(&id) };
        self.change(&mut token, change, Command::RemoveFingerprint { path, pin: Pin(pin), id }).await?;
        Ok(Answer::Fingerprint { token: token.device, fingerprint: shown(fingerprint) })
    }

    /// A token that can learn fingerprints, its PIN, and those it has.
    async fn enrolled(&self, question: &str) -> Result<(AtHand<'_>, SecretString, Fingerprints), Denial> {
        let mut token = self.at_hand(self.agent.settings().limits.request + ENROLMENT, question).await?;
        if token.state.fingerprints.is_none() {
            return Err(Denial::new(Code::TokenUnsupported, "this token has no fingerprints to manage"));
        }
        if token.state.pin_set != Some(true) {
            let reason = "fingerprints are managed by PIN, and the token has none yet";
            return Err(Denial::new(Code::PinNotSet, reason));
        }
        let pin = self.pin_of(&mut token).await?;
        let command = Command::ListFingerprints { path: token.path(), pin: Pin(pin.clone()) };
        match self.run(&mut token, command, None).await? {
            Reply::Fingerprints(found) => Ok((token, pin, found)),
            _ => Err(Denial::plain(Code::HelperFailed)),
        }
    }
}

/// By its id, or by a name that no other has.
fn find<'a>(which: &str, found: &'a Fingerprints) -> Result<&'a protocol::Fingerprint, Denial> {
    let by_id = found.enrolled.iter().find(|fingerprint| hex(&fingerprint.id).eq_ignore_ascii_case(which));
    let mut by_name = found.enrolled.iter().filter(|fingerprint| !which.is_empty() && fingerprint.name == which);
    match (by_id, by_name.next(), by_name.next()) {
        (Some(fingerprint), None, _) | (None, Some(fingerprint), None) => Ok(fingerprint),
        _ => Err(Denial::plain(Code::NoSuchFingerprint)),
    }
}

/// A name that can be told from the others, and from nothing.
fn check_name(name: &str, found: &Fingerprints) -> Result<(), Denial> {
    let refuse = |reason: String| Err(Denial::new(Code::FingerprintName, reason));
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return refuse("a fingerprint's name is one line, and not empty".into());
    }
    if let Some(longest) = found.longest_name.filter(|longest| name.len() > *longest as usize) {
        return refuse(format!("this token takes names of at most {longest} bytes"));
    }
    let taken = |other: &protocol::Fingerprint| other.name == name || hex(&other.id).eq_ignore_ascii_case(name);
    if found.enrolled.iter().any(taken) {
        return refuse("another fingerprint has that name".into());
    }
    Ok(())
}

fn shown(fingerprint: &protocol::Fingerprint) -> Fingerprint {
    Fingerprint { id: hex(&fingerprint.id), name: fingerprint.name.clone() }
}

fn hex(id: &Bytes) -> String {
    id.0.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What the token made of a touch, in a person's words (lastEnrollSampleStatus, CTAP 2.1 § 6.7.4).
fn feedback(status: u8, left: u32) -> String {
    let judgement = match status {
        0x00 => "Good.",
        0x01 => "The finger was too high.",
        0x02 => "The finger was too low.",
        0x03 => "The finger was too far to the left.",
        0x04 => "The finger was too far to the right.",
        0x05 => "The finger moved too fast.",
        0x06 => "The finger moved too slowly.",
        0x07 => "The picture was poor: is the finger clean and dry?",
        0x08 => "The finger was askew.",
        0x09 => "The touch was too short.",
        0x0a => "The picture does not fit those before it: use the same finger.",
        0x0b => "This finger is enrolled already.",
        0x0e => "The finger was not lifted.",
        _ => "That touch was no good.",
    };
    match (status, left) {
        (0, 0) => judgement.into(),
        (_, 0 | 1) => format!("{judgement} Once more."),
        (_, left) => format!("{judgement} {left} more touches."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fingerprints: &[(u8, &str)]) -> Fingerprints {
        let fingerprint =
            |(id, name): &(u8, &str)| protocol::Fingerprint { id: Bytes(vec![*id]), name: (*name).into() };
        Fingerprints {
            enrolled: fingerprints.iter().map(fingerprint).collect(),
            longest_name: Some(8),
            ..Fingerprints::default()
        }
    }

    #[test]
    fn one_fingerprint_is_meant_or_none() {
        let found = found(&[(0x0a, "left"), (2, "left"), (3, "right"), (4, ""), (5, "0a")]);
        let find = |which| find(which, &found).map(|fingerprint| fingerprint.id.0[0]).ok();
        assert_eq!(find("02"), Some(2));
        assert_eq!(find("right"), Some(3));
        for ambiguous in ["left", "0A0", "", "0a", "thumb"] {
            assert_eq!(find(ambiguous), None, "{ambiguous}");
        }
    }

    #[test]
    fn names_can_be_told_apart() {
        let found = found(&[(1, "left")]);
        for bad in ["", " ", "a\nb", "left", "01", "too long "] {
            assert_eq!(check_name(bad, &found).unwrap_err().code, Code::FingerprintName, "{bad:?}");
        }
        assert!(check_name("right", &found).is_ok());
    }

    #[test]
    fn each_touch_is_judged() {
        assert_eq!(feedback(0, 4), "Good. 4 more touches.");
        assert_eq!(feedback(0, 1), "Good. Once more.");
        assert_eq!(feedback(0, 0), "Good.");
        assert_eq!(feedback(9, 4), "The touch was too short. 4 more touches.");
    }
}
