//! The writer's thread: what was received → `recording.ts`.
//!
//! When the file cannot be written to (the disk is full, read-only, broken), nothing
//! that was received is given up: it stays in memory (what the queue of chunks holds,
//! 4 MiB), the sender is turned away, so that it knows, and writing is tried again
//! once a second. Who sends next is heard when everything held is in the file.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use indicatif::BinaryBytes;
use tokio::sync::{mpsc, watch};

use super::cut::{Behind, Pushed};
use super::rotation::{self, Rotation};
use crate::error::{Error, Result, Stage};
use crate::ingest::Chunk;
use crate::pause;
use crate::recording::Recording;
use crate::shutdown::Shutdown;
use crate::telemetry::Counters;

/// How often a file that cannot be written to is tried again, and one that can be is
/// looked after: whether it is still there, and whether there is space.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Writes chunks until there are no more.
pub struct Writer<'a> {
    recording: Recording,
    rotation: Rotation<'a>,
    /// Bytes of the recordings before this one.
    base: u64,
    counters: Arc<Counters>,
    /// Whether senders are listened to.
    accepting: watch::Sender<bool>,
    shutdown: Shutdown,
    /// So many bytes are to be left on the file system.
    min_free: u64,
    looked: Option<Instant>,
}

impl<'a> Writer<'a> {
    /// A writer that says through `accepting` whether it can take more. `rotation`
    /// says where one recording ends and the next begins. `base` is what recordings
    /// before this have, in bytes.
    pub fn new(
        recording: Recording,
        base: u64,
        rotation: Rotation<'a>,
        counters: Arc<Counters>,
        accepting: watch::Sender<bool>,
        shutdown: Shutdown,
        min_free: u64,
    ) -> Self {
        let looked = None;
        Writer { recording, rotation, base, counters, accepting, shutdown, min_free, looked }
    }

    /// Runs until the channel is closed.
    ///
    /// # Errors
    ///
    /// If the end is asked for while nothing can be written.
    pub fn run(mut self, mut chunks: mpsc::Receiver<Chunk>) -> Result<()> {
        while let Some(chunk) = chunks.blocking_recv() {
            match chunk {
                Chunk::Bytes(bytes) => self.take(&bytes)?,
                Chunk::EndOfConnection => {
                    self.end_connection()?;
                    // Only now: who asks how long the recording is, to send the rest, is told all.
                    self.go_on();
                }
            }
            let length = self.recording.written().length();
            self.counters.recorded_bytes.store(self.base + length, Relaxed);
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let length = self.recording.length();
        match self.rotation.push(length, bytes) {
            None => self.write(bytes),
            Some(Pushed { before, behind }) => {
                self.write(&before)?;
                behind.map_or(Ok(()), |behind| self.rotate(&behind))
            }
        }
    }

    /// Ends this recording, and begins the next.
    fn rotate(&mut self, behind: &Behind) -> Result<()> {
        match self.rotation.open_next() {
            Ok(next) => {
                self.begin(next);
                self.write(&behind.tables)?;
            }
            Err(error) => rotation::tell_failure(&error),
        }
        self.write(&behind.bytes)
    }

    /// Who reads the one before knows then that there will be no more.
    fn begin(&mut self, next: Recording) {
        self.base += self.recording.length();
        self.recording = next;
        self.looked = None;
    }

    fn end_connection(&mut self) -> Result<()> {
        let held = self.rotation.end_connection();
        self.write(&held)?;
        let cut = self.until_done(|recording| recording.end_connection())?;
        if cut > 0 {
            let at = self.recording.written().length();
            tracing::warn!("recording: discarded {cut} bytes of a torn packet at byte {at}");
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.until_done(|recording| recording.append(&mut bytes))
    }

    /// Does something to the recording, however often it has to be tried.
    fn until_done<T>(&mut self, mut work: impl FnMut(&mut Recording) -> Result<T>) -> Result<T> {
        let counters = Arc::clone(&self.counters);
        loop {
            let tried = counters
                .recorder
                .during(|| self.look_after().and_then(|()| work(&mut self.recording)));
            match tried {
                Ok(done) => return Ok(done),
                Err(error) => self.halt(error)?,
            }
        }
    }

    /// What can go wrong without a write that fails.
    fn look_after(&mut self) -> Result<()> {
        if self.looked.is_some_and(|looked| looked.elapsed() < pause::of(LOOK_INTERVAL)) {
            return Ok(());
        }
        if !self.recording.is_in_place()? {
            return Err(removed(&self.recording));
        }
        let free = self.recording.free_bytes()?;
        if free < self.min_free {
            let (free, wanted) = (BinaryBytes(free), BinaryBytes(self.min_free));
            let what = format!("only {free} are free, and --min-free wants {wanted}");
            return Err(Error::new(Stage::Recording, what).path(self.recording.path()));
        }
        self.looked = Some(Instant::now());
        Ok(())
    }

    /// Nothing can be written: tells so once, and waits before it is tried again.
    fn halt(&mut self, error: Error) -> Result<()> {
        self.looked = None;
        let in_place = self.counters.recorder.during(|| self.recording.is_in_place());
        if matches!(in_place, Ok(false))
            && let Ok(next) = self.rotation.open_next()
        {
            tracing::error!("{error}; what comes goes to {}", next.path().display());
            self.begin(next);
            return Ok(());
        }
        self.counters.is_halted.store(true, Relaxed);
        if self.accepting.send_replace(false) {
            tracing::error!("{error}; the sender is turned away until it can be written to");
        }
        if self.shutdown.wait_timeout(pause::of(LOOK_INTERVAL)) { Err(error) } else { Ok(()) }
    }

    fn go_on(&self) {
        self.counters.is_halted.store(false, Relaxed);
        if !self.accepting.send_replace(true) {
            let at = self.recording.written().length();
            tracing::info!("recording goes on at byte {at}");
        }
    }
}

fn removed(recording: &Recording) -> Error {
    let what = "it was removed while it was recorded";
    Error::new(Stage::Recording, what).path(recording.path())
}
