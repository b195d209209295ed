//! An authority: whoever trusts its key trusts the keys it certifies.

use std::fs;

use crate::{Env, Host, KeyFile};

/// Certifies with `ssh-keygen -s`.
pub struct Authority {
    env: Env,
    key: KeyFile,
}

impl Env {
    /// A new authority, with an Ed25519 key.
    #[must_use]
    pub fn authority(&self) -> Authority {
        Authority { env: self.clone(), key: self.plain_key() }
    }
}

impl Authority {
    /// Its key's line, as authorized_keys and known_hosts have it.
    #[must_use]
    pub fn public_line(&self) -> String {
        self.key.public_line()
    }

    /// Certifies a user's key, beside whose file the certificate is written. Options are `ssh-keygen`'s: `-n` names whom the
    /// key may log in as.
    pub fn certify(&self, key: &KeyFile, options: &[&str]) {
        self.sign(&["-I", "a user"], options, key);
    }

    /// Certifies a host's key; the host presents the certificate from now on.
    pub fn certify_host(&self, host: &Host, options: &[&str]) {
        let key = KeyFile::new(host.folder().join("host_key"), false);
        fs::write(key.public_path(), host.key().to_openssh().expect("a public key has a line")).expect("a new file");
        self.sign(&["-h", "-I", "a host"], options, &key);
        host.setting(&format!("HostCertificate {}", key.certificate_path().display()));
    }

    fn sign(&self, kind: &[&str], options: &[&str], key: &KeyFile) {
        let keygen = self.env.program("ssh-keygen").arg("-q").arg("-s").arg(self.key.path()).args(kind).args(options);
        keygen.arg(key.public_path()).run().success();
    }
}
