//! The state in `checkpoint.json`: how far detection has come with which recording.
//!
//! A checkpoint is written after everything that it counts as done, never before.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::catalog::checkpoint::{seal, unseal};
use crate::error::Result;
use crate::pipeline::analyzer::RestartPoint;
use crate::recording::Fingerprint;

/// Where detection resumes, of which recording, with how many frames in the index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The recording that it belongs to, as long as it was durable. It never becomes shorter.
    pub recording: Fingerprint,
    /// Frames in the index so far.
    pub frames_kept: u64,
    /// Where detection resumes.
    #[serde(flatten)]
    pub point: RestartPoint,
}

impl Checkpoint {
    /// Reads the bytes of a checkpoint; `path` is for messages.
    ///
    /// # Errors
    ///
    /// As [`unseal`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        unseal(path, bytes)
    }

    /// Reads the state as JSON of its own: only `fuzz/` has use for it.
    #[cfg(fuzzing)]
    pub fn parse_unsealed(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Returns the bytes of the file.
    ///
    /// # Errors
    ///
    /// As [`seal`].
    pub fn to_json(&self) -> Result<Vec<u8>> {
        seal(self)
    }

    /// Whether a recorder had ended, and detection with it, when the recording had `length` bytes.
    pub fn is_final(&self, length: u64) -> bool {
        self.point.decided.final_through.is_some() && self.recording.bytes == length
    }
}
