//! Options of the pipeline's operations. The configuration builds them.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::catalog::JpegOptions;
use crate::demux::ProgramChoice;
use crate::detect::Rule;
use crate::ingest;

/// Options of detection, and of the frames it writes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectOptions {
    /// Which pictures are kept.
    pub rule: Rule,
    /// Which program is analyzed.
    pub program: ProgramChoice,
    /// How kept pictures are encoded.
    pub jpeg: JpegOptions,
    /// Number of threads that decode a backlog.
    pub jobs: NonZeroUsize,
    /// Maximum time for which results may not be durable.
    pub sync_interval: Duration,
    /// Time to wait for the lock on the index when a session is opened, and at the end.
    pub lock_timeout: Duration,
}

/// Options of `record`.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordOptions {
    /// The listening socket, and the senders that are accepted.
    pub network: ingest::Options,
    /// The folder that contains the session folders.
    pub sessions_dir: PathBuf,
    /// Name of the session; an existing session is resumed. `None` creates a new one, named
    /// for the local time.
    pub session: Option<String>,
    /// When the recording continues in a new session.
    pub rotation: RotationLimits,
    /// Limits beyond which the recorder deletes sessions.
    pub retention: RetentionLimits,
    /// Minimum free space in bytes: below it, recording pauses.
    pub min_free_bytes: u64,
    /// How frames are found.
    pub detect: DetectOptions,
}

/// Limits at which a recording rotates. Without limits, it never rotates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RotationLimits {
    /// Maximum age of a recording.
    pub every: Option<Duration>,
    /// Maximum size of a recording in bytes.
    pub bytes: Option<u64>,
}

impl RotationLimits {
    /// Returns whether there is a limit.
    pub fn is_some(self) -> bool {
        self != RotationLimits::default()
    }
}

/// Limits beyond which a recorder deletes sessions of its series. Without limits, it deletes
/// nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Maximum age of a recording, counted from its last byte.
    pub age: Option<Duration>,
    /// Maximum size of all recordings together, in bytes.
    pub bytes: Option<u64>,
    /// Maximum age of the frames of a session whose recording was deleted.
    pub frames_age: Option<Duration>,
    /// When the disk is full, delete the oldest recording instead of pausing.
    pub recycles: bool,
}

/// Options of `scan`.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanOptions {
    /// The file.
    pub file: PathBuf,
    /// Folder for JPEGs and `index.json`. `None` writes neither.
    pub frames_dir: Option<PathBuf>,
    /// CSV file for the time and score of every picture.
    pub scores: Option<PathBuf>,
    /// Which pictures are kept.
    pub rule: Rule,
    /// Which program is analyzed.
    pub program: ProgramChoice,
    /// How kept pictures are encoded.
    pub jpeg: JpegOptions,
    /// Number of threads that decode.
    pub jobs: NonZeroUsize,
}
