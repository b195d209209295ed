//! Resident keys, added from the token that keeps them.

use std::collections::BTreeSet;

use super::Management;
use super::credential::identity as identity_of;
use super::credentials::numbered;
use crate::control::AddedKey;
use crate::denial::{Code, Denial};
use crate::identity;
use crate::occasion::describe_device;
use crate::prompt::Prompt;

impl Management<'_> {
    /// Adds resident keys of a token: all, or those the person chooses. Where there is one only, it is that one.
    pub(crate) async fn add_resident(&self, all: bool, application: Option<&str>) -> Result<Vec<AddedKey>, Denial> {
        self.unlocked()?;
        let mut token = self.listable("Touch the token whose keys are to be added.").await?;
        let pin = self.pin_of(&mut token).await?;
        let mut found = self.resident_keys(&mut token, &pin).await?.ssh;
        let keys = found.iter().filter_map(|found| identity_of(found).ok());
        let keys = keys.map(|identity| identity::fingerprint(&identity.public_key)).collect();
        self.remember_keys(token.exchange.as_mut(), &token.device, keys, &token.patience).await?;
        found.retain(|found| application.is_none_or(|application| found.application == application));
        if !all && found.len() > 1 {
            let shown: Vec<_> = found.iter().map(|found| self.shown(found)).collect::<Result<_, _>>()?;
            let mut lines = vec![format!("The keys on {}:", describe_device(&token.device))];
            lines.extend(numbered(&shown));
            let question = "Which are to be added? Their numbers, such as 1,3, or all: ".into();
            let answer = self.line(Prompt { lines, question }, &mut token).await?;
            let chosen = choice(&answer, found.len()).ok_or_else(|| {
                let reason = format!("that is not a choice among 1 to {}, so nothing was added", found.len());
                Denial::new(Code::NoSuchCredential, reason)
            })?;
            let all = std::mem::take(&mut found).into_iter().enumerate();
            found.extend(all.filter(|(index, _)| chosen.contains(index)).map(|(_, found)| found));
        }
        // All of them can be read, or none is added.
        let identities = found.iter().map(identity_of).collect::<Result<Vec<_>, _>>()?;
        let mut added = Vec::new();
        for identity in identities {
            added.push(self.add(identity, describe_device(&token.device), None).await?);
        }
        Ok(added)
    }
}

/// Numbers from 1, with commas or spaces between them, or `all`: as places from 0.
fn choice(text: &str, count: usize) -> Option<BTreeSet<usize>> {
    if text.eq_ignore_ascii_case("all") {
        return Some((0..count).collect());
    }
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    let place = |word: &str| word.parse::<usize>().ok()?.checked_sub(1).filter(|place| *place < count);
    let places = words.map(place).collect::<Option<BTreeSet<_>>>()?;
    (!places.is_empty()).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_whole_or_none() {
        let chosen = |text| choice(text, 3).map(|places| places.into_iter().collect::<Vec<_>>());
        assert_eq!(chosen("1,3"), Some(vec![0, 2]));
        assert_eq!(chosen(" 3 , 1 1"), Some(vec![0, 2]));
        assert_eq!(chosen("ALL"), Some(vec![0, 1, 2]));
        for none in ["", ",", "0", "4", "1,4", "1-3", "one", "-1"] {
            assert_eq!(chosen(none), None, "{none}");
        }
    }
}
