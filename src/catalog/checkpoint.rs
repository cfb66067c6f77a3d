//! `checkpoint.json`: a state, sealed with a version and a checksum.
//!
//! A checkpoint is believed to the byte or not at all: the file is read, written again in memory,
//! and has to be the same. The checksum in it makes sure that a changed number does not pass
//! either. What the state is, only the caller knows.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Kind, Result, Stage};

/// The version written, and the only one read.
pub const VERSION: u32 = 5;

/// The whole file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<T> {
    /// [`VERSION`].
    version: u32,
    /// CRC-32 of `state` as JSON without white space.
    crc32: u32,
    state: T,
}

/// The part that files of every version have.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Reads the bytes of a checkpoint; `path` is for messages.
///
/// # Errors
///
/// [`Kind::Corrupt`] if they are not a checkpoint, one of another version, or not to the byte what
/// was written.
pub fn unseal<T: Serialize + DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    let corrupt = |error: Error| error.of_kind(Kind::Corrupt);
    let what = "not a checkpoint";
    let Versioned { version } =
        serde_json::from_slice(bytes).context(Stage::Catalog, path, what).map_err(corrupt)?;
    if version != VERSION {
        let what = format!("checkpoint of version {version}, not {VERSION}");
        return Err(corrupt(Error::new(Stage::Catalog, what).path(path)));
    }
    let Sealed::<T> { state, .. } =
        serde_json::from_slice(bytes).context(Stage::Catalog, path, what).map_err(corrupt)?;
    if seal(&state)? != bytes {
        let what = "its checksum does not match: it was edited, or has suffered";
        return Err(corrupt(Error::new(Stage::Catalog, what).path(path)));
    }
    Ok(state)
}

/// Returns the bytes of a checkpoint with this state.
///
/// # Errors
///
/// If the state cannot be written as JSON, which is a bug.
pub fn seal<T: Serialize>(state: &T) -> Result<Vec<u8>> {
    let written = || -> serde_json::Result<Vec<u8>> {
        let crc32 = crc32fast::hash(&serde_json::to_vec(state)?);
        serde_json::to_vec_pretty(&Sealed { version: VERSION, crc32, state })
    };
    let mut bytes = written().map_err(|cause| {
        Error::new(Stage::Catalog, "cannot write a checkpoint").of_kind(Kind::Bug).because(cause)
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}
