//! Which of the tokens that are plugged in is the one that holds a key: found out silently where it can be, at the cost of no
//! touch and no PIN try, and else by the person's choice, before any PIN is asked for.

use ssh_key::public::KeyData;

use super::hidraw::{LOOK_AGAIN, Plugging};
use super::known::{KnownToken, holder_of};
use super::pluggings::Pluggings;
use super::probe::{Answer, probe, probe_marker, recognise};
use super::protocol::{Bytes, Command, Device, Failure, Reply};
use super::{Exchange, TokenError};
use crate::denial::{Code, Denial};
use crate::identity::Credential;

/// The token that is going to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The device.
    pub device: Device,
    /// The name that the person gave it, where it is known to be that token.
    pub name: Option<String>,
    /// How well it is known.
    pub standing: Standing,
    /// The identifier of its model, once it was asked.
    pub aaguid: Option<Bytes>,
    /// The plugging-in of which all this is known.
    pub(crate) plugging: Plugging,
}

impl Selected {
    /// Whether it is proven to be the token that holds the key.
    #[must_use]
    pub fn proven(&self) -> bool {
        matches!(self.standing, Standing::ByKey | Standing::ByMarker)
    }

    /// Whether the device is still the one that was plugged in then, as far as its node tells.
    #[must_use]
    pub(crate) fn is_plugged(&self) -> bool {
        self.plugging.is_current()
    }

    /// Waits for a person's answer as long as the token is there that it is about.
    ///
    /// # Errors
    /// When it was pulled out.
    pub(crate) async fn while_plugged<T>(&self, answer: impl Future<Output = T>) -> Result<T, Denial> {
        let pulled_out = async {
            while self.is_plugged() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            () = pulled_out => Err(Denial::plain(Code::TokenAbsent)),
        }
    }
}

/// How well a device is known to be the token that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It proved to hold the key, with a signature over a nonce of ours; or it has signed with the key since it was plugged
    /// in. Verify-required resident keys hide from a silent question, so for them there is only the latter.
    ByKey,
    /// It proved, by its marker, to be the token that is known to hold the key.
    ByMarker,
    /// It proved, by its marker, to be a token that the person named. Whether that holds the key is not known.
    Named,
    /// The person was shown it and said that it is theirs.
    Confirmed,
    /// Nothing is known of it but what it says of itself: it gets no PIN before the person has seen it.
    FirstSeen,
}

/// The key whose token is looked for, and what is known of tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// How a token is asked for it.
    pub credential: &'a Credential,
    /// Its public key.
    pub key: &'a KeyData,
    /// Its fingerprint.
    pub fingerprint: &'a str,
    /// Whether the token may keep it to itself that it holds the key: until its user is verified, which is going to happen.
    pub may_hide: bool,
    /// The tokens that the person has named.
    pub known: &'a [KnownToken],
    /// What was found out since devices were plugged in.
    pub pluggings: &'a Pluggings,
}

/// A device, and the plugging-in of which it is going to be said what it is.
type Found = (Device, Plugging);

/// Asks every token whether it holds the credential, and believes only a signature that verifies. Where none answers and the
/// key may be hiding, the token is taken that is known to hold it, and proves by its marker to be that one. Where none is
/// known to, the only one there is taken, or the person chooses by touch: `on_choice` is called when that begins. A device that
/// gave a false answer is no candidate.
///
/// # Errors
/// [`TokenError::NotFound`] without tokens, [`TokenError::NoCredentials`] when none holds the key, and what the tokens
/// said otherwise.
pub(crate) async fn select(
    exchange: &mut dyn Exchange,
    wanted: &Wanted<'_>,
    on_choice: &mut (dyn FnMut() + Send),
) -> Result<Selected, Failure> {
    let found = list_pluggings(exchange).await?;
    if found.is_empty() {
        return Err(Failure::new(TokenError::NotFound, "no FIDO device is plugged in"));
    }
    let mut trouble = Failure::new(TokenError::NoCredentials, "no token answered the probe");
    // Those that may hold the key all the same.
    let mut hiding = Vec::new();
    for found in found {
        match probe(exchange, &found.0, wanted.credential, wanted.key).await {
            Ok(Answer::Proven) => return Ok(wanted.proven(exchange, found).await),
            Ok(Answer::No) if !wanted.may_hide => {}
            Ok(Answer::No | Answer::NotSaid) => hiding.push(found),
            // One that does not answer as it should does not stand between the person and another.
            Err(failure) => trouble = failure,
        }
    }
    let signed = |(_, plugging): &Found| wanted.pluggings.has_signed_with(plugging, wanted.fingerprint);
    if let Some(place) = hiding.iter().position(signed) {
        return Ok(wanted.proven(exchange, hiding.swap_remove(place)).await);
    }
    let candidates = match wanted.holder() {
        Some(holder) => {
            let mut unrecognisable = Vec::new();
            for found in hiding {
                match probe_marker(exchange, &found.0, holder).await {
                    Ok(Answer::Proven) => return Ok(selected(found, Some(holder), Standing::ByMarker)),
                    Ok(Answer::No) => {}
                    Ok(Answer::NotSaid) => unrecognisable.push(found),
                    Err(failure) => trouble = failure,
                }
            }
            unrecognisable
        }
        // A named token of which it is not known what it holds may hold this key as well as another.
        None => hiding,
    };
    let chosen = one_of(exchange, candidates, trouble, on_choice).await?;
    Ok(wanted.unproven(exchange, chosen).await)
}

