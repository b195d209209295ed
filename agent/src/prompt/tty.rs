//! A terminal that a pinentry takes over for a while, and that has to be as it was when it is given back.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path};

use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};

/// A terminal of this user.
#[derive(Debug)]
pub(super) struct Tty {
    device: File,
    saved: Termios,
}

impl Tty {
    /// Opens the terminal's device and remembers its settings. It does not become ours to control.
    ///
    /// # Errors
    /// Why it can't be used, as a clause.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let name = super::visible(&path.display().to_string());
        let plain =
            path.strip_prefix("/dev").is_ok_and(|rest| rest.components().all(|c| matches!(c, Component::Normal(_))));
        // Which terminal /dev/tty is depends on who asks, and the agent has none.
        if !plain || path == Path::new("/dev/tty") {
            return Err(format!("{name} does not name one terminal below /dev"));
        }
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).map_err(|error| error.to_string())?;
        let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let device = opened.map_err(|error| format!("{name} can't be opened: {error}"))?;
        let found = device.metadata().map_err(|error| format!("{name}: {error}"))?;
        let saved = tcgetattr(&device).map_err(|_| format!("{name} is no terminal"))?;
        if !found.file_type().is_char_device() || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(format!("{name} is not this user's"));
        }
        Ok(Self { device, saved })
    }

    /// What was typed before a question was shown can't be its answer.
    pub(super) fn forget_what_was_typed(&self) {
        let _ = tcflush(&self.device, QueueSelector::IFlush);
    }

    /// Puts the settings right that a program left behind which could not do so itself. What was typed for it is thrown
    /// away: a shell would take it for a command, and show it.
    pub(super) fn restore(&self) {
        self.forget_what_was_typed();
        let _ = tcsetattr(&self.device, OptionalActions::Now, &self.saved);
    }

    /// Leaves the other screen that a full-screen program has shown (xterm's private mode 1049), and shows the cursor.
    pub(super) fn leave_full_screen(&self) {
        self.write("\x1b[?1049l\x1b[?25h\x1b[m");
    }

    /// Shows a line, whatever else is there.
    pub(super) fn say(&self, line: &str) {
        self.write(&format!("\r\n{}\r\n", super::visible(line)));
    }

    /// The device was opened so that a terminal which is held up takes nothing, rather than hold up the agent.
    fn write(&self, text: &str) {
        let _ = (&self.device).write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_of_ours_will_do() {
        for (path, why) in [
            ("/dev/null", "is no terminal"),
            ("/dev/tty", "does not name one terminal"),
            ("/dev/../etc/passwd", "does not name one terminal"),
            ("pts/0", "does not name one terminal"),
            ("/dev/pts/999999", "can't be opened"),
        ] {
            let trouble = Tty::open(Path::new(path)).unwrap_err();
            assert!(trouble.contains(why), "{trouble}");
        }
    }
}
