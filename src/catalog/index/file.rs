//! `index.json` on disk: replaced atomically, without losing changes by other programs.
//!
//! Every write happens under `flock` on `index.lock`. The new file and the existing one exchange
//! their names in one step. Then the displaced file is checked: if it is not the file that was
//! merged, another program wrote it in between. In that case, it is merged and the index is written
//! again, until no change was missed.
//!
//! The name of a temporary file contains its inode number and time. From a left-over file, a restart
//! can determine whether the crash was before the exchange (the file is still our own, and useless)
//! or after it (the file was displaced, and may contain changes by another program), and whether the
//! index is unchanged since the exchange.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::entries::{Entries, Restored};
use super::lock::IndexLock;
use super::reading::{self, IndexState, Reader};
use super::stamp::Stamp;
use super::synced_copy;
use crate::catalog::clock::TimeSource;
use crate::catalog::handouts::Journal;
use crate::catalog::publish::temp_path;
use crate::disk::{self, Exchange};
use crate::error::{Context, Error, Result, Stage};

/// Name of the index in the frames folder.
pub const INDEX_NAME: &str = "index.json";

/// Maximum number of rewrites because other programs replaced the index meanwhile.
const MAX_ROUNDS: usize = 16;

/// Result of putting the new file in place.
enum Swapped {
    /// The new file replaced the file that was merged.
    Done,
    /// The new file replaced another file, which now has the temporary name.
    Displaced,
    /// The new file replaced nothing: another file was created meanwhile.
    Missed,
}

/// The file `index.json`, and the state of merging it.
#[derive(Debug)]
pub(in crate::catalog) struct IndexFile {
    path: PathBuf,
    lock: IndexLock,
    /// Time to wait for the lock when a session is opened, and at the end.
    lock_timeout: Duration,
    reader: Reader,
    journal: Journal,
    /// Whether the journal was unreadable, which has been logged.
    is_journal_unreadable: bool,
    /// Stamp of the content that has been merged, if the stamp is reliable.
    known: Option<Stamp>,
    /// Displaced files whose content is in memory but not in the index yet.
    displaced: Vec<PathBuf>,
    /// Useless files that could not be removed yet.
    obsolete_files: Vec<PathBuf>,
    can_exchange: bool,
}

/// Result of writing the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::catalog) enum Published {
    /// The index lists every frame.
    Settled,
    /// Other programs keep replacing the index. It must be written again.
    Unsettled,
    /// Another process holds the lock on the index. Nothing was written.
    Locked,
}

impl IndexFile {
    /// Returns the index in `folder`. Reads nothing yet.
    pub fn new(
        folder: &Path,
        grace: Duration,
        lock_timeout: Duration,
        clock: Arc<dyn TimeSource>,
    ) -> Result<IndexFile> {
        Ok(IndexFile {
            path: folder.join(INDEX_NAME),
            lock: IndexLock::open(folder)?,
            lock_timeout,
            reader: Reader::new(grace, clock),
            journal: Journal::new(folder),
            is_journal_unreadable: false,
            known: None,
            displaced: Vec::new(),
            obsolete_files: Vec::new(),
            can_exchange: true,
        })
    }

    /// Returns the path of the index.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Loads the files of an earlier run: the index, files displaced before a crash, and `copy`,
    /// from which the index is repaired (see [`Entries::restore`]).
    pub fn load(&mut self, entries: &mut Entries, copy: Option<&Path>) -> Result<()> {
        let _held = self.lock.hold(self.lock_timeout)?;
        self.load_locked(entries, copy)
    }

    fn load_locked(&mut self, entries: &mut Entries, copy: Option<&Path>) -> Result<()> {
        let copy = copy.map(synced_copy::read).transpose()?.flatten();
        match self.read_settled(&self.path)? {
            IndexState::Whole(text, stamp) => {
                self.json(entries.load(&text))?;
                self.known = stamp;
            }
            IndexState::Corrupt(_) => self.quarantine_corrupt(&self.path)?,
            IndexState::Nothing | IndexState::Known => {}
        }
        if let Some(copy) = copy {
            self.restore(entries, &copy)?;
        }
        self.merge_left_over_files(entries)
    }

