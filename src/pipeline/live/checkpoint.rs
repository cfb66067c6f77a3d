//! The state in `checkpoint.json`: the progress of detection in one recording.
//!
//! A checkpoint is written only after everything that it covers.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::catalog::checkpoint::{seal, unseal};
use crate::error::Result;
use crate::pipeline::analyzer::RestartPoint;
use crate::recording::Fingerprint;

/// The recording, the number of frames in its index, and the point at which detection resumes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Fingerprint of the recording up to the length that was durable: the recording never becomes
    /// shorter than that.
    pub recording: Fingerprint,
    /// Number of frames in the index.
    pub frames_kept: u64,
    /// The point at which detection resumes.
    #[serde(flatten)]
    pub point: RestartPoint,
}

impl Checkpoint {
    /// Parses the bytes of a checkpoint. `path` only appears in messages.
    ///
    /// # Errors
    ///
    /// As [`unseal`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        unseal(path, bytes)
    }

    /// Parses the state as plain JSON, without version and checksum. Only `fuzz/` uses it.
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

    /// Returns whether the checkpoint covers a finished recording of `length` bytes completely.
    pub fn is_final(&self, length: u64) -> bool {
        self.point.decided.final_through.is_some() && self.recording.bytes == length
    }
}
