//! Who plays: the user's keys, the hosts, and the authorities that certify both. They are the same in each run.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

use ssh_key::{Algorithm, EcdsaCurve};

use crate::part::{Part, bytes, number, text};
use crate::secret::{Secret, certificate_kind};

/// A key of the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Ed25519,
    AnotherEd25519,
    P256,
    P384,
    P521,
    Rsa,
}

/// A key of a host's, or of an authority's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    Alpha,
    Beta,
    Gamma,
    Delta,
    Authority,
    AnotherAuthority,
}

/// As an agent holds it: the key, or a certificate of it, which is an identity of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) key: Key,
    pub(crate) certified: bool,
}

/// As a host shows it: its key, or a certificate of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HostKey {
    Plain(Holder),
    Certified(Holder, Kind),
}

/// A host's certificate, by what is special about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Good,
    Forever,
    Wildcard,
    OfAnotherAuthority,
    Expired,
    NotYet,
    OfAnotherName,
    OfAUser,
    WithCriticalOption,
    OfNobody,
}

/// What a certificate says, as far as agents look at it.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) authority: Holder,
    pub(crate) is_host: bool,
    pub(crate) principals: Vec<&'static str>,
    pub(crate) valid: std::ops::Range<u64>,
    pub(crate) critical: bool,
}

/// All keys there are.
pub(crate) const KEYS: [Key; 6] = [Key::Ed25519, Key::AnotherEd25519, Key::P256, Key::P384, Key::P521, Key::Rsa];
/// All holders of host keys.
pub(crate) const HOLDERS: [Holder; 6] =
    [Holder::Alpha, Holder::Beta, Holder::Gamma, Holder::Delta, Holder::Authority, Holder::AnotherAuthority];
/// All kinds of host certificates.
pub(crate) const KINDS: [Kind; 10] = [
    Kind::Good,
    Kind::Forever,
    Kind::Wildcard,
    Kind::OfAnotherAuthority,
    Kind::Expired,
    Kind::NotYet,
    Kind::OfAnotherName,
    Kind::OfAUser,
    Kind::WithCriticalOption,
    Kind::OfNobody,
];

/// 2020, 2021 and 2100, in seconds since 1970.
const YEARS: [u64; 3] = [1_577_836_800, 1_609_459_200, 4_102_444_800];
const USER_CERTIFICATE: u32 = 1;
const HOST_CERTIFICATE: u32 = 2;

/// The keys and certificates themselves.
pub(crate) struct Cast {
    keys: BTreeMap<Key, Secret>,
    holders: BTreeMap<Holder, Secret>,
    identities: BTreeMap<Identity, Public>,
    host_keys: BTreeMap<HostKey, Public>,
    /// What hosts have signed already: RSA takes its time.
    signatures: Mutex<Signatures>,
}

/// A public key or a certificate, as it is encoded.
struct Public {
    parts: Vec<Part>,
    bytes: Vec<u8>,
}

impl From<Vec<Part>> for Public {
    fn from(parts: Vec<Part>) -> Self {
        Self { bytes: bytes(&parts), parts }
    }
}

/// By whom, over what, and the signature.
type Signatures = BTreeMap<(Holder, Vec<u8>), Vec<u8>>;

/// The cast, which is made once.
pub(crate) fn cast() -> &'static Cast {
    static CAST: OnceLock<Cast> = OnceLock::new();
    CAST.get_or_init(Cast::new)
}

impl Cast {
    fn new() -> Self {
        let ecdsa = |curve| Algorithm::Ecdsa { curve };
        let rsa = Algorithm::Rsa { hash: None };
        let keys = BTreeMap::from([
            (Key::Ed25519, Secret::of(&Algorithm::Ed25519, 1)),
            (Key::AnotherEd25519, Secret::of(&Algorithm::Ed25519, 2)),
            (Key::P256, Secret::of(&ecdsa(EcdsaCurve::NistP256), 3)),
            (Key::P384, Secret::of(&ecdsa(EcdsaCurve::NistP384), 4)),
            (Key::P521, Secret::of(&ecdsa(EcdsaCurve::NistP521), 5)),
            (Key::Rsa, Secret::of(&rsa, 6)),
        ]);
        let holders = BTreeMap::from([
            (Holder::Alpha, Secret::of(&Algorithm::Ed25519, 11)),
            (Holder::Beta, Secret::of(&Algorithm::Ed25519, 12)),
            (Holder::Gamma, Secret::of(&ecdsa(EcdsaCurve::NistP256), 13)),
            (Holder::Delta, Secret::of(&rsa, 6)),
            (Holder::Authority, Secret::of(&Algorithm::Ed25519, 15)),
            (Holder::AnotherAuthority, Secret::of(&ecdsa(EcdsaCurve::NistP256), 16)),
        ]);
        let mut cast = Self {
            keys,
            holders,
            identities: BTreeMap::new(),
            host_keys: BTreeMap::new(),
            signatures: Mutex::default(),
        };
        for key in KEYS {
            let secret = &cast.keys[&key];
            let facts = Facts::good(Holder::Authority, false, vec!["me"]);
            let certificate = cast.certificate(secret, &facts);
            cast.identities.insert(Identity { key, certified: false }, secret.public().into());
            cast.identities.insert(Identity { key, certified: true }, certificate.into());
        }
        for holder in HOLDERS {
            let secret = &cast.holders[&holder];
            cast.host_keys.insert(HostKey::Plain(holder), secret.public().into());
            for kind in KINDS {
                let certificate = cast.certificate(secret, &kind.facts(holder));
                cast.host_keys.insert(HostKey::Certified(holder, kind), certificate.into());
            }
        }
        cast
    }