impl<'a> Wanted<'a> {
    /// The named token that is known to hold the key.
    pub(crate) fn holder(&self) -> Option<&'a KnownToken> {
        holder_of(self.known, self.fingerprint)
    }

    async fn proven(&self, exchange: &mut dyn Exchange, found: Found) -> Selected {
        // A key is on one token only, so the token that holds it is the one that held it before.
        let token = match self.holder() {
            Some(holder) => Some(holder),
            None => recognise(exchange, &found.0, self.known).await,
        };
        selected(found, token, Standing::ByKey)
    }

    async fn unproven(&self, exchange: &mut dyn Exchange, found: Found) -> Selected {
        let token = recognise(exchange, &found.0, self.known).await;
        let standing = match token {
            Some(_) => Standing::Named,
            None if self.pluggings.is_confirmed(&found.1) => Standing::Confirmed,
            None => Standing::FirstSeen,
        };
        selected(found, token, standing)
    }
}

fn selected((device, plugging): Found, token: Option<&KnownToken>, standing: Standing) -> Selected {
    Selected { device, name: token.map(|token| token.name.clone()), standing, aaguid: None, plugging }
}

/// The only one, or the one the person touches.
async fn one_of(
    exchange: &mut dyn Exchange,
    mut candidates: Vec<Found>,
    trouble: Failure,
    on_choice: &mut (dyn FnMut() + Send),
) -> Result<Found, Failure> {
    match candidates.len() {
        0 => Err(trouble),
        1 => Ok(candidates.remove(0)),
        _ => {
            let devices: Vec<_> = candidates.iter().map(|(device, _)| device.clone()).collect();
            let chosen = choose(exchange, &devices, on_choice).await?;
            candidates.into_iter().find(|(device, _)| *device == chosen).ok_or_else(unexpected)
        }
    }
}

/// The FIDO devices that are plugged in, each with its plugging-in as it was before the device was asked anything: what it
/// then proves is proven of that one.
async fn list_pluggings(exchange: &mut dyn Exchange) -> Result<Vec<Found>, Failure> {
    let devices = list(exchange).await?.into_iter();
    Ok(devices.filter_map(|device| Plugging::of(&device.path).map(|plugging| (device, plugging))).collect())
}

/// The FIDO devices that are plugged in, in the order of their nodes.
///
/// # Errors
/// What the helper said.
pub async fn list(exchange: &mut dyn Exchange) -> Result<Vec<Device>, Failure> {
    match exchange.call(Command::List, &mut || ()).await? {
        Reply::Devices(mut devices) => {
            devices.retain(|device| super::hidraw::is_fido_node(&device.path));
            devices.sort_by(|a, b| (a.path.len(), &a.path).cmp(&(b.path.len(), &b.path)));
            Ok(devices)
        }
        _ => Err(unexpected()),
    }
}

/// Lets the person choose one of several tokens by touching it.
///
/// # Errors
/// What the tokens said; [`TokenError::UserTimeout`] when none was touched.
pub async fn choose(
    exchange: &mut dyn Exchange,
    devices: &[Device],
    on_choice: &mut (dyn FnMut() + Send),
) -> Result<Device, Failure> {
    on_choice();
    let paths = devices.iter().map(|device| device.path.clone()).collect();
    match exchange.call(Command::Select { paths }, &mut || ()).await? {
        Reply::Selected { path } => devices.iter().find(|device| device.path == path).cloned().ok_or_else(unexpected),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Failure {
    Failure::new(TokenError::Protocol, "the helper answered something else")
}
