//! OpenSSH key files of FIDO tokens (OpenSSH PROTOCOL.key, PROTOCOL.u2f).

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use rustix::fs::OFlags;
use ssh_key::private::KeypairData;
use ssh_key::public::KeyData;
use ssh_key::{Kdf, PrivateKey};
use zeroize::Zeroizing;

use crate::certificate::Certificate;
use crate::constraint::Constraints;
use crate::denial::{Code, Denial};
use crate::identity::{self, Credential, Holder, Identity, KeyHandle, SkFlags};
use crate::peer::Process;

/// The largest key file that is read, in bytes (OpenSSH's own bound is 1 MiB).
const LARGEST_FILE: usize = 64 * 1024;

/// The most rounds of key derivation, some ten seconds of work. `ssh-keygen` takes 24 by default.
const MOST_ROUNDS: u32 = 2000;

/// Why a key file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is no OpenSSH key file.
    #[error("it is not an OpenSSH private key: {0}")]
    Format(#[from] ssh_key::Error),
    /// It holds a software key, not a FIDO token's.
    #[error("it holds a key that is not on a FIDO token: add it with `ssh-add`")]
    NotOnToken,
    /// It is a folder, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// Its passphrase takes too long to try.
    #[error("its passphrase takes {0} rounds to try, more than {MOST_ROUNDS}: lower them with `ssh-keygen -p -a`")]
    TooSlow(u32),
    /// It is longer than a key file is.
    #[error("it is longer than any key file")]
    TooLong,
    /// It holds another key than it did when it was added.
    #[error("it holds another key now")]
    OtherKey,
    /// The passphrase does not open it.
    #[error("the passphrase does not open it")]
    WrongPassphrase,
}

impl KeyFileError {
    /// The refusal for a request that needed the file.
    #[must_use]
    pub fn denial(&self, path: &Path) -> Denial {
        let code = if matches!(self, Self::WrongPassphrase) { Code::WrongPassphrase } else { Code::KeyFile };
        Denial::new(code, format!("{}: {self}", path.display()))
    }
}

/// Reads the identities that a key file gives: its key, and the certificate in `FILE-cert.pub`, as with `ssh-add`. Of a
/// protected file only the public part is read, which stands in clear.
///
/// # Errors
/// See [`KeyFileError`].
pub fn read(path: &Path) -> Result<Vec<Identity>, KeyFileError> {
    let key = read_private_key(path)?;
    let public_key = key.public_key().key_data().clone();
    if identity::application(&public_key).is_none() {
        return Err(KeyFileError::NotOnToken);
    }
    let (holder, comment) = if key.is_encrypted() {
        (Holder::ProtectedFile(path.to_owned()), comment_beside(path))
    } else {
        (Holder::Credential(credential(key.key_data())?), key.comment().to_owned())
    };
    let comment = if comment.is_empty() { path.display().to_string() } else { comment };
    let blob = identity::key_blob(&public_key);
    let plain = Identity { public_key, blob, comment, holder, constraints: Constraints::default() };
    let certified = certificate_beside(path, &plain);
    Ok(std::iter::once(plain).chain(certified).collect())
}

/// The same key under the certificate beside its file: an identity of its own, with the same comment, as from `ssh-add`.
fn certificate_beside(path: &Path, plain: &Identity) -> Option<Identity> {
    let text = read_text(&beside(path, "-cert.pub"))?;
    let blob = base64::engine::general_purpose::STANDARD.decode(text.split_whitespace().nth(1)?).ok()?;
    Certificate::parse(&blob).filter(|certificate| certificate.public_key == plain.public_key)?;
    Some(Identity { blob, ..plain.clone() })
}

/// Opens a protected key file, which must still hold `expected`.
///
/// # Errors
/// See [`KeyFileError`].
pub fn read_credential(path: &Path, expected: &KeyData, passphrase: &[u8]) -> Result<Credential, KeyFileError> {
    let key = read_private_key(path)?;
    if key.public_key().key_data() != expected {
        return Err(KeyFileError::OtherKey);
    }
    let key =
        if key.is_encrypted() { key.decrypt(passphrase).map_err(|_| KeyFileError::WrongPassphrase)? } else { key };
    credential(key.key_data())
}

/// The credential in an sk private key, from a file or from `ssh-add`.
///
/// # Errors
/// [`KeyFileError::NotOnToken`] for every other type.
pub fn credential(key: &KeypairData) -> Result<Credential, KeyFileError> {
    let (application, key_handle, flags) = match key {
        KeypairData::SkEd25519(key) => (key.public().application(), key.key_handle(), key.flags()),
        KeypairData::SkEcdsaSha2NistP256(key) => (key.public().application(), key.key_handle(), key.flags()),
        _ => return Err(KeyFileError::NotOnToken),
    };
    Ok(Credential {
        application: application.to_owned(),
        key_handle: KeyHandle::new(key_handle),
        flags: SkFlags(flags),
    })
}

/// The file that a client of `ssh-add FILE` most likely read the key from. `ssh-add` sends the key without its path, so
/// the paths it was given, and OpenSSH's default ones, are looked at: only a file that holds the very same public key
/// counts, so a wrong guess can't do harm.
#[must_use]
pub fn find(key: &KeyData, client: Option<&Process>, home: Option<&Path>) -> Option<PathBuf> {
    let directory = client.and_then(|process| process.directory.clone());
    let arguments = client.map(|process| process.arguments.clone()).unwrap_or_default();
    let given = arguments.into_iter().skip(1).filter_map(|argument| Some(directory.as_ref()?.join(argument)));
    let defaults = ["id_ed25519_sk", "id_ecdsa_sk"].iter().filter_map(|name| Some(home?.join(".ssh").join(name)));
    given.chain(defaults).find(|path| read_private_key(path).is_ok_and(|found| found.public_key().key_data() == key))
}

fn read_private_key(path: &Path) -> Result<PrivateKey, KeyFileError> {
    let key = PrivateKey::from_openssh(&*read_bounded(path)?)?;
    match key.kdf() {
        Kdf::Bcrypt { rounds, .. } if *rounds > MOST_ROUNDS => Err(KeyFileError::TooSlow(*rounds)),
        _ => Ok(key),
    }
}

/// Reads a file, if it is one: not a pipe that never ends, nor a device that has no end.
fn read_bounded(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(KeyFileError::NotAFile);
    }
    // Large enough from the start: growing would leave copies of the key behind.
    let mut text = Zeroizing::new(Vec::with_capacity(LARGEST_FILE + 1));
    file.take(LARGEST_FILE as u64 + 1).read_to_end(&mut text)?;
    if text.len() > LARGEST_FILE { Err(KeyFileError::TooLong) } else { Ok(text) }
}

/// A protected file hides its comment; the public key beside it says it.
fn comment_beside(path: &Path) -> String {
    let key = read_text(&beside(path, ".pub")).and_then(|text| ssh_key::PublicKey::from_openssh(&text).ok());
    key.map(|key| key.comment().to_owned()).unwrap_or_default()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn read_text(path: &Path) -> Option<String> {
    String::from_utf8(read_bounded(path).ok()?.to_vec()).ok()
}
