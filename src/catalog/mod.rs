//! The catalog: JPEGs and `index.json`, and how they become durable.
//!
//! For each frame, first the JPEG ([`frames`]) is written, then the index that lists it. Both are
//! replaced atomically ([`publish`]), so that a reader never sees a partial file. [`Syncer`] makes
//! them durable in the background, and then the checkpoint.
//!
//! After a restart, detection repeats the last pictures and produces the same frames:
//! [`Catalog::keep_encoded`] finds their entries by offset and time, and keeps the changes by other
//! programs.
//!
//! ```text
//! kept                 a kept frame, before and after encoding
//! frames               JPEG files: names, encoding, detection of incomplete ones
//! ids                  which entry a frame has: that of an earlier run, or a new one
//! index                `index.json`: entries, merge with other programs, lock
//! handouts             `handouts.jsonl`: leases and acknowledgements
//! shared               lists and hands out the frames of a folder that a recorder may own
//! pace                 how often the index is written
//! publish              atomic replacement of files
//! syncer               durability, in the background
//! checkpoint           `checkpoint.json`: version and checksum
//! examine              `check` of a frames folder
//! quarantined_entries  entries without a picture in the recording
//! options              quality and width of JPEGs, times
//! clock                the clock, which tests replace
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::disk;
use crate::error::{Context, Error, Result, Stage};
use crate::media::Verdict;

pub mod checkpoint;
mod clock;
pub mod examine;
pub mod frames;
pub mod handouts;
mod ids;
pub mod index;
mod kept;
mod options;
mod pace;
pub mod publish;
mod quarantined_entries;
mod shared;
mod syncer;
#[cfg(test)]
mod tests;

pub use clock::{SystemClock, TimeSource};
pub use frames::{DEFAULT_JPEG_QUALITY, encode_jpeg};
pub use index::{CORRUPT_GRACE, Entry, INDEX_NAME, LOCK_NAME};
pub use kept::{EncodedFrame, Encoder, KeptFrame};
pub use options::{CatalogOptions, JpegOptions};
pub use pace::AT_ONCE_ENTRIES;
pub use quarantined_entries::QUARANTINE_NAME;
pub use shared::{CatalogStamp, ListedFrame, Selection, SharedCatalog, Since};
pub use syncer::{FramesJob, NewCheckpoint, SyncFile, SyncJob, SyncRecording, Syncer};

use frames::frame_number;
use handouts::JOURNAL_NAME;
use index::entries::Entries;
use index::slot::Slot;
use index::{IndexFile, Published, synced_copy};
use pace::Pace;
use quarantined_entries::QuarantinedEntries;

/// Retry interval while another process holds the lock on the index.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The kept frames of a session or of a scanned file. Only one catalog may be open per folder.
#[derive(Debug)]
pub struct Catalog {
    folder: PathBuf,
    encoder: Encoder,
    index_copy: Option<PathBuf>,
    index: IndexFile,
    entries: Entries,
    quarantined: QuarantinedEntries,
    /// The highest number of a settled entry.
    last_number: u64,
    /// See [`Catalog::lacking`].
    lacking: u64,
    /// Whether the index on disk is incomplete.
    unwritten: bool,
    /// Time of the last attempt to write the index that failed because another process held its
    /// lock.
    locked_at: Option<Instant>,
    writing: Pace,
    reading: Pace,
    clock: Arc<dyn TimeSource>,
    unsynced: FramesJob,
}

impl Catalog {
    /// Opens the catalog of a folder, and completes the operations that a crash interrupted.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be created, read or written.
    pub fn open(options: CatalogOptions) -> Result<Catalog> {
        Catalog::open_with(options, Arc::new(SystemClock), CORRUPT_GRACE)
    }

