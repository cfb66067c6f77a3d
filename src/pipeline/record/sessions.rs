//! The sessions of a running recorder, and their lifetime.
//!
//! Selects the current session, the next one, and the unfinished sessions of an earlier
//! process, which are analyzed first. Opens their recordings, and passes each to detection and
//! to the syncer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::sync::UnsyncedRecording;
use crate::error::{Error, Kind, Result, Stage};
use crate::pipeline::RecordOptions;
use crate::pipeline::housekeeping::Retention;
use crate::pipeline::live::trust::{self, StoredCheckpoint};
use crate::pipeline::live::{Job, SessionStateFile, StateWriter};
use crate::recording::{Recording, Reopened};
use crate::session::{OpenedSessions, OwnedSession, Series, Session};
use crate::telemetry::Counters;

/// Maximum number of recordings whose detection has not started yet. Beyond that, rotation fails,
/// and the current recording continues.
const QUEUED_JOBS: usize = 64;

const QUEUE_FULL: &str = "detection is too many recordings behind";

/// The sessions of a recorder that has not started yet.
pub struct Sessions<'a> {
    /// The series of the sessions.
    pub series: Series,
    /// The sessions that are open.
    pub opened: OpenedSessions,
    /// Deletes sessions of the series.
    pub retention: Retention<'a>,
}

/// The sessions of a recorder that is starting.
pub struct Started<'a> {
    /// Opens the following sessions.
    pub handover: Handover<'a>,
    /// The session to record.
    pub session: Arc<OwnedSession>,
    /// Recording of that session.
    pub recording: Recording,
    /// Jobs that [`Handover::submit_first`] queues.
    pub first: FirstJobs,
    /// Recordings for detection, in order.
    pub jobs: Receiver<Job>,
    /// Recordings for the syncer, in order.
    pub unsynced: Receiver<UnsyncedRecording>,
    /// Receives a message when a recording has finished, for [`Retention::run`].
    pub nudges: Receiver<()>,
}

impl<'a> Sessions<'a> {
    /// Opens the session to record. If sessions rotate, also opens the earlier sessions whose
    /// detection was not finished by an earlier process.
    ///
    /// # Errors
    ///
    /// Returns an error if the folders cannot be created, or another process is recording the
    /// session.
    pub fn open(options: &RecordOptions, counters: &'a Counters) -> Result<Self> {
        let rotates = options.rotation.is_some();
        let series = Series::new(&options.sessions_dir, options.session.as_deref(), rotates);
        let retention = Retention::new(options, counters);
        let opened = retention.with_room(|| series.open(&jiff::Zoned::now(), &is_finished))?;
        Ok(Sessions { series, opened, retention })
    }

    /// Returns the session that is recorded first.
    pub fn current(&self) -> &Session {
        &self.opened.current
    }

    /// Returns the path of the first session's recording.
    pub fn recording_ts(&self) -> PathBuf {
        self.current().recording_ts()
    }

    /// Opens the recording of the current session. The recordings of earlier sessions are opened
    /// when detection receives its first job: opening many takes time, and the recorder is ready
    /// without them.
    ///
    /// # Errors
    ///
    /// Returns an error if the recording cannot be opened.
    pub fn start<'s>(
        series: Series,
        opened: OpenedSessions,
        counters: &'s Counters,
        retention: &'s Retention<'s>,
        states: &'s StateWriter<'s>,
    ) -> Result<Started<'s>> {
        let (to_detect, jobs) = bounded(QUEUED_JOBS);
        let (to_sync, unsynced) = bounded(QUEUED_JOBS);
        let (nudge, nudges) = bounded(1);
        let handover = Handover { series, counters, retention, states, to_detect, to_sync, nudge };
        let (recording, job) = open_recording(opened.current)?;
        retention.opened(&job.session, &job.written);
        let session = Arc::clone(&job.session);
        counters.set_session(session.folder());
        counters.recorded_bytes.store(job.opened_bytes, Relaxed);
        let first = FirstJobs { unfinished: opened.unfinished, current: job };
        Ok(Started { handover, session, recording, first, jobs, unsynced, nudges })
    }
}

/// The recordings with which detection begins.
pub struct FirstJobs {
    unfinished: Vec<OwnedSession>,
    current: Job,
}

