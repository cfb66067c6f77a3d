//! The publishing thread: kept frames → JPEG, index, and — a little later and out
//! of everyone's way — checkpoints and checkpoint.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rayon::prelude::*;

use super::checkpoint::Checkpoint;
use crate::catalog::{Catalog, EncodedFrame, Entry, KeptFrame, SyncJob, Syncer};
use crate::error::Result;
use crate::media::ByteOffset;
use crate::pipeline::analyzer::RestartPoint;
use crate::recording::SyncHandle;

/// Kept frames between detection and the disk. Each holds a decoded picture, at
/// 2160p and 10 bits about 25 MB. When it is full detection waits; recording never does.
const MAX_QUEUED: usize = 8;

/// What the detecting thread tells the publishing one, in order.
pub enum Message {
    /// A frame to be kept.
    Keep(Box<KeptFrame>),
    /// Everything up to here is decided, and detection could go on from there.
    Decided {
        /// From where detection can go on.
        start: Box<RestartPoint>,
        /// Offset behind the bytes that it has read.
        read: ByteOffset,
    },
    /// Everything in the recording is decided: a frame of an earlier life that has
    /// not come again is none.
    Over,
}

/// How a recording's results become durable.
pub struct CheckpointOptions {
    /// Syncs `recording.ts`.
    pub recording: SyncHandle,
    /// `checkpoint.json`.
    pub path: PathBuf,
    /// No more time than this is lost with the power.
    pub interval: Duration,
}

/// The queue that [`run`] reads.
pub fn queue() -> (Sender<Message>, Receiver<Message>) {
    bounded(MAX_QUEUED)
}

/// Publishes until the queue is closed, then makes everything durable. `on_entry`
/// is told of each entry once the index names it.
///
/// # Errors
///
/// If the catalog cannot be written.
pub fn run(
    messages: &Receiver<Message>,
    catalog: Catalog,
    checkpoints: Option<CheckpointOptions>,
    on_entry: &mut dyn FnMut(&Entry),
) -> Result<()> {
    let syncer = checkpoints.as_ref().map(|_| Syncer::start()).transpose()?;
    let mut publisher =
        Publisher { catalog, checkpoints, syncer, on_entry, decided: None, synced: Instant::now() };
    loop {
        let first = match messages.recv_timeout(publisher.wait()) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let batch: Vec<_> = first.into_iter().chain(messages.try_iter().take(MAX_QUEUED)).collect();
        publisher.publish(batch)?;
        publisher.catalog.poll()?;
        publisher.sync_when_due()?;
    }
    publisher.finish()
}

struct Publisher<'a> {
    catalog: Catalog,
    checkpoints: Option<CheckpointOptions>,
    syncer: Option<Syncer>,
    on_entry: &'a mut dyn FnMut(&Entry),
    /// What the next checkpoint says.
    decided: Option<Decided>,
    synced: Instant,
}

impl Publisher<'_> {
    /// Encodes side by side what has queued up, and commits it in order.
    fn publish(&mut self, batch: Vec<Message>) -> Result<()> {
        let encoder = self.catalog.encoder();
        let catalog = &self.catalog;
        let encode = |message: Message| match message {
            Message::Decided { start, read } => Ok(Step::Decided(start, read)),
            Message::Over => Ok(Step::Over),
            Message::Keep(kept) if catalog.is_known(&kept.verdict) => {
                Ok(Step::Commit(EncodedFrame::without_jpeg(&kept)))
            }
            Message::Keep(kept) => encoder.encode(&kept).map(Step::Commit),
        };
        // One frame alone is encoded here: to wake another thread for it would take longer.
        let steps: Vec<_> = if batch.len() > 1 {
            batch.into_par_iter().map(encode).collect()
        } else {
            batch.into_iter().map(encode).collect()
        };
        for step in steps {
            match step? {
                Step::Decided(start, read) => {
                    // Frames behind it may be kept before it is written down.
                    let kept = self.catalog.kept();
                    self.decided = Some(Decided { start, read, kept });
                }
                Step::Over => {
                    self.catalog.set_aside_unfound()?;
                }
                Step::Commit(frame) => {
                    // After a restart frames come again that were told already.
                    let is_news = !self.catalog.is_known(&frame.verdict);
                    let entry = self.catalog.keep_encoded(frame)?;
                    if is_news {
                        (self.on_entry)(&entry);
                    }
                }
            }
        }
        Ok(())
    }

    fn wait(&self) -> Duration {
        let interval = self.checkpoints.as_ref().map_or(Duration::from_secs(1), |d| d.interval);
        let sync_due = interval.saturating_sub(self.synced.elapsed());
        self.catalog.write_due_in().unwrap_or(interval).min(sync_due)
    }

    fn sync_when_due(&mut self) -> Result<()> {
        match &self.checkpoints {
            Some(checkpoints) if self.synced.elapsed() >= checkpoints.interval => self.sync(),
            _ => Ok(()),
        }
    }

    /// Hands over what has to become durable; the checkpoint only if the index on
    /// disk names every frame that it counts.
    fn sync(&mut self) -> Result<()> {
        self.synced = Instant::now();
        let (Some(checkpoints), Some(syncer)) = (&self.checkpoints, &self.syncer) else {
            return Ok(());
        };
        let recording = checkpoints.recording.clone();
        let decided = if self.catalog.is_published() { self.decided.take() } else { None };
        let checkpoint = match decided {
            None => None,
            Some(Decided { start, read, kept }) => {
                let recording = recording.fingerprint(read.0)?;
                let checkpoint = Checkpoint { recording, frames_kept: kept, point: *start };
                Some((checkpoints.path.clone(), checkpoint.to_json()?))
            }
        };
        syncer.submit(SyncJob {
            recording: Some(Box::new(move || recording.sync().map(|_| ()))),
            frames: self.catalog.sync_job(),
            checkpoint,
        });
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.catalog.flush()?;
        self.sync()?;
        match self.syncer {
            Some(syncer) => syncer.finish(),
            None => self.catalog.sync(),
        }
    }
}

/// From where detection can go on, and what was there when it said so.
struct Decided {
    start: Box<RestartPoint>,
    /// Offset behind the bytes that it had read.
    read: ByteOffset,
    /// Frames kept until then.
    kept: u64,
}

enum Step {
    Commit(EncodedFrame),
    Decided(Box<RestartPoint>, ByteOffset),
    Over,
}
