//! Frames of the agent protocol: four bytes of length, then a message (RFC 9987 § 3).
//!
//! A frame may hold a private key or a password, so it is wiped, and nothing is copied that is not. Whoever connects may
//! announce what they like: memory is taken for what the room for frames allows, and for as long as that lasts.

use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::{Zeroize, Zeroizing};

use crate::admission::{Occupied, Room};

/// The longest message, in bytes (ssh-agent.c AGENT_MAX_LEN).
pub(crate) const LONGEST_MESSAGE: usize = 256 * 1024;

/// How long a message may be, in bytes, that takes no room which is shared. The requests of ssh with a plain key are
/// shorter by half; those with a certificate may be longer. Each connection can cost as much, so this times the number of
/// connections is what a flood of them takes.
const FREE_MESSAGE: usize = 4 * 1024;

/// How long a frame may take from its first byte to its last, and how long it may wait for room. A client writes a frame
/// in one go, and a forwarded connection delays it by a round trip or two; a frame that is never finished holds room.
const FRAME_TIME: Duration = Duration::from_secs(10);

/// The bytes of a frame's length.
const LENGTH: usize = 4;

/// How much is read at once where the length is not known yet: what most requests need, so that they take one read.
const FIRST_READ: usize = 2048;

/// A message, as it was received.
pub(crate) struct Frame {
    /// With the length in front.
    bytes: Zeroizing<Vec<u8>>,
    _occupied: Option<Occupied>,
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(LENGTH..).unwrap_or_default()
    }
}

/// Why no frame can be read any more. The connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the client hung up")]
    HungUp,
    #[error("the connection can't be read: {0}")]
    System(#[from] std::io::Error),
    #[error("a message of {0} bytes was announced")]
    Length(usize),
    #[error("a message was not finished in {} seconds", FRAME_TIME.as_secs())]
    Unfinished,
    #[error("there was no room for a long message")]
    NoRoom,
}

/// What the next frame may be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    longest: usize,
    free: usize,
}

impl Allowance {
    /// Of a frame that is answered at once.
    pub(crate) const NEXT: Self = Self { longest: LONGEST_MESSAGE, free: FREE_MESSAGE };

    /// Of a frame that waits until another is answered: all of it takes room.
    pub(crate) fn ahead(longest: usize) -> Self {
        Self { longest, free: 0 }
    }
}

/// A frame whose length is known, and allowed.
struct Announced {
    /// Its bytes, with the length.
    total: usize,
    occupied: Option<Occupied>,
}

/// Reads frames. It keeps what was read of one, so that waiting for it can be given up and taken up again.
pub(crate) struct Frames<R> {
    source: R,
    room: Room,
    /// What was received of the next frame, and maybe more behind it.
    received: Zeroizing<Vec<u8>>,
    announced: Option<Announced>,
    /// When a frame that was begun has to be there.
    deadline: Option<Instant>,
    waited: bool,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(crate) fn new(source: R, room: Room) -> Self {
        let received = Zeroizing::default();
        Self { source, room, received, announced: None, deadline: None, waited: true }
    }

