//! The publishing thread: kept frames → JPEG and index. Shortly afterwards, in the background, they
//! become durable and the checkpoint is written.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rayon::prelude::*;

use super::checkpoint::Checkpoint;
use crate::catalog::{Catalog, EncodedFrame, Entry, KeptFrame, NewCheckpoint, SyncJob, Syncer};
use crate::error::Result;
use crate::keyframes::{Keyframe, KeyframeWriter};
use crate::media::ByteOffset;
use crate::pipeline::analyzer::RestartPoint;
use crate::recording::SyncHandle;
use crate::telemetry::{Latency, Passage};

/// Capacity of the queue between detection and the publisher. Each frame holds a decoded
/// picture, about 25 MB at 2160p and 10 bit. When the queue is full, detection waits; recording
/// never does.
const MAX_QUEUED: usize = 8;

/// Messages from the detection thread, in order.
pub enum PublisherMessage {
    /// A frame to keep, and the times at which it passed the stages of detection.
    Keep(Box<KeptFrame>, Option<DetectionTimes>),
    /// Detection can resume at a new point.
    Decided {
        /// The point at which detection can resume.
        start: Box<RestartPoint>,
        /// Offset after the bytes that detection has read.
        read: ByteOffset,
    },
    /// Random access points that the analyzer has passed.
    Keyframes(Vec<Keyframe>),
    /// Every picture of the recording has a verdict. Frames of an earlier run that were not found
    /// again are stale.
    Finished,
}

/// Times at which a frame passed the stages of detection.
#[derive(Debug, Clone, Copy)]
pub struct DetectionTimes {
    /// Arrival of the packet that released the picture.
    pub arrived: Instant,
    /// Detection has read that packet.
    pub read: Instant,
    /// The picture is decoded.
    pub decoded: Instant,
    /// The picture has its verdict.
    pub scored: Instant,
}

/// How the results for a recording become durable.
pub struct CheckpointOptions {
    /// Syncs `recording.ts`.
    pub recording: SyncHandle,
    /// The index of key frames.
    pub keyframes: KeyframeWriter,
    /// Path of `checkpoint.json`.
    pub path: PathBuf,
    /// Maximum time for which results may not be durable.
    pub interval: Duration,
}

/// Creates the queue that [`run`] reads.
pub fn queue() -> (Sender<PublisherMessage>, Receiver<PublisherMessage>) {
    bounded(MAX_QUEUED)
}

/// Publishes until the queue is closed, then makes everything durable. Calls `on_entry`
/// for each entry once the index lists it.
///
/// # Errors
///
/// Returns an error if the catalog cannot be written.
pub fn run(
    messages: &Receiver<PublisherMessage>,
    catalog: Catalog,
    checkpoints: Option<CheckpointOptions>,
    on_entry: &mut dyn FnMut(&Entry),
) -> Result<()> {
    let syncer = checkpoints.as_ref().map(|_| Syncer::start()).transpose()?;
    let mut publisher = Publisher {
        catalog,
        checkpoints,
        syncer,
        on_entry,
        decided: None,
        synced: Instant::now(),
        unpublished: Vec::new(),
        latency: Latency::default(),
    };
    loop {
        let first = match messages.recv_timeout(publisher.wait()) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let batch: Vec<_> = first.into_iter().chain(messages.try_iter().take(MAX_QUEUED)).collect();
        publisher.publish(batch)?;
        publisher.catalog.poll()?;
        publisher.note_published();
        publisher.sync_when_due()?;
    }
    publisher.finish()
}

struct Publisher<'a> {
    catalog: Catalog,
    checkpoints: Option<CheckpointOptions>,
    syncer: Option<Syncer>,
    on_entry: &'a mut dyn FnMut(&Entry),
    /// Data for the next checkpoint.
    decided: Option<UnpublishedPoint>,
    synced: Instant,
    /// Frames that the index does not list yet, and the time at which each was encoded.
    unpublished: Vec<(DetectionTimes, Instant)>,
    latency: Latency,
}

