//! Decides whether a checkpoint of an earlier process can be trusted.
//!
//! A checkpoint is trusted if its checksum is correct and it belongs to this recording. Any other
//! checkpoint is quarantined, and detection starts from the beginning, as `scan` does: it finds the
//! same frames again.

use std::fs::File;
use std::io;
use std::path::Path;

use super::checkpoint::Checkpoint;
use crate::catalog::publish;
use crate::error::{Context, Error, Kind, Result, Stage};
use crate::recording::Fingerprint;

/// The file at the path of a checkpoint.
#[derive(Debug)]
pub enum StoredCheckpoint {
    /// There is no file.
    Missing,
    /// The file is a checkpoint of this recording.
    Trusted(Box<Checkpoint>),
    /// The file cannot be trusted, for this reason.
    Untrusted(Error),
}

/// Reads and verifies the checkpoint at `path`. It must belong to the first `length` bytes of
/// `recording`.
///
/// # Errors
///
/// Returns an error if a file cannot be read. A missing checkpoint is no error.
pub fn examine(path: &Path, recording: &Path, length: u64) -> Result<StoredCheckpoint> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(StoredCheckpoint::Missing);
        }
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            return Ok(StoredCheckpoint::Untrusted(untrusted(path, "it is a folder")));
        }
        bytes => bytes.context(Stage::Catalog, path, "cannot read")?,
    };
    let checkpoint = match Checkpoint::parse(path, &bytes) {
        Err(error) if error.kind() == Kind::Corrupt => {
            return Ok(StoredCheckpoint::Untrusted(error));
        }
        parsed => parsed?,
    };
    let expected = checkpoint.recording;
    if expected.bytes > length {
        let what = format!("the recording has {length} bytes, not {}", expected.bytes);
        return Ok(StoredCheckpoint::Untrusted(untrusted(path, what)));
    }
    let actual = File::open(recording)
        .and_then(|file| Fingerprint::of(&file, expected.bytes))
        .context(Stage::Recording, recording, "cannot read")?;
    Ok(if expected == actual {
        StoredCheckpoint::Trusted(Box::new(checkpoint))
    } else {
        StoredCheckpoint::Untrusted(untrusted(path, "it belongs to another recording"))
    })
}

/// Returns the error for a checkpoint at `path` that cannot be trusted. `what` is the reason.
pub fn untrusted(path: &Path, what: impl Into<String>) -> Error {
    Error::new(Stage::Catalog, what).of_kind(Kind::Corrupt).path(path)
}

/// Quarantines an untrusted checkpoint by renaming it, and logs the reason `why`.
///
/// # Errors
///
/// Returns an error if the folder cannot be written.
pub fn quarantine(path: &Path, why: &Error) -> Result<()> {
    let quarantined_as = publish::quarantine(path, path, "set-aside").context(
        Stage::Catalog,
        path,
        "cannot quarantine it",
    )?;
    if let Some(quarantined_as) = quarantined_as {
        tracing::warn!("{why}; quarantined as {}; detection starts over", quarantined_as.display());
    }
    Ok(())
}
