//! Counters for the status line, the status and the final summary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Heartbeat, Troubles, Undecided};
use crate::media::{Damage, Lag, Ticks};

/// State of detection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DetectionState {
    /// Analyzes the recording.
    #[default]
    Running,
    /// Has failed and will be retried.
    Waiting,
    /// Has failed permanently; recording continues without it.
    Failed,
}

impl DetectionState {
    /// Returns the state as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            DetectionState::Running => "running",
            DetectionState::Waiting => "waiting",
            DetectionState::Failed => "failed",
        }
    }
}

/// Counters that the writer and the analyzer update, and that the status line reads.
///
/// The counters are independent of each other: a reader may see one change slightly before another.
/// They are only displayed.
#[derive(Debug, Default)]
pub struct Counters {
    /// Address of the connected sender, if any; time of its connection, or of the last
    /// disconnection.
    sender: Mutex<(Option<String>, Option<Timestamp>)>,
    detection: Mutex<DetectionState>,
    session: Mutex<Option<PathBuf>>,
    damage: Mutex<Damage>,
    /// Sessions whose recording could not be synced, each with the offset from which on its bytes
    /// may be lost.
    sync_failures: Mutex<BTreeMap<String, u64>>,
    /// The last logged error and warning.
    troubles: Troubles,
    /// Bytes received since the last decided picture.
    undecided: Undecided,
    /// Busy during each operation of the writer thread.
    pub recorder: Heartbeat,
    /// Whether the recording cannot be written and the writer is waiting.
    pub is_halted: AtomicBool,
    /// Connections refused before any of their bytes were recorded.
    pub refused: AtomicU64,
    /// Recordings that the recorder has deleted.
    pub deleted_recordings: AtomicU64,
    /// Bytes in these recordings.
    pub deleted_bytes: AtomicU64,
    /// Sessions whose frames the recorder has deleted.
    pub deleted_sessions: AtomicU64,
    /// Bytes received from the network, including those of refused connections.
    pub bytes_received: AtomicU64,
    /// Length of the recording, or of the scanned file, in bytes.
    pub recorded_bytes: AtomicU64,
    /// Offset up to which pictures have been scored, in bytes.
    pub detected_bytes: AtomicU64,
    /// Presentation time of the last scored picture, in 90 kHz ticks from the start of
    /// the recording.
    pub detected_ticks: AtomicI64,
    /// Pictures scored.
    pub pictures: AtomicU64,
    /// Frames kept.
    pub frames_kept: AtomicU64,
}

/// Values of [`Counters`] at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // As in `Counters`.
pub struct Snapshot {
    pub sender: Option<String>,
    /// Time at which the sender connected, or the last one disconnected.
    pub sender_since: Option<Timestamp>,
    pub detection: DetectionState,
    pub is_halted: bool,
    pub refused: u64,
    pub deleted_recordings: u64,
    pub deleted_bytes: u64,
    pub deleted_sessions: u64,
    pub bytes_received: u64,
    pub recorded_bytes: u64,
    /// Estimated time of the newest byte.
    pub recorded: Ticks,
    pub lag: Lag,
    pub detected_bytes: u64,
    pub detected: Ticks,
    pub pictures: u64,
    pub frames_kept: u64,
    pub damage: Damage,
    pub undecided: Duration,
}

impl Counters {
    /// Returns counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns counters at zero that share `troubles` with the log.
    pub fn with(troubles: Troubles) -> Self {
        Counters { troubles, ..Self::default() }
    }

    /// Sets or clears the address of the sender.
    pub fn set_sender(&self, sender: Option<String>) {
        self.undecided.reset();
        let sender = (sender, Some(Timestamp::now()));
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    }

    /// Sets the folder of the session that is being recorded.
    pub fn set_session(&self, folder: &Path) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.to_owned());
    }

    /// Returns the folder of the session that is being recorded, once it is set.
    pub fn session(&self) -> Option<PathBuf> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records that a recording could not be synced from an offset on.
    pub fn set_sync_failure(&self, session: &str, from: u64) {
        let mut failures = self.sync_failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.get(session) != Some(&from) {
            failures.insert(session.to_owned(), from);
        }
    }

    /// Returns the sessions whose recording could not be synced, each with the offset in bytes.
    pub fn sync_failures(&self) -> BTreeMap<String, u64> {
        self.sync_failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the state of detection.
    pub fn set_detection(&self, state: DetectionState) {
        *self.detection.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Counts bytes received from the network.
    pub fn received(&self, bytes: u64) {
        self.bytes_received.fetch_add(bytes, Relaxed);
        self.undecided.received(Instant::now());
    }

    /// Records that a picture was decided.
    pub fn decided(&self) {
        self.undecided.reset();
    }

    /// Counts damage.
    pub fn update_damage<T>(&self, update: impl FnOnce(&mut Damage) -> T) -> T {
        update(&mut self.damage.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the last logged error and warning.
    pub fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    /// Reads all counters.
    pub fn snapshot(&self) -> Snapshot {
        let recorded_bytes = self.recorded_bytes.load(Relaxed);
        let detected_bytes = self.detected_bytes.load(Relaxed);
        let detected = Ticks(self.detected_ticks.load(Relaxed));
        let lag = Lag::estimate(recorded_bytes, detected_bytes, detected);
        let (sender, sender_since) =
            self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Snapshot {
            sender,
            sender_since,
            detection: *self.detection.lock().unwrap_or_else(PoisonError::into_inner),
            is_halted: self.is_halted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            deleted_recordings: self.deleted_recordings.load(Relaxed),
            deleted_bytes: self.deleted_bytes.load(Relaxed),
            deleted_sessions: self.deleted_sessions.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            recorded_bytes,
            recorded: Ticks(detected.0 + lag.time.0),
            lag,
            detected_bytes,
            detected,
            pictures: self.pictures.load(Relaxed),
            frames_kept: self.frames_kept.load(Relaxed),
            undecided: self.undecided.duration(),
            damage: *self.damage.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
