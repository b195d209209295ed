//! How much of a log is kept: whole segments are removed, the oldest first, behind a record that says so.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::segments::Segments;
use crate::audit::chain::Head;
use crate::audit::reader::LONGEST;
use crate::audit::record::{Act, Event, Record};

/// What is kept of a log. By default all: evidence goes only where somebody has decided so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Segments go whose last record is older than this.
    pub age: Option<SignedDuration>,
    /// Segments go while all files together are longer than this, in bytes.
    pub size: Option<u64>,
}

impl Retention {
    /// The end of the last segment that goes now. Each ended when the next began, whose first record says when that was, and
    /// with which head. What can't be read there is left for whoever verifies the log.
    ///
    /// # Errors
    /// When the folder or a file can't be read.
    pub(super) fn outdated(self, segments: &Segments, now: Timestamp) -> io::Result<Option<Head>> {
        if self == Self::default() {
            return Ok(None);
        }
        let files = segments.all()?;
        let lengths: io::Result<Vec<u64>> = files.iter().map(|file| Ok(fs::metadata(file)?.len())).collect();
        let lengths = lengths?;
        let mut left: u64 = lengths.iter().sum();
        let mut end = None;
        for (length, next) in lengths.iter().zip(files.iter().skip(1)) {
            let Some((ended, head)) = beginning(next)? else { break };
            let too_old = self.age.is_some_and(|age| now.duration_since(ended) > age);
            let too_long = self.size.is_some_and(|size| left > size);
            if !too_old && !too_long {
                break;
            }
            left = left.saturating_sub(*length);
            end = Some(head);
        }
        Ok(end)
    }
}

/// When a segment began, and the end of the one before it.
fn beginning(segment: &Path) -> io::Result<Option<(Timestamp, Head)>> {
    let mut line = Vec::new();
    BufReader::new(File::open(segment)?).take(LONGEST).read_until(b'\n', &mut line)?;
    Ok(match serde_json::from_slice::<Record>(&line) {
        Ok(Record { time, event: Event::Act { act: Act::Segment { head, .. } }, .. }) => Some((time, head)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::log::file::LogFile;
    use crate::audit::samples;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    /// Four files of one log, and what each of the first three ends with.
    fn four_files() -> (tempfile::TempDir, Segments, Vec<u64>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (mut log, _) = LogFile::open(&path, samples::run()).unwrap();
        let segments = Segments::of(&path);
        while segments.archived().unwrap().len() < 3 {
            log.append(&[vec![Event::Act { act: Act::Lock }]]).remove(0).unwrap();
            log.segment = 1000;
        }
        let ends = segments.archived().unwrap().iter().map(|segment| segment.last).collect();
        (folder, segments, ends)
    }

    fn sequence(head: io::Result<Option<Head>>) -> Option<u64> {
        head.unwrap().map(|head| head.sequence)
    }

    #[test]
    fn by_default_all_is_kept() {
        let (_folder, segments, _) = four_files();
        let in_a_century = Timestamp::now() + DAY * 36525;
        assert_eq!(sequence(Retention::default().outdated(&segments, in_a_century)), None);
    }

    #[test]
    fn what_is_older_goes_but_never_the_file_that_is_written_to() {
        let (_folder, segments, ends) = four_files();
        let kept_for = |age, now| sequence(Retention { age: Some(age), size: None }.outdated(&segments, now));
        let [(second, _), (third, _)] = [1, 2].map(|n| beginning(&segments.all().unwrap()[n]).unwrap().unwrap());
        assert_eq!(kept_for(DAY, second + DAY), None, "not the day itself");
        assert_eq!(kept_for(DAY, third + DAY), Some(ends[0]));
        assert_eq!(kept_for(DAY, third + DAY * 2), Some(ends[2]));
        assert_eq!(kept_for(DAY, third - DAY * 2), None, "a clock that was set back removes nothing");
    }

    #[test]
    fn the_oldest_go_until_the_rest_is_short_enough() {
        let (_folder, segments, ends) = four_files();
        let lengths: Vec<_> = segments.all().unwrap().iter().map(|file| fs::metadata(file).unwrap().len()).collect();
        let kept = |size| sequence(Retention { age: None, size: Some(size) }.outdated(&segments, Timestamp::now()));
        assert_eq!(kept(lengths.iter().sum()), None);
        assert_eq!(kept(lengths.iter().sum::<u64>() - 1), Some(ends[0]));
        assert_eq!(kept(lengths[2..].iter().sum()), Some(ends[1]));
        assert_eq!(kept(1), Some(ends[2]));
    }

    #[test]
    fn what_somebody_has_changed_is_evidence() {
        let (_folder, segments, _) = four_files();
        fs::write(&segments.archived().unwrap()[1].path, "something else\n").unwrap();
        assert_eq!(sequence(Retention { age: None, size: Some(1) }.outdated(&segments, Timestamp::now())), None);
    }
}
