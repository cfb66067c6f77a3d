//! `index.json` on disk: replaced atomically, and nothing that others write to it lost.
//!
//! Every writing happens under `flock` on `index.lock`. The new file changes
//! places with the one that stands there, in one step. What was displaced is
//! looked at again: if it is not what we had taken in, somebody put it there
//! meanwhile; it is merged, and the result written, until nothing was missed.
//!
//! A temporary file is named after its own inode number and time. So a left-over
//! tells whether a crash came before the exchange (it is still our own file, and
//! worth nothing) or after (it is what we displaced, and may hold somebody's
//! news), and whether the index that then took its place still stands as we wrote it.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
use super::entries::{Entries, Restored};
use super::lock::IndexLock;
use super::publish::{self, temp_path};
use super::reading::{self, Found, Reader};
use super::stamp::Stamp;
use super::synced_copy;
use crate::disk::{self, Exchange};
use crate::error::{Context, Error, Result, Stage};

/// Name of the index in the frames folder.
pub const INDEX_NAME: &str = "index.json";

/// So often at most is an index rewritten because others replaced it meanwhile.
const MOST_ROUNDS: usize = 16;

/// How the new file came to its place.
enum Swapped {
    /// In place of what we had taken in.
    Done,
    /// In place of something else, which now has the temporary name.
    Displaced,
    /// It did not: another file came into being meanwhile.
    Missed,
}

/// The file `index.json`, and what is known of it.
#[derive(Debug)]
pub(super) struct IndexFile {
    path: PathBuf,
    lock: IndexLock,
    reader: Reader,
    /// The content that our entries include, if it can be told by its stamp.
    known: Option<Stamp>,
    /// Displaced files whose content is in memory and not in the index yet.
    displaced: Vec<PathBuf>,
    /// Files of no use that could not be removed yet.
    litter: Vec<PathBuf>,
    can_exchange: bool,
}

