//! Signals that end the program, as something that can be waited for beside the terminal and the agent: a terminal
//! whose echo is off must not be left like that.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// The signals that were caught since the program began to catch them.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Becomes readable with the first signal, and stays so.
    arrived: UnixStream,
    latest: Arc<AtomicUsize>,
}

impl Signals {
    /// Catches the signals that end a program, for as long as it lives. A second one ends the program at once, whatever
    /// it is busy with.
    pub(crate) fn catch() -> io::Result<Self> {
        let (arrived, tell) = UnixStream::pair()?;
        let (latest, once) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            // What is registered first happens first: whoever sees the byte finds the number there.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&once))?;
            signal_hook::flag::register(signal, Arc::clone(&once))?;
            signal_hook::flag::register_usize(signal, Arc::clone(&latest), signal.unsigned_abs() as usize)?;
            signal_hook::low_level::pipe::register(signal, tell.try_clone()?)?;
        }
        Ok(Self { arrived, latest })
    }

    /// The signal that ends the program, if one came.
    pub(crate) fn latest(&self) -> Option<i32> {
        i32::try_from(self.latest.load(Ordering::SeqCst)).ok().filter(|signal| *signal != 0)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrived.as_fd()
    }
}
