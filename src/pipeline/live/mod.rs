//! Live detection: analyzes one recording from its checkpoint to its end, while it is written.
//!
//! ```text
//! thread      reads               writes                    waits for
//! analyzer    recording.ts        kept frames, 8 at most    the publisher, when the queue is full
//! publisher   kept frames         JPEG, index.json          the disk
//! syncer      the latest state    fsync, checkpoint.json    the disk
//! ```
//!
//! ```text
//! publisher   the publishing thread
//! checkpoint  content of `checkpoint.json`
//! trust       whether a checkpoint belongs to the recording
//! retry       one recording after the other, and retries after failures
//! state       `state.json`
//! ```
//!
//! After a failed attempt, the next attempt resumes as after a restart: all state is in the
//! session's folder.

pub mod checkpoint;
mod publisher;
mod retry;
mod state;
pub mod trust;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use crossbeam_channel::Sender;

pub use publisher::{PublisherMessage, queue, run as publish_frames};
pub use retry::run;
pub use state::{SessionStateFile, StateWriter};

use super::analyzer::{
    Analyzer, Ended, Outlet, PacketRead, RestartPoint, Scored, StreamLog, drive,
};
use super::{DetectOptions, join, spawn};
use crate::catalog::{Catalog, CatalogOptions, Entry, KeptFrame, publish};
use crate::error::{Error, Kind, Result, Stage};
use crate::host::shutdown::Shutdown;
use crate::keyframes::{Keyframe, KeyframeWriter};
use crate::media::{ByteOffset, Damage, Ticks, Written};
use crate::recording::SyncHandle;
use crate::session::{Marks, OwnedSession, Session};
use crate::tail::{End, FileTail};
use crate::telemetry::{Counters, RateLimit};
use crate::ts::{Aligner, PacketSize};

use checkpoint::Checkpoint;
use publisher::{CheckpointOptions, DetectionTimes};
use trust::StoredCheckpoint;

/// Called for each kept frame, in order, once the index lists it.
pub type OnEntry<'a> = &'a mut (dyn FnMut(&Session, &Entry) + Send);

/// Detection in a recording that is being written.
pub struct Live<'a> {
    options: &'a DetectOptions,
    counters: &'a Counters,
    session: Arc<OwnedSession>,
    written: Written,
    state: Arc<SessionStateFile>,
    sync: SyncHandle,
    /// Length of the recording in bytes when this process opened it; later bytes are new.
    opened_bytes: u64,
    /// Whether files of an earlier process have been made consistent with the recording.
    is_reconciled: bool,
    /// Pictures up to this time are already counted.
    counted: Option<Ticks>,
    /// Progress in the previous recordings.
    base: Detected,
    /// Request to end before the end of the recording. `None` in a recorder, whose detection always
    /// runs to the end.
    stop: Option<&'a Shutdown>,
}

/// Progress of detection, over one or several recordings.
#[derive(Debug, Clone, Copy, Default)]
pub struct Detected {
    /// Analyzed bytes.
    pub bytes: u64,
    /// Analyzed time, in 90 kHz ticks.
    pub ticks: i64,
    /// Damage counted so far.
    pub damage: Damage,
}

/// A recording for detection.
pub struct Job {
    /// Session of the recording, which this process has locked.
    pub session: Arc<OwnedSession>,
    /// Length of the recording, published by the writer.
    pub written: Written,
    /// Writes `state.json` of the session, for clients that wait for its frames.
    pub state: Arc<SessionStateFile>,
    /// Syncs the recording to disk.
    pub sync: SyncHandle,
    /// Length of the recording in bytes when it was opened.
    pub opened_bytes: u64,
}

impl<'a> Live<'a> {
    /// Returns detection for `job`, without opening any file. `base` is the progress in the
    /// previous recordings.
    pub fn new(
        job: Job,
        base: Detected,
        options: &'a DetectOptions,
        counters: &'a Counters,
    ) -> Self {
        let Job { session, written, state, sync, opened_bytes } = job;
        Live {
            options,
            counters,
            session,
            written,
            state,
            sync,
            opened_bytes,
            is_reconciled: false,
            counted: None,
            base,
            stop: None,
        }
    }

