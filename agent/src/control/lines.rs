//! Lines that may carry a PIN: read into one buffer that is wiped, where a codec would leave copies behind.

use tokio::io::{AsyncRead, AsyncReadExt};
use zeroize::{Zeroize, Zeroizing};

/// Reads lines of at most `limit` bytes.
pub(super) struct SecretLines<R> {
    source: R,
    buffer: Zeroizing<Vec<u8>>,
    filled: usize,
}

impl<R: AsyncRead + Unpin> SecretLines<R> {
    pub(super) fn new(source: R, limit: usize) -> Self {
        Self { source, buffer: Zeroizing::new(vec![0; limit]), filled: 0 }
    }

    /// The next line without its end; None at the end of the source, and for a line that is too long. Safe to drop
    /// while it waits.
    pub(super) async fn next(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        loop {
            let filled = self.buffer.get(..self.filled)?;
            if let Some(end) = filled.iter().position(|byte| *byte == b'\n') {
                return self.take(end);
            }
            let room = self.buffer.get_mut(self.filled..).filter(|room| !room.is_empty())?;
            match self.source.read(room).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.filled += read,
            }
        }
    }

    fn take(&mut self, end: usize) -> Option<Zeroizing<Vec<u8>>> {
        let line = Zeroizing::new(self.buffer.get(..end)?.to_vec());
        self.buffer.copy_within(end + 1..self.filled, 0);
        let left = self.filled - end - 1;
        self.buffer.get_mut(left..self.filled)?.zeroize();
        self.filled = left;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut lines = SecretLines::new(text, 8);
            let mut read = Vec::new();
            while let Some(line) = lines.next().await {
                assert!(
                    lines.buffer.iter().skip(lines.filled).all(|byte| *byte == 0),
                    "a line is wiped once it was read"
                );
                read.push(line.to_vec());
            }
            read
        })
    }

    #[test]
    fn lines_are_split_and_bounded() {
        assert_eq!(read(b"one\ntwo\n"), [b"one", b"two"]);
        assert_eq!(read(b"seven77\n\nx"), [&b"seven77"[..], b""]);
        assert!(read(b"too long by far\n").is_empty());
    }
}
