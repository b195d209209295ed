//! The key that a person means: by its fingerprint, by a file of it, or by its comment.

use std::path::{Path, PathBuf};

use ssh_key::PrivateKey;
use zeroize::Zeroizing;

use crate::agent_socket::Held;
use crate::places::find;
use crate::problem::Problem;
use crate::public_key::PublicKey;
use crate::publication::demands_verification;

/// The longest `.pub` file that is looked at, in bytes.
const LONGEST_PUBLIC_FILE: u64 = 64 * 1024;

/// A key with its comment.
pub(crate) type Named = (PublicKey, String);

/// The key with this name, among those that the agent holds and those in files.
pub(crate) fn named(name: &str, held: &[Held]) -> Result<Named, Problem> {
    if name.starts_with("SHA256:") {
        return with_fingerprint(name, held).ok_or_else(|| {
            Problem::failed(format!("no key with the fingerprint {name} is in the agent or in ~/.ssh"))
                .next("See `agent-cli list`, or name its .pub file.")
        });
    }
    if Path::new(name).exists() || beside(Path::new(name)).is_some() {
        return in_file(Path::new(name));
    }
    let mut called_so = plain(held).filter(|held| held.comment == name);
    match (called_so.next(), called_so.next()) {
        (Some(one), None) => Ok((one.key.clone(), one.comment.clone())),
        (None, _) => {
            Err(Problem::failed(format!("there is neither a file nor a key in the agent with the name {name}"))
                .next("See `agent-cli list`, and name a key by its fingerprint, its file or its comment."))
        }
        (Some(_), Some(_)) => Err(Problem::failed(format!("several keys in the agent have the comment {name}"))
            .next("Name the one you mean by its fingerprint, as `agent-cli list` shows it.")),
    }
}

/// The key with this fingerprint that the agent holds, or that has its public part in ~/.ssh.
pub(crate) fn with_fingerprint(fingerprint: &str, held: &[Held]) -> Option<Named> {
    let found = plain(held).find(|held| held.key.fingerprint == fingerprint);
    let found = found.map(|held| (held.key.clone(), held.comment.clone()));
    found.or_else(|| public_files().into_iter().map(|(_, named)| named).find(|(key, _)| key.fingerprint == fingerprint))
}

/// Whether each use of the key takes a PIN or a finger, by its private file in ~/.ssh, if that is there and open.
pub(crate) fn verify_required_by_file(fingerprint: &str) -> Option<bool> {
    let mut files = public_files().into_iter();
    let (public, (key, _)) = files.find(|(_, (key, _))| key.fingerprint == fingerprint)?;
    demands_verification(&public.with_extension(""), &key)
}

/// All but the certificates.
fn plain(held: &[Held]) -> impl Iterator<Item = &Held> {
    held.iter().filter(|held| !held.key.type_name.ends_with("-CERT"))
}

/// The public keys in ~/.ssh, in the order of their names.
fn public_files() -> Vec<(PathBuf, Named)> {
    let Ok(paths) = find(None) else { return Vec::new() };
    let entries = std::fs::read_dir(paths.home.join(".ssh")).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let is_one = path.extension().is_some_and(|extension| extension == "pub");
        let short = path.metadata().is_ok_and(|file| file.is_file() && file.len() <= LONGEST_PUBLIC_FILE);
        if !is_one || !short {
            return None;
        }
        let named = PublicKey::read_line(&std::fs::read_to_string(&path).ok()?)?;
        (!named.0.type_name.ends_with("-CERT")).then_some((path, named))
    };
    files.into_iter().filter_map(read).collect()
}

/// The public key of a key file, which stands in clear in the private one too, its comment does not always.
pub(crate) fn in_file(file: &Path) -> Result<Named, Problem> {
    let text = match std::fs::read(file) {
        Ok(text) => Zeroizing::new(text),
        Err(error) => return beside(file).ok_or_else(|| Problem::failed(format!("{}: {error}", file.display()))),
    };
    let public = || std::str::from_utf8(&text).ok().and_then(PublicKey::read_line);
    let private = || {
        let key = PrivateKey::from_openssh(&text).ok()?;
        let (key_read, comment) = PublicKey::read_line(&key.public_key().to_openssh().ok()?)?;
        Some((key_read, comment))
    };
    beside(file).or_else(public).or_else(private).ok_or_else(|| {
        Problem::failed(format!("{} is no key file", file.display()))
            .next("Name the file of the key, or its fingerprint from `agent-cli list`.")
    })
}

fn beside(file: &Path) -> Option<Named> {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    PublicKey::read_line(&std::fs::read_to_string(Path::new(&name)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOouqtQZ4Ul3fkCrMS5h5g+t0sG+ESSAYjvHuPwcSyfV on paper\n";

    #[test]
    fn a_key_is_known_by_either_file() {
        let folder = tempfile::tempdir().unwrap();
        let (private, public) = (folder.path().join("id"), folder.path().join("id.pub"));
        assert!(in_file(&private).is_err());
        std::fs::write(&public, PUBLIC).unwrap();
        let expected = PublicKey::read_line(PUBLIC).unwrap();
        assert_eq!(expected.1, "on paper");
        assert_eq!(in_file(&public).unwrap(), expected);
        assert_eq!(in_file(&private).unwrap(), expected);
        std::fs::remove_file(&public).unwrap();
        std::fs::write(&private, "no key").unwrap();
        assert!(in_file(&private).is_err());
    }

    #[test]
    fn a_key_is_known_by_its_comment_where_only_one_has_it() {
        let (key, comment) = PublicKey::read_line(PUBLIC).unwrap();
        let held = |comment: &str| Held { key: key.clone(), comment: comment.into() };
        let one = [held(&comment), held("another")];
        assert_eq!(named("on paper", &one).unwrap(), (key.clone(), comment.clone()));
        assert_eq!(named(&key.fingerprint, &one).unwrap().0, key);
        assert!(named("on stone", &one).unwrap_err().to_string().contains("neither a file nor a key"));
        let two = [held(&comment), held(&comment)];
        assert!(named("on paper", &two).unwrap_err().to_string().contains("several keys"));
    }
}
