//! Conversations: stories of logins, of locks and of crowds, told one after the other or both at a time, with single
//! requests between them, and damage everywhere.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::{collection::vec, option};

use crate::cast::{HOLDERS, HostKey, Identity, KEYS, KINDS, Kind};
use crate::conversation::CONNECTIONS;
use crate::part::{Damage, Wound};
use crate::request::{Bind, Constraint, Data, Destination, Forgery, Hop, Login, Request, Session, Step, Text};
use crate::story::{hop, login};

const USERS: [&[u8]; 8] = [b"me", b"me", b"me", b"root", b"", b"m\xc3\xa9", b"m\xff", b"me\0"];
const USER_PATTERNS: [&[u8]; 8] = [b"", b"me", b"m*", b"?e", b"m?", b"*", b"root", b"!me"];
const COMMENTS: [&[u8]; 4] = [b"a comment", b"", b"caf\xe9", &[b'c'; 600]];
const PASSWORDS: [&[u8]; 2] = [b"one", b"two\0three"];
/// Whatever byte of it is damaged, it is longer than the test.
const LONG: u32 = 0x0101_0101;

type Requests = Vec<Request>;

/// A conversation.
pub(crate) fn conversation() -> impl Strategy<Value = Vec<Step>> {
    vec((told(), any::<bool>()), 1..6).prop_map(|stories| {
        let mut steps = Vec::new();
        for (story, meanwhile) in stories {
            if meanwhile { interleave(&mut steps, story) } else { steps.extend(story) }
        }
        steps
    })
}

/// Both end at the same time.
fn interleave(earlier: &mut Vec<Step>, story: Vec<Step>) {
    let beginning = earlier.len().saturating_sub(story.len());
    let rest = earlier.split_off(beginning);
    let mut rest = rest.into_iter();
    for step in story {
        earlier.extend(rest.next());
        earlier.push(step);
    }
    earlier.extend(rest);
}

/// A story over one connection, and what happens to its requests on their way.
fn told() -> impl Strategy<Value = Vec<Step>> {
    let story = prop_oneof![
        24 => login(),
        8 => vec(request(), 1..8),
        2 => locked(),
        1 => crowd(),
        1 => insistence(),
    ];
    let damages = vec(option::weighted(0.06, damage()), 1..12);
    (0..CONNECTIONS, story, damages, prop::bool::weighted(0.2)).prop_map(|(connection, story, damages, hasty)| {
        let damages = damages.into_iter().cycle();
        let step = |(request, damage)| Step { connection, request, damage, ahead: hasty };
        story.into_iter().zip(damages).map(step).collect()
    })
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        6 => (any::<u16>(), wound()).prop_map(|(which, wound)| Damage::Inside(which, wound)),
        3 => wound().prop_map(Damage::Outside),
        1 => any::<i8>().prop_map(Damage::Length),
    ]
}

fn wound() -> impl Strategy<Value = Wound> {
    prop_oneof![
        4 => (any::<u16>(), 1_u8..).prop_map(|(place, bits)| Wound::Flip { place, bits }),
        3 => any::<u16>().prop_map(|behind| Wound::Cut { behind }),
        3 => vec(any::<u8>(), 1..4).prop_map(Wound::Extend),
        1 => Just(Wound::Extend(vec![0])),
        1 => Just(Wound::Lead(0)),
        1 => Just(Wound::Twice),
    ]
}

/// Lock, and a few requests that are refused until the password is given.
fn locked() -> impl Strategy<Value = Requests> {
    (password(), vec(request(), 1..5), option::weighted(0.05, password())).prop_map(|(password, requests, wrong)| {
        let mut story = vec![Request::Lock(password)];
        story.extend(requests);
        story.extend(wrong.map(Request::Unlock));
        story.push(Request::Unlock(password));
        story
    })
}

/// More bindings than fit.
fn crowd() -> impl Strategy<Value = Requests> {
    (14..19_u8, host(), identity()).prop_map(|(number, host, identity)| {
        let binding = |n| Request::Bind(Bind { host, session: Session(n), forwarding: true, forgery: None });
        let mut story: Requests = (0..number).map(binding).collect();
        story.extend([Request::List, Request::Remove(identity)]);
        story
    })
}

/// Somebody who does not take no for an answer.
fn insistence() -> impl Strategy<Value = Requests> {
    identity().prop_map(|identity| {
        let mut story = vec![Request::Remove(identity)];
        let sign = Request::Sign { identity, data: Data::Nothing, flags: 0 };
        story.extend(std::iter::repeat_n(sign, 66));
        story
    })
}

