//! A file of authorized_keys lines (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"). It is there as it was or as it shall be, at any
//! moment, and what others wrote into it stays as it is, to the byte.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::{Entry, Standing};
use crate::problem::Problem;
use crate::public_key::PublicKey;

/// The longest file that is changed, in bytes.
const LONGEST: u64 = 4 * 1024 * 1024;

/// What a file is made with where there is none: sshd wants to read it, as whichever user.
const MODE: u32 = 0o644;

const VERIFY_REQUIRED: &str = "verify-required";

/// Such a file, which need not be there yet.
#[derive(Debug)]
pub(crate) struct AuthorizedKeys {
    path: PathBuf,
}

impl AuthorizedKeys {
    /// The file at a path; in a folder, the one that is named after the user, as `AuthorizedKeysFile /etc/ssh/keys/%u` has it.
    pub(super) fn at(path: &Path) -> Result<Self, Problem> {
        // A link stays one: what it leads to is written.
        let path = path.canonicalize().unwrap_or(path.to_owned());
        if !path.is_dir() {
            return Ok(Self { path });
        }
        let user = uzers::get_current_username().ok_or_else(|| {
            Problem::usage("this user id has no name, after which a file would be named").next("Name the file itself.")
        })?;
        let file = path.join(user);
        Ok(Self { path: file.canonicalize().unwrap_or(file) })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The keys in it. What is no key that is known here is passed over, as sshd does.
    pub(super) fn look(&self) -> Result<Standing, Problem> {
        let content = self.read().map_err(|error| self.unusable(&error))?.map_or_else(Vec::new, |(content, _)| content);
        let entries = content.split(|byte| *byte == b'\n').filter_map(entry).collect();
        Ok(Standing { entries, ..Standing::default() })
    }

    /// Adds the key of this line, or has the line that it has demand verification.
    pub(super) fn add(&self, line: &str, verify_required: bool) -> Result<(), Problem> {
        let (key, _) = PublicKey::read_line(line).ok_or_else(|| Problem::failed("this is no public key"))?;
        let options = if verify_required { format!("{VERIFY_REQUIRED} ") } else { String::new() };
        self.change(|content| {
            let mut lines: Vec<Vec<u8>> = content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            let mut is_there = false;
            for line in &mut lines {
                let Some(entry) = entry(line).filter(|entry| entry.is(&key)) else { continue };
                is_there = true;
                if verify_required && !entry.verify_required {
                    let separator = if has_options(line) { "," } else { " " };
                    let at = line.len() - line.trim_ascii_start().len();
                    line.splice(at..at, format!("{VERIFY_REQUIRED}{separator}").into_bytes());
                }
            }
            if !is_there {
                // Behind the last end of a line there is nothing, and that is where it goes.
                if lines.last().is_some_and(|last| !last.is_empty()) {
                    lines.push(Vec::new());
                }
                let last = lines.len().saturating_sub(1);
                lines.insert(last, format!("{options}{line}").into_bytes());
            }
            lines.join(&b'\n')
        })
    }

    /// Writes what `change` makes of it. Who does the same at the same time waits.
    fn change(&self, change: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<(), Problem> {
        let changed = || -> io::Result<()> {
            let folder = self.path.parent().unwrap_or(Path::new("/"));
            let lock = File::open(folder)?;
            // Not every file system can: then it is as it always was with this file.
            let _ = lock.lock();
            let (before, metadata) = self.read()?.unzip();
            let after = change(before.as_deref().unwrap_or_default());
            if before.is_some_and(|before| before == after) {
                return Ok(());
            }
            let mode = metadata.as_ref().map_or(MODE, |metadata| metadata.mode() & 0o7777);
            let mut new = tempfile::Builder::new().prefix(".authorized_keys").tempfile_in(folder)?;
            new.write_all(&after)?;
            if let Some(metadata) = metadata
                && (metadata.uid(), metadata.gid()) != owner(new.as_file())?
            {
                fchown(new.as_file(), Some(metadata.uid()), Some(metadata.gid()))?;
            }
            new.as_file().set_permissions(Permissions::from_mode(mode))?;
            new.as_file().sync_all()?;
            new.persist(&self.path).map_err(|error| error.error)?;
            lock.sync_all()
        };
        changed().map_err(|error| self.unusable(&error))
    }

    /// What is in it, and whose it is; None where it is not there.
    fn read(&self) -> io::Result<Option<(Vec<u8>, std::fs::Metadata)>> {
        // A pipe is not even opened.
        match self.path.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let link = self.path.symlink_metadata().is_ok();
                return if link { Err(io::Error::other("it is a link that leads nowhere")) } else { Ok(None) };
            }
            Ok(metadata) if !metadata.is_file() => return Err(io::Error::other("it is no file")),
            other => other?,
        };
        let file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        let mut content = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut content)?;
        match content.len() as u64 > LONGEST {
            true => Err(io::Error::other("it is far too long")),
            false => Ok(Some((content, metadata))),
        }
    }

    fn unusable(&self, error: &io::Error) -> Problem {
        Problem::failed(format!("{} can't be used: {error}", self.path.display()))
            .next("It is as it was. Name a file that you may write, in a folder that you may write.")
    }
}

fn owner(file: &File) -> io::Result<(u32, u32)> {
    file.metadata().map(|metadata| (metadata.uid(), metadata.gid()))
}

/// The key in a line, if there is one that is known here.
fn entry(line: &[u8]) -> Option<Entry> {
    let text = std::str::from_utf8(line).ok()?.trim();
    if text.starts_with('#') {
        return None;
    }
    let (options, rest) = if PublicKey::read_line(text).is_some() { ("", text) } else { split_options(text)? };
    let key = PublicKey::read_line(rest)?;
    let verify_required = parts(options, ',').any(|option| option.eq_ignore_ascii_case(VERIFY_REQUIRED));
    Some(Entry { text: text.to_owned(), key: Some(key), verify_required })
}

