//! How far everything is, for the status line and the last word.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::{Heartbeat, Troubles};
use crate::media::{Damage, Ticks};

/// How detection fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DetectionState {
    /// It looks at what is recorded.
    #[default]
    Running,
    /// It has failed and will be tried again.
    Waiting,
    /// It has failed for good: the recording goes on without it.
    Failed,
}

impl DetectionState {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            DetectionState::Running => "running",
            DetectionState::Waiting => "waiting",
            DetectionState::Failed => "failed",
        }
    }
}

/// Numbers that the recorder and the detector write and the status line reads.
///
/// Each stands alone: a reader may see one a moment before another, and nothing
/// is decided by them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Who sends, and since when, while somebody does.
    sender: Mutex<Option<(String, Timestamp)>>,
    detection: Mutex<DetectionState>,
    session: Mutex<Option<PathBuf>>,
    damage: Mutex<Damage>,
    /// What was logged.
    troubles: Troubles,
    /// Set around each operation of the recorder's thread.
    pub recorder: Heartbeat,
    /// What is sent cannot be written, and the recorder waits until it can be.
    pub is_halted: AtomicBool,
    /// Connections turned away before a byte of theirs was recorded.
    pub refused: AtomicU64,
    /// Bytes taken from the network, refused ones included.
    pub bytes_received: AtomicU64,
    /// Length of the recording, or of the file that is scanned, in bytes.
    pub recorded_bytes: AtomicU64,
    /// Offset up to which pictures have been judged, in bytes.
    pub detected_bytes: AtomicU64,
    /// Presentation time of the picture last judged, in 90 kHz ticks from the
    /// start of the recording.
    pub detected_ticks: AtomicI64,
    /// Pictures judged.
    pub pictures: AtomicU64,
    /// Frames kept.
    pub frames_kept: AtomicU64,
}

/// What [`Counters`] said at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // As in `Counters`.
pub struct Snapshot {
    pub sender: Option<String>,
    pub sender_since: Option<Timestamp>,
    pub detection: DetectionState,
    pub is_halted: bool,
    pub refused: u64,
    pub bytes_received: u64,
    pub recorded_bytes: u64,
    pub recorded: Ticks,
    pub detected_bytes: u64,
    pub detected: Ticks,
    pub pictures: u64,
    pub frames_kept: u64,
    pub damage: Damage,
}

impl Counters {
    /// All at nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// All at nothing; what is logged is noted in `troubles`.
    pub fn with(troubles: Troubles) -> Self {
        Counters { troubles, ..Self::default() }
    }

    /// Says who sends now.
    pub fn set_sender(&self, sender: Option<String>) {
        let sender = sender.map(|sender| (sender, Timestamp::now()));
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    }

    /// Says in which session is recorded now, by its folder.
    pub fn set_session(&self, folder: &Path) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.to_owned());
    }

    /// The folder of the session in which is recorded now, once it was said.
    pub fn session(&self) -> Option<PathBuf> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says how detection fares.
    pub fn set_detection(&self, state: DetectionState) {
        *self.detection.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Counts damage.
    pub fn update_damage<T>(&self, update: impl FnOnce(&mut Damage) -> T) -> T {
        update(&mut self.damage.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was logged.
    pub fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    /// Reads all of them.
    pub fn snapshot(&self) -> Snapshot {
        let recorded_bytes = self.recorded_bytes.load(Relaxed);
        let detected_bytes = self.detected_bytes.load(Relaxed);
        let detected = Ticks(self.detected_ticks.load(Relaxed));
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (sender, sender_since) = sender.unzip();
        Snapshot {
            sender,
            sender_since,
            detection: *self.detection.lock().unwrap_or_else(PoisonError::into_inner),
            is_halted: self.is_halted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            recorded_bytes,
            recorded: recorded(recorded_bytes, detected_bytes, detected),
            detected_bytes,
            detected,
            pictures: self.pictures.load(Relaxed),
            frames_kept: self.frames_kept.load(Relaxed),
            damage: *self.damage.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// Time of the newest byte: nobody has looked into it yet, so it is taken to carry
/// as much time as the bytes before it.
fn recorded(recorded_bytes: u64, detected_bytes: u64, detected: Ticks) -> Ticks {
    if detected_bytes == 0 || recorded_bytes <= detected_bytes {
        return detected;
    }
    Ticks((detected.0 as f64 * (recorded_bytes as f64 / detected_bytes as f64)) as i64)
}

impl Snapshot {
    /// Bytes that are recorded and not judged yet.
    pub fn behind_bytes(&self) -> u64 {
        self.recorded_bytes.saturating_sub(self.detected_bytes)
    }

    /// Seconds that are recorded and not judged yet.
    pub fn behind_s(&self) -> f64 {
        Ticks(self.recorded.0.saturating_sub(self.detected.0).max(0)).seconds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detector_ahead_of_what_is_written_is_not_behind() {
        let ahead = Snapshot {
            detected_bytes: 10,
            recorded_bytes: 5,
            detected: Ticks(90_000),
            ..Snapshot::default()
        };
        assert_eq!(ahead.behind_bytes(), 0);
        assert_eq!(ahead.behind_s(), 0.0);
    }
}
