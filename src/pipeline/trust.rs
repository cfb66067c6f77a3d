//! Decides whether the files of an earlier process can be trusted.
//!
//! A checkpoint is trusted if every byte is as written, and it belongs to this recording.
//! Otherwise it is quarantined, and detection starts from the beginning as in `scan` and
//! finds the same frames again.

use std::fs::File;
use std::io;
use std::path::Path;

use super::checkpointing;
use super::detection::DetectionStart;
use crate::catalog::checkpoint::{self, Checkpoint};
use crate::catalog::publish;
use crate::error::{Context, Error, Result, Stage};
use crate::recording::Fingerprint;

/// Result of reading a checkpoint.
#[derive(Debug)]
pub enum Found {
    /// The file does not exist.
    Nothing,
    /// A checkpoint that can be trusted.
    Trusted(Box<Trusted>),
    /// Anything else, with the reason.
    Doubtful(Error),
}

/// A checkpoint that can be trusted.
#[derive(Debug)]
pub struct Trusted {
    /// Its content.
    pub checkpoint: Checkpoint,
    /// Where detection resumes.
    pub start: DetectionStart,
}

/// Reads and verifies a checkpoint of `recording`, of which `length` bytes are valid.
///
/// # Errors
///
/// Returns an error if one of the files exists and cannot be read.
pub fn look(path: &Path, recording: &Path, length: u64) -> Result<Found> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            return Ok(Found::Doubtful(doubt(path, "it is a folder")));
        }
        bytes => bytes.context(Stage::Catalog, path, "cannot read")?,
    };
    let doubtful = |what: &str| Found::Doubtful(doubt(path, what));
    let checkpoint = match Checkpoint::parse(path, &bytes) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return Ok(Found::Doubtful(error)),
    };
    let Some(start) = checkpointing::from_checkpoint(&checkpoint) else {
        return Ok(doubtful("it contains values that no version of scenetap writes"));
    };
    let of = &checkpoint.recording;
    if of.bytes > length {
        return Ok(doubtful(&format!("the recording has {length} bytes, not {}", of.bytes)));
    }
    let there = File::open(recording).and_then(|file| Fingerprint::of(&file, of.bytes)).context(
        Stage::Recording,
        recording,
        "cannot read",
    )?;
    Ok(if is_of(of, there) {
        Found::Trusted(Box::new(Trusted { checkpoint, start }))
    } else {
        doubtful("it belongs to another recording")
    })
}

fn is_of(written: &checkpoint::Recording, there: Fingerprint) -> bool {
    let checkpoint::Recording { bytes, head_crc32, tail_crc32 } = *written;
    there == Fingerprint { bytes, head_crc32, tail_crc32 }
}

/// Returns the reason not to trust the checkpoint at `path`, as an error.
pub fn doubt(path: &Path, what: impl Into<String>) -> Error {
    Error::new(Stage::Catalog, what).path(path)
}

/// Quarantines a checkpoint.
///
/// # Errors
///
/// Returns an error if the folder cannot be written.
pub fn set_aside(path: &Path, why: &Error) -> Result<()> {
    let aside = publish::set_aside(path, path, "set-aside").context(
        Stage::Catalog,
        path,
        "cannot quarantine it",
    )?;
    if let Some(aside) = aside {
        tracing::warn!("{why}; quarantined as {}, detection restarts", aside.display());
    }
    Ok(())
}
