//! Makes a recording durable, and stores a failure permanently.
//!
//! After a failed fsync, Linux marks the lost pages as clean: the next fsync succeeds although the
//! bytes are not on disk. So a failure is stored beside the recording, in the file `unsynced`,
//! until `check --repair` has read the actual content from the disk.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Advice, fadvise};

use super::Fingerprint;
use crate::disk;
use crate::error::{Context, Error, Result, Stage};
use crate::media::{ByteOffset, Written};

/// Name of the file that stores a failure. Its first line is the byte offset from which on the
/// recording may not be on disk.
const MEMORY_NAME: &str = "unsynced";

/// Makes a recording durable without blocking its writer. Clones share their state.
#[derive(Debug, Clone)]
pub struct SyncHandle {
    file: Arc<File>,
    path: PathBuf,
    written: Written,
    state: Arc<Mutex<SyncState>>,
}

#[derive(Debug, Default)]
struct SyncState {
    /// Length that was synced last, in bytes.
    synced: u64,
    /// Offset from which on a failed sync may have lost bytes.
    failed_from: Option<u64>,
    /// Whether the failure is stored in the file beside the recording.
    is_remembered: bool,
}

impl SyncHandle {
    /// Returns a handle for an open recording. A failure stored by an earlier process still
    /// applies.
    ///
    /// # Errors
    ///
    /// Returns an error if the file descriptor cannot be duplicated.
    pub(super) fn new(file: &File, path: &Path, written: Written) -> Result<Self> {
        let file = file.try_clone().context(Stage::Recording, path, "cannot duplicate")?;
        let failed_from = failed_sync(path);
        let state = SyncState { synced: 0, failed_from, is_remembered: failed_from.is_some() };
        Ok(SyncHandle {
            file: Arc::new(file),
            path: path.to_owned(),
            written,
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// Makes all published bytes durable. Returns the number of bytes from the start that are
    /// certainly durable: those before the first failure, if any.
    ///
    /// # Errors
    ///
    /// Returns the first error of the file system. Later calls succeed, and return the offset of
    /// the failure.
    pub fn sync(&self) -> Result<u64> {
        let mut state = self.state();
        let length = self.written.length();
        if state.synced != length {
            match disk::sync_data(&self.file) {
                Ok(()) => state.synced = length,
                Err(error) if state.failed_from.is_none() => {
                    let from = state.synced;
                    state.failed_from = Some(from);
                    self.remember(&mut state);
                    let what = "cannot sync; its bytes from here on may be lost at a power \
                                failure, and no checkpoint covers them until check --repair";
                    return Err(Error::new(Stage::Recording, what)
                        .path(&self.path)
                        .at(ByteOffset(from))
                        .because(error));
                }
                Err(_) => {}
            }
        }
        self.remember(&mut state);
        Ok(state.failed_from.unwrap_or(length))
    }

    /// Returns the offset from which on a failed sync may have lost bytes, if one has failed.
    pub fn failed_from(&self) -> Option<u64> {
        self.state().failed_from
    }

    /// Returns the fingerprint of the first `bytes` bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes cannot be read.
    pub fn fingerprint(&self, bytes: u64) -> Result<Fingerprint> {
        Fingerprint::of(&self.file, bytes).context(Stage::Recording, &self.path, "cannot read")
    }

    /// Stores a failure in the file beside the recording, unless it is already stored. If that
    /// fails too, the next call retries.
    fn remember(&self, state: &mut SyncState) {
        if state.is_remembered {
            return;
        }
        let Some(from) = state.failed_from else { return };
        let path = memory_path(&self.path);
        let written = disk::create(&path).and_then(|file| {
            disk::write_all(&file, format!("{from}\n").as_bytes())?;
            disk::sync(&file)?;
            disk::sync_folder(path.parent().unwrap_or(&path))
        });
        match written {
            Ok(()) => state.is_remembered = true,
            Err(error) => tracing::debug!("{}: cannot write: {error}", path.display()),
        }
    }

    fn state(&self) -> MutexGuard<'_, SyncState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the offset from which on a recording may not be on disk because a sync has failed.
pub fn failed_sync(recording: &Path) -> Option<u64> {
    match std::fs::read_to_string(memory_path(recording)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // A file that cannot be parsed still shows that a sync has failed.
        text => Some(text.ok().and_then(|text| text.lines().next()?.parse().ok()).unwrap_or(0)),
    }
}

/// Makes later reads of a recording read from the disk, and removes the stored failure: from then
/// on, reads return the actual content.
///
/// # Errors
///
/// Returns an error if the recording cannot be synced, or the file that stores the failure cannot
/// be removed.
pub fn forget_failed_sync(recording: &Path) -> Result<()> {
    let dropped = || -> io::Result<()> {
        let file = File::open(recording)?;
        disk::sync_data(&file)?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        disk::remove(&memory_path(recording))
    };
    dropped().context(Stage::Recording, recording, "cannot read it from the disk again")
}

fn memory_path(recording: &Path) -> PathBuf {
    recording.with_file_name(MEMORY_NAME)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_sync_is_remembered_until_it_is_read_from_the_disk_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording.ts");
        std::fs::write(&path, [7; 100]).unwrap();
        // A pipe cannot be synced.
        let (_reader, pipe) = std::io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
        let written = Written::new(100);
        let broken = SyncHandle::new(&pipe, &path, written.clone()).unwrap();
        broken.state().synced = 40;
        let error = broken.sync().unwrap_err().to_string();
        assert!(
            error.contains("byte 40: cannot sync") && error.contains("check --repair"),
            "{error}"
        );
        assert_eq!((broken.sync().unwrap(), broken.failed_from()), (40, Some(40)));
        assert_eq!(failed_sync(&path), Some(40));
        // Simulates another process, in which the same file can be synced.
        let file = File::open(&path).unwrap();
        let next = SyncHandle::new(&file, &path, written.clone()).unwrap();
        assert_eq!(next.sync().unwrap(), 40);
        forget_failed_sync(&path).unwrap();
        let repaired = SyncHandle::new(&file, &path, written).unwrap();
        assert_eq!((repaired.sync().unwrap(), repaired.failed_from()), (100, None));
    }

    #[test]
    fn a_memory_that_was_torn_counts_from_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording.ts");
        assert_eq!(failed_sync(&path), None);
        for text in ["", "x", "-1"] {
            std::fs::write(memory_path(&path), text).unwrap();
            assert_eq!(failed_sync(&path), Some(0));
        }
    }
}
