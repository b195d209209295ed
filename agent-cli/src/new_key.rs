//! A key that a token just made, as OpenSSH's key files hold it (PROTOCOL.key, PROTOCOL.u2f).

use agent::control::Generated;
use agent::token::protocol::Algorithm;
use secrecy::{ExposeSecret, SecretString};
use ssh_encoding::{Decode, Encode};
use ssh_key::private::KeypairData;
use ssh_key::rand_core::OsRng;
use ssh_key::{LineEnding, PrivateKey};
use zeroize::Zeroizing;

/// The two files of a key.
#[derive(Debug)]
pub(crate) struct KeyFiles {
    /// FILE.
    pub(crate) private: Zeroizing<String>,
    /// FILE.pub, one line.
    pub(crate) public: String,
    /// The key's fingerprint.
    pub(crate) fingerprint: String,
}

/// Makes the text of both files; the private one under the passphrase, if there is one.
///
/// # Errors
/// When the agent's answer is no key.
pub(crate) fn key_files(
    made: &Generated,
    comment: &str,
    passphrase: Option<&SecretString>,
) -> Result<KeyFiles, ssh_key::Error> {
    let key = PrivateKey::new(keypair(made)?, comment)?;
    let mut public = key.public_key().to_openssh()?;
    public.push('\n');
    let fingerprint = key.fingerprint(ssh_key::HashAlg::Sha256).to_string();
    let key = match passphrase {
        Some(passphrase) => key.encrypt(&mut OsRng, passphrase.expose_secret())?,
        None => key,
    };
    Ok(KeyFiles { private: key.to_openssh(LineEnding::LF)?, public, fingerprint })
}

/// The key in the library's terms. It is written as bytes and read back: the library's own constructors refuse key
/// handles over 255 bytes, which some tokens use and OpenSSH takes.
fn keypair(made: &Generated) -> Result<KeypairData, ssh_key::Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    let out = &mut *bytes;
    match made.algorithm {
        Algorithm::Ed25519 => "sk-ssh-ed25519@openssh.com".encode(out)?,
        Algorithm::EcdsaP256 => {
            "sk-ecdsa-sha2-nistp256@openssh.com".encode(out)?;
            "nistp256".encode(out)?;
        }
    }
    made.public_key.0.encode(out)?;
    made.application.encode(out)?;
    made.flags.encode(out)?;
    made.key_handle.0.encode(out)?;
    // PROTOCOL.u2f's "reserved" is an empty string.
    "".encode(out)?;
    KeypairData::decode(&mut bytes.as_slice())
}

#[cfg(test)]
mod tests {
    use agent::token::protocol::{Bytes, Device};

    use super::*;

    fn made(algorithm: Algorithm, public_key: Vec<u8>, key_handle: Vec<u8>) -> Generated {
        let token =
            Device { path: String::new(), product: String::new(), serial: String::new(), vendor_id: 0, product_id: 0 };
        Generated {
            algorithm,
            application: "ssh:test".into(),
            public_key: Bytes(public_key),
            key_handle: Bytes(key_handle),
            flags: 0x25,
            token,
            token_name: None,
            backup_of: None,
        }
    }

    /// The base point of P-256, which is a point as good as any.
    fn point() -> Vec<u8> {
        let hex = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                   4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn a_key_can_be_read_back_whatever_the_length_of_its_handle() {
        for (algorithm, public_key) in [(Algorithm::Ed25519, vec![7; 32]), (Algorithm::EcdsaP256, point())] {
            for length in [16, 64, 255, 256, 1000] {
                let made = made(algorithm, public_key.clone(), vec![9; length]);
                let files = key_files(&made, "me@here", None).unwrap();
                let key = PrivateKey::from_openssh(files.private.as_str()).unwrap();
                let (application, handle, flags) = match key.key_data() {
                    KeypairData::SkEd25519(key) => (key.public().application(), key.key_handle(), key.flags()),
                    KeypairData::SkEcdsaSha2NistP256(key) => {
                        (key.public().application(), key.key_handle(), key.flags())
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!((application, handle.len(), flags), ("ssh:test", length, 0x25));
                assert_eq!(key.comment(), "me@here");
                assert!(files.public.ends_with(" me@here\n") && files.fingerprint.starts_with("SHA256:"));
            }
        }
    }

    #[test]
    fn a_passphrase_protects_the_handle() {
        let made = made(Algorithm::Ed25519, vec![7; 32], vec![9; 64]);
        let files = key_files(&made, "me", Some(&"secret".into())).unwrap();
        let key = PrivateKey::from_openssh(files.private.as_str()).unwrap();
        assert!(key.is_encrypted() && key.decrypt("wrong").is_err());
        assert!(key.decrypt("secret").is_ok());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(key_files(&made(Algorithm::Ed25519, vec![7; 31], vec![9; 64]), "", None).is_err());
        assert!(key_files(&made(Algorithm::EcdsaP256, vec![7; 65], vec![9; 64]), "", None).is_err());
    }
}
