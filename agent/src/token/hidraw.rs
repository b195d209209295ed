//! The FIDO device nodes, enumerated by the daemon itself: a helper's word is not enough to write to a device.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Where the kernel shows HID devices.
const CLASS: &str = "/sys/class/hidraw";

/// A report descriptor of a FIDO device begins with its usage page, 0xF1D0 (CTAP 2.1 § 11.2.8.1).
const FIDO_USAGE_PAGE: [u8; 3] = [0x06, 0xD0, 0xF1];

/// How often it is looked whether something was plugged in or pulled out, while somebody waits for that.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// CTAPHID_CANCEL with the bit of an initialization packet (CTAP 2.1 § 11.2.9.1.5).
const CTAPHID_CANCEL: u8 = 0x80 | 0x11;

/// Whether `path` is the node of a FIDO device.
pub(super) fn is_fido_node(path: &str) -> bool {
    let Some(name) = path.strip_prefix("/dev/") else {
        return false;
    };
    let plain = name.strip_prefix("hidraw").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let descriptor = Path::new(CLASS).join(name).join("device/report_descriptor");
    plain && fs::read(descriptor).is_ok_and(|descriptor| descriptor.starts_with(&FIDO_USAGE_PAGE))
}

/// The nodes of the FIDO devices that the kernel shows, whoever may use them.
#[must_use]
pub fn fido_nodes() -> Vec<String> {
    Plugging::all().iter().map(|plugging| plugging.path().to_owned()).collect()
}

/// One plugging-in of a device: the kernel makes its node anew each time, under the same name perhaps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Plugging {
    path: String,
    inode: u64,
    /// None where the kernel does not keep it for device nodes (before Linux 5.19).
    created: Option<SystemTime>,
}

impl Plugging {
    /// The one that the device node `path` is of; None where it is not there, or no FIDO device's.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let node = fs::metadata(path).ok().filter(|_| is_fido_node(path))?;
        Some(Self { path: path.to_owned(), inode: node.ino(), created: node.created().ok() })
    }

    /// The node's path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    #[cfg(test)]
    pub(crate) fn for_tests(path: &str, inode: u64) -> Self {
        Self { path: path.to_owned(), inode, created: None }
    }

    /// Whether it lasts still.
    pub(crate) fn is_current(&self) -> bool {
        Self::of(&self.path).as_ref() == Some(self)
    }

    /// All of now.
    pub(crate) fn all() -> BTreeSet<Self> {
        let nodes = fs::read_dir(CLASS).into_iter().flatten().flatten();
        nodes.filter_map(|node| Self::of(&format!("/dev/{}", node.file_name().to_str()?))).collect()
    }
}

/// Cancels what the token does on `channel`. This works whether or not the helper that opened the channel still lives:
/// without it a killed helper would leave the token blinking, and busy for everybody else.
pub(super) fn send_cancel(path: &str, channel: [u8; 4]) -> io::Result<()> {
    if !is_fido_node(path) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "not the node of a FIDO device"));
    }
    // hidraw takes the report number first, 0 for a device that has only one.
    let mut report = [0u8; 65];
    report[1..5].copy_from_slice(&channel);
    report[5] = CTAPHID_CANCEL;
    fs::OpenOptions::new().read(true).write(true).open(path)?.write_all(&report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hidraw_nodes_are_written_to() {
        for path in ["/etc/passwd", "/dev/null", "/dev/hidraw", "/dev/hidraw1/../null", "hidraw0", "/dev/hidraw0x"] {
            assert!(!is_fido_node(path), "{path}");
            assert!(send_cancel(path, [0; 4]).is_err(), "{path}");
        }
    }
}
