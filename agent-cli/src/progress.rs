//! What is shown on a terminal while something takes long, and taken away when it is done. Nothing of it is written where
//! standard error is no terminal.

use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::safe::safe;

/// What takes no longer than this is not worth a word; and how often the line changes after that.
const STEP: Duration = Duration::from_secs(1);

/// Clears the line that the cursor is in (ECMA-48, EL).
const CLEAR: &str = "\r\u{1b}[K";

/// Something is under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    /// None once it is over.
    over: Option<Sender<()>>,
    line: Option<JoinHandle<()>>,
}

impl Progress {
    /// Says `what` is done, and for how long by then.
    pub(crate) fn of(what: &str) -> Self {
        Self::on(stderr().is_terminal(), what, stderr())
    }

    fn on(is_terminal: bool, what: &str, mut out: impl Write + Send + 'static) -> Self {
        if !is_terminal {
            return Self { over: None, line: None };
        }
        let (sender, over) = channel::<()>();
        let (what, began) = (safe(what), Instant::now());
        let line = std::thread::spawn(move || {
            let mut shown = false;
            while over.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
                shown = true;
                let _ = write!(out, "{CLEAR}{what} ({} s)", began.elapsed().as_secs()).and_then(|()| out.flush());
            }
            if shown {
                let _ = write!(out, "{CLEAR}").and_then(|()| out.flush());
            }
        });
        Self { over: Some(sender), line: Some(line) }
    }
}

impl Drop for Progress {
    /// The line is gone when this returns.
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(line) = self.line.take() {
            let _ = line.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_comes_and_goes_on_a_terminal_alone() {
        let (screen, file) = (Screen::default(), Screen::default());
        let (shown, hidden) =
            (Progress::on(true, "Reading\u{1b}", screen.clone()), Progress::on(false, "Reading", file.clone()));
        while screen.0.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        drop((shown, hidden));
        let text = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with(&format!("{CLEAR}Reading\\u{{1b}} (1 s)")) && text.ends_with(CLEAR), "{text:?}");
        assert!(file.0.lock().unwrap().is_empty());
    }
}
