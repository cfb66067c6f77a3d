//! Whether what an earlier process left can be believed.
//!
//! A checkpoint is believed where it is to the byte what was written, and of this
//! recording. Otherwise it is set aside, and detection goes the way of `scan`: from
//! the beginning, finding the same frames again.

use std::fs::File;
use std::io;
use std::path::Path;

use super::checkpointing;
use super::detection::DetectionStart;
use crate::catalog::checkpoint::{self, Checkpoint};
use crate::catalog::publish;
use crate::error::{Context, Error, Result, Stage};
use crate::recording::Fingerprint;

/// What stands under the name of a checkpoint.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// One that can be believed.
    Trusted(Box<Trusted>),
    /// Something else: this is why.
    Doubtful(Error),
}

/// A checkpoint that can be believed.
#[derive(Debug)]
pub struct Trusted {
    /// As it is written.
    pub checkpoint: Checkpoint,
    /// Where detection goes on.
    pub start: DetectionStart,
}

/// Looks at a checkpoint of `recording`, of which `length` bytes count.
///
/// # Errors
///
/// If one of the files is there and cannot be read.
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
        return Ok(doubtful("it says what no version of scenetap has written"));
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
        doubtful("it is of another recording")
    })
}

fn is_of(written: &checkpoint::Recording, there: Fingerprint) -> bool {
    let checkpoint::Recording { bytes, head_crc32, tail_crc32 } = *written;
    there == Fingerprint { bytes, head_crc32, tail_crc32 }
}

/// Why the checkpoint at `path` is not to be believed.
pub fn doubt(path: &Path, what: impl Into<String>) -> Error {
    Error::new(Stage::Catalog, what).path(path)
}

/// Gives a checkpoint that is not to be believed another name.
///
/// # Errors
///
/// If the folder cannot be written to.
pub fn set_aside(path: &Path, why: &Error) -> Result<()> {
    let aside = publish::set_aside(path, path, "set-aside").context(
        Stage::Catalog,
        path,
        "cannot set it aside",
    )?;
    if let Some(aside) = aside {
        tracing::warn!("{why}; set aside as {}, detection begins anew", aside.display());
    }
    Ok(())
}
