//! Keys on tokens, and the files that stand for them.

use std::path::{Path, PathBuf};

use ssh_key::{Fingerprint, HashAlg, PublicKey};

/// The two types of key that FIDO tokens hold for OpenSSH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `sk-ssh-ed25519@openssh.com`.
    Ed25519,
    /// `sk-ecdsa-sha2-nistp256@openssh.com`.
    Ecdsa,
}

impl Algorithm {
    /// As `ssh-keygen -t` and `agent-cli gen-keys --type` name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519-sk",
            Self::Ecdsa => "ecdsa-sk",
        }
    }
}

/// The key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    pub(crate) algorithm: Algorithm,
    pub(crate) resident: bool,
    pub(crate) verify_required: bool,
    pub(crate) passphrase: String,
}

impl Recipe {
    /// A key of this type that asks for a touch, is not resident, and has no passphrase.
    #[must_use]
    pub fn of(algorithm: Algorithm) -> Self {
        Self { algorithm, resident: false, verify_required: false, passphrase: String::new() }
    }

    /// The same for Ed25519.
    #[must_use]
    pub fn ed25519() -> Self {
        Self::of(Algorithm::Ed25519)
    }

    /// The same for ECDSA.
    #[must_use]
    pub fn ecdsa() -> Self {
        Self::of(Algorithm::Ecdsa)
    }

    /// The token keeps the credential.
    #[must_use]
    pub fn resident(mut self) -> Self {
        self.resident = true;
        self
    }

    /// Each use takes a PIN or a finger.
    #[must_use]
    pub fn verify_required(mut self) -> Self {
        self.verify_required = true;
        self
    }

    /// Whether each use takes a PIN or a finger.
    #[must_use]
    pub fn is_verify_required(&self) -> bool {
        self.verify_required
    }

    /// The key file is under a passphrase.
    #[must_use]
    pub fn passphrase(mut self, passphrase: &str) -> Self {
        self.passphrase = passphrase.into();
        self
    }
}

/// A key file, with its public key beside it.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
    verify_required: bool,
}

impl KeyFile {
    /// The key in this file, and whether it asks for its user's verification.
    #[must_use]
    pub fn new(path: PathBuf, verify_required: bool) -> Self {
        Self { path, verify_required }
    }

    /// The private key's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The public key's file.
    #[must_use]
    pub fn public_path(&self) -> PathBuf {
        self.path.with_extension("pub")
    }

    /// The public key's line.
    #[must_use]
    pub fn public_line(&self) -> String {
        std::fs::read_to_string(self.public_path()).expect("a public key is beside the private one").trim().to_owned()
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::from_openssh(&self.public_line()).expect("a public key")
    }

    /// The public key's bytes, as they go over the wire.
    #[must_use]
    pub fn blob(&self) -> Vec<u8> {
        self.public().to_bytes().expect("a public key has bytes")
    }

    /// The file of a certificate of it, as `ssh-add` and [`crate::Authority::certify`] name it.
    #[must_use]
    pub fn certificate_path(&self) -> PathBuf {
        PathBuf::from(format!("{}-cert.pub", self.path.display()))
    }

    /// The line of its certificate.
    #[must_use]
    pub fn certificate_line(&self) -> String {
        std::fs::read_to_string(self.certificate_path()).expect("it was certified").trim().to_owned()
    }

    /// The fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.public().fingerprint(HashAlg::Sha256).to_string()
    }

    /// Its line for authorized_keys, with `verify-required` where the key has it.
    #[must_use]
    pub fn authorized_line(&self) -> String {
        let options = if self.verify_required { "verify-required " } else { "" };
        format!("{options}{}\n", self.public_line())
    }
}

/// The fingerprint of a public key.
pub(crate) fn fingerprint(key: &PublicKey) -> Fingerprint {
    key.fingerprint(HashAlg::Sha256)
}