    /// OpenSSH PROTOCOL.certkeys.
    fn certificate(&self, subject: &Secret, facts: &Facts) -> Vec<Part> {
        let number_of_64_bits = |number: u64| Part::Bytes(number.to_be_bytes().to_vec());
        let critical = if facts.critical { vec![text("no-such-option"), text("")] } else { vec![] };
        let authority = &self.holders[&facts.authority];
        let mut parts = vec![text(certificate_kind(&subject.kind())), text([7; 32])];
        parts.extend(subject.public_fields());
        parts.extend([
            number_of_64_bits(1),
            number(if facts.is_host { HOST_CERTIFICATE } else { USER_CERTIFICATE }),
            text("a certificate"),
            Part::String(facts.principals.iter().map(text).collect()),
            number_of_64_bits(facts.valid.start),
            number_of_64_bits(facts.valid.end),
            Part::String(critical),
            text(""),
            text(""),
            Part::String(authority.public()),
        ]);
        let signature = authority.sign(&bytes(&parts));
        parts.push(text(signature));
        parts
    }

    /// The key pair behind an identity.
    pub(crate) fn key(&self, key: Key) -> &Secret {
        &self.keys[&key]
    }

    /// An identity's encoding.
    pub(crate) fn blob(&self, identity: Identity) -> &[u8] {
        &self.identities[&identity].bytes
    }

    /// The same as a part of a message.
    pub(crate) fn shown(&self, identity: Identity) -> Part {
        Part::String(self.identities[&identity].parts.clone())
    }

    /// A host key's encoding.
    pub(crate) fn host_blob(&self, host: HostKey) -> &[u8] {
        &self.host_keys[&host].bytes
    }

    /// The same as a part of a message.
    pub(crate) fn host_shown(&self, host: HostKey) -> Part {
        Part::String(self.host_keys[&host].parts.clone())
    }

    /// A host's signature over its session.
    pub(crate) fn host_signature(&self, host: HostKey, session: &[u8]) -> Vec<u8> {
        let mut signatures = self.signatures.lock().expect("nobody panics with it");
        let signature = signatures.entry((host.holder(), session.to_vec()));
        signature.or_insert_with(|| self.holders[&host.holder()].sign(session)).clone()
    }

    /// The identity with this encoding.
    pub(crate) fn identity(&self, blob: &[u8]) -> Option<Identity> {
        self.identities.iter().find(|(_, known)| known.bytes == blob).map(|(identity, _)| *identity)
    }

    /// The host key with this encoding.
    pub(crate) fn host_key(&self, blob: &[u8]) -> Option<HostKey> {
        self.host_keys.iter().find(|(_, known)| known.bytes == blob).map(|(host, _)| *host)
    }

    /// How an identity stands in a request to add it.
    pub(crate) fn addition(&self, identity: Identity) -> Vec<Part> {
        let certificate = identity.certified.then(|| self.identities[&identity].parts.as_slice());
        self.keys[&identity.key].addition(certificate)
    }
}

impl Facts {
    fn good(authority: Holder, is_host: bool, principals: Vec<&'static str>) -> Self {
        Self { authority, is_host, principals, valid: YEARS[0]..YEARS[2], critical: false }
    }
}

impl HostKey {
    /// Whose it is.
    pub(crate) fn holder(self) -> Holder {
        match self {
            Self::Plain(holder) | Self::Certified(holder, _) => holder,
        }
    }
}

impl Kind {
    /// What such a certificate of a host says.
    pub(crate) fn facts(self, host: Holder) -> Facts {
        let good = Facts::good(Holder::Authority, true, vec!["localhost", host.name()]);
        match self {
            Self::Good => good,
            Self::Forever => Facts { valid: 0..u64::MAX, ..good },
            Self::Wildcard => Facts { principals: vec!["*.exam?le"], ..good },
            Self::OfAnotherAuthority => Facts { authority: Holder::AnotherAuthority, ..good },
            Self::Expired => Facts { valid: YEARS[0]..YEARS[1], ..good },
            Self::NotYet => Facts { valid: YEARS[2]..u64::MAX, ..good },
            Self::OfAnotherName => Facts { principals: vec!["localhost"], ..good },
            Self::OfAUser => Facts { is_host: false, ..good },
            Self::WithCriticalOption => Facts { critical: true, ..good },
            Self::OfNobody => Facts { principals: vec![], ..good },
        }
    }
}

impl Holder {
    /// The name it has in constraints and certificates.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alpha => "alpha.example",
            Self::Beta => "beta.example",
            Self::Gamma => "gamma.example",
            Self::Delta => "delta.example",
            Self::Authority => "authority.example",
            Self::AnotherAuthority => "another.example",
        }
    }
}