    /// Like [`Catalog::open`], but with a given clock, and a given time after which an index that
    /// is not a JSON array counts as corrupt.
    ///
    /// # Errors
    ///
    /// As [`Catalog::open`].
    pub fn open_with(
        options: CatalogOptions,
        clock: Arc<dyn TimeSource>,
        corrupt_grace: Duration,
    ) -> Result<Catalog> {
        let folder = absolute(&options.frames_dir)?;
        disk::create_folders(&folder).context(Stage::Catalog, &folder, "cannot create it")?;
        publish::remove_left_overs(&folder, |target| {
            let id = target.strip_suffix(".jpg");
            matches!(target, QUARANTINE_NAME | JOURNAL_NAME)
                || id.is_some_and(|id| frame_number(id).is_some())
        })?;
        let mut catalog = Catalog {
            index: IndexFile::new(
                &folder,
                corrupt_grace,
                options.lock_timeout,
                Arc::clone(&clock),
            )?,
            quarantined: QuarantinedEntries::open(&folder)?,
            folder,
            encoder: Encoder { write_jpegs: options.write_jpegs, jpeg: options.jpeg },
            index_copy: options.index_copy,
            entries: Entries::default(),
            last_number: 0,
            lacking: 0,
            unwritten: false,
            locked_at: None,
            writing: Pace::default(),
            reading: Pace::default(),
            clock,
            unsynced: FramesJob::default(),
        };
        if let Some(copy) = &catalog.index_copy {
            let name = copy.file_name();
            let ours = |target: &str| name.is_some_and(|name| name == target);
            publish::remove_left_overs(publish::folder_of(copy), ours)?;
        }
        catalog.load(options.next_ordinal)?;
        Ok(catalog)
    }

    fn load(&mut self, next_ordinal: u64) -> Result<()> {
        // A crash between quarantining an entry and writing the index leaves the entry in
        // both.
        self.entries.retire(self.quarantined.numbers());
        self.index.load(&mut self.entries, self.index_copy.as_deref())?;
        let settled = usize::try_from(next_ordinal).unwrap_or(usize::MAX);
        self.entries.settle(settled);
        let found = self.entries.kept().len();
        self.lacking = (settled - found) as u64;
        let highest = self.entries.kept().iter().map(|slot| slot.number).max().unwrap_or(0);
        self.last_number = highest.max(if found < settled { next_ordinal } else { 0 });
        self.unwritten = true;
        self.flush()
    }

    /// Returns the encoder for frames of this catalog.
    pub fn encoder(&self) -> Encoder {
        self.encoder
    }

    /// Returns the number of frames that are covered by the checkpoint but were missing from the
    /// index when the catalog was opened.
    pub fn lacking(&self) -> u64 {
        self.lacking
    }

    /// Returns the number of kept frames: the value of `next_ordinal` for the checkpoint.
    pub fn kept(&self) -> u64 {
        self.entries.kept().len() as u64
    }

