//! The client's side of Assuan, the line protocol of GnuPG's programs (libassuan, "Assuan Protocol Specification"), as far
//! as a pinentry needs it. Lines may carry a PIN: they are read into one buffer of a fixed size, which is wiped.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::{Zeroize, Zeroizing};

/// The longest line, its end included ("Assuan Protocol Specification": 1000 bytes and CR LF).
const MAX_LINE: usize = 1002;

/// The longest data that is taken, as with askpass (OpenSSH's readpass.c).
const MOST_DATA: usize = 1023;

/// How a command ended, and what came with it.
#[derive(Debug)]
pub(super) struct Answer {
    /// Fine, or libgpg-error's number and text.
    pub(super) result: Result<(), (u32, String)>,
    /// What the `D` lines hold.
    pub(super) data: Zeroizing<Vec<u8>>,
    /// Whether it said that it had asked nobody, and took the answer from a cache.
    pub(super) from_cache: bool,
}

/// The other side does not speak the protocol, or not any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum AssuanError {
    /// The end of what it says.
    #[error("it ended")]
    Ended,
    /// It said something else.
    #[error("it does not speak the Assuan protocol: {0}")]
    Protocol(&'static str),
}

/// A conversation.
pub(super) struct Assuan<R, W> {
    from: R,
    to: W,
    buffer: Zeroizing<Vec<u8>>,
    filled: usize,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Assuan<R, W> {
    /// A conversation that has not begun: the server's greeting is the answer to [`Self::greeting`].
    pub(super) fn new(from: R, to: W) -> Self {
        Self { from, to, buffer: Zeroizing::new(vec![0; MAX_LINE]), filled: 0 }
    }

    /// Waits for the server's greeting.
    pub(super) async fn greeting(&mut self) -> Result<Answer, AssuanError> {
        self.answer().await
    }

    /// Gives a command, and waits for its end.
    pub(super) async fn command(&mut self, command: &str) -> Result<Answer, AssuanError> {
        let line = format!("{command}\n");
        if line.len() > MAX_LINE {
            return Err(AssuanError::Protocol("a command is too long"));
        }
        self.to.write_all(line.as_bytes()).await.map_err(|_| AssuanError::Ended)?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Answer, AssuanError> {
        // One vector from the start: growing would leave copies of a PIN behind.
        let mut data = Zeroizing::new(Vec::with_capacity(MOST_DATA));
        let mut from_cache = false;
        loop {
            let line = self.line().await?;
            let (word, rest) = match line.iter().position(|byte| *byte == b' ') {
                Some(end) => (line.get(..end).unwrap_or_default(), line.get(end + 1..).unwrap_or_default()),
                None => (line.as_slice(), &[][..]),
            };
            match word {
                b"OK" => return Ok(Answer { result: Ok(()), data, from_cache }),
                b"ERR" => return Ok(Answer { result: Err(error(rest)), data, from_cache }),
                b"D" => unescape(rest, &mut data)?,
                b"S" => from_cache |= rest.starts_with(b"PASSWORD_FROM_CACHE"),
                [] | [b'#', ..] => {}
                _ => return Err(AssuanError::Protocol("an unknown answer")),
            }
        }
    }

    async fn line(&mut self) -> Result<Zeroizing<Vec<u8>>, AssuanError> {
        loop {
            let filled = self.buffer.get(..self.filled).unwrap_or_default();
            if let Some(end) = filled.iter().position(|byte| *byte == b'\n') {
                let line = filled.get(..end).unwrap_or_default();
                let line = Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec());
                self.buffer.copy_within(end + 1..self.filled, 0);
                let left = self.filled - end - 1;
                self.buffer.get_mut(left..).unwrap_or_default().zeroize();
                self.filled = left;
                return Ok(line);
            }
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            if room.is_empty() {
                return Err(AssuanError::Protocol("a line is too long"));
            }
            match self.from.read(room).await {
                Ok(0) | Err(_) => return Err(AssuanError::Ended),
                Ok(read) => self.filled += read,
            }
        }
    }
}

/// `ERR 83886179 Operation cancelled <Pinentry>`.
fn error(rest: &[u8]) -> (u32, String) {
    let text = String::from_utf8_lossy(rest);
    let (number, text) = text.split_once(' ').unwrap_or((&text, ""));
    (number.parse().unwrap_or_default(), super::visible(text))
}

/// `%`, and two hexadecimal digits, stand for a byte.
fn unescape(mut data: &[u8], into: &mut Vec<u8>) -> Result<(), AssuanError> {
    while let Some((&byte, rest)) = data.split_first() {
        if into.len() == MOST_DATA {
            return Err(AssuanError::Protocol("too much data"));
        }
        let plain;
        (plain, data) = match (byte, rest) {
            (b'%', [high, low, rest @ ..]) => (hex(*high, *low)?, rest),
            (b'%', _) => return Err(AssuanError::Protocol("a % without digits")),
            plain => plain,
        };
        into.push(plain);
    }
    Ok(())
}

fn hex(high: u8, low: u8) -> Result<u8, AssuanError> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits = digit(high).zip(digit(low));
    digits.map(|(high, low)| high << 4 | low).ok_or(AssuanError::Protocol("a % without digits"))
}

