//! Heads that a person's own key has signed: kept anywhere, they say to anybody what the log was.
//!
//! A checkpoint is a text: an SSHSIG signature as ssh-keygen writes it (OpenSSH PROTOCOL.sshsig), and behind it the line that is
//! signed, `audit head NUMBER HASH`. `tail -n 1 FILE | ssh-keygen -Y verify … -s FILE` verifies it, too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_encoding::{Decode, Encode};
use ssh_key::sha2::{Digest, Sha512};

use super::anchor;
use super::chain::Head;
use crate::certificate::plain_public_key;
use crate::identity::fingerprint;
use crate::verify::verifies;

/// What else a key signs is no checkpoint.
pub const NAMESPACE: &str = "audit-head@fido-ssh-agent";

const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
const HASH: &str = "sha512";

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";

/// How long ssh-keygen's lines are.
const WIDTH: usize = 70;

/// A signed head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The head.
    pub head: Head,
    /// The public key, as SSH encodes it.
    pub key: Vec<u8>,
    /// The signature, as SSH encodes it.
    pub signature: Vec<u8>,
}

/// Why a text is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The signature can't be read.
    #[error("its signature can't be read")]
    Unreadable,
    /// It is for another purpose, or made otherwise than checkpoints are.
    #[error("its signature is none of a checkpoint")]
    OtherPurpose,
    /// No line behind the signature names a head.
    #[error("no line \"audit head NUMBER HASH\" is behind its signature")]
    NoHead,
    /// The signature is not over that line.
    #[error("its signature does not verify")]
    Signature,
}

/// What is signed for a checkpoint of this head (PROTOCOL.sshsig, "Signed Data").
#[must_use]
pub fn to_be_signed(head: Head) -> Vec<u8> {
    let hash = Sha512::digest(anchor::line(head));
    let mut data = MAGIC.to_vec();
    strings(&mut data, &[NAMESPACE.as_bytes(), b"", HASH.as_bytes(), &hash]);
    data
}

impl Checkpoint {
    /// The fingerprint of its key, once its signature is verified.
    ///
    /// # Errors
    /// [`CheckpointError::Signature`] where it does not.
    pub fn verified(&self) -> Result<String, CheckpointError> {
        let key = plain_public_key(&self.key).ok_or(CheckpointError::Unreadable)?;
        let good = verifies(&key, &to_be_signed(self.head), &self.signature);
        good.then(|| fingerprint(&key)).ok_or(CheckpointError::Signature)
    }

    /// Its text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut blob = MAGIC.to_vec();
        blob.extend(VERSION.to_be_bytes());
        strings(&mut blob, &[&self.key, NAMESPACE.as_bytes(), b"", HASH.as_bytes(), &self.signature]);
        let text = STANDARD.encode(blob);
        let lines = text.as_bytes().chunks(WIDTH).map(String::from_utf8_lossy);
        let body: String = lines.map(|line| format!("{line}\n")).collect();
        format!("{BEGIN}\n{body}{END}\n{}", anchor::line(self.head))
    }

    /// The checkpoints in a text; None where it begins with none.
    ///
    /// # Errors
    /// Where what begins so is none. It is not verified yet.
    pub fn of_text(text: &str) -> Option<Result<Self, CheckpointError>> {
        let (armored, behind) = text.strip_prefix(BEGIN)?.split_once(END).unwrap_or_default();
        let read = || {
            let blob = STANDARD.decode(armored.split_whitespace().collect::<String>()).ok()?;
            let mut rest = blob.strip_prefix(MAGIC)?.strip_prefix(&VERSION.to_be_bytes())?;
            let mut next = || Vec::<u8>::decode(&mut rest).ok();
            let fields = [next()?, next()?, next()?, next()?, next()?];
            rest.is_empty().then_some(fields)
        };
        let Some([key, namespace, reserved, hash, signature]) = read() else {
            return Some(Err(CheckpointError::Unreadable));
        };
        if (namespace.as_slice(), reserved.as_slice(), hash.as_slice()) != (NAMESPACE.as_bytes(), b"", HASH.as_bytes())
        {
            return Some(Err(CheckpointError::OtherPurpose));
        }
        let head = behind.lines().find(|line| !line.is_empty()).and_then(|line| anchor::read(line.as_bytes()));
        Some(head.map(|head| Self { head, key, signature }).ok_or(CheckpointError::NoHead))
    }
}

fn strings(into: &mut Vec<u8>, strings: &[&[u8]]) {
    for string in strings {
        // Writing to a vector fails only when a length is over 4 GiB.
        let _ = string.encode(into);
    }
}

#[cfg(test)]
mod tests {
    use signature::Signer;
    use ssh_key::rand_core::OsRng;
    use ssh_key::{Algorithm, PrivateKey, Signature};

    use super::*;
    use crate::audit::chain::Hash;

    fn checkpoint() -> Checkpoint {
        let head = Head { sequence: 42, hash: Hash::of(b"x") };
        let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
        let signature: Signature = key.try_sign(&to_be_signed(head)).unwrap();
        Checkpoint { head, key: key.public_key().to_bytes().unwrap(), signature: Vec::try_from(signature).unwrap() }
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written_and_verifies() {
        let checkpoint = checkpoint();
        let text = checkpoint.to_text();
        assert_eq!(Checkpoint::of_text(&text), Some(Ok(checkpoint.clone())), "{text}");
        assert!(checkpoint.verified().unwrap().starts_with("SHA256:"));
        let other = Checkpoint { head: Head { sequence: 43, ..checkpoint.head }, ..checkpoint };
        assert_eq!(other.verified(), Err(CheckpointError::Signature));
    }

    #[test]
    fn what_is_no_checkpoint_is_told_by_why() {
        let text = checkpoint().to_text();
        let of = |text: &str| Checkpoint::of_text(text).map(|read| read.unwrap_err());
        assert_eq!(Checkpoint::of_text("audit head"), None);
        assert_eq!(of(BEGIN), Some(CheckpointError::Unreadable));
        assert_eq!(of(&text[..text.len() - 20]), Some(CheckpointError::NoHead));
        let armored = text.lines().skip(1).take_while(|line| *line != END).collect::<String>();
        let mut bytes = STANDARD.decode(armored).unwrap();
        let at = bytes.windows(NAMESPACE.len()).position(|window| window == NAMESPACE.as_bytes()).unwrap();
        bytes[at] = b'A';
        let other = format!("{BEGIN}\n{}\n{END}\naudit head 1 {}\n", STANDARD.encode(bytes), Hash::of(b"x"));
        assert_eq!(of(&other), Some(CheckpointError::OtherPurpose));
    }
}
