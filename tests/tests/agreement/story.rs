//! The story of a login: a key is added for a path, the path is bound, the key signs in at its end; or something about it
//! is not as it should be.

use proptest::prelude::*;
use proptest::{collection::vec, option};

use crate::cast::{Holder, HostKey, Identity};
use crate::generator::{
    algorithm, bind, constraint, flags, good_host, host, identity, request, session, user, user_pattern,
};
use crate::request::{Bind, Constraint, Data, Destination, Hop, Login, Request, Session, Text};

/// The right one.
const SERVICE: &str = "ssh-connection";

/// How it is told.
#[derive(Debug, Clone)]
struct Plot {
    identity: Identity,
    path: Vec<HostKey>,
    /// Whether the key is restricted to the path.
    restricted: bool,
    hostbound: bool,
    user: Text,
    flags: u32,
}

/// What is changed about a path that leads to a signature.
#[derive(Debug, Clone)]
enum Detour {
    /// Another binding, before the n-th.
    Binding(usize, Bind),
    /// The n-th binding forwards where it did not, or the other way round.
    Forwards(usize),
    NotBound(usize),
    WithoutDestination(usize),
    FurtherConstraint(Constraint),
}

/// What follows in the end.
#[derive(Debug, Clone)]
enum Sequel {
    AnotherSession(Session),
    AnotherHost(Option<HostKey>),
    AnotherUser(Text),
    /// In the login; it is not the one that signs.
    AnotherKey(Identity),
    /// As ssh does with a certificate that the agent has not.
    ItsCertificate,
    AnotherAlgorithm(&'static str),
    AnotherService(&'static str),
    Signature(Data),
    AddedAgain(Option<Vec<Constraint>>),
    /// For no time at all.
    AddedInVain,
    Removed,
    Listed,
    Any(Request),
}

/// The requests of such a story.
pub(crate) fn login() -> impl Strategy<Value = Vec<Request>> {
    let plot = (identity(), vec(good_host(), 1..4), prop::bool::weighted(0.85), any::<bool>(), user_pattern(), flags());
    let plot = plot.prop_map(|(identity, path, restricted, hostbound, user, flags)| Plot {
        identity,
        path,
        restricted,
        hostbound,
        user,
        flags,
    });
    (plot, option::weighted(0.4, detour()), vec(sequel(), 0..5)).prop_map(|(plot, detour, sequels)| {
        let (constraints, bindings) = plot.path(detour);
        let comment = Text(b"for a path");
        let add = Request::Add { identity: plot.identity, comment, constraints };
        let signature = plot.sign(Data::Login(plot.login()));
        let sequels = sequels.into_iter().map(|sequel| plot.sequel(sequel));
        let binds = bindings.into_iter().map(Request::Bind);
        // Whoever goes this way begins anew.
        [Request::HangUp, add].into_iter().chain(binds).chain([Request::List, signature]).chain(sequels).collect()
    })
}

impl Plot {
    /// The constraints of the key, and the bindings of the connection.
    fn path(&self, detour: Option<Detour>) -> (Option<Vec<Constraint>>, Vec<Bind>) {
        let from = [None].into_iter().chain(self.path.iter().map(|host| Some(hop(*host))));
        let steps = from.zip(self.path.iter().map(|host| hop(*host)));
        let mut destinations: Vec<_> = steps.map(|(from, to)| Destination { from, to, user: self.user }).collect();
        let binding = |(number, host): (usize, &HostKey)| Bind {
            host: *host,
            session: session_of(number),
            forwarding: number + 1 < self.path.len(),
            forgery: None,
        };
        let mut bindings: Vec<_> = self.path.iter().enumerate().map(binding).collect();
        let mut further = None;
        let place = |place: usize| place % self.path.len();
        match detour {
            None => {}
            Some(Detour::Binding(at, bind)) => bindings.insert(place(at), bind),
            Some(Detour::Forwards(at)) => bindings[place(at)].forwarding ^= true,
            Some(Detour::NotBound(at)) => drop(bindings.remove(place(at))),
            Some(Detour::WithoutDestination(at)) => drop(destinations.remove(place(at))),
            Some(Detour::FurtherConstraint(constraint)) => further = Some(constraint),
        }
        let restriction = self.restricted.then_some(Constraint::Destinations(destinations));
        let constraints: Vec<_> = restriction.into_iter().chain(further).collect();
        ((!constraints.is_empty()).then_some(constraints), bindings)
    }

    fn login(&self) -> Login {
        let last = self.path.len() - 1;
        Login {
            session: session_of(last),
            user: Text(b"me"),
            host: (self.hostbound || last > 0).then_some(self.path[last]),
            another_key: None,
            algorithm: None,
            service: SERVICE,
        }
    }

    fn sign(&self, data: Data) -> Request {
        Request::Sign { identity: self.identity, data, flags: self.flags }
    }

    fn sequel(&self, sequel: Sequel) -> Request {
        let login = self.login();
        let login = match sequel {
            Sequel::AnotherSession(session) => Login { session, ..login },
            Sequel::AnotherHost(host) => Login { host, ..login },
            Sequel::AnotherUser(user) => Login { user, ..login },
            Sequel::AnotherKey(key) => Login { another_key: Some(key), ..login },
            Sequel::ItsCertificate => {
                Login { another_key: Some(Identity { certified: true, ..self.identity }), ..login }
            }
            Sequel::AnotherAlgorithm(algorithm) => Login { algorithm: Some(algorithm), ..login },
            Sequel::AnotherService(service) => Login { service, ..login },
            Sequel::Signature(data) => return self.sign(data),
            Sequel::AddedAgain(constraints) => {
                return Request::Add { identity: self.identity, comment: Text(b"again"), constraints };
            }
            Sequel::AddedInVain => {
                let constraints = Some(vec![Constraint::Lifetime(0)]);
                return Request::Add { identity: self.identity, comment: Text(b"in vain"), constraints };
            }
            Sequel::Removed => return Request::Remove(self.identity),
            Sequel::Listed => return Request::List,
            Sequel::Any(request) => return request,
        };
        self.sign(Data::Login(login))
    }
}

fn session_of(number: usize) -> Session {
    Session(u8::try_from(number).expect("a short path"))
}

/// A hop of a constraint that names this host.
pub(crate) fn hop(host: HostKey) -> Hop {
    let keys = match host {
        HostKey::Plain(_) => vec![(host, false), (HostKey::Plain(Holder::Authority), true)],
        HostKey::Certified(holder, kind) => {
            let authority = kind.facts(holder).authority;
            vec![(HostKey::Plain(Holder::Delta), false), (HostKey::Plain(authority), true)]
        }
    };
    Hop { name: host.holder().name(), keys }
}

fn detour() -> impl Strategy<Value = Detour> {
    let place = 0..3_usize;
    prop_oneof![
        (place.clone(), bind()).prop_map(|(place, bind)| Detour::Binding(place, bind)),
        place.clone().prop_map(Detour::Forwards),
        place.clone().prop_map(Detour::NotBound),
        place.prop_map(Detour::WithoutDestination),
        constraint().prop_map(Detour::FurtherConstraint),
    ]
}

fn sequel() -> impl Strategy<Value = Sequel> {
    let again = option::weighted(0.7, vec(constraint(), 0..3));
    prop_oneof![
        1 => session().prop_map(Sequel::AnotherSession),
        2 => option::of(host()).prop_map(Sequel::AnotherHost),
        2 => user().prop_map(Sequel::AnotherUser),
        1 => identity().prop_map(Sequel::AnotherKey),
        1 => Just(Sequel::ItsCertificate),
        1 => algorithm().prop_map(Sequel::AnotherAlgorithm),
        1 => Just(Sequel::AnotherService("ssh-userauth")),
        1 => Just(Sequel::Signature(Data::SshSig { namespace: "git" })),
        1 => again.prop_map(Sequel::AddedAgain),
        1 => Just(Sequel::AddedInVain),
        2 => Just(Sequel::Removed),
        1 => Just(Sequel::Listed),
        2 => request().prop_map(Sequel::Any),
    ]
}