impl Publisher<'_> {
    /// Encodes the queued frames in parallel, and commits them in order.
    fn publish(&mut self, batch: Vec<PublisherMessage>) -> Result<()> {
        let encoder = self.catalog.encoder();
        let catalog = &self.catalog;
        let encode = |message: PublisherMessage| match message {
            PublisherMessage::Decided { start, read } => PublishStep::Decided(start, read),
            PublisherMessage::Keyframes(found) => PublishStep::Keyframes(found),
            PublisherMessage::Finished => PublishStep::Finished,
            PublisherMessage::Keep(kept, _) if catalog.is_known(&kept.verdict) => {
                PublishStep::Commit(EncodedFrame::without_jpeg(&kept), None)
            }
            PublisherMessage::Keep(kept, detected) => {
                let encoded = encoder.encode(&kept);
                let times = detected.map(|detected| (detected, Instant::now()));
                PublishStep::Commit(encoded, times)
            }
        };
        // A single frame is encoded here: waking another thread would take longer.
        let steps: Vec<_> = if batch.len() > 1 {
            batch.into_par_iter().map(encode).collect()
        } else {
            batch.into_iter().map(encode).collect()
        };
        for step in steps {
            match step {
                PublishStep::Decided(start, read) => {
                    // Later frames may be kept before the checkpoint is written.
                    let kept = self.catalog.kept();
                    self.decided = Some(UnpublishedPoint { start, read, kept });
                }
                PublishStep::Keyframes(found) => {
                    if let Some(checkpoints) = &mut self.checkpoints {
                        checkpoints.keyframes.append(&found)?;
                    }
                }
                PublishStep::Finished => {
                    self.catalog.quarantine_unfound()?;
                }
                PublishStep::Commit(frame, times) => {
                    // After a restart, detection finds frames again that were already
                    // reported.
                    let is_news = !self.catalog.is_known(&frame.verdict);
                    let entry = self.catalog.keep_encoded(frame)?;
                    self.unpublished.extend(times);
                    if is_news {
                        (self.on_entry)(&entry);
                    }
                }
            }
        }
        Ok(())
    }

    /// Measures the latency of the frames that the index now lists.
    fn note_published(&mut self) {
        if self.unpublished.is_empty() || !self.catalog.is_published() {
            return;
        }
        let published = Instant::now();
        for (detected, encoded) in self.unpublished.drain(..) {
            let DetectionTimes { arrived, read, decoded, scored } = detected;
            self.latency.add(&Passage { arrived, read, decoded, scored, encoded, published });
        }
    }

    /// Returns the time until the index or the checkpoint has to be written.
    fn wait(&self) -> Duration {
        /// Maximum time to wait while nothing has to be written; a message ends the wait.
        const IDLE: Duration = Duration::from_secs(1);
        let index_due = self.catalog.write_due_in().unwrap_or(IDLE);
        match &self.checkpoints {
            // In a scan, nothing is synced before the end.
            None => index_due,
            Some(checkpoints) => {
                index_due.min(checkpoints.interval.saturating_sub(self.synced.elapsed()))
            }
        }
    }

    fn sync_when_due(&mut self) -> Result<()> {
        match &self.checkpoints {
            Some(checkpoints) if self.synced.elapsed() >= checkpoints.interval => self.sync(),
            _ => Ok(()),
        }
    }

    /// Submits the results to the syncer. Includes the checkpoint only if the index on disk lists
    /// every frame that the checkpoint covers.
    fn sync(&mut self) -> Result<()> {
        self.synced = Instant::now();
        let (Some(checkpoints), Some(syncer)) = (&self.checkpoints, &self.syncer) else {
            return Ok(());
        };
        let recording = checkpoints.recording.clone();
        let decided = if self.catalog.is_published() { self.decided.take() } else { None };
        let checkpoint = match decided {
            None => None,
            Some(UnpublishedPoint { start, read, kept }) => {
                let recording = recording.fingerprint(read.0)?;
                let checkpoint = Checkpoint { recording, frames_kept: kept, point: *start };
                let (path, bytes) = (checkpoints.path.clone(), checkpoint.to_json()?);
                Some(NewCheckpoint { path, bytes, covers: read.0 })
            }
        };
        syncer.submit(SyncJob {
            recording: Some(Box::new(move || recording.sync())),
            keyframes: Some(checkpoints.keyframes.syncer()),
            frames: self.catalog.sync_job(),
            checkpoint,
        });
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.catalog.flush()?;
        self.note_published();
        if !self.latency.is_empty() {
            tracing::debug!("{}", self.latency);
        }
        self.sync()?;
        match self.syncer {
            Some(syncer) => syncer.finish(),
            None => self.catalog.sync(),
        }
    }
}

/// A point at which detection can resume, for the next checkpoint.
struct UnpublishedPoint {
    start: Box<RestartPoint>,
    /// Offset after the bytes that detection had read.
    read: ByteOffset,
    /// Number of frames kept until then.
    kept: u64,
}

enum PublishStep {
    /// A frame for the catalog; when detection had found it, and when it was encoded.
    Commit(EncodedFrame, Option<(DetectionTimes, Instant)>),
    Decided(Box<RestartPoint>, ByteOffset),
    Keyframes(Vec<Keyframe>),
    Finished,
}
