//! Text that a program writes while a test runs.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::PATIENCE;

/// What a program has written so far. Clones are the same text.
#[derive(Clone, Default)]
pub struct Output(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    ended: bool,
}

impl Output {
    /// Reads `source` in a thread of its own, until it ends.
    pub(crate) fn of(mut source: impl Read + Send + 'static) -> Self {
        let output = Self::default();
        let into = output.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal whose last program has ended reads as an error.
            while let Ok(read @ 1..) = source.read(&mut buffer) {
                into.lock().bytes.extend_from_slice(&buffer[..read]);
                into.0.changed.notify_all();
            }
            into.lock().ended = true;
            into.0.changed.notify_all();
        });
        output
    }

    /// All of it so far.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    /// Waits until `wanted` is in it.
    ///
    /// Panics when it does not come, and when the program ends without it.
    pub fn wait_for(&self, wanted: &str) {
        self.wait_for_times(wanted, 1);
    }

    /// The same until it is in it so often.
    pub fn wait_for_times(&self, wanted: &str, times: usize) {
        let found = |state: &State| String::from_utf8_lossy(&state.bytes).matches(wanted).count() >= times;
        let (state, _) = self
            .0
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, |state| !found(state) && !state.ended)
            .expect("a reader has panicked");
        let came = (!found(&state)).then(|| String::from_utf8_lossy(&state.bytes).into_owned());
        // A test that ends here prints this text once more, and must not find it held by itself.
        drop(state);
        if let Some(came) = came {
            panic!("{wanted:?} did not come; what came is:\n{came}");
        }
    }

    /// Waits until this is so, which is looked at again whenever something was written. Whether it came to be.
    pub(crate) fn wait_until(&self, mut so: impl FnMut() -> bool) -> bool {
        let end = Instant::now() + PATIENCE;
        loop {
            let seen = self.lock().bytes.len();
            if so() {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            let unchanged = |state: &mut State| state.bytes.len() == seen && !state.ended;
            let waited = self.0.changed.wait_timeout_while(self.lock(), left, unchanged);
            let (state, _) = waited.expect("a reader has panicked");
            if state.bytes.len() == seen {
                return false;
            }
        }
    }

    /// Waits for its end, and returns all of it.
    pub fn wait_for_end(&self) -> String {
        drop(self.0.changed.wait_timeout_while(self.lock(), PATIENCE, |state| !state.ended));
        self.text()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A wait that was in vain ends with a panic, and what has been written is wanted just then.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text(), f)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}