/// Opens the following sessions, and passes their recordings to detection and to the syncer.
pub struct Handover<'a> {
    series: Series,
    counters: &'a Counters,
    retention: &'a Retention<'a>,
    states: &'a StateWriter<'a>,
    to_detect: Sender<Job>,
    to_sync: Sender<UnsyncedRecording>,
    nudge: Sender<()>,
}

impl Handover<'_> {
    /// Opens the unfinished recordings, and queues them and the current one, oldest first. Returns
    /// the number of bytes in the unfinished ones. A recording that cannot be opened is left
    /// unchanged.
    ///
    /// # Errors
    ///
    /// Returns an error if the syncer has ended.
    pub fn submit_first(&self, first: FirstJobs) -> Result<u64> {
        let mut earlier_bytes = 0;
        for earlier in first.unfinished {
            let id = earlier.id();
            match finished_job(earlier) {
                Ok(job) => {
                    earlier_bytes += job.opened_bytes;
                    self.submit(job)?;
                }
                Err(error) => tracing::error!("session {id}: {error}; skipping it"),
            }
        }
        self.submit(first.current)?;
        Ok(earlier_bytes)
    }

    /// Opens the next session, and returns its recording.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue of detection is full, or the session cannot be opened.
    pub fn open_next(&self) -> Result<Recording> {
        if self.to_detect.is_full() {
            return Err(Error::new(Stage::Pipeline, QUEUE_FULL).of_kind(Kind::Busy));
        }
        let open = || self.series.open_next(&jiff::Zoned::now());
        let session = self.retention.with_room(open)?;
        let recording = session.recording_ts();
        let opened = Recording::open(&recording);
        let (recording, opened) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                session.remove_unused();
                return Err(error);
            }
        };
        tracing::info!("session {}", session.folder().display());
        self.counters.set_session(session.folder());
        let job = job_of(session, &recording, opened)?;
        self.submit(job)?;
        // If the channel is full, the retention has not received the last nudge yet.
        let _ = self.nudge.try_send(());
        Ok(recording)
    }

    fn submit(&self, job: Job) -> Result<()> {
        let (session, state) = (Arc::clone(&job.session), Arc::clone(&job.state));
        let unsynced = UnsyncedRecording {
            session: session.id(),
            sync: job.sync.clone(),
            written: job.written.clone(),
        };
        self.to_detect
            .try_send(job)
            .map_err(|_| Error::new(Stage::Pipeline, QUEUE_FULL).of_kind(Kind::Busy))?;
        self.states.open(&state);
        self.retention.opened(&session, &unsynced.written);
        self.to_sync
            .send(unsynced)
            .map_err(|_| Error::new(Stage::Pipeline, "the syncer of recordings has ended"))
    }
}

/// Opens the recording of an earlier process's session that no longer grows.
///
/// # Errors
///
/// Returns an error if the recording cannot be opened.
pub fn finished_job(session: OwnedSession) -> Result<Job> {
    let (recording, job) = open_recording(session)?;
    drop(recording);
    Ok(job)
}

/// Opens a session's recording. Returns it with the job for detection.
fn open_recording(session: OwnedSession) -> Result<(Recording, Job)> {
    let (recording, opened) = Recording::open(&session.recording_ts())?;
    let job = job_of(session, &recording, opened)?;
    Ok((recording, job))
}

/// Returns the job for detection of a recording that has just been opened.
fn job_of(session: OwnedSession, recording: &Recording, opened: Reopened) -> Result<Job> {
    if opened.discarded_bytes > 0 {
        let (bytes, at) = (opened.discarded_bytes, opened.length);
        tracing::warn!("recording: discarded {bytes} bytes of a torn packet at byte {at}");
    }
    let written = recording.written();
    Ok(Job {
        state: SessionStateFile::new(&session, &written),
        session: Arc::new(session),
        written,
        sync: recording.sync_handle()?,
        opened_bytes: opened.length,
    })
}

/// Returns whether detection has reached the end of a recording that no longer grows.
fn is_finished(session: &Session) -> bool {
    let recording = session.recording_ts();
    let Ok(metadata) = std::fs::metadata(&recording) else { return false };
    // Clients that wait for its frames do not know yet that the session has ended.
    if session.state().is_some_and(|state| !state.ended) {
        return false;
    }
    let stored = trust::examine(&session.checkpoint_json(), &recording, metadata.len());
    matches!(stored, Ok(StoredCheckpoint::Trusted(checkpoint)) if checkpoint.is_final(metadata.len()))
}