    /// The next frame. Safe to drop while it waits.
    pub(crate) async fn next(&mut self, allowance: Allowance) -> Result<Frame, FrameError> {
        loop {
            if self.announced.is_none() {
                self.announced = self.announce(allowance).await?;
            }
            if let Some(announced) = self.announced.take_if(|announced| announced.total <= self.received.len()) {
                self.deadline = None;
                return Ok(Frame { bytes: self.take(announced.total), _occupied: announced.occupied });
            }
            if self.received.is_empty() {
                self.read().await?;
            } else {
                let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + FRAME_TIME);
                timeout_at(deadline, self.read()).await.map_err(|_| FrameError::Unfinished)??;
            }
        }
    }

    /// Whether the client was waited for before this frame. One that has sent more than was answered shall not be served
    /// all of it before others are.
    pub(crate) fn waited(&mut self) -> bool {
        std::mem::take(&mut self.waited)
    }

    /// Reads the length of the next frame, where it is there, and makes room for the frame.
    async fn announce(&mut self, allowance: Allowance) -> Result<Option<Announced>, FrameError> {
        let Some(length) = self.received.first_chunk::<LENGTH>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length == 0 || length > allowance.longest {
            return Err(FrameError::Length(length));
        }
        let total = LENGTH + length;
        let occupied = if length > allowance.free {
            let room = timeout(FRAME_TIME, self.room.take(length)).await;
            // Time spent in waiting for room is not the client's.
            self.deadline = None;
            Some(room.ok().flatten().ok_or(FrameError::NoRoom)?)
        } else {
            None
        };
        if self.received.len() < total {
            // Once and for all, since a vector that grows leaves copies behind. Pages that nothing is written to cost none.
            let mut whole = Zeroizing::new(Vec::with_capacity(total));
            whole.extend_from_slice(&self.received);
            self.received = whole;
        }
        Ok(Some(Announced { total, occupied }))
    }

    /// The first `total` bytes of what was received.
    fn take(&mut self, total: usize) -> Zeroizing<Vec<u8>> {
        let behind = self.received.get(total..).unwrap_or_default();
        if behind.is_empty() {
            return std::mem::take(&mut self.received);
        }
        let behind = Zeroizing::new(behind.to_vec());
        let mut frame = std::mem::replace(&mut self.received, behind);
        if let Some(copied) = frame.get_mut(total..) {
            copied.zeroize();
        }
        frame.truncate(total);
        frame
    }

    async fn read(&mut self) -> Result<(), FrameError> {
        let read = match &self.announced {
            // No more than belongs to the frame, and straight to its place.
            Some(announced) => {
                let missing = announced.total.saturating_sub(self.received.len());
                let mut place = (&mut *self.received).limit(missing);
                let mut read = std::pin::pin!(self.source.read_buf(&mut place));
                poll_fn(|context| noting(&mut self.waited, read.as_mut().poll(context))).await?
            }
            None => self.read_first().await?,
        };
        if read == 0 { Err(FrameError::HungUp) } else { Ok(()) }
    }

    /// Reads into a buffer that is there for this moment only: a connection that waits holds none.
    async fn read_first(&mut self) -> std::io::Result<usize> {
        poll_fn(|context| {
            let mut buffer = [0; FIRST_READ];
            let mut buffer = ReadBuf::new(&mut buffer);
            let read = Pin::new(&mut self.source).poll_read(context, &mut buffer);
            ready!(noting(&mut self.waited, read))?;
            // At most three bytes of a length are here before, so nothing secret is moved where this grows.
            self.received.extend_from_slice(buffer.filled());
            let read = buffer.filled().len();
            buffer.filled_mut().zeroize();
            Poll::Ready(Ok(read))
        })
        .await
    }
}

