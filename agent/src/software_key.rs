//! Private keys that are in the agent's memory. All arithmetic on them is aws-lc's: in constant time, RSA with blinding.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
};
use ssh_encoding::Encode;
use ssh_key::public::KeyData;
use ssh_key::{EcdsaCurve, Mpint};
use zeroize::{Zeroize, Zeroizing};

/// SSH_AGENT_RSA_SHA2_256.
const RSA_SHA2_256: u32 = 2;
/// SSH_AGENT_RSA_SHA2_512.
const RSA_SHA2_512: u32 = 4;

/// The longest RSA modulus, in bytes: aws-lc takes no more than 8192 bits.
const LONGEST_MODULUS: usize = 1024;

/// A private key. Clones share it; it is wiped when the last of them goes.
#[derive(Clone)]
pub struct SoftwareKey(Arc<Pair>);

enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaCurve, EcdsaKeyPair),
    Rsa(rsa::KeyPair),
}

/// Why a private key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SoftwareKeyError {
    /// Its parts contradict each other, or are out of bounds.
    #[error("the private key is damaged, or of a size that is not supported (RSA: 2048 to 8192 bits)")]
    Rejected,
    /// SHA-1 was asked for: flags 0 with an RSA key.
    #[error("a signature with SHA-1 (ssh-rsa) was asked for, which no server of the last years accepts")]
    Sha1,
    /// The library could not sign.
    #[error("the key could not sign")]
    Signing,
}

/// The integers of an RSA key. The private ones are wiped in the end.
pub struct RsaParts {
    /// The modulus.
    pub n: Mpint,
    /// The public exponent.
    pub e: Mpint,
    /// The private exponent.
    pub d: Mpint,
    /// q⁻¹ mod p.
    pub iqmp: Mpint,
    /// The first prime.
    pub p: Mpint,
    /// The second prime.
    pub q: Mpint,
}

impl Drop for RsaParts {
    fn drop(&mut self) {
        for secret in [&mut self.d, &mut self.iqmp, &mut self.p, &mut self.q] {
            secret.zeroize();
        }
    }
}

impl SoftwareKey {
    /// An Ed25519 key: its seed, and its public key, which has to be that of the seed.
    ///
    /// # Errors
    /// [`SoftwareKeyError::Rejected`].
    pub fn ed25519(seed: &[u8], public: &[u8]) -> Result<Self, SoftwareKeyError> {
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public);
        pair.map(Pair::Ed25519).map(Self::new).map_err(|_| SoftwareKeyError::Rejected)
    }

    /// An ECDSA key: its scalar, of any length up to the curve's, and its public point.
    ///
    /// # Errors
    /// [`SoftwareKeyError::Rejected`].
    pub fn ecdsa(curve: EcdsaCurve, scalar: &Mpint, point: &[u8]) -> Result<Self, SoftwareKeyError> {
        let (algorithm, length) = curve_parameters(curve);
        let scalar = scalar.as_positive_bytes().ok_or(SoftwareKeyError::Rejected)?;
        // ssh-key refuses a scalar whose leading zeros are left out, as half of all P-521 keys are written.
        let mut padded = Zeroizing::new(vec![0; length]);
        let start = length.checked_sub(scalar.len()).ok_or(SoftwareKeyError::Rejected)?;
        padded.get_mut(start..).ok_or(SoftwareKeyError::Rejected)?.copy_from_slice(scalar);
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &padded, point);
        pair.map(|pair| Self::new(Pair::Ecdsa(curve, pair))).map_err(|_| SoftwareKeyError::Rejected)
    }

    /// An RSA key.
    ///
    /// # Errors
    /// [`SoftwareKeyError::Rejected`].
    pub fn rsa(parts: &RsaParts) -> Result<Self, SoftwareKeyError> {
        let pair = rsa_pair(parts).ok_or(SoftwareKeyError::Rejected)?;
        Ok(Self::new(Pair::Rsa(pair)))
    }

    /// Whether a signature takes so long that other clients would notice.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        matches!(*self.0, Pair::Rsa(_))
    }

    fn new(pair: Pair) -> Self {
        Self(Arc::new(pair))
    }

    /// Signs, and gives the signature as SSH encodes it. `flags` are the sign request's: of two hashes SHA-256 is taken, as
    /// in `agent_decode_alg` of ssh-agent.c.
    ///
    /// # Errors
    /// [`SoftwareKeyError::Sha1`], [`SoftwareKeyError::Signing`].
    pub fn sign(&self, data: &[u8], flags: u32) -> Result<Vec<u8>, SoftwareKeyError> {
        let random = SystemRandom::new();
        let (name, signature) = match self.0.as_ref() {
            Pair::Ed25519(pair) => ("ssh-ed25519".to_owned(), pair.sign(data).as_ref().to_vec()),
            Pair::Ecdsa(curve, pair) => {
                let signature = pair.sign(&random, data).map_err(|_| SoftwareKeyError::Signing)?;
                (format!("ecdsa-sha2-{curve}"), integers(signature.as_ref()).ok_or(SoftwareKeyError::Signing)?)
            }
            Pair::Rsa(pair) => {
                let (name, padding) = match flags {
                    flags if flags & RSA_SHA2_256 != 0 => ("rsa-sha2-256", &RSA_PKCS1_SHA256),
                    flags if flags & RSA_SHA2_512 != 0 => ("rsa-sha2-512", &RSA_PKCS1_SHA512),
                    _ => return Err(SoftwareKeyError::Sha1),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, data, &mut signature).map_err(|_| SoftwareKeyError::Signing)?;
                (name.to_owned(), signature)
            }
        };
        let mut blob = Vec::with_capacity(name.len() + signature.len() + 8);
        let encoded = name.encode(&mut blob).and_then(|()| signature.encode(&mut blob));
        encoded.map(|()| blob).map_err(|_| SoftwareKeyError::Signing)
    }
}

