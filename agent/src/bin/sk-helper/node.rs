//! The device's node, opened beside the library's own handle.
//!
//! Every reader of a hidraw node gets every report, so this one sees what the token really sends and on which channel;
//! the library takes whatever comes for the answer. It also tells why a device can't be opened, which the library hides,
//! and it can cancel while the library waits with its handle locked.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use agent::token::TokenError;
use agent::token::protocol::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};

use crate::failure::failure;

/// One report of a FIDO device (CTAP 2.1 § 11.2.4); the report number that hidraw wants in front is not part of it.
pub(crate) type Report = [u8; 64];

/// CTAPHID_CANCEL, as an initialization packet (CTAP 2.1 § 11.2.9.1.5).
const CTAPHID_CANCEL: u8 = 0x80 | 0x11;

/// An open node.
#[derive(Debug)]
pub(crate) struct Node(File);

impl Node {
    /// Opens it as the library is going to, to say what the library does not: why it can't be opened.
    pub(crate) fn open(path: &str) -> Result<Self, Failure> {
        OpenOptions::new().read(true).write(true).open(path).map(Self).map_err(|error| {
            let detail = format!("{path}: {error}");
            match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::NOENT | Errno::NODEV | Errno::NXIO | Errno::IO) => failure(TokenError::NotFound, detail),
                Some(Errno::ACCESS | Errno::PERM) => failure(
                    TokenError::PermissionDenied,
                    format!(
                        "{detail}: a udev rule has to give it to you: systemd's 70-uaccess.rules does for whoever sits at \
                         the screen, otherwise a rule with GROUP= and your membership in that group"
                    ),
                ),
                Some(Errno::BUSY) => failure(TokenError::Busy, detail),
                _ => failure(TokenError::Protocol, detail),
            }
        })
    }

    /// The reports that came since the last call. An error means that the device is gone.
    pub(crate) fn take_reports(&mut self) -> io::Result<Vec<Report>> {
        let mut reports = Vec::new();
        loop {
            let mut poll_fd = [PollFd::new(&self.0, PollFlags::IN)];
            retry_on_intr(|| poll(&mut poll_fd, Some(&Timespec::default())))?;
            let ready = poll_fd[0].revents();
            // Asked first: with some kernels, read tells that a device is gone only when it blocks (so hidapi's
            // hid_read_timeout).
            if ready.intersects(PollFlags::HUP | PollFlags::ERR) {
                return Err(io::ErrorKind::NotConnected.into());
            }
            if !ready.contains(PollFlags::IN) {
                return Ok(reports);
            }
            // A short report is filled up with zeros, as the library does; a device without any has come to its end.
            let mut report = [0; 64];
            match self.0.read(&mut report)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => reports.push(report),
            }
        }
    }

    /// Ends what the token does on this channel. A token that does nothing there ignores it.
    pub(crate) fn cancel(&mut self, channel: [u8; 4]) {
        let mut report = [0; 65];
        report[1..5].copy_from_slice(&channel);
        report[5] = CTAPHID_CANCEL;
        // A device that is gone has nothing left to cancel.
        let _ = self.0.write_all(&report);
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
