//! A terminal, with a program in it and a person before it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::program::wait_within;
use crate::{Output, PATIENCE, Program};

/// A pseudo terminal in which a program runs. Dropping it kills the program.
pub struct Terminal {
    keyboard: File,
    screen: Output,
    child: Child,
}

impl Terminal {
    /// Runs a program, with a terminal that controls it.
    #[must_use]
    pub fn run(program: Program) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("there are terminals");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("a new terminal is ours");
        let name = ptsname(&ours, Vec::new()).expect("a terminal has a name");
        let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let theirs = OpenOptions::new().read(true).write(true).open(path).expect("a new terminal can be opened");
        // Ctrl-C would throw away what the program writes at that moment, once it is told of it.
        let mut modes = tcgetattr(&theirs).expect("a terminal has modes");
        modes.local_modes |= LocalModes::NOFLSH;
        tcsetattr(&theirs, OptionalActions::Now, &modes).expect("a terminal's modes can be set");
        let inner = program.into_command();
        // util-linux's setsid makes the terminal the controlling one, without which a program has no /dev/tty.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(inner.get_program()).args(inner.get_args());
        command.env_clear().env("TERM", "xterm");
        for (name, value) in inner.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        if let Some(folder) = inner.get_current_dir() {
            command.current_dir(folder);
        }
        let stream = || Stdio::from(theirs.try_clone().expect("a descriptor is free"));
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().expect("setsid runs");
        let keyboard = File::from(ours);
        let screen = Output::of(keyboard.try_clone().expect("a descriptor is free"));
        Self { keyboard, screen, child }
    }

    /// What has been on the screen.
    #[must_use]
    pub fn screen(&self) -> &Output {
        &self.screen
    }

    /// Types this and Enter.
    pub fn type_line(&mut self, text: &str) {
        self.type_keys(&format!("{text}\n"));
    }

    /// Types this.
    pub fn type_keys(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("a terminal takes what is typed");
    }

    /// Waits for the program's end.
    pub fn wait(&mut self) -> ExitStatus {
        wait_within(&mut self.child, PATIENCE)
            .unwrap_or_else(|| panic!("the program did not end; the screen is:\n{}", self.screen))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the screen:\n{}", self.screen);
        }
    }
}
