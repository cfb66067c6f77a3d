//! Files that an exchange has displaced: their content is merged, and then they are removed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{Entries, INDEX_NAME, IndexFile, IndexState, Stamp};
use crate::catalog::publish;
use crate::disk;
use crate::error::{Context, Result, Stage};

impl IndexFile {
    /// Merges files that were displaced by exchanges before a crash. The file displaced by the last
    /// exchange is newer than the index, unless another program has written to the index since. All
    /// other files are older: the index already contains most of their content, and an agent may
    /// have changed an entry again. These files only add entries that the index lacks.
    pub(super) fn merge_left_over_files(&mut self, entries: &mut Entries) -> Result<()> {
        let folder = publish::folder_of(&self.path);
        let (mut older, mut newer) = (Vec::new(), Vec::new());
        for path in self.io(publish::left_overs(folder, |target| target == INDEX_NAME))? {
            match self.io(self.reader.read(&path, self.known))? {
                _ if is_own_temp(&path) => self.io(disk::remove(&path))?,
                IndexState::Whole(text, _) if self.was_displaced_by_current(&path) => {
                    newer.push((path, text));
                }
                IndexState::Whole(text, _) => older.push((path, text)),
                _ => self.quarantine_corrupt(&path)?,
            }
        }
        if !older.is_empty() {
            let mut repaired = Vec::new();
            self.io(entries.write_to(&mut repaired))?;
            self.merge_left_overs(entries, older)?;
            self.json(entries.merge(&String::from_utf8_lossy(&repaired), true))?;
        }
        self.merge_left_overs(entries, newer)
    }

    fn merge_left_overs(
        &mut self,
        entries: &mut Entries,
        left_overs: Vec<(PathBuf, String)>,
    ) -> Result<()> {
        for (path, text) in left_overs {
            self.json(entries.merge_displaced(&text))?;
            self.displaced.push(path);
        }
        Ok(())
    }

    /// Returns whether the current index is the file that displaced `left_over`, unchanged since.
    fn was_displaced_by_current(&self, left_over: &Path) -> bool {
        let current = Stamp::at(&self.path).map(|stamp| stamp.mark());
        current.is_some_and(|current| mark_of(left_over) == Some(&current))
    }

    /// Removes a displaced file without new content, or quarantines it if it is corrupt. After a plain
    /// rename, no such file exists.
    pub(super) fn clean_up_displaced(&mut self, temp: PathBuf, current: &IndexState) -> Result<()> {
        match current {
            IndexState::Corrupt(_) if temp.exists() => self.quarantine_corrupt(&temp),
            IndexState::Corrupt(_) => Ok(()),
            _ => {
                self.discard(temp);
                Ok(())
            }
        }
    }

    /// Removes a useless file, now or later.
    pub(super) fn discard(&mut self, path: PathBuf) {
        self.obsolete_files.push(path);
        self.try_clean_up();
    }

    /// Removes files that could not be removed earlier.
    ///
    /// # Errors
    ///
    /// Returns an error if a file still cannot be removed. The next call retries.
    pub fn clean_up(&mut self) -> Result<()> {
        let mut cleaned = Ok(());
        self.obsolete_files.retain(|path| match disk::remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                cleaned = Err(error).context(Stage::Catalog, path, "cannot remove it");
                true
            }
            _ => false,
        });
        cleaned
    }

    /// As [`IndexFile::clean_up`], but only logs an error.
    pub(super) fn try_clean_up(&mut self) {
        if let Err(error) = self.clean_up() {
            tracing::debug!("{error}; will be retried");
        }
    }

    /// Merges a displaced file, and returns whether it had changes. A crash before the
    /// next exchange leaves it under its temporary name, for [`IndexFile::load`].
    pub(super) fn merge_displaced_file(
        &mut self,
        temp: PathBuf,
        entries: &mut Entries,
    ) -> Result<bool> {
        match self.read_settled(&temp)? {
            IndexState::Whole(text, _) => {
                let merged = self.json(entries.merge_displaced(&text))?;
                self.displaced.push(temp);
                Ok(merged.changed)
            }
            IndexState::Corrupt(_) => self.quarantine_corrupt(&temp).map(|()| false),
            IndexState::Nothing | IndexState::Known => Ok(false),
        }
    }

    /// Removes displaced files once the index includes them. After a crash before
    /// this, they are merged again; the index then counts as newer.
    pub(super) fn discard_displaced(&mut self) {
        self.obsolete_files.append(&mut self.displaced);
        self.try_clean_up();
    }
}

/// Returns the part after `.tmp-` in the name of a temporary file: the [`Stamp::mark`] of
/// the file that was written under this name.
fn mark_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.rsplit_once(".tmp-").map(|(_, mark)| mark)
}

/// Returns whether a left-over file has not been exchanged: its name still describes its own inode
/// and time.
fn is_own_temp(path: &Path) -> bool {
    let inode = fs::metadata(path).map(|metadata| metadata.ino().to_string());
    let mark = mark_of(path);
    mark == Some("new")
        || inode.is_ok_and(|inode| mark.is_some_and(|mark| mark.split('-').next() == Some(&inode)))
}
