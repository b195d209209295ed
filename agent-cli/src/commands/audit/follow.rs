//! `agent-cli audit follow`.

use std::io::stdout;
use std::path::Path;
use std::process::ExitCode;

use agent::audit::follow::Follow;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use super::show::{Options, Reader};
use crate::problem::Problem;

/// How often a log is looked at whose changes nobody tells, as on a network's file system.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Prints what the log of `log` says and what is written to it, until Ctrl-C, or until nobody reads that any more.
pub(crate) fn run(options: &Options, log: &Path) -> Result<ExitCode, Problem> {
    let unreadable = |error: std::io::Error| super::unreadable(log, &error);
    let mut follow = Follow::of(log).map_err(unreadable)?;
    let changes =
        inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(|error| unreadable(error.into()))?;
    let folder = log.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = WatchFlags::MODIFY | WatchFlags::MOVED_TO;
    inotify::add_watch(&changes, folder, flags).map_err(|error| unreadable(error.into()))?;
    let mut reader = Reader::new();
    loop {
        while let Some(line) = follow.next_line().map_err(unreadable)? {
            options.read(&mut reader, &line)?;
        }
        let output = stdout();
        let mut wait = [PollFd::new(&changes, PollFlags::IN), PollFd::new(&output, PollFlags::empty())];
        match poll(&mut wait, Some(&LOOK_AGAIN)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(unreadable(error.into())),
        }
        if wait[1].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            return Ok(ExitCode::SUCCESS);
        }
        // That something changed is all there is to know.
        let _ = rustix::io::read(&changes, &mut [0_u8; 4096][..]);
    }
}