/// A command with a text, which is cut where the line would be too long.
pub(super) fn with_text(command: &str, text: &str) -> String {
    const CUT: &str = "…";
    let room = MAX_LINE - 2 - command.len() - " ".len();
    let mut line = format!("{command} ");
    let mut whole = line.clone();
    let mut used = 0;
    for c in text.chars() {
        let mut bytes = [0; 4];
        let escaped = match c {
            '%' => "%25".to_owned(),
            // All of them are one byte in UTF-8 but those from U+0080 on, which no text of ours has.
            c if c.is_ascii_control() => format!("%{:02X}", u32::from(c)),
            c => c.encode_utf8(&mut bytes).to_owned(),
        };
        used += escaped.len();
        if used > room {
            return line + CUT;
        }
        whole += &escaped;
        if used <= room - CUT.len() {
            line += &escaped;
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of the answer to a command.
    async fn answer(said: &[u8]) -> Result<Answer, AssuanError> {
        Assuan::new(said, Vec::new()).command("GETPIN").await
    }

    #[tokio::test]
    async fn data_is_unescaped_and_put_together() {
        let all = answer(b"# a comment\nS PIN_REPEATED\nD 12%2534\r\nD 5%0a6\nOK done\n").await.unwrap();
        assert_eq!(all.data.as_slice(), b"12%345\n6");
        assert!(all.result.is_ok() && !all.from_cache);
        assert!(answer(b"S PASSWORD_FROM_CACHE\nD 1\nOK\n").await.unwrap().from_cache);
        let cancelled = answer(b"ERR 83886179 Operation cancelled <Pinentry>\n").await.unwrap();
        assert_eq!(cancelled.result, Err((83_886_179, "Operation cancelled <Pinentry>".into())));
    }

    #[tokio::test]
    async fn what_is_no_answer_ends_the_conversation() {
        for said in [&b"D 12\n"[..], b"OK", b"", b"D 1%2\nOK\n", b"D %zz\nOK\n", b"INQUIRE QUALITY 12\n", b"no\n"] {
            assert!(answer(said).await.is_err(), "{said:?}");
        }
        assert!(answer(&[b'D'; 2 * MAX_LINE]).await.is_err());
        let long = format!("D {0}\nD {0}\nOK\n", "x".repeat(MOST_DATA / 2 + 1));
        assert!(answer(long.as_bytes()).await.is_err());
    }

    #[test]
    fn text_is_escaped_and_cut() {
        assert_eq!(with_text("SETDESC", "100 %\nof é"), "SETDESC 100 %25%0Aof é");
        let fits = "x".repeat(MAX_LINE - 2 - "SETDESC ".len());
        assert_eq!(with_text("SETDESC", &fits), format!("SETDESC {fits}"));
        for long in ["x".repeat(2000), "é".repeat(1000), "%".repeat(1000), "a\n".repeat(1000)] {
            let line = with_text("SETDESC", &long);
            assert!(line.len() <= MAX_LINE - 2 && line.len() > MAX_LINE - 8 && line.ends_with('…'), "{}", line.len());
        }
    }
}