    /// Repairs the entries from the copy, which is older than the index but written only by
    /// scenetap.
    fn restore(&self, entries: &mut Entries, copy: &str) -> Result<()> {
        let Restored { added, repaired } = self.json(entries.restore(copy))?;
        let path = self.path.display();
        if added > 0 {
            tracing::warn!("{path}: restored {added} missing entries");
        }
        if repaired > 0 {
            tracing::warn!(
                "{path}: repaired {repaired} entries that described their picture wrongly"
            );
        }
        Ok(())
    }

    /// Returns whether the index or the journal of handouts may contain changes that are not merged
    /// yet.
    pub fn is_changed(&self) -> bool {
        self.known.is_none() || Stamp::at(&self.path) != self.known || self.journal.is_changed()
    }

    /// Updates the entries from the journal of handouts. Returns whether that changes the index.
    fn show_handouts(&mut self, entries: &mut Entries) -> bool {
        // Frames are kept and listed even if the journal is unreadable.
        match self.journal.refresh() {
            Ok(_) => self.is_journal_unreadable = false,
            Err(error) if !self.is_journal_unreadable => {
                self.is_journal_unreadable = true;
                tracing::warn!("{error}; the index shows what was known before");
            }
            Err(_) => {}
        }
        entries.show(self.journal.handouts(), Timestamp::now())
    }

    /// Merges changes by other programs, without waiting for half-written files and without writing.
    /// Returns whether the index lacks some of our entries.
    pub fn merge_now(&mut self, entries: &mut Entries) -> Result<bool> {
        let Some(_held) = self.lock.try_hold()? else { return Ok(false) };
        let is_lacking = match self.io(self.reader.read(&self.path, self.known))? {
            IndexState::Whole(text, stamp) => {
                let merged = self.json(entries.merge(&text, self.is_ahead()))?;
                self.known = stamp;
                merged.lacking
            }
            IndexState::Nothing => true,
            IndexState::Known | IndexState::Corrupt(_) => false,
        };
        Ok(self.show_handouts(entries) || is_lacking)
    }

    /// Returns whether memory contains data that was never in `index.json`: the author of the
    /// current file could not have seen it.
    fn is_ahead(&self) -> bool {
        !self.displaced.is_empty()
    }

    /// Merges changes by other programs, and writes the index with all `entries`. Returns
    /// `Published::Unsettled` if other programs kept replacing the index, which must then be
    /// written again.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be written. The index is then unchanged.
    pub fn publish(&mut self, entries: &mut Entries) -> Result<Published> {
        let Some(_held) = self.lock.try_hold()? else { return Ok(Published::Locked) };
        self.publish_locked(entries)
    }

    /// As [`IndexFile::publish`], but waits for the lock.
    ///
    /// # Errors
    ///
    /// As [`IndexFile::publish`]; of [`Kind::Busy`](crate::error::Kind::Busy) if another process
    /// holds the lock for too long.
    pub fn publish_patiently(&mut self, entries: &mut Entries) -> Result<Published> {
        let _held = self.lock.hold(self.lock_timeout)?;
        self.publish_locked(entries)
    }

    fn publish_locked(&mut self, entries: &mut Entries) -> Result<Published> {
        self.try_clean_up();
        for _ in 0..MAX_ROUNDS {
            let current = self.read_settled(&self.path)?;
            let old = match &current {
                IndexState::Nothing => None,
                IndexState::Known => self.known,
                IndexState::Whole(text, stamp) => {
                    self.json(entries.merge(text, self.is_ahead()))?;
                    *stamp
                }
                IndexState::Corrupt(stamp) => *stamp,
            };
            self.show_handouts(entries);
            let (temp, new) = self.write_temp(entries)?;
            match self.swap(&temp, old, &current) {
                Err(error) => {
                    self.discard(temp);
                    return Err(error);
                }
                Ok(Swapped::Missed) => {
                    self.discard(temp);
                    continue;
                }
                Ok(Swapped::Done) => {
                    self.known = new;
                    self.clean_up_displaced(temp, &current)?;
                }
                Ok(Swapped::Displaced) => {
                    self.known = new;
                    entries.mark_published();
                    if self.merge_displaced_file(temp, entries)? {
                        continue;
                    }
                }
            }
            entries.mark_published();
            self.discard_displaced();
            return Ok(Published::Settled);
        }
        // Another program keeps replacing the index. Its changes are in memory and in the files
        // listed as displaced; the next write continues from there.
        Ok(Published::Unsettled)
    }