    /// Also ends detection when `stop` is requested.
    pub fn until(mut self, stop: &'a Shutdown) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Returns the progress, including this recording and the previous ones.
    pub fn detected(&self) -> Detected {
        let ticks = self.counted.map_or(0, |counted| counted.0);
        Detected {
            bytes: self.base.bytes + self.written.length(),
            ticks: self.base.ticks.saturating_add(ticks),
            damage: self.counters.snapshot().damage,
        }
    }

    /// Returns the id of the recording's session.
    pub fn session_id(&self) -> String {
        self.session.id()
    }

    /// Returns the recording's length, as published by its writer.
    pub fn written(&self) -> &Written {
        &self.written
    }

    /// Resumes detection and runs it to the end of the recording. If the checkpoint turns out not
    /// to fit the recording, it is quarantined, and detection starts over.
    ///
    /// # Errors
    ///
    /// Returns an error if detection cannot continue. The call may be repeated.
    pub fn run(&mut self, on_entry: OnEntry<'_>) -> Result<()> {
        let detected = self.run_to_end(on_entry);
        state::write_changes(&self.state, self.counters);
        detected
    }

    fn run_to_end(&mut self, on_entry: OnEntry<'_>) -> Result<()> {
        let marks = Arc::clone(self.session.marks());
        if marks.is_deleted() {
            return Ok(());
        }
        let ended = match self.run_once(on_entry) {
            // The recording was deleted: detection is complete.
            Err(error) if marks.is_deleted() => {
                tracing::debug!("detection ends with its recording: {error}");
                return Ok(());
            }
            Err(error) if error.kind() == Kind::Corrupt => {
                trust::quarantine(&self.session.checkpoint_json(), &error)?;
                self.run_once(on_entry)?
            }
            ended => ended?,
        };
        if ended == Ended::AtEnd {
            marks.set_detected();
        }
        Ok(())
    }

    fn run_once(&mut self, on_entry: OnEntry<'_>) -> Result<Ended> {
        let (start, catalog) = self.open()?;
        let checkpoints = CheckpointOptions {
            recording: self.sync.clone(),
            keyframes: self.open_keyframes(start.as_ref())?,
            path: self.session.checkpoint_json(),
            interval: self.options.sync_interval,
        };
        let session = Arc::clone(&self.session);
        let on_entry = &mut |entry: &Entry| on_entry(&session, entry);
        let (messages, queue) = publisher::queue();
        let publishes = AtomicBool::new(true);
        std::thread::scope(|scope| {
            let publishes = &publishes;
            // The queue is dropped with the publisher, which wakes an analyzer that waits for it.
            let publisher = spawn(scope, "publisher", move || {
                let _guard = ClearOnDrop(publishes);
                publisher::run(&queue, catalog, Some(checkpoints), on_entry)
            })?;
            let analyzer = spawn(scope, "analyzer", || self.analyze(start, messages, publishes))?;
            let detected = join("the analyzer", analyzer);
            // If the publisher has failed, the analyzer only reports that the publisher has ended.
            join("the publisher", publisher).and(detected)
        })
    }

    /// Opens the checkpoint and the catalog, and makes them consistent with the
    /// recording.
    fn open(&mut self) -> Result<(Option<RestartPoint>, Catalog)> {
        let known = if self.is_reconciled { self.written.length() } else { self.opened_bytes };
        let mut checkpoint = load_checkpoint(&self.session, known)?;
        let counted = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.frames_kept);
        let mut catalog = self.open_catalog(counted)?;
        let lacking = catalog.lacking();
        if lacking > 0 {
            // Only detection can restore the missing frames.
            let path = self.session.checkpoint_json();
            let what = format!("the index lacks {lacking} of the {counted} frames that it counts");
            trust::quarantine(&path, &trust::untrusted(&path, what))?;
            checkpoint = None;
            catalog = self.open_catalog(0)?;
        }
        if !self.is_reconciled {
            catalog.quarantine_past(ByteOffset(known))?;
            self.is_reconciled = true;
        }
        Ok((checkpoint.map(|checkpoint| checkpoint.point), catalog))
    }