fn noting<T>(waited: &mut bool, read: Poll<T>) -> Poll<T> {
    *waited |= read.is_pending();
    read
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::admission::Admission;
    use crate::peer::Peer;

    fn room() -> Room {
        let admission = Arc::new(Admission::of_clients(0, false, 10_000));
        admission.admit(&Peer::default()).unwrap().room()
    }

    /// A pipe that holds as much as anybody writes here, and frames read from its other end.
    fn pipe() -> (DuplexStream, Frames<DuplexStream>) {
        let (client, agent) = duplex(4 * LONGEST_MESSAGE);
        (client, Frames::new(agent, room()))
    }

    fn frame(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&length.to_be_bytes()[..], message].concat()
    }

    async fn next(frames: &mut Frames<DuplexStream>) -> Result<Vec<u8>, FrameError> {
        frames.next(Allowance::NEXT).await.map(|frame| frame.to_vec())
    }

    /// Short ones, ones behind which another begins in the same read, and one that takes room.
    fn messages() -> Vec<Vec<u8>> {
        [1, 5, FIRST_READ - LENGTH, FIRST_READ, 3, 2 * FIRST_READ, FREE_MESSAGE + 1, 1]
            .iter()
            .enumerate()
            .map(|(n, length)| (0..*length).map(|at| (at % 251) as u8 ^ n as u8).collect())
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_the_same_wherever_the_stream_is_cut() {
        let messages = messages();
        let stream: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
        // Every cut near a frame's edge or a buffer's, and some elsewhere.
        let near = |cut: usize| {
            cut.is_multiple_of(97) || cut % FIRST_READ < 6 || cut % FIRST_READ > FIRST_READ - 6 || cut < 30
        };
        for cut in (0..=stream.len()).filter(|cut| near(*cut)) {
            let (mut client, mut frames) = pipe();
            client.write_all(&stream[..cut]).await.unwrap();
            let read = async {
                for message in &messages {
                    assert_eq!(next(&mut frames).await.unwrap(), *message, "cut at {cut}");
                }
            };
            let write = async {
                tokio::task::yield_now().await;
                client.write_all(&stream[cut..]).await.unwrap();
            };
            tokio::join!(read, write);
            drop(client);
            assert!(matches!(next(&mut frames).await, Err(FrameError::HungUp)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_the_same_when_they_come_byte_by_byte_and_waiting_is_given_up_at_each() {
        let messages = messages();
        let (mut client, mut frames) = pipe();
        for message in messages {
            let (last, rest) = frame(&message).split_last().map(|(last, rest)| (*last, rest.to_vec())).unwrap();
            for byte in rest {
                client.write_u8(byte).await.unwrap();
                let given_up = tokio::select! {
                    biased;
                    _ = next(&mut frames) => false,
                    () = tokio::task::yield_now() => true,
                };
                assert!(given_up, "the frame is not there yet");
            }
            client.write_u8(last).await.unwrap();
            assert_eq!(next(&mut frames).await.unwrap(), message);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_ends_within_a_frame_has_ended() {
        let stream = frame(&[7; 20]);
        for cut in 0..stream.len() {
            let (mut client, mut frames) = pipe();
            client.write_all(&stream[..cut]).await.unwrap();
            drop(client);
            assert!(matches!(next(&mut frames).await, Err(FrameError::HungUp)), "cut at {cut}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lengths_that_no_message_has_end_the_connection() {
        for length in [0, LONGEST_MESSAGE + 1, 1 << 30, u32::MAX as usize] {
            let (mut client, mut frames) = pipe();
            client.write_u32(u32::try_from(length).unwrap()).await.unwrap();
            assert!(matches!(next(&mut frames).await, Err(FrameError::Length(announced)) if announced == length));
            assert!(frames.received.capacity() < 64, "nothing is taken for what is only announced");
        }
        let (mut client, mut frames) = pipe();
        client.write_all(&frame(&[7; LONGEST_MESSAGE])).await.unwrap();
        assert_eq!(next(&mut frames).await.unwrap().len(), LONGEST_MESSAGE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_is_begun_has_ten_seconds_and_one_that_is_not_has_all_the_time() {
        let (mut client, mut frames) = pipe();
        let begun = Instant::now();
        let later = async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            client.write_all(&frame(&[7; 20])[..1]).await.unwrap();
            // Slowly, but each byte comes before the time is over; and giving up in between does not start it again.
            for byte in [0, 0, 20] {
                tokio::time::sleep(Duration::from_secs(3)).await;
                client.write_u8(byte).await.unwrap();
            }
            std::future::pending().await
        };
        let read = async {
            loop {
                let read = timeout(Duration::from_secs(1), next(&mut frames)).await;
                if let Ok(read) = read {
                    break read;
                }
            }
        };
        let read = tokio::select! { read = read => read, () = later => unreachable!("it never ends") };
        assert!(matches!(read, Err(FrameError::Unfinished)), "{read:?}");
        assert_eq!(begun.elapsed().as_secs(), 3610);
    }

    /// Its own process is the one that suffers.
    #[tokio::test(start_paused = true)]
    async fn long_frames_wait_for_room_and_short_ones_do_not() {
        let admission = Arc::new(Admission::of_clients(0, false, 10_000));
        let of = |pid| admission.admit(&Peer { pid, ..Peer::default() }).unwrap();
        let _connected = [of(1), of(2)];
        let long = frame(&[7; LONGEST_MESSAGE]);
        let begin = async |pid, bytes: &[u8]| {
            let (mut client, agent) = duplex(2 * LONGEST_MESSAGE);
            client.write_all(bytes).await.unwrap();
            (client, Frames::new(agent, of(pid).room()))
        };
        let mut held = Vec::new();
        let began = Instant::now();
        let refused = loop {
            let (client, mut frames) = begin(1, &long).await;
            match frames.next(Allowance::NEXT).await {
                Ok(frame) => held.push((client, frame)),
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, FrameError::NoRoom), "{refused}");
        assert_eq!((held.len(), began.elapsed().as_secs()), (8, FRAME_TIME.as_secs()));
        let (_client, mut frames) = begin(1, &frame(&[7; FREE_MESSAGE])).await;
        assert_eq!(next(&mut frames).await.unwrap().len(), FREE_MESSAGE, "a short one");
        let (_client, mut frames) = begin(2, &long).await;
        assert_eq!(next(&mut frames).await.unwrap().len(), LONGEST_MESSAGE, "another process's");

        let (_client, mut frames) = begin(1, &long).await;
        let free = async {
            tokio::time::sleep(FRAME_TIME / 2).await;
            held.pop();
        };
        let (read, ()) = tokio::join!(next(&mut frames), free);
        assert_eq!(read.unwrap().len(), LONGEST_MESSAGE, "once one was answered");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_ahead_is_bounded_as_a_whole() {
        let (mut client, mut frames) = pipe();
        client.write_all(&[frame(&[1; 100]), frame(&[2; 101])].concat()).await.unwrap();
        let first = frames.next(Allowance::ahead(100)).await.unwrap();
        assert!(first._occupied.is_some(), "it takes room, short as it is");
        let second = frames.next(Allowance::ahead(100)).await;
        assert!(matches!(second, Err(FrameError::Length(101))));
    }

    /// Behind a frame, another may have been received with it.
    #[tokio::test(start_paused = true)]
    async fn frames_hold_no_byte_of_others() {
        let (mut client, mut frames) = pipe();
        client.write_all(&[frame(b"first"), frame(b"second")].concat()).await.unwrap();
        let first = frames.next(Allowance::NEXT).await.unwrap();
        assert_eq!((&first[..], first.bytes.len()), (&b"first"[..], LENGTH + 5));
        assert_eq!(*frames.received, frame(b"second"));
        assert_eq!(next(&mut frames).await.unwrap(), b"second");
        assert!(frames.received.is_empty());
    }
}