    /// Writes the new index to a temporary file. A crash here leaves a file that is named
    /// after its own inode, or `new`: [`IndexFile::load`] removes both.
    fn write_temp(&self, entries: &Entries) -> Result<(PathBuf, Option<Stamp>)> {
        let new = temp_path(&self.path, "new");
        let written = || -> io::Result<(PathBuf, Option<Stamp>)> {
            let file = disk::create(&new)?;
            let mut out = BufWriter::with_capacity(1 << 16, disk::FileWriter(&file));
            entries.write_to(&mut out)?;
            out.flush()?;
            drop(out);
            if let Ok(old) = fs::metadata(&self.path) {
                // A group that was given write access to the index keeps it.
                disk::set_permissions(&file, old.permissions())?;
            }
            let stamp = Stamp::set(&file)?;
            let temp = temp_path(&self.path, &Stamp::of(&file.metadata()?).mark());
            disk::rename(&new, &temp)?;
            Ok((temp, stamp))
        }();
        if written.is_err() {
            let _ = disk::remove(&new);
        }
        self.io(written)
    }

    /// Exchanges `temp` and the index. A crash leaves either the old index or the new
    /// one.
    fn swap(&mut self, temp: &Path, old: Option<Stamp>, current: &IndexState) -> Result<Swapped> {
        if !matches!(current, IndexState::Nothing) && self.can_exchange {
            match self.io(disk::exchange(temp, &self.path))? {
                Exchange::Done => {
                    let expected = old.is_some() && Stamp::at(temp) == old;
                    return Ok(if expected { Swapped::Done } else { Swapped::Displaced });
                }
                Exchange::Missing => return self.rename_new(temp),
                Exchange::Unsupported => self.can_exchange = false,
            }
        }
        match current {
            IndexState::Nothing => self.rename_new(temp),
            _ => self.replace(temp, old, current),
        }
    }

    fn rename_new(&self, temp: &Path) -> Result<Swapped> {
        let renamed = self.io(disk::rename_new(temp, &self.path))?;
        Ok(if renamed { Swapped::Done } else { Swapped::Missed })
    }

    /// Replaces the index by a plain rename, if the file system cannot exchange. Programs that write
    /// under the lock lose nothing. A file renamed over the index between our check and our rename,
    /// some microseconds, is lost.
    fn replace(&self, temp: &Path, old: Option<Stamp>, current: &IndexState) -> Result<Swapped> {
        if matches!(current, IndexState::Corrupt(_)) {
            self.quarantine_corrupt(&self.path)?;
            return self.rename_new(temp);
        }
        if old.is_some() && Stamp::at(&self.path) != old {
            return Ok(Swapped::Missed);
        }
        self.io(disk::rename(temp, &self.path))?;
        Ok(Swapped::Done)
    }

    fn read_settled(&self, path: &Path) -> Result<IndexState> {
        self.io(self.reader.read_settled(path, self.known))
    }

    fn quarantine_corrupt(&self, path: &Path) -> Result<()> {
        self.io(reading::quarantine_corrupt(path, &self.path))
    }

    fn io<T>(&self, result: io::Result<T>) -> Result<T> {
        result.context(Stage::Catalog, &self.path, "cannot read or write the index")
    }

    fn json<T>(&self, result: serde_json::Result<T>) -> Result<T> {
        result.map_err(|cause| {
            Error::new(Stage::Catalog, "cannot merge the index").path(&self.path).because(cause)
        })
    }
}

mod displaced;
mod hand_out;
#[cfg(test)]
mod tests;
