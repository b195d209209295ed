//! tmux, with a shell in its one pane.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::termios::{LocalModes, tcgetattr};

use crate::{Agent, Output, Program, Terminal, built};

/// A tmux server of one scenario. Dropping it ends it, and what runs in it.
pub struct Tmux<'a> {
    agent: &'a Agent,
    socket: PathBuf,
    /// What the pane's programs write, as it comes.
    written: Output,
}

impl<'a> Tmux<'a> {
    /// Starts a shell in a pane, from where `ssh` and `agent-cli` find this agent.
    #[must_use]
    pub fn start(agent: &'a Agent) -> Self {
        let (socket, fifo) = (agent.env().path("tmux"), agent.env().path("pane"));
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe can be made in a new folder");
        let folder = built("agent-cli").parent().expect("a program is in a folder").display().to_string();
        // Opened for both, so that it neither waits for the writer nor ends before there is one.
        let written = OpenOptions::new().read(true).write(true).open(&fifo).expect("the pipe is there");
        let tmux = Self { agent, socket, written: Output::of(written) };
        let shell = format!("PATH={folder}:$PATH PS1='ready> ' exec bash --norc --noprofile -i");
        tmux.run(["-f", "/dev/null", "new-session", "-d", "-x", "150", "-y", "50", &shell]);
        tmux.run(["pipe-pane", &format!("exec cat >'{}'", fifo.display())]);
        tmux.type_line("");
        tmux.wait_for("ready>");
        tmux
    }

    /// A tmux command.
    pub fn command<'s>(&self, arguments: impl IntoIterator<Item = &'s str>) -> Program {
        self.agent.program("tmux").env("TERM", "xterm").arg("-S").arg(&self.socket).args(arguments)
    }

    fn run<'s>(&self, arguments: impl IntoIterator<Item = &'s str>) -> String {
        self.command(arguments).run().success().stdout
    }

    /// A person's terminal, in which tmux is seen as a whole, with what pops up over the pane.
    #[must_use]
    pub fn attach(&self) -> Terminal {
        let terminal = Terminal::run(self.command(["attach-session"]));
        terminal.screen().wait_for("ready>");
        terminal
    }

    /// What is in the pane now.
    #[must_use]
    pub fn screen(&self) -> String {
        self.run(["capture-pane", "-p"])
    }

    /// Waits until this is in the pane.
    pub fn wait_for(&self, text: &str) {
        let seen = self.written.wait_until(|| self.screen().contains(text));
        assert!(seen, "{text:?} did not come; the pane is:\n{}", self.screen());
    }

    /// Waits until this is in the pane no more.
    pub fn wait_until_gone(&self, text: &str) {
        let gone = self.written.wait_until(|| !self.screen().contains(text));
        assert!(gone, "{text:?} did not go away; the pane is:\n{}", self.screen());
    }

    /// Types this.
    pub fn type_keys(&self, text: &str) {
        self.run(["send-keys", "-l", "--", text]);
    }

    /// Presses a key by tmux's name for it: `Enter`, `C-c`.
    pub fn press(&self, key: &str) {
        self.run(["send-keys", key]);
    }

    /// Types this and Enter.
    pub fn type_line(&self, text: &str) {
        if !text.is_empty() {
            self.type_keys(text);
        }
        self.press("Enter");
    }

    /// The pane's terminal.
    #[must_use]
    pub fn tty(&self) -> PathBuf {
        self.run(["display-message", "-p", "#{pane_tty}"]).trim().into()
    }

    /// The process id of the pane's shell.
    #[must_use]
    pub fn shell(&self) -> u32 {
        self.run(["display-message", "-p", "#{pane_pid}"]).trim().parse().expect("a process id is a number")
    }

    /// Whether the pane's terminal shows what is typed by itself.
    #[must_use]
    pub fn echoes(&self) -> bool {
        echoes(&self.tty())
    }

    /// Panics unless the shell runs commands as before, and the terminal shows what is typed to programs.
    pub fn assert_usable(&self) {
        self.type_line(
            "clear; stty -a | tr ';' '\\n' | grep -Eo -- '-?(echo|icanon|isig)\\b' | tr '\\n' ' '; echo th''ere",
        );
        self.wait_for("there");
        let screen = self.screen();
        let modes = screen.lines().find(|line| line.contains("there") && line.contains("echo")).unwrap_or_default();
        for mode in ["echo", "icanon", "isig"] {
            assert!(modes.split(' ').any(|word| word == mode), "{mode} is off:\n{screen}");
        }
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What was written is enough to see it by, should the server be gone.
            eprintln!("--- what was written in the pane:\n{}", self.written);
        }
        drop(self.command(["kill-server"]).run());
    }
}

fn echoes(tty: &Path) -> bool {
    let not_ours = i32::try_from(OFlags::NOCTTY.bits()).expect("it is a small number");
    let device = OpenOptions::new().read(true).custom_flags(not_ours).open(tty).expect("the terminal is there");
    tcgetattr(&device).is_ok_and(|modes| modes.local_modes.contains(LocalModes::ECHO))
}
