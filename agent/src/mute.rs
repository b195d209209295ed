//! Clients that are refused again and again, and are not listened to for a while. Each refusal is on record and may have
//! troubled a person; whoever asks without end must not fill the disk, or have somebody say yes in the end to be left alone.
//!
//! A client is a process: an `ssh` that forwards the agent is one, however often the host at its other end connects anew, and
//! the user's other programs are others.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::audit::record::{Act, Peer};
use crate::denial::{Code, Denial};
use crate::peer::ProcessId;

/// The most clients that are remembered. More are refused something in the same minute only on purpose.
const MOST_CLIENTS: usize = 1024;

/// What a person's own refusal counts: their attention is worth more than a record's place on the disk. So many that eight
/// questions in a minute are enough, and that two wrong PINs are nothing.
const OF_A_PERSON: u32 = 4;

/// What is refused to a client that is muted, as a person reads it.
pub(crate) const EVERYTHING: &str = "everything";

/// When a client is muted, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// After so many refusals; 0 is never.
    pub refusals: u32,
    /// If they come within this time.
    pub within: Duration,
    /// For so long.
    pub time: Duration,
}

impl Settings {
    /// The fewest refusals that mute a client: an ssh that offers sixteen keys, one after the other, two of which meet a
    /// wrong PIN, is no stranger, and has not reached this.
    pub const FEWEST: u32 = 24;
}

impl Default for Settings {
    fn default() -> Self {
        Self { refusals: 32, within: Duration::from_secs(60), time: Duration::from_secs(60) }
    }
}

/// The clients that were refused something lately. All times are since boot.
#[derive(Debug, Default)]
pub struct Muting {
    settings: Mutex<Settings>,
    clients: Mutex<HashMap<ProcessId, Client>>,
}

#[derive(Debug)]
enum Client {
    /// It is listened to.
    Heard { until: Duration, refusals: u32, weight: u32 },
    /// It is not.
    Muted { until: Duration, peer: Peer, refused: u64 },
}

impl Client {
    fn until(&self) -> Duration {
        match self {
            Self::Heard { until, .. } | Self::Muted { until, .. } => *until,
        }
    }

    /// What is to be put on record when it is forgotten.
    fn end(self) -> Option<Act> {
        match self {
            Self::Heard { .. } => None,
            Self::Muted { peer, refused, .. } => Some(Act::Unmuted { peer, refused }),
        }
    }
}