/// Any request.
pub(crate) fn request() -> impl Strategy<Value = Request> {
    let constraints = option::weighted(0.8, vec(constraint(), 0..3));
    prop_oneof![
        4 => Just(Request::List),
        8 => (identity(), data(), flags()).prop_map(|(identity, data, flags)| Request::Sign { identity, data, flags }),
        6 => (identity(), select(&COMMENTS), constraints).prop_map(|(identity, comment, constraints)| {
            Request::Add { identity, comment: Text(comment), constraints }
        }),
        3 => identity().prop_map(Request::Remove),
        1 => Just(Request::RemoveAll),
        1 => Just(Request::RemoveAllOfProtocol1),
        6 => bind().prop_map(Request::Bind),
        1 => select(&["query", "no-such@example.com"]).prop_map(Request::Extension),
        1 => any::<u8>().prop_map(Request::Number),
        1 => Just(Request::Lock(Text(b""))),
        2 => Just(Request::HangUp),
    ]
}

fn data() -> impl Strategy<Value = Data> {
    let login = (session(), user(), option::of(host())).prop_map(|(session, user, host)| {
        Data::Login(Login { session, user, host, another_key: None, algorithm: None, service: "ssh-connection" })
    });
    prop_oneof![
        4 => login,
        2 => select(&["git", "file", ""]).prop_map(|namespace| Data::SshSig { namespace }),
        1 => Just(Data::Opaque(b"a challenge")),
        1 => Just(Data::Nothing),
    ]
}

pub(crate) fn bind() -> impl Strategy<Value = Bind> {
    let forgery =
        prop_oneof![host().prop_map(Forgery::ByAnotherHost), session().prop_map(Forgery::OverAnotherSession),];
    let bind = (host(), session(), any::<bool>(), option::weighted(0.2, forgery));
    bind.prop_map(|(host, session, forwarding, forgery)| Bind { host, session, forwarding, forgery })
}

pub(crate) fn constraint() -> impl Strategy<Value = Constraint> {
    let step = (option::of(any_hop()), any_hop(), user_pattern());
    let step = step.prop_map(|(from, to, user)| Destination { from, to, user });
    prop_oneof![
        12 => vec(step, 0..4).prop_map(Constraint::Destinations),
        4 => Just(Constraint::Lifetime(LONG)),
        1 => Just(Constraint::Lifetime(0)),
        1 => Just(Constraint::Confirm),
        1 => select(&["sk-provider@openssh.com", "associated-certs-v00@openssh.com", "no-such@example.com"])
            .prop_map(Constraint::Extension),
        1 => any::<u8>().prop_map(Constraint::Number),
    ]
}

fn any_hop() -> impl Strategy<Value = Hop> {
    let odd = (select(&HOLDERS), vec((host(), any::<bool>()), 0..3));
    prop_oneof![
        4 => host().prop_map(hop),
        1 => odd.prop_map(|(name, keys)| Hop { name: name.name(), keys }),
    ]
}

pub(crate) fn identity() -> impl Strategy<Value = Identity> {
    (select(&KEYS), any::<bool>()).prop_map(|(key, certified)| Identity { key, certified })
}

/// One that constraints can name.
pub(crate) fn good_host() -> impl Strategy<Value = HostKey> {
    let good = (select(&HOLDERS), select(&[Kind::Good, Kind::Forever, Kind::OfAnotherAuthority]));
    prop_oneof![
        6 => select(&HOLDERS).prop_map(HostKey::Plain),
        4 => good.prop_map(|(holder, kind)| HostKey::Certified(holder, kind)),
        1 => host(),
    ]
}

pub(crate) fn host() -> impl Strategy<Value = HostKey> {
    let certified = prop_oneof![select(&[Kind::Good, Kind::Forever, Kind::Wildcard]), select(&KINDS)];
    prop_oneof![
        3 => select(&HOLDERS).prop_map(HostKey::Plain),
        2 => (select(&HOLDERS), certified).prop_map(|(holder, kind)| HostKey::Certified(holder, kind)),
    ]
}

pub(crate) fn session() -> impl Strategy<Value = Session> {
    prop_oneof![8 => (0..4_u8).prop_map(Session), 1 => select(&Session::ODD)]
}

pub(crate) fn user() -> impl Strategy<Value = Text> {
    select(&USERS).prop_map(Text)
}

pub(crate) fn user_pattern() -> impl Strategy<Value = Text> {
    prop_oneof![Just(Text(b"")), select(&USER_PATTERNS).prop_map(Text)]
}

fn password() -> impl Strategy<Value = Text> {
    select(&PASSWORDS).prop_map(Text)
}

pub(crate) fn algorithm() -> impl Strategy<Value = &'static str> {
    select(&["ssh-rsa", "rsa-sha2-256", "rsa-sha2-512-cert-v01@openssh.com", "ecdsa-sha2-nistp384", "ssh-ed25519"])
}

pub(crate) fn flags() -> impl Strategy<Value = u32> {
    select(&[4_u32, 4, 4, 2, 2, 6, 12, 0, 1])
}