    /// Returns the entries of the kept frames, in presentation order, with changes by
    /// other programs as far as they have been read.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.entries.kept().iter().filter_map(Slot::entry)
    }

    /// Returns whether the index on disk lists every kept frame. Only then may a checkpoint that
    /// covers them all be submitted.
    pub fn is_published(&self) -> bool {
        !self.unwritten
    }

    /// Returns whether the index already lists this frame from an earlier run, and its JPEG (if
    /// enabled) is complete. Such a frame need not be encoded or reported again.
    pub fn is_known(&self, verdict: &Verdict) -> bool {
        let found = self.find_earlier(verdict).and_then(|at| self.entries.earlier().get(at));
        found.is_some_and(|slot| !self.encoder.write_jpegs || self.has_jpeg(slot.number))
    }

    /// Keeps a frame. Frames must be passed in presentation order.
    ///
    /// A frame that an earlier run has listed in the index keeps its id and the changes by other
    /// programs. Any other frame gets the next free id. If a frame proves that entries of an
    /// earlier run belong to another recording, or to lost bytes, these entries are quarantined and
    /// logged.
    ///
    /// # Errors
    ///
    /// Returns an error if the verdict does not keep the frame, or the folder cannot be
    /// written. The call may be repeated: no frame is kept twice.
    pub fn keep_encoded(&mut self, frame: EncodedFrame) -> Result<Entry> {
        let Some(reason) = frame.verdict.kept else {
            let what = "cannot add a frame to the index that the detector did not keep";
            return Err(Error::new(Stage::Catalog, what).at(frame.verdict.at));
        };
        let entry = match (self.kept_last(&frame.verdict), self.find_earlier(&frame.verdict)) {
            (Some(entry), _) => entry,
            (None, Some(at)) => self.keep_again(at, &frame, reason)?,
            (None, None) => self.keep_new(&frame, reason)?,
        };
        self.poll_writing()?;
        Ok(entry)
    }

    /// Writes the index if that is due, and checks for changes by other programs. Call
    /// this regularly while no frames arrive. Never waits for a half-written file.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be read or written.
    pub fn poll(&mut self) -> Result<()> {
        if !self.unwritten && self.index.is_changed() && self.may_read() {
            let started = self.clock.now();
            self.unwritten = self.index.merge_now(&mut self.entries)?;
            self.reading.done(started, self.clock.now());
        }
        self.poll_writing()
    }

    /// Returns whether changes may be read now: a long index is read less often. Pending changes
    /// are read before the next write at the latest.
    fn may_read(&self) -> bool {
        self.reading.due_in(self.entries.len(), self.clock.now()).is_zero()
    }

    /// Returns the time until [`Catalog::poll`] has to write the index; `None` if there
    /// is nothing to write.
    pub fn write_due_in(&self) -> Option<Duration> {
        let now = self.clock.now();
        let lock_due = self.locked_at.map_or(Duration::ZERO, |locked_at| {
            LOCK_RETRY_INTERVAL.saturating_sub(now.saturating_duration_since(locked_at))
        });
        self.unwritten.then(|| self.writing.due_in(self.entries.len(), now).max(lock_due))
    }

    fn poll_writing(&mut self) -> Result<()> {
        match self.write_due_in() {
            Some(Duration::ZERO) => self.write(),
            _ => Ok(()),
        }
    }

    /// Writes the index now if needed, regardless of the rate limit, and removes
    /// temporary files.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.poll()?;
        // If the index has still changed, another program is writing it: at the end, wait for that
        // program.
        if self.unwritten || self.index.is_changed() {
            let started = self.clock.now();
            let published = self.index.publish_patiently(&mut self.entries)?;
            self.written(started, published);
        }
        self.index.clean_up()
    }

    fn write(&mut self) -> Result<()> {
        let started = self.clock.now();
        match self.index.publish(&mut self.entries)? {
            // The entries stay in memory, their JPEGs on disk. If the program ends before the lock
            // is free, detection finds them again.
            Published::Locked => self.locked_at = Some(self.clock.now()),
            published => self.written(started, published),
        }
        Ok(())
    }

    fn written(&mut self, started: Instant, published: Published) {
        self.locked_at = None;
        self.writing.done(started, self.clock.now());
        self.unwritten = published != Published::Settled;
        self.unsynced.index = Some(self.index.path().to_owned());
    }

    /// Returns the job for the syncer that makes everything published so far durable.
    pub fn sync_job(&mut self) -> FramesJob {
        let mut job = std::mem::take(&mut self.unsynced);
        if job.index.is_some()
            && let Some(path) = &self.index_copy
        {
            let bytes = synced_copy::seal(|out| {
                // Writing to memory never fails.
                let _ = self.entries.write_to(out);
            });
            job.index_copy = Some((path.clone(), bytes));
        }
        job
    }

    /// Writes the index and syncs everything to disk before returning.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be written or synced.
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.sync_job().run()
    }
}

fn absolute(folder: &Path) -> Result<PathBuf> {
    std::path::absolute(folder).context(Stage::Catalog, folder, "cannot make its path absolute")
}
