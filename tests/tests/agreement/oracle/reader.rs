//! Reads what SSH writes (RFC 4251 § 5), as far as ssh-agent's `sshbuf` does.

use super::reason::{Notes, Reason};

/// What is still to be read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let before = self.0;
        let string = self.number().and_then(|length| self.0.split_at_checked(usize::try_from(length).ok()?));
        match string {
            Some((string, rest)) => {
                self.0 = rest;
                Some(string)
            }
            None => {
                self.0 = before;
                None
            }
        }
    }

    /// A string that is one of C as well (`sshbuf_get_cstring`): a NUL may end it, and is nowhere else.
    pub(super) fn name(&mut self) -> Option<&'a [u8]> {
        let string = self.string()?;
        let name = string.strip_suffix(b"\0").unwrap_or(string);
        (!name.contains(&0)).then_some(name)
    }

    /// The same, where ours takes no NUL at all.
    pub(super) fn strict_name(&mut self, notes: &mut Notes) -> Option<&'a [u8]> {
        let before = self.0;
        let name = self.name()?;
        let ends_with_nul = name.len() < Reader(before).string()?.len();
        notes.note_if(ends_with_nul, Reason::Name);
        Some(name)
    }

    /// A name that has to be compared with others, and so has to be text.
    pub(super) fn text(&mut self, notes: &mut Notes) -> Option<&'a [u8]> {
        let name = self.name()?;
        notes.note_if(std::str::from_utf8(name).is_err(), Reason::Name);
        Some(name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