/// Whether a line with a key begins with options.
fn has_options(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| PublicKey::read_line(line).is_none())
}

/// The options before a key, which end with the first blank that stands in no quotes.
fn split_options(line: &str) -> Option<(&str, &str)> {
    let end = unquoted(line).find(|(_, c)| *c == ' ' || *c == '\t').map(|(at, _)| at)?;
    Some((line.get(..end)?, line.get(end..)?.trim_start()))
}

/// The parts of a text between separators that stand in no quotes.
fn parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut begin = 0;
    let ends: Vec<_> = unquoted(text).filter(|(_, c)| *c == separator).map(|(at, _)| at).chain([text.len()]).collect();
    ends.into_iter().filter_map(move |end| {
        let part = text.get(begin..end);
        begin = end + separator.len_utf8();
        part
    })
}

/// The characters that stand in no quotes. A quote with a backslash before it is none, whatever is before that one
/// (sshkey.c, `sshkey_advance_past_options`).
fn unquoted(text: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().filter(move |(_, c)| {
        let was_quoted = quoted;
        quoted ^= *c == '"' && !escaped;
        escaped = *c == '\\';
        !was_quoted && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = include_str!("../../testdata/keys.txt");

    /// Lines of different keys that are on a token.
    fn sk_lines() -> Vec<&'static str> {
        KEYS.lines().filter(|line| line.starts_with("sk-") && !line.contains("-cert-")).collect()
    }

    fn file(folder: &Path, content: &str) -> AuthorizedKeys {
        let path = folder.join("authorized_keys");
        std::fs::write(&path, content).unwrap();
        AuthorizedKeys::at(&path).unwrap()
    }

    fn content(file: &AuthorizedKeys) -> String {
        std::fs::read_to_string(&file.path).unwrap()
    }

    #[test]
    fn a_line_is_added_and_others_stay_as_they_are() {
        let line = sk_lines()[0];
        let others = "# a comment\n\n  command=\"echo \\\"a, b\\\"\" ssh-ed25519 AAAA other\r\nno key at all";
        for (before, after) in [
            (String::new(), format!("verify-required {line}\n")),
            (format!("{others}\n"), format!("{others}\nverify-required {line}\n")),
            (others.to_owned(), format!("{others}\nverify-required {line}\n")),
            ("\n".into(), format!("\nverify-required {line}\n")),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let file = file(folder.path(), &before);
            file.add(line, true).unwrap();
            assert_eq!(content(&file), after);
            file.add(line, true).unwrap();
            assert_eq!(content(&file), after, "it is there once");
        }
    }

    #[test]
    fn a_line_of_the_same_key_keeps_its_options_and_demands_verification() {
        let (line, other) = (sk_lines()[0], sk_lines()[1]);
        let (key, _) = PublicKey::read_line(line).unwrap();
        for (there, verify_required, after) in [
            (key.line(), false, key.line()),
            (key.line(), true, format!("verify-required {}", key.line())),
            (
                format!("from=\"a b,verify-required\" {line}"),
                true,
                format!("verify-required,from=\"a b,verify-required\" {line}"),
            ),
            (format!("no-pty,Verify-Required\t{line}"), true, format!("no-pty,Verify-Required\t{line}")),
            (format!("  {line}"), true, format!("  verify-required {line}")),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let file = file(folder.path(), &format!("{there}\n{other}\n"));
            file.add(line, verify_required).unwrap();
            assert_eq!(content(&file), format!("{after}\n{other}\n"));
            let standing = file.look().unwrap();
            assert_eq!(standing.entries.len(), 2);
            assert!(standing.entries[0].is(&key));
            assert_eq!(standing.entries[0].verify_required, verify_required);
        }
    }

    #[test]
    fn mode_and_links_are_kept_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::write(&real, "").unwrap();
        std::fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        AuthorizedKeys::at(&link).unwrap().add(sk_lines()[0], false).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(real.metadata().unwrap().mode() & 0o7777, 0o640);
        assert_eq!(folder.path().read_dir().unwrap().count(), 2);

        let new = AuthorizedKeys::at(&folder.path().join("new")).unwrap();
        assert!(new.look().unwrap().entries.is_empty());
        new.add(sk_lines()[0], false).unwrap();
        assert_eq!(new.path.metadata().unwrap().mode() & 0o7777, MODE);
        let in_folder = AuthorizedKeys::at(folder.path()).unwrap();
        assert_eq!(in_folder.path.file_name(), uzers::get_current_username().as_deref());
    }

    #[test]
    fn what_is_no_such_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        for path in [folder.path().join("link"), "/dev/null".into(), folder.path().join("no/folder")] {
            assert!(AuthorizedKeys::at(&path).unwrap().add(sk_lines()[0], false).is_err(), "{}", path.display());
        }
        assert!(folder.path().join("link").symlink_metadata().unwrap().is_symlink());
    }

    #[test]
    fn who_add_at_the_same_time_all_have_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let lines: Vec<_> = KEYS.lines().filter(|line| PublicKey::read_line(line).is_some()).collect();
        std::thread::scope(|scope| {
            for line in &lines {
                scope.spawn(|| AuthorizedKeys::at(&path).unwrap().add(line, false).unwrap());
            }
        });
        let entries = AuthorizedKeys::at(&path).unwrap().look().unwrap().entries;
        assert_eq!(entries.len(), lines.len());
    }
}
