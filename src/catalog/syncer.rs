//! Makes published files durable without delaying the next frame.
//!
//! One thread syncs the recording, JPEGs, index and checkpoint, in this order. After a power loss
//! at any point, the checkpoint refers only to data that survived.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::publish::{Durable, folder_of, publish};
use crate::disk;
use crate::error::{Context, Error, Result, Stage};

/// Maximum number of JPEGs listed in a job. With more, the whole file system is synced: that is
/// faster, and bounds the list.
const MAX_JPEGS: usize = 256;

/// Syncs the recording. Returns the number of bytes from its start that are durable.
pub type SyncRecording = Box<dyn FnOnce() -> Result<u64> + Send>;

/// Syncs another file that the checkpoint relies on.
pub type SyncFile = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// A checkpoint to write.
#[derive(Debug)]
pub struct NewCheckpoint {
    /// Path of the file.
    pub path: PathBuf,
    /// Content of the file.
    pub bytes: Vec<u8>,
    /// Length of the recording that the checkpoint covers. The checkpoint is written only once this
    /// length is durable.
    pub covers: u64,
}

/// Parts that one run of the syncer syncs, in this order. All parts are optional.
#[derive(Default)]
pub struct SyncJob {
    /// Syncs `recording.ts`.
    pub recording: Option<SyncRecording>,
    /// Syncs the index of key frames.
    pub keyframes: Option<SyncFile>,
    /// JPEGs and index; filled in by [`super::Catalog::sync_job`].
    pub frames: FramesJob,
    /// The checkpoint. The index and the JPEGs that it covers must be published before the job
    /// is submitted.
    pub checkpoint: Option<NewCheckpoint>,
}

/// The catalog's part of a job.
#[derive(Debug, Default)]
pub struct FramesJob {
    /// JPEGs written since the last job.
    pub(super) jpegs: Vec<PathBuf>,
    /// Whether there were more JPEGs than the list may hold.
    pub(super) all_jpegs: bool,
    /// The index.
    pub(super) index: Option<PathBuf>,
    /// Path and bytes of the copy of the index.
    pub(super) index_copy: Option<(PathBuf, Vec<u8>)>,
}

impl SyncJob {
    /// Adds a later job: its recording, index and checkpoint replace those of this job;
    /// the JPEGs of both are kept.
    fn add(&mut self, later: SyncJob) {
        self.recording = later.recording.or(self.recording.take());
        self.checkpoint = later.checkpoint.or(self.checkpoint.take());
        self.keyframes = later.keyframes.or(self.keyframes.take());
        self.frames.add(later.frames);
    }

    /// Runs the job until the first error, which is returned with the rest of the job.
    fn run(self) -> Result<(), Box<Failed>> {
        let SyncJob { recording, keyframes, frames, checkpoint } = self;
        let failed = |error, rest| Err(Box::new(Failed { error, rest }));
        let durable = match recording.map(|sync_recording| sync_recording()) {
            None => u64::MAX,
            Some(Ok(durable)) => durable,
            Some(Err(error)) => {
                // The checkpoint is dropped with the recording: alone, it would point past
                // the synced bytes.
                return failed(error, SyncJob { keyframes, frames, ..SyncJob::default() });
            }
        };
        // After a failed sync, no checkpoint beyond the durable length is written.
        let checkpoint = checkpoint.filter(|checkpoint| checkpoint.covers <= durable);
        // After a power loss here, the recording is longer than the catalog covers: the rest is
        // analyzed again.
        if let Some(sync) = &keyframes
            && let Err(error) = sync()
        {
            return failed(error, SyncJob { keyframes, frames, checkpoint, recording: None });
        }
        if let Err(error) = frames.run() {
            return failed(error, SyncJob { frames, checkpoint, ..SyncJob::default() });
        }
        // After a power loss here, there are frames after the checkpoint: they are found again,
        // with the same ids.
        match checkpoint {
            Some(checkpoint) => {
                publish(&checkpoint.path, &checkpoint.bytes, Durable::Now).or_else(|error| {
                    failed(error, SyncJob { checkpoint: Some(checkpoint), ..SyncJob::default() })
                })
            }
            None => Ok(()),
        }
    }
}

/// An error, and the rest of the job.
struct Failed {
    error: Error,
    rest: SyncJob,
}

