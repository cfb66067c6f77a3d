//! Whether a checkpoint that an earlier process left can be trusted.
//!
//! A checkpoint is trusted if it is to the byte what was written, and belongs to this recording.
//! Any other is quarantined, and detection starts from the beginning, as `scan` does: it finds the
//! same frames again.

use std::fs::File;
use std::io;
use std::path::Path;

use super::checkpoint::Checkpoint;
use crate::catalog::publish;
use crate::error::{Context, Error, Kind, Result, Stage};
use crate::recording::Fingerprint;

/// What stands under the name of a checkpoint.
#[derive(Debug)]
pub enum StoredCheckpoint {
    /// Nothing.
    Missing,
    /// A checkpoint of this recording.
    Trusted(Box<Checkpoint>),
    /// Something else: this is why.
    Untrusted(Error),
}

/// Looks at the checkpoint of `recording`, of which `length` bytes count.
///
/// # Errors
///
/// If one of the files is there and cannot be read.
pub fn look(path: &Path, recording: &Path, length: u64) -> Result<StoredCheckpoint> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(StoredCheckpoint::Missing);
        }
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            return Ok(StoredCheckpoint::Untrusted(doubt(path, "it is a folder")));
        }
        bytes => bytes.context(Stage::Catalog, path, "cannot read")?,
    };
    let checkpoint = match Checkpoint::parse(path, &bytes) {
        Err(error) if error.kind() == Kind::Corrupt => {
            return Ok(StoredCheckpoint::Untrusted(error));
        }
        parsed => parsed?,
    };
    let of = checkpoint.recording;
    if of.bytes > length {
        let what = format!("the recording has {length} bytes, not {}", of.bytes);
        return Ok(StoredCheckpoint::Untrusted(doubt(path, what)));
    }
    let there = File::open(recording).and_then(|file| Fingerprint::of(&file, of.bytes)).context(
        Stage::Recording,
        recording,
        "cannot read",
    )?;
    Ok(if of == there {
        StoredCheckpoint::Trusted(Box::new(checkpoint))
    } else {
        StoredCheckpoint::Untrusted(doubt(path, "it belongs to another recording"))
    })
}

/// Returns why the checkpoint at `path` is not to be trusted.
pub fn doubt(path: &Path, what: impl Into<String>) -> Error {
    Error::new(Stage::Catalog, what).of_kind(Kind::Corrupt).path(path)
}

/// Gives a checkpoint that is not to be trusted another name.
///
/// # Errors
///
/// If the folder cannot be written to.
pub fn quarantine(path: &Path, why: &Error) -> Result<()> {
    let aside = publish::quarantine(path, path, "set-aside").context(
        Stage::Catalog,
        path,
        "cannot quarantine it",
    )?;
    if let Some(aside) = aside {
        tracing::warn!("{why}; quarantined as {}; detection starts over", aside.display());
    }
    Ok(())
}