impl IndexFile {
    /// The index in `folder`. Nothing is read yet.
    pub fn new(folder: &Path, grace: Duration, clock: Arc<dyn Clock>) -> Result<IndexFile> {
        Ok(IndexFile {
            path: folder.join(INDEX_NAME),
            lock: IndexLock::open(folder)?,
            reader: Reader::new(grace, clock),
            known: None,
            displaced: Vec::new(),
            litter: Vec::new(),
            can_exchange: true,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what an earlier life left: the index, what a crash displaced, and
    /// `copy`, by which the index is mended (see [`Entries::restore`]).
    pub fn load(&mut self, entries: &mut Entries, copy: Option<&Path>) -> Result<()> {
        let _held = self.lock.hold()?;
        self.load_locked(entries, copy)
    }

    fn load_locked(&mut self, entries: &mut Entries, copy: Option<&Path>) -> Result<()> {
        let copy = copy.map(synced_copy::read).transpose()?.flatten();
        match self.read_settled(&self.path)? {
            Found::Whole(text, stamp) => {
                self.taken_in(entries.load(&text))?;
                self.known = stamp;
            }
            Found::Corrupt(_) => self.set_aside_corrupt(&self.path)?,
            Found::Nothing | Found::Known => {}
        }
        if let Some(copy) = copy {
            self.restore(entries, &copy)?;
        }
        self.take_in_left_overs(entries)
    }

    /// A copy is older than the index, and nobody's but ours.
    fn restore(&self, entries: &mut Entries, copy: &str) -> Result<()> {
        let Restored { came_back, mended } = self.taken_in(entries.restore(copy))?;
        let path = self.path.display();
        if came_back > 0 {
            tracing::warn!("{path}: {came_back} entries were gone; they come back");
        }
        if mended > 0 {
            tracing::warn!(
                "{path}: {mended} entries said what is not so of their pictures; mended"
            );
        }
        Ok(())
    }

    /// Merges the files that exchanges displaced before a crash. The file that the last exchange
    /// displaced is newer than the index, unless somebody has written to the index since. Every
    /// other one is older: the index already contains most of it, and an agent may have changed an
    /// entry again. Such a file only adds what the index lacks.
    fn take_in_left_overs(&mut self, entries: &mut Entries) -> Result<()> {
        let folder = publish::folder_of(&self.path);
        let (mut older, mut newer) = (Vec::new(), Vec::new());
        for path in self.io(publish::left_overs(folder, |target| target == INDEX_NAME))? {
            match self.io(self.reader.read(&path, self.known))? {
                _ if is_own_temp(&path) => self.io(disk::remove(&path))?,
                Found::Whole(text, _) if self.is_displaced_by_standing(&path) => {
                    newer.push((path, text));
                }
                Found::Whole(text, _) => older.push((path, text)),
                _ => self.set_aside_corrupt(&path)?,
            }
        }
        if !older.is_empty() {
            let mut mended = Vec::new();
            self.io(entries.write_to(&mut mended))?;
            self.merge_left_overs(entries, older)?;
            self.taken_in(entries.merge(&String::from_utf8_lossy(&mended), true))?;
        }
        self.merge_left_overs(entries, newer)
    }

    fn merge_left_overs(
        &mut self,
        entries: &mut Entries,
        left_overs: Vec<(PathBuf, String)>,
    ) -> Result<()> {
        for (path, text) in left_overs {
            self.taken_in(entries.merge_displaced(&text))?;
            self.displaced.push(path);
        }
        Ok(())
    }

    /// Whether the current index is the file that an exchange put in the place of `left_over`,
    /// unchanged since.
    fn is_displaced_by_standing(&self, left_over: &Path) -> bool {
        let standing = Stamp::at(&self.path).map(|stamp| stamp.mark());
        standing.is_some_and(|standing| mark_of(left_over) == Some(&standing))
    }

    /// Whether the file may hold something that we do not know.
    pub fn is_changed(&self) -> bool {
        self.known.is_none() || Stamp::at(&self.path) != self.known
    }

    /// Takes in what others wrote, without waiting for half-written files and
    /// without writing. Says whether the index lacks entries of ours.
    pub fn take_in_now(&mut self, entries: &mut Entries) -> Result<bool> {
        let _held = self.lock.hold()?;
        match self.io(self.reader.read(&self.path, self.known))? {
            Found::Whole(text, stamp) => {
                let merged = self.taken_in(entries.merge(&text, self.is_ahead()))?;
                self.known = stamp;
                Ok(merged.lacking)
            }
            Found::Nothing => Ok(true),
            Found::Known | Found::Corrupt(_) => Ok(false),
        }
    }

    /// Whether memory has what no file named `index.json` ever had: whoever wrote the one that
    /// stands there could not know it.
    fn is_ahead(&self) -> bool {
        !self.displaced.is_empty()
    }

    /// Writes the index with all `entries`, after taking in what others wrote. Says
    /// whether nobody came between; otherwise it is to be written again.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written to. The index is then what it was before.
    pub fn publish(&mut self, entries: &mut Entries) -> Result<bool> {
        let _held = self.lock.hold()?;
        self.publish_locked(entries)
    }

    fn publish_locked(&mut self, entries: &mut Entries) -> Result<bool> {
        self.try_clean_up();
        for _ in 0..MOST_ROUNDS {
            let standing = self.read_settled(&self.path)?;
            let old = match &standing {
                Found::Nothing => None,
                Found::Known => self.known,
                Found::Whole(text, stamp) => {
                    self.taken_in(entries.merge(text, self.is_ahead()))?;
                    *stamp
                }
                Found::Corrupt(stamp) => *stamp,
            };
            let (temp, new) = self.write_temp(entries)?;
            match self.swap(&temp, old, &standing) {
                Err(error) => {
                    self.throw_away(temp);
                    return Err(error);
                }
                Ok(Swapped::Missed) => {
                    self.throw_away(temp);
                    continue;
                }
                Ok(Swapped::Done) => {
                    self.known = new;
                    self.dispose_of(temp, &standing)?;
                }
                Ok(Swapped::Displaced) => {
                    self.known = new;
                    entries.mark_published();
                    if self.displaced_has_news(temp, entries)? {
                        continue;
                    }
                }
            }
            entries.mark_published();
            self.forget_displaced();
            return Ok(true);
        }
        // Somebody replaces it all the time. All of it is in memory, and in the files
        // still listed as displaced; the next writing goes on from there.
        Ok(false)
    }

    /// Gets rid of a displaced file that holds nothing new. After a plain rename there is none.
    fn dispose_of(&mut self, temp: PathBuf, standing: &Found) -> Result<()> {
        match standing {
            Found::Corrupt(_) if temp.exists() => self.set_aside_corrupt(&temp),
            Found::Corrupt(_) => Ok(()),
            _ => {
                self.throw_away(temp);
                Ok(())
            }
        }
    }

    /// Removes a file that is of no use, now or when that succeeds.
    fn throw_away(&mut self, path: PathBuf) {
        self.litter.push(path);
        self.try_clean_up();
    }

    /// Removes what could not be removed before.
    ///
    /// # Errors
    ///
    /// If something still cannot be removed. It is kept in mind.
    pub fn clean_up(&mut self) -> Result<()> {
        let mut cleaned = Ok(());
        self.litter.retain(|path| match disk::remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                cleaned = Err(error).context(Stage::Catalog, path, "cannot remove it");
                true
            }
            _ => false,
        });
        cleaned
    }

    /// The same, where the next time will do.
    fn try_clean_up(&mut self) {
        if let Err(error) = self.clean_up() {
            tracing::debug!("{error}; tried again later");
        }
    }

    /// Takes in a file that stood in the index's place. A crash before the next
    /// exchange leaves it under its temporary name, for [`IndexFile::load`].
    fn displaced_has_news(&mut self, temp: PathBuf, entries: &mut Entries) -> Result<bool> {
        match self.read_settled(&temp)? {
            Found::Whole(text, _) => {
                let merged = self.taken_in(entries.merge_displaced(&text))?;
                self.displaced.push(temp);
                Ok(merged.changed)
            }
            Found::Corrupt(_) => self.set_aside_corrupt(&temp).map(|()| false),
            Found::Nothing | Found::Known => Ok(false),
        }
    }

    /// Removes displaced files, once the index includes them. A crash before it
    /// leaves them to be merged a second time, as older than the index.
    fn forget_displaced(&mut self) {
        self.litter.append(&mut self.displaced);
        self.try_clean_up();
    }

    /// Writes the new index beside the old one. A crash within leaves a file that
    /// is named after its own inode, or `new`: [`IndexFile::load`] removes both.
    fn write_temp(&self, entries: &Entries) -> Result<(PathBuf, Option<Stamp>)> {
        let new = temp_path(&self.path, "new");
        let written = || -> io::Result<(PathBuf, Option<Stamp>)> {
            let file = disk::create(&new)?;
            let mut out = BufWriter::with_capacity(1 << 16, disk::Writer(&file));
            entries.write_to(&mut out)?;
            out.flush()?;
            drop(out);
            if let Ok(old) = fs::metadata(&self.path) {
                // Whoever let a group write to the index wants it to stay so.
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

    /// Puts `temp` in the index's place. A crash before leaves the old index, a
    /// crash after it the new one; there is no between.
    fn swap(&mut self, temp: &Path, old: Option<Stamp>, standing: &Found) -> Result<Swapped> {
        if !matches!(standing, Found::Nothing) && self.can_exchange {
            match self.io(disk::exchange(temp, &self.path))? {
                Exchange::Done => {
                    let expected = old.is_some() && Stamp::at(temp) == old;
                    return Ok(if expected { Swapped::Done } else { Swapped::Displaced });
                }
                Exchange::Missing => return self.rename_new(temp),
                Exchange::Unsupported => self.can_exchange = false,
            }
        }
        match standing {
            Found::Nothing => self.rename_new(temp),
            _ => self.replace(temp, old, standing),
        }
    }

    fn rename_new(&self, temp: &Path) -> Result<Swapped> {
        let renamed = self.io(disk::rename_new(temp, &self.path))?;
        Ok(if renamed { Swapped::Done } else { Swapped::Missed })
    }

    /// Where the file system cannot exchange: a plain rename. Whoever writes under
    /// the lock is safe; a file renamed over the index between our look at it and
    /// our rename, some microseconds, is lost.
    fn replace(&self, temp: &Path, old: Option<Stamp>, standing: &Found) -> Result<Swapped> {
        if matches!(standing, Found::Corrupt(_)) {
            self.set_aside_corrupt(&self.path)?;
            return self.rename_new(temp);
        }
        if old.is_some() && Stamp::at(&self.path) != old {
            return Ok(Swapped::Missed);
        }
        self.io(disk::rename(temp, &self.path))?;
        Ok(Swapped::Done)
    }

    fn read_settled(&self, path: &Path) -> Result<Found> {
        self.io(self.reader.read_settled(path, self.known))
    }

    fn set_aside_corrupt(&self, path: &Path) -> Result<()> {
        self.io(reading::set_aside_corrupt(path, &self.path))
    }

    fn io<T>(&self, result: io::Result<T>) -> Result<T> {
        result.context(Stage::Catalog, &self.path, "cannot read or write the index")
    }

    fn taken_in<T>(&self, result: serde_json::Result<T>) -> Result<T> {
        result.map_err(|cause| {
            Error::new(Stage::Catalog, "cannot merge the index").path(&self.path).because(cause)
        })
    }
}

/// The part after `.tmp-` of a temporary file's name: the [`Stamp::mark`] of the file that was
/// written under this name.
fn mark_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.rsplit_once(".tmp-").map(|(_, mark)| mark)
}

/// Whether a left-over was not exchanged yet: it still is the file it is named after.
fn is_own_temp(path: &Path) -> bool {
    let inode = fs::metadata(path).map(|metadata| metadata.ino().to_string());
    let mark = mark_of(path);
    mark == Some("new")
        || inode.is_ok_and(|it| mark.is_some_and(|mark| mark.split('-').next() == Some(&it)))
}

#[cfg(test)]
mod tests;