impl FramesJob {
    pub(super) fn add_jpeg(&mut self, path: PathBuf) {
        if self.jpegs.len() < MAX_JPEGS {
            self.jpegs.push(path);
        } else {
            self.all_jpegs = true;
        }
    }

    fn add(&mut self, later: FramesJob) {
        self.all_jpegs |= later.all_jpegs;
        later.jpegs.into_iter().for_each(|path| self.add_jpeg(path));
        self.index = later.index.or(self.index.take());
        self.index_copy = later.index_copy.or(self.index_copy.take());
    }

    pub(super) fn run(&self) -> Result<()> {
        if self.all_jpegs {
            // The path of the index or of any JPEG identifies the file system.
            if let Some(path) = self.jpegs.first().or(self.index.as_ref()) {
                disk::sync_file_system(folder_of(path)).context(
                    Stage::Catalog,
                    path,
                    "cannot sync its file system",
                )?;
            }
        } else {
            for path in &self.jpegs {
                sync_file(path)?;
            }
            if let Some(path) = self.jpegs.first() {
                disk::sync_folder(folder_of(path)).context(
                    Stage::Catalog,
                    path,
                    "cannot sync its folder",
                )?;
            }
        }
        if let Some(path) = &self.index {
            sync_file(path)?;
            disk::sync_folder(folder_of(path)).context(
                Stage::Catalog,
                path,
                "cannot sync its folder",
            )?;
        }
        // A newer index that is not synced may meanwhile have replaced the one just synced, and a
        // power loss may leave it empty. The index is then restored from the copy.
        match &self.index_copy {
            Some((path, bytes)) => publish(path, bytes, Durable::Now),
            None => Ok(()),
        }
    }
}

/// Syncs a file. A removed file needs no sync.
fn sync_file(path: &Path) -> Result<()> {
    match File::open(path).and_then(|file| disk::sync(&file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced.context(Stage::Catalog, path, "cannot sync it to disk"),
    }
}

/// The thread that syncs. At most one job waits; later ones are merged into it.
pub struct Syncer {
    shared: Arc<SyncerShared>,
    thread: Option<JoinHandle<Result<()>>>,
}

struct SyncerShared {
    jobs: Mutex<SyncerJobs>,
    submitted: Condvar,
}

#[derive(Default)]
struct SyncerJobs {
    waiting: Option<SyncJob>,
    finished: bool,
}

impl Syncer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// Returns an error if the thread cannot be created.
    pub fn start() -> Result<Syncer> {
        let shared = Arc::new(SyncerShared { jobs: Mutex::default(), submitted: Condvar::new() });
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("syncer".into())
            .spawn(move || worker.work())
            .map_err(|cause| Error::new(Stage::Catalog, "cannot start a thread").because(cause))?;
        Ok(Syncer { shared, thread: Some(thread) })
    }

    /// Submits a job and returns immediately. A job that is still waiting is merged with it: the
    /// recording, index and checkpoint of the later job, and the JPEGs of both.
    pub fn submit(&self, job: SyncJob) {
        let mut jobs = self.shared.jobs();
        match &mut jobs.waiting {
            Some(waiting) => waiting.add(job),
            none => *none = Some(job),
        }
        self.shared.submitted.notify_one();
    }

    /// Waits until every submitted job is durable, and ends the thread.
    ///
    /// # Errors
    ///
    /// Returns an error if the last job failed. Earlier failures were logged as warnings, and the
    /// rest of each failed job was retried with the next job.
    pub fn finish(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.shared.jobs().finished = true;
        self.shared.submitted.notify_one();
        let died = |_| Err(Error::new(Stage::Catalog, "the sync thread has died"));
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or_else(died))
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!("not everything is synced to disk: {error}");
        }
    }
}

