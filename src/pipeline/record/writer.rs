//! The writer thread: appends received bytes to `recording.ts`.
//!
//! If the file cannot be written (disk full, read-only, broken), received bytes are not discarded:
//! they stay in memory (at most the capacity of the queue of chunks, 4 MiB), the sender is
//! disconnected to make it notice, and the write is retried once per second. Senders are accepted
//! again once all held bytes are in the file.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use tokio::sync::{mpsc, watch};

use super::cut::{AfterCut, Pushed};
use super::rotation::{self, Rotation};
use crate::error::{Error, Kind, Result, Stage};
use crate::host::shutdown::Shutdown;
use crate::ingest::Chunk;
use crate::pause;
use crate::pipeline::housekeeping::{Retention, Room};
use crate::recording::Recording;
use crate::telemetry::Counters;

/// Interval at which a failed write is retried. Also the interval at which the writer checks that
/// the file still exists and that there is free space.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Retry interval while the space of a deleted recording becomes free.
const ROOM_INTERVAL: Duration = Duration::from_millis(50);

/// Writes chunks until the channel is closed.
pub struct Writer<'a> {
    recording: Recording,
    rotation: Rotation<'a>,
    /// Number of bytes in the previous recordings.
    base: u64,
    counters: Arc<Counters>,
    /// Whether senders are accepted.
    accepting: watch::Sender<bool>,
    shutdown: Shutdown,
    /// Determines how much space must stay free, and frees space.
    retention: &'a Retention<'a>,
    last_check: Option<Instant>,
    /// Bytes held for the cut of a recording that was removed. They are written after the bytes
    /// whose write failed, and before all others.
    held: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Returns a writer that reports through `accepting` whether it can write. `rotation`
    /// decides where one recording ends and the next begins. `base` is the size of the
    /// previous recordings in bytes.
    pub fn new(
        recording: Recording,
        base: u64,
        rotation: Rotation<'a>,
        counters: Arc<Counters>,
        accepting: watch::Sender<bool>,
        shutdown: Shutdown,
        retention: &'a Retention<'a>,
    ) -> Self {
        Writer {
            recording,
            rotation,
            base,
            counters,
            accepting,
            shutdown,
            retention,
            last_check: None,
            held: Vec::new(),
        }
    }

    /// Runs until the channel is closed.
    ///
    /// # Errors
    ///
    /// Returns an error if a shutdown is requested while nothing can be written.
    pub fn run(mut self, mut chunks: mpsc::Receiver<Chunk>) -> Result<()> {
        while let Some(chunk) = chunks.blocking_recv() {
            match chunk {
                Chunk::Bytes(bytes) => self.take(&bytes)?,
                Chunk::EndOfConnection => {
                    self.end_connection()?;
                    // Only now: a sender that asks for the length, to send the rest, must get the
                    // full length.
                    self.resume();
                }
            }
            let length = self.recording.written().length();
            self.counters.recorded_bytes.store(self.base + length, Relaxed);
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        match self.rotation.push(self.recording.packets(), bytes) {
            None => self.write(bytes),
            Some(Pushed { before, after }) => {
                self.write(&before)?;
                after.map_or(Ok(()), |after| self.rotate(&after))
            }
        }
    }

    /// Ends this recording and starts the next one. If the next one cannot be opened, this
    /// recording continues.
    fn rotate(&mut self, after: &AfterCut) -> Result<()> {
        match self.rotation.open_next() {
            Ok(next) => {
                self.begin(next);
                self.write(&after.tables)?;
            }
            Err(error) => rotation::log_failure(&error),
        }
        self.write(&after.bytes)
    }

    /// Replaces the recording. This marks the previous one as finished for its readers.
    fn begin(&mut self, next: Recording) {
        self.base += self.recording.length();
        self.recording = next;
        self.last_check = None;
    }

    fn end_connection(&mut self) -> Result<()> {
        let held = self.rotation.end_connection();
        self.write(&held)?;
        let discarded = self.until_done(|recording| recording.end_connection())?;
        if discarded > 0 {
            let at = self.recording.written().length();
            tracing::warn!("recording: discarded {discarded} bytes of a torn packet at byte {at}");
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.until_done(|recording| recording.append(&mut bytes))?;
        let held = std::mem::take(&mut self.held);
        self.write(&held)
    }

    /// Repeats `work` on the recording until it succeeds.
    fn until_done<T>(&mut self, mut work: impl FnMut(&mut Recording) -> Result<T>) -> Result<T> {
        let counters = Arc::clone(&self.counters);
        loop {
            let attempt = counters
                .recorder
                .during(|| self.check_file().and_then(|()| work(&mut self.recording)));
            match attempt {
                Ok(done) => return Ok(done),
                Err(error) if self.has_made_room(&error) => {}
                Err(error) => self.halt(error)?,
            }
        }
    }

    /// Checks for problems that do not make a write fail.
    fn check_file(&mut self) -> Result<()> {
        if self
            .last_check
            .is_some_and(|last_check| last_check.elapsed() < pause::of(CHECK_INTERVAL))
        {
            return Ok(());
        }
        if !self.recording.is_in_place()? {
            return Err(removed(&self.recording));
        }
        let free = self.recording.free_bytes()?;
        let min_free = self.retention.min_free();
        if free < min_free {
            let (free, required) = (ByteSize(free), ByteSize(min_free));
            let what = format!("only {free} are free, --min-free requires {required}");
            let error = Error::new(Stage::Recording, what).of_kind(Kind::NoSpace);
            return Err(error.path(self.recording.path()));
        }
        self.last_check = Some(Instant::now());
        Ok(())
    }

    /// Deletes old recordings if the disk is full. Returns whether to repeat the write immediately.
    fn has_made_room(&self, error: &Error) -> bool {
        if error.kind() != Kind::NoSpace {
            return false;
        }
        match self.counters.recorder.during(|| self.retention.make_room()) {
            Room::Made => true,
            // Also wait during a shutdown: received bytes must still be written.
            Room::Coming => {
                std::thread::sleep(pause::of(ROOM_INTERVAL));
                true
            }
            Room::None => false,
        }
    }

    /// Handles a failed write: logs it once, and waits before the next attempt. If the file was
    /// removed, continues in a new session.
    ///
    /// # Errors
    ///
    /// Returns `error` if a shutdown is requested.
    fn halt(&mut self, error: Error) -> Result<()> {
        self.last_check = None;
        let in_place = self.counters.recorder.during(|| self.recording.is_in_place());
        if matches!(in_place, Ok(false))
            && let Ok((next, held)) = self.rotation.replace_removed()
        {
            tracing::error!("{error}; recording continues in {}", next.path().display());
            self.begin(next);
            self.held = held;
            return Ok(());
        }
        self.counters.is_halted.store(true, Relaxed);
        if self.accepting.send_replace(false) {
            let hint = match error.kind() {
                Kind::NoSpace => "free some space: until then senders are disconnected",
                _ => "senders are disconnected until the recording can be written",
            };
            tracing::error!("{error}; {hint}");
        }
        if self.shutdown.wait_timeout(pause::of(CHECK_INTERVAL)) { Err(error) } else { Ok(()) }
    }

    fn resume(&self) {
        self.counters.is_halted.store(false, Relaxed);
        if !self.accepting.send_replace(true) {
            let at = self.recording.written().length();
            tracing::info!("recording resumes at byte {at}");
        }
    }
}

fn removed(recording: &Recording) -> Error {
    let what = "it was removed during recording";
    Error::new(Stage::Recording, what).of_kind(Kind::Gone).path(recording.path())
}