/// Whether an RSA key is asked for a signature with SHA-1 (ssh-rsa): by flags that name no other hash.
#[must_use]
pub fn wants_sha1(key: &KeyData, flags: u32) -> bool {
    matches!(key, KeyData::Rsa(_)) && flags & (RSA_SHA2_256 | RSA_SHA2_512) == 0
}

fn curve_parameters(curve: EcdsaCurve) -> (&'static EcdsaSigningAlgorithm, usize) {
    match curve {
        EcdsaCurve::NistP256 => (&ECDSA_P256_SHA256_FIXED_SIGNING, 32),
        EcdsaCurve::NistP384 => (&ECDSA_P384_SHA384_FIXED_SIGNING, 48),
        EcdsaCurve::NistP521 => (&ECDSA_P521_SHA512_FIXED_SIGNING, 66),
    }
}

/// OpenSSH leaves out the two CRT exponents, which aws-lc wants to be given. They are worked out once, when a key is added:
/// what is not in constant time there tells a client nothing that it did not bring itself.
fn rsa_pair(parts: &RsaParts) -> Option<rsa::KeyPair> {
    use ::rsa::traits::PrivateKeyParts;
    use ::rsa::{BigUint, RsaPrivateKey};
    let bytes =
        |number: &Mpint| number.as_positive_bytes().filter(|n| n.len() <= LONGEST_MODULUS).map(ToOwned::to_owned);
    let number = |mpint: &Mpint| bytes(mpint).map(|bytes| BigUint::from_bytes_be(&Zeroizing::new(bytes)));
    let primes = vec![number(&parts.p)?, number(&parts.q)?];
    let key = RsaPrivateKey::from_components(number(&parts.n)?, number(&parts.e)?, number(&parts.d)?, primes).ok()?;
    let secret = |number: Option<&BigUint>| number.map(|number| Zeroizing::new(number.to_bytes_be()));
    let components = rsa::KeyPairComponents {
        public_key: rsa::PublicKeyComponents { n: bytes(&parts.n)?, e: bytes(&parts.e)? },
        d: Zeroizing::new(bytes(&parts.d)?),
        p: Zeroizing::new(bytes(&parts.p)?),
        q: Zeroizing::new(bytes(&parts.q)?),
        dP: secret(key.dp())?,
        dQ: secret(key.dq())?,
        qInv: Zeroizing::new(bytes(&parts.iqmp)?),
    };
    rsa::KeyPair::from_components(&components).ok()
}

/// Two integers, as SSH writes ECDSA signatures (RFC 5656 § 3.1.2), from two halves of the same length.
fn integers(halves: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(halves.len() + 16);
    let (r, s) = halves.split_at(halves.len() / 2);
    for half in [r, s] {
        Mpint::from_positive_bytes(half).ok()?.encode(&mut out).ok()?;
    }
    Some(out)
}

/// The very same key, not one that is equal: whoever added it again may have changed its constraints.
impl PartialEq for SoftwareKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SoftwareKey {}

impl fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SoftwareKey")
    }
}

#[cfg(test)]
mod tests;