impl SyncerShared {
    fn jobs(&self) -> MutexGuard<'_, SyncerJobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) -> Result<()> {
        let mut last = Ok(());
        let mut rest = SyncJob::default();
        while let Some(job) = self.next_job() {
            rest.add(job);
            last = std::mem::take(&mut rest).run().map_err(|failed| {
                tracing::warn!("not synced to disk yet, no checkpoint written: {}", failed.error);
                rest = failed.rest;
                failed.error
            });
        }
        last
    }

    /// Returns the next job; `None` once the syncer is finishing and no job waits.
    fn next_job(&self) -> Option<SyncJob> {
        let mut jobs = self.jobs();
        loop {
            if let Some(job) = jobs.waiting.take() {
                return Some(job);
            }
            if jobs.finished {
                return None;
            }
            jobs = self.submitted.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::sync::mpsc;

    /// Length of the recording that every checkpoint here covers.
    const COVERED: u64 = 1000;

    fn checkpoint(path: &Path, bytes: &[u8]) -> Option<NewCheckpoint> {
        Some(NewCheckpoint { path: path.to_owned(), bytes: bytes.to_owned(), covers: COVERED })
    }

    fn index_copy(path: &Path, bytes: &[u8]) -> Option<(PathBuf, Vec<u8>)> {
        Some((path.to_owned(), bytes.to_owned()))
    }

    #[test]
    fn the_checkpoint_comes_after_the_recording_and_the_latest_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.json");
        let copy = folder.path().join(".index.synced");
        let syncer = Syncer::start().unwrap();
        let (running, is_running) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let unseen = path.clone();
        syncer.submit(SyncJob {
            keyframes: None,
            recording: Some(Box::new(move || {
                assert!(!unseen.exists());
                running.send(()).unwrap();
                released.recv().unwrap();
                Ok(COVERED)
            })),
            checkpoint: checkpoint(&path, b"1"),
            ..SyncJob::default()
        });
        is_running.recv().unwrap();
        // Both jobs wait while the first one is blocked, and are merged.
        let first = path.clone();
        syncer.submit(SyncJob {
            keyframes: None,
            recording: Some(Box::new(|| Err(Error::new(Stage::Recording, "superseded")))),
            checkpoint: checkpoint(&path, b"2"),
            frames: FramesJob {
                index_copy: index_copy(&copy, b"kept"),
                jpegs: vec![folder.path().join("gone.jpg")],
                ..FramesJob::default()
            },
        });
        let unwritten = copy.clone();
        syncer.submit(SyncJob {
            keyframes: None,
            recording: Some(Box::new(move || {
                assert_eq!(fs::read(&first).unwrap(), b"1");
                assert!(!unwritten.exists());
                Ok(COVERED)
            })),
            checkpoint: checkpoint(&path, b"3"),
            ..SyncJob::default()
        });
        release.send(()).unwrap();
        syncer.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"3");
        assert_eq!(fs::read(&copy).unwrap(), b"kept");
    }

    #[test]
    fn a_checkpoint_whose_recording_cannot_be_synced_is_not_written_and_the_rest_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("checkpoint.json"), folder.path().join("copy"));
        let failing = || SyncJob {
            keyframes: None,
            recording: Some(Box::new(|| Err(Error::new(Stage::Recording, "disk on fire")))),
            frames: FramesJob { index_copy: index_copy(&copy, b"x"), ..FramesJob::default() },
            checkpoint: checkpoint(&path, b"1"),
        };
        let syncer = Syncer::start().unwrap();
        syncer.submit(failing());
        let error = syncer.finish().unwrap_err();
        assert!(error.to_string().contains("disk on fire"));
        assert!(!path.exists() && !copy.exists());

        let failed = failing().run().unwrap_err();
        let mut next = failed.rest;
        next.add(SyncJob { recording: Some(Box::new(|| Ok(COVERED))), ..SyncJob::default() });
        assert!(next.run().is_ok());
        assert!(!path.exists() && copy.exists());
    }

    #[test]
    fn a_checkpoint_past_what_is_durable_is_never_written_and_the_frames_are_synced() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("checkpoint.json"), folder.path().join("copy"));
        let job = |durable| SyncJob {
            keyframes: None,
            recording: Some(Box::new(move || Ok(durable))),
            frames: FramesJob { index_copy: index_copy(&copy, b"x"), ..FramesJob::default() },
            checkpoint: checkpoint(&path, b"1"),
        };
        assert!(job(COVERED - 1).run().is_ok());
        assert!(!path.exists() && copy.exists());
        assert!(job(COVERED).run().is_ok());
        assert!(path.exists());
    }

    #[test]
    fn the_list_of_jpegs_stays_bounded_and_is_synced_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut frames = FramesJob::default();
        for n in 0..10_000 {
            frames.add_jpeg(folder.path().join(n.to_string()));
        }
        assert!(frames.all_jpegs && frames.jpegs.len() == MAX_JPEGS);
        frames.run().unwrap();
    }
}