impl Muting {
    /// By these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings: Mutex::new(settings), clients: Mutex::default() }
    }

    /// By these settings from now on. Who is muted stays so for as long as was said.
    pub fn set_settings(&self, settings: Settings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Whether a request of this client is refused without further ado.
    #[must_use]
    pub fn is_muted(&self, client: ProcessId, now: Duration) -> bool {
        matches!(self.clients().get(&client), Some(Client::Muted { until, .. }) if now < *until)
    }

    /// A request of this client comes: whether it is refused without further ado, in which case it is counted. Where it was
    /// muted until now, that is to be put on record.
    pub fn request(&self, client: ProcessId, now: Duration) -> Result<Option<Act>, Muted> {
        let mut clients = self.clients();
        match clients.get_mut(&client) {
            Some(Client::Muted { until, refused, .. }) if now < *until => {
                *refused += 1;
                Err(Muted)
            }
            Some(known) if now >= known.until() => Ok(clients.remove(&client).and_then(Client::end)),
            _ => Ok(None),
        }
    }

    /// A request of this client was refused, and that was told and put on record. Gives what else is to be put on record:
    /// clients that are no longer muted, and whether this one is from now on.
    pub fn refused(&self, client: ProcessId, peer: &Peer, code: Code, now: Duration) -> Vec<Act> {
        let Settings { refusals: most, within, time } = *self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if most == 0 {
            return Vec::new();
        }
        let mut clients = self.clients();
        let mut acts = if clients.contains_key(&client) { Vec::new() } else { make_room(&mut clients, now) };
        let known = clients.entry(client).or_insert(Client::Heard { until: now + within, refusals: 0, weight: 0 });
        // A time that is over; that of a muted one ends with a record, as for all that were forgotten.
        if now >= known.until() {
            let over = std::mem::replace(known, Client::Heard { until: now + within, refusals: 0, weight: 0 });
            acts.extend(over.end());
        }
        // What was under way when it was muted changes nothing.
        if let Client::Heard { refusals, weight, .. } = known {
            *refusals += 1;
            *weight += weight_of(code);
            if *weight >= most {
                acts.push(Act::Muted { peer: peer.clone(), refusals: *refusals, seconds: time.as_secs() });
                *known = Client::Muted { until: now + time, peer: peer.clone(), refused: 0 };
            }
        }
        acts
    }

    /// The agent ends, and all are forgotten. Gives what is to be put on record.
    pub fn end(&self) -> Vec<Act> {
        self.clients().drain().filter_map(|(_, client)| client.end()).collect()
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<ProcessId, Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client is muted.
#[derive(Debug, PartialEq, Eq)]
pub struct Muted;

/// Forgets those whose time is over; and where there are too many still, the one whose time is over first.
fn make_room(clients: &mut HashMap<ProcessId, Client>, now: Duration) -> Vec<Act> {
    let mut acts: Vec<_> =
        clients.extract_if(|_, client| now >= client.until()).filter_map(|(_, client)| client.end()).collect();
    if clients.len() >= MOST_CLIENTS {
        let first = clients.iter().min_by_key(|(_, client)| client.until()).map(|(id, _)| *id);
        acts.extend(first.and_then(|first| clients.remove(&first)).and_then(Client::end));
    }
    acts
}

/// What a refusal counts.
fn weight_of(code: Code) -> u32 {
    match code {
        Code::PromptRefused | Code::DeclinedOnToken | Code::PinWrong | Code::FingerNotRecognised => OF_A_PERSON,
        _ => 1,
    }
}

/// That a client is muted, as a person reads it.
#[must_use]
pub fn denial(refusals: u32, seconds: u64) -> Denial {
    Denial::new(
        Code::Muted,
        format!("it was refused {refusals} times in a short time, and is refused everything for {seconds} s"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::samples;

    const CLIENT: ProcessId = ProcessId { pid: 7, started: Some(1) };

    fn peer() -> Peer {
        samples::peer(&["ssh"])
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn muted(refusals: u32) -> Act {
        Act::Muted { peer: peer(), refusals, seconds: 60 }
    }

    fn unmuted(refused: u64) -> Act {
        Act::Unmuted { peer: peer(), refused }
    }

    /// So many refusals at one time.
    fn refuse(muting: &Muting, client: ProcessId, code: Code, times: u32, now: u64) -> Vec<Act> {
        (0..times).flat_map(|_| muting.refused(client, &peer(), code, at(now))).collect()
    }

    #[test]
    fn refusals_within_the_time_mute() {
        use Code::{DeclinedOnToken, FingerNotRecognised, PinGuard, PinWrong, PromptRefused, TokenAbsent, UnknownKey};
        for (what, refusals, begins) in [
            ("one too few", vec![(UnknownKey, 31, 0)], None),
            ("as many as it takes", vec![(UnknownKey, 32, 0)], Some(32)),
            ("in the same minute", vec![(UnknownKey, 31, 0), (UnknownKey, 1, 59)], Some(32)),
            ("not in the same minute", vec![(UnknownKey, 31, 0), (UnknownKey, 31, 60)], None),
            ("a person says no again and again", vec![(PromptRefused, 8, 0)], Some(8)),
            ("on the token", vec![(DeclinedOnToken, 7, 0), (UnknownKey, 4, 1)], Some(11)),
            ("two wrong PINs", vec![(PinWrong, 2, 0)], None),
            ("fingers", vec![(FingerNotRecognised, 5, 0)], None),
            ("sixteen keys", vec![(TokenAbsent, 16, 0)], None),
            ("sixteen keys and two wrong PINs", vec![(PinWrong, 2, 0), (PinGuard, 14, 0)], None),
        ] {
            let muting = Muting::default();
            let acts: Vec<_> =
                refusals.into_iter().flat_map(|(code, times, now)| refuse(&muting, CLIENT, code, times, now)).collect();
            assert_eq!(acts, begins.map(muted).into_iter().collect::<Vec<_>>(), "{what}");
        }
    }

    #[test]
    fn sixteen_keys_and_two_wrong_pins_never_do() {
        assert!(14 * weight_of(Code::PinGuard) + 2 * weight_of(Code::PinWrong) < Settings::FEWEST);
    }

    #[test]
    fn a_muted_one_is_listened_to_again_after_its_time() {
        let muting = Muting::default();
        assert_eq!(muting.request(CLIENT, at(0)), Ok(None));
        assert_eq!(refuse(&muting, CLIENT, Code::UnknownKey, 32, 10), [muted(32)]);
        assert_eq!(muting.request(CLIENT, at(10)), Err(Muted));
        assert_eq!(refuse(&muting, CLIENT, Code::Muted, 100, 11), [], "what was under way");
        assert!(muting.is_muted(CLIENT, at(69)));
        assert_eq!(muting.request(CLIENT, at(69)), Err(Muted), "asking does not prolong it");
        assert!(!muting.is_muted(CLIENT, at(70)));
        assert_eq!(muting.request(CLIENT, at(70)), Ok(Some(unmuted(2))));
        assert_eq!(muting.request(CLIENT, at(70)), Ok(None), "once");
        assert_eq!(refuse(&muting, CLIENT, Code::UnknownKey, 31, 71), [], "it begins anew");
        assert_eq!(refuse(&muting, CLIENT, Code::UnknownKey, 1, 72), [muted(32)]);
    }

    #[test]
    fn others_are_listened_to() {
        let muting = Muting::default();
        refuse(&muting, CLIENT, Code::UnknownKey, 32, 0);
        for other in [
            ProcessId { pid: 8, ..CLIENT },
            ProcessId { started: Some(2), ..CLIENT },
            ProcessId { started: None, ..CLIENT },
        ] {
            assert_eq!(muting.request(other, at(1)), Ok(None), "{other:?}");
            assert!(!muting.is_muted(other, at(1)));
        }
    }

    #[test]
    fn where_it_is_turned_off_nobody_is_muted() {
        let muting = Muting::new(Settings { refusals: 0, ..Settings::default() });
        assert_eq!(refuse(&muting, CLIENT, Code::PromptRefused, 1000, 0), []);
        assert_eq!(muting.request(CLIENT, at(0)), Ok(None));
        assert!(muting.clients().is_empty());
    }

    #[test]
    fn whoever_does_not_ask_again_is_on_record_when_it_is_forgotten() {
        let other = ProcessId { pid: 8, ..CLIENT };
        let muting = Muting::default();
        refuse(&muting, CLIENT, Code::UnknownKey, 32, 0);
        assert_eq!(refuse(&muting, other, Code::UnknownKey, 1, 59), []);
        assert_eq!(refuse(&muting, ProcessId { pid: 9, ..CLIENT }, Code::UnknownKey, 1, 60), [unmuted(0)]);
        assert_eq!(muting.clients().len(), 2);
        refuse(&muting, other, Code::UnknownKey, 31, 60);
        assert_eq!(muting.request(other, at(60)), Err(Muted));
        assert_eq!(muting.end(), [unmuted(1)]);
        assert_eq!(muting.end(), []);
    }

    #[test]
    fn a_time_may_end_with_a_refusal_that_was_long_under_way() {
        let muting = Muting::default();
        refuse(&muting, CLIENT, Code::UnknownKey, 32, 0);
        assert_eq!(refuse(&muting, CLIENT, Code::ClientGone, 1, 100), [unmuted(0)]);
        assert!(!muting.is_muted(CLIENT, at(100)));
    }

    #[test]
    fn a_bounded_number_is_remembered() {
        let muting = Muting::default();
        refuse(&muting, CLIENT, Code::UnknownKey, 32, 0);
        let process = |pid| ProcessId { pid, started: None };
        let many = i32::try_from(MOST_CLIENTS).unwrap();
        let acts: Vec<_> = (0..many).flat_map(|pid| refuse(&muting, process(pid), Code::UnknownKey, 1, 1)).collect();
        assert_eq!(acts, [unmuted(0)], "the first one to end");
        assert_eq!(muting.clients().len(), MOST_CLIENTS);
    }
}