    /// Opens the index of key frames.
    fn open_keyframes(&self, start: Option<&RestartPoint>) -> Result<KeyframeWriter> {
        let path = self.session.keyframes_idx();
        let from = start.map_or(ByteOffset(0), |start| start.read_from.offset);
        KeyframeWriter::open(&path, from, self.written.length())
    }

    fn open_catalog(&self, next_ordinal: u64) -> Result<Catalog> {
        Catalog::open(CatalogOptions {
            jpeg: self.options.jpeg,
            lock_timeout: self.options.lock_timeout,
            next_ordinal,
            index_copy: Some(self.session.index_copy()),
            ..CatalogOptions::new(self.session.frames_dir())
        })
    }

    /// Runs in the analyzer thread: analyzes the recording from `start` on, or from its beginning.
    fn analyze(
        &mut self,
        start: Option<RestartPoint>,
        messages: Sender<PublisherMessage>,
        publishes: &AtomicBool,
    ) -> Result<Ended> {
        let DetectOptions { rule, program, jobs, .. } = *self.options;
        let aligner = match start.as_ref().map(|start| &start.read_from) {
            // The recording starts with a whole packet, whose bytes reveal the packet size.
            None => Aligner::begin(ByteOffset(0), PacketSize::default()),
            Some(from) => Aligner::resume(from.audio_offset, from.packet_size),
        };
        let mut analyzer = match start.clone() {
            Some(start) => {
                tracing::info!("detection resumes at byte {}", aligner.end());
                let decided = &start.decided;
                self.session.marks().set_last_picture(decided.offset.0, decided.pts.0);
                Analyzer::resume(rule, program, start)
            }
            None => Analyzer::new(rule, program),
        };
        analyzer = analyzer.with_jobs(jobs);
        analyzer.set_backlog(self.written.length().saturating_sub(aligner.end()));
        let end = End::Growing(self.written.clone());
        let path = self.session.recording_ts();
        let mut tail = FileTail::open(&path, aligner, end)?;
        let marks = self.session.marks();
        let mut outlet = LiveOutlet {
            marks,
            written: &self.written,
            messages,
            publishes,
            counters: self.counters,
            counted: &mut self.counted,
            base: self.base,
            interval: self.options.sync_interval,
            reported: Instant::now(),
            last_start: start,
            stream_log: StreamLog::new(self.base.damage),
            keyframes: Vec::new(),
            behind: RateLimit::every(Duration::from_secs(60)),
        };
        let stop = || marks.is_deleted() || self.stop.is_some_and(Shutdown::is_requested);
        drive(&mut tail, &mut analyzer, &mut outlet, &stop)
    }
}

/// Returns the checkpoint if it can be trusted. Otherwise, detection starts over and finds the same
/// frames again.
fn load_checkpoint(session: &OwnedSession, recording_bytes: u64) -> Result<Option<Checkpoint>> {
    let path = session.checkpoint_json();
    let is_ours = |name: &str| matches!(name, "checkpoint.json" | "keyframes.idx");
    publish::remove_left_overs(publish::folder_of(&path), is_ours)?;
    match trust::examine(&path, &session.recording_ts(), recording_bytes)? {
        StoredCheckpoint::Missing => Ok(None),
        StoredCheckpoint::Trusted(checkpoint) => Ok(Some(*checkpoint)),
        StoredCheckpoint::Untrusted(why) => trust::quarantine(&path, &why).map(|()| None),
    }
}

/// Clears a flag when dropped, so also when a thread panics.
struct ClearOnDrop<'a>(&'a AtomicBool);

impl Drop for ClearOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

