//! Detects changes of a file without reading it.

use std::fs::{File, FileTimes, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::disk;

/// Longer than a tick of the kernel's clock: files changed within one tick have the same time.
const TICK: Duration = Duration::from_millis(20);

/// Identifies one content of a file: its inode, length and modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::catalog) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// Returns the stamp of a file, which may be changing.
    pub fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// Returns the stamp of the file at `path`, if it exists.
    pub fn at(path: &Path) -> Option<Stamp> {
        std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata))
    }

    /// Returns the stamp of a file that was read between `before` and `after`. `None` if
    /// it changed meanwhile, or so recently that another change could leave the same
    /// stamp.
    pub fn of_read(before: &Metadata, after: &Metadata) -> Option<Stamp> {
        let age = after.modified().ok().and_then(|time| time.elapsed().ok());
        let is_old = age.is_some_and(|age| age > TICK);
        (is_old && Stamp::of(before) == Stamp::of(after)).then(|| Stamp::of(after))
    }

    /// Returns inode number and modification time, for use in a file name. Another file,
    /// or a write to this one, has a different mark.
    pub fn mark(&self) -> String {
        let (seconds, nanos) = self.modified;
        format!("{}-{seconds}.{nanos:09}", self.inode)
    }

    /// Sets the modification time of our own finished file so that no change by another
    /// program can leave the same stamp: the kernel stamps a change with the time of its
    /// last tick, and this time is earlier. Returns `None` if the file system does not
    /// store times exactly.
    pub fn set(file: &File) -> io::Result<Option<Stamp>> {
        let time = SystemTime::now() - TICK;
        disk::set_times(file, FileTimes::new().set_modified(time))?;
        let metadata = file.metadata()?;
        Ok((metadata.modified()? == time).then(|| Stamp::of(&metadata)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    #[test]
    fn a_change_of_equal_length_right_after_ours_changes_the_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.json");
        for _ in 0..100 {
            fs::write(&path, "false").unwrap();
            let ours = Stamp::set(&File::options().write(true).open(&path).unwrap()).unwrap();
            assert!(ours.is_some() && ours == Stamp::at(&path));
            fs::write(&path, "true ").unwrap();
            assert_ne!(ours, Stamp::at(&path));
        }
    }

    #[test]
    fn the_stamp_of_a_file_changed_a_moment_ago_is_not_relied_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.json");
        fs::write(&path, "[]").unwrap();
        let fresh = fs::metadata(&path).unwrap();
        assert_eq!(Stamp::of_read(&fresh, &fresh), None);
        let hour_ago = FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(3600));
        File::options().write(true).open(&path).unwrap().set_times(hour_ago).unwrap();
        let old = fs::metadata(&path).unwrap();
        assert_eq!(Stamp::of_read(&old, &old), Some(Stamp::of(&old)));
        assert_eq!(Stamp::of_read(&fresh, &old), None, "it changed while it was being read");
    }
}
