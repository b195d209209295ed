//! Private keys: what they sign, and how they are added to an agent.

use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::sha2::{Digest, Sha256, Sha512};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use signature::{Signer, Verifier};
use ssh_key::private::KeypairData;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, Mpint, PrivateKey, PublicKey, Signature};

use crate::dice::Dice;
use crate::part::{Part, bytes, text};

/// A key pair.
pub(crate) enum Secret {
    /// Ed25519 or ECDSA.
    Curve(Box<PrivateKey>),
    /// RSA, which ssh-key 0.6 does not sign with.
    Rsa(Box<rsa::RsaPrivateKey>),
}

impl Secret {
    /// The key with this number.
    pub(crate) fn of(algorithm: &Algorithm, number: u64) -> Self {
        let mut dice = Dice(number);
        match algorithm {
            Algorithm::Rsa { .. } => Self::Rsa(Box::new(rsa::RsaPrivateKey::new(&mut dice, 2048).unwrap())),
            curve => Self::Curve(Box::new(PrivateKey::random(&mut dice, curve.clone()).unwrap())),
        }
    }

    /// The name of its type.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Curve(key) => key.algorithm().as_str().to_owned(),
            Self::Rsa(_) => "ssh-rsa".to_owned(),
        }
    }

    /// The fields of the public key, behind the name of its type.
    pub(crate) fn public_fields(&self) -> Vec<Part> {
        match self {
            Self::Curve(key) => match key.public_key().key_data() {
                KeyData::Ed25519(key) => vec![text(key.0)],
                KeyData::Ecdsa(key) => vec![text(key.curve().as_str()), text(key.as_sec1_bytes())],
                other => unreachable!("{other:?}"),
            },
            Self::Rsa(key) => vec![integer(&key.e().to_bytes_be()), integer(&key.n().to_bytes_be())],
        }
    }

    /// The public key's encoding.
    pub(crate) fn public(&self) -> Vec<Part> {
        [vec![text(self.kind())], self.public_fields()].concat()
    }

    /// What stands in a request to add it, up to the comment: `sshkey_private_serialize` in sshkey.c.
    pub(crate) fn addition(&self, certificate: Option<&[Part]>) -> Vec<Part> {
        let kind = if certificate.is_some() { certificate_kind(&self.kind()) } else { self.kind() };
        let mut parts = vec![text(kind)];
        parts.extend(certificate.map(|certificate| Part::String(certificate.to_vec())));
        match self {
            Self::Curve(key) => match key.key_data() {
                KeypairData::Ed25519(pair) => parts.extend([text(pair.public.0), text(pair.to_bytes())]),
                KeypairData::Ecdsa(pair) => {
                    parts.extend(if certificate.is_none() { self.public_fields() } else { vec![] });
                    parts.push(integer(pair.private_key_bytes()));
                }
                other => unreachable!("{other:?}"),
            },
            Self::Rsa(key) => {
                let mut numbers = if certificate.is_none() { vec![key.n(), key.e()] } else { vec![] };
                let inverse = key.crt_coefficient().unwrap();
                numbers.extend([key.d(), &inverse, &key.primes()[0], &key.primes()[1]]);
                parts.extend(numbers.into_iter().map(|number| integer(&number.to_bytes_be())));
            }
        }
        parts
    }

    /// Its signature, as SSH encodes it. It is the same each time.
    pub(crate) fn sign(&self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Curve(key) => {
                let signature: Signature = key.try_sign(data).unwrap();
                Vec::try_from(signature).unwrap()
            }
            Self::Rsa(key) => {
                let signature = key.sign(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(data)).unwrap();
                bytes(&[text("rsa-sha2-512"), text(signature)])
            }
        }
    }

    /// Whether it made this signature, without its encoding.
    pub(crate) fn signed(&self, data: &[u8], algorithm: &str, signature: &[u8]) -> bool {
        match self {
            Self::Curve(key) => {
                let signature = Algorithm::new(algorithm).and_then(|name| Signature::new(name, signature));
                let public: &PublicKey = key.public_key();
                signature.is_ok_and(|signature| public.key_data().verify(data, &signature).is_ok())
            }
            Self::Rsa(key) => match algorithm {
                "rsa-sha2-256" => {
                    key.to_public_key().verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(data), signature).is_ok()
                }
                "rsa-sha2-512" => {
                    key.to_public_key().verify(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(data), signature).is_ok()
                }
                // Nobody would believe it; that ssh-agent makes one is all there is to see.
                "ssh-rsa" => signature.len() == 256,
                _ => false,
            },
        }
    }
}

/// The type of a key's certificates.
pub(crate) fn certificate_kind(kind: &str) -> String {
    format!("{kind}-cert-v01@openssh.com")
}

/// A positive integer of any length (RFC 4251 § 5, mpint).
fn integer(bytes: &[u8]) -> Part {
    text(Mpint::from_positive_bytes(bytes).unwrap().as_bytes())
}