/// Passes live verdicts to the publisher.
struct LiveOutlet<'a> {
    marks: &'a Marks,
    written: &'a Written,
    messages: Sender<PublisherMessage>,
    /// Whether the publisher is running. While no frames are sent, no failed send reveals that the
    /// publisher has ended.
    publishes: &'a AtomicBool,
    counters: &'a Counters,
    counted: &'a mut Option<Ticks>,
    base: Detected,
    interval: Duration,
    reported: Instant,
    last_start: Option<RestartPoint>,
    stream_log: StreamLog,
    /// Random access points not passed to the publisher yet.
    keyframes: Vec<Keyframe>,
    /// Limits how often a lag is logged: a stream that one thread cannot follow lags again and
    /// again.
    behind: RateLimit,
}

impl LiveOutlet<'_> {
    /// Logs the lag once several threads are used.
    fn note_backlog(&mut self, analyzer: &Analyzer, read: ByteOffset) {
        if analyzer.is_parallel() && self.behind.hit(Instant::now()).is_some() {
            let bytes = ByteSize(self.written.length().saturating_sub(read.0));
            tracing::info!("detection is {bytes} behind; decoding with several threads");
        }
    }

    fn send(&self, message: PublisherMessage) -> Result<()> {
        self.messages.send(message).map_err(|_| publisher_gone())
    }
}

fn publisher_gone() -> Error {
    Error::new(Stage::Pipeline, "the publisher has ended")
}

impl Outlet for LiveOutlet<'_> {
    fn scored(&mut self, scored: Scored, by: PacketRead) -> Result<()> {
        let Scored { verdict, kept, decoded } = scored;
        self.counters.decided();
        self.marks.set_last_picture(verdict.at.0, verdict.pts.0);
        let is_new = self.counted.is_none_or(|counted| counted < verdict.pts);
        if is_new {
            *self.counted = Some(verdict.pts);
            self.counters.pictures.fetch_add(1, Relaxed);
            let ticks = self.base.ticks.saturating_add(verdict.pts.0);
            self.counters.detected_ticks.store(ticks, Relaxed);
        }
        if let Some(frame) = kept {
            self.counters.frames_kept.fetch_add(u64::from(is_new), Relaxed);
            let captured_at = self.written.arrival(verdict.at).map(|arrival| arrival.time);
            let detected = self.written.arrival(by.at).map(|arrival| DetectionTimes {
                arrived: arrival.instant,
                read: by.read,
                decoded,
                scored: Instant::now(),
            });
            let kept = KeptFrame { verdict, frame, captured_at };
            self.send(PublisherMessage::Keep(Box::new(kept), detected))?;
        }
        Ok(())
    }

    fn progress(&mut self, analyzer: &Analyzer, read: ByteOffset, finished: bool) -> Result<()> {
        self.counters.detected_bytes.store(self.base.bytes + read.0, Relaxed);
        self.marks.set_read_bytes(read.0);
        self.note_backlog(analyzer, read);
        self.stream_log.update(analyzer, self.counters);
        if !self.publishes.load(Relaxed) {
            return Err(publisher_gone());
        }
        if !finished && self.reported.elapsed() < self.interval {
            return Ok(());
        }
        self.reported = Instant::now();
        // Random access points come before the checkpoint that covers them.
        if !self.keyframes.is_empty() {
            let keyframes = std::mem::take(&mut self.keyframes);
            self.send(PublisherMessage::Keyframes(keyframes))?;
        }
        // At the end, also send an unchanged point: the checkpoint then covers the whole file.
        let is_news = |start: &RestartPoint| finished || self.last_start.as_ref() != Some(start);
        if let Some(start) = analyzer.restart_point().filter(is_news) {
            self.last_start = Some(start.clone());
            self.send(PublisherMessage::Decided { start: Box::new(start), read })?;
        }
        if finished {
            self.stream_log.finish(read);
            self.send(PublisherMessage::Finished)?;
        }
        Ok(())
    }

    fn keyframes(&mut self, found: Vec<Keyframe>) {
        self.keyframes.extend(found);
    }

    fn sync_lost(&mut self, at: ByteOffset, skipped_bytes: u64) {
        self.stream_log.sync_lost(at, skipped_bytes, self.counters);
    }
}
