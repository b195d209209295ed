//! A client that begins a message and takes its time: it must not be waited for as long as it likes.

use std::path::Path;
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use crate::line::{Answer, Line};
use crate::message::{Message, SIGN_REQUEST, framed};

/// Agents may wait so long, and no longer, for the rest of a message.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Between two bytes. At this pace the message takes far longer.
const PAUSE: Duration = Duration::from_millis(50);
const LENGTH: usize = 100_000;

/// One that sends a byte after the other, and one that sends a few and no more.
pub(crate) struct Slow([JoinHandle<bool>; 2]);

impl Slow {
    /// Begins.
    pub(crate) fn begin(socket: &Path) -> Self {
        let message = framed(Message::new(SIGN_REQUEST).raw(&[0; LENGTH]));
        let line = |patience| Line::connect(socket, patience).expect("the agent listens");
        let (mut silent, trickling) = (line(LONGEST_WAIT), line(PAUSE));
        silent.send(&message[..100]);
        Self([spawn(move || silent.hear() == Answer::Closed), spawn(move || trickle(trickling, &message))])
    }

    /// Whether the agent has hung up on both in time, which is waited for.
    pub(crate) fn were_hung_up_on(self) -> bool {
        let hung_up = self.0.map(|client| client.join().expect("a slow client does not panic"));
        hung_up == [true, true]
    }
}

/// Whether the agent hangs up in time.
fn trickle(mut line: Line, message: &[u8]) -> bool {
    let end = Instant::now() + LONGEST_WAIT;
    for byte in message {
        // There is no answer to a message that is not finished, so this is the pause.
        if !line.send(&[*byte]) || line.hear() == Answer::Closed {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
    }
    false
}
